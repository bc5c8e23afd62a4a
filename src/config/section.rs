use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use config::{Value, ValueKind};

use super::authorities::Authorities;
use super::document::{Document, ENVIRONMENT};
use super::fingerprint::fingerprint;
use super::mistake::{Mistake, Mistakes};
use super::secret_file::read_secret_file;
use crate::domain::{ExposeSecret, Secret};

#[cfg(test)]
mod tests;

const NO_WEB_ADDRESS: &str =
    "must be an http:// or https:// address such as \"http://127.0.0.1:8000\", without user or fragment";
const LONGEST_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);

/// One table of the configuration, read key by key.
///
/// Every getter takes its key out of the table. A mistake is noted and a usable value is returned,
/// so that the reader goes on and all mistakes come out together. [`Section::finish`] notes what
/// nobody asked for.
pub struct Section {
    /// As mistakes name it: `backend[mail]`.
    path: String,
    /// The same without the names of list entries: `backend`.
    pattern: String,
    file: String,
    entries: BTreeMap<String, Value>,
    /// Keys whose value did not come from the file, with where they came from.
    origins: BTreeMap<String, String>,
    asked: Vec<&'static str>,
    mistakes: Mistakes,
    authorities: Authorities,
}

impl Section {
    /// A table of its own, for whoever wants to read a few keys from a TOML text.
    ///
    /// # Errors
    /// The text is not TOML.
    pub fn from_toml(text: &str) -> Result<Self, Mistake> {
        Document::parse("a text", text).map(Document::into_section)
    }

    pub(super) fn root(value: Value, file: &str, mistakes: Mistakes) -> Self {
        Self::of(String::new(), String::new(), file, value, mistakes)
    }

    fn of(path: String, pattern: String, file: &str, value: Value, mistakes: Mistakes) -> Self {
        let file = value.origin().unwrap_or(file).to_owned();
        let (entries, origins, asked) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let authorities = Authorities::default();
        let mut section = Self { path, pattern, file, entries, origins, asked, mistakes, authorities };
        match value.kind {
            ValueKind::Table(table) => {
                for (key, value) in table {
                    if let Some(origin) = value.origin().or_else(|| origin_within(&value)) {
                        section.origins.insert(key.clone(), origin.to_owned());
                    }
                    section.entries.insert(key, value);
                }
            }
            ValueKind::Nil => {}
            _ => section.mistake_here("must be a table; write [section] and keys below it"),
        }
        section
    }

    fn below(&self, key: &'static str, path: String, value: Value) -> Self {
        let pattern = if self.pattern.is_empty() { key.to_owned() } else { format!("{}.{key}", self.pattern) };
        let section = Self::of(path, pattern, &self.file, value, self.mistakes.clone());
        Self { authorities: self.authorities.clone(), ..section }
    }

    /// Stands for everything that is written in this table and not read yet.
    #[must_use]
    pub(super) fn fingerprint(&self) -> u64 {
        fingerprint(&self.entries)
    }

    /// A text, if there is one.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.take(key)?;
        match value.kind {
            ValueKind::String(text) => Some(text),
            _ => self.wrong(key, "must be a text in quotes"),
        }
    }

    /// A text that must be there and not be empty.
    pub fn required(&mut self, key: &'static str) -> String {
        if !self.entries.contains_key(key) {
            self.ask(key);
            self.mistake(key, "is missing, and there is no default; write one");
            return String::new();
        }
        let text = self.text(key).unwrap_or_default();
        if text.is_empty() {
            self.mistake(key, "must not be empty");
        }
        text
    }

    /// The `name` of a portal or back-end, which stands in metrics, addresses and logs. `earlier` are the
    /// names before it.
    pub(super) fn name<'a>(&mut self, mut earlier: impl Iterator<Item = &'a String>) -> String {
        let name = self.required("name");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.len() > 64 || !name.bytes().all(plain) {
            self.mistake("name", "must have 1 to 64 of the characters a-z 0-9 and -");
        } else if let Some(index) = earlier.position(|other| *other == name) {
            self.used_before("name", index);
        }
        name
    }

    /// A duration such as `10s`, `5m` or `60h`.
    pub fn duration(&mut self, key: &'static str, default: Duration) -> Duration {
        let Some(value) = self.take(key) else { return default };
        let parsed = match &value.kind {
            ValueKind::String(text) => humantime::parse_duration(text).ok(),
            _ => None,
        };
        match parsed {
            Some(duration) if !duration.is_zero() && duration <= LONGEST_DURATION => duration,
            Some(_) => self.wrong(key, "must be longer than zero and at most a year").unwrap_or(default),
            None => {
                self.wrong(key, "must be a number and a unit in quotes, such as \"10s\" or \"5m\"").unwrap_or(default)
            }
        }
    }

    /// A whole number within a range.
    pub fn integer(&mut self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let Some(value) = self.take(key) else { return default };
        // Not the value's own conversions: they take `true` for 1 and round fractions.
        let number = match &value.kind {
            ValueKind::I64(number) => u64::try_from(*number).ok(),
            ValueKind::String(text) if self.is_from_environment(key) => text.parse().ok(),
            _ => None,
        };
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return number;
        }
        let (low, high) = range.into_inner();
        self.wrong(key, &format!("must be a whole number from {low} to {high}")).unwrap_or(default)
    }

    /// A list of whole numbers within a range, empty where nothing was written.
    pub fn integers(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Vec<u64> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let number = |item: &Value| match item.kind {
            ValueKind::I64(number) => u64::try_from(number).ok().filter(|number| range.contains(number)),
            _ => None,
        };
        let numbers = match &value.kind {
            ValueKind::Array(items) => items.iter().map(number).collect(),
            _ => None,
        };
        let (low, high) = (range.start(), range.end());
        numbers
            .or_else(|| {
                self.wrong(key, &format!("must be a list of whole numbers from {low} to {high}, such as [{low}]"))
            })
            .unwrap_or_default()
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.take(key) else { return default };
        let parsed = match &value.kind {
            ValueKind::Boolean(flag) => Some(*flag),
            ValueKind::String(text) if self.is_from_environment(key) => text.parse().ok(),
            _ => None,
        };
        parsed.or_else(|| self.wrong(key, "must be true or false")).unwrap_or(default)
    }

    /// One of several words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, default: T, choices: &[(&str, T)]) -> T {
        let Some(text) = self.text(key) else { return default };
        if let Some((_, meaning)) = choices.iter().find(|(word, _)| *word == text) {
            return *meaning;
        }
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        self.mistake(key, &format!("must be one of {}", words.join(", ")));
        default
    }

    /// A list of texts, if there is one. In the environment they are separated by commas.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let value = self.take(key)?;
        match value.kind {
            ValueKind::Array(items) => {
                let texts: Option<Vec<String>> = items
                    .into_iter()
                    .map(|item| match item.kind {
                        ValueKind::String(text) => Some(text),
                        _ => None,
                    })
                    .collect();
                texts.or_else(|| self.wrong(key, "must be a list of texts, such as [\"a\", \"b\"]"))
            }
            ValueKind::String(text) if self.is_from_environment(key) => {
                Some(text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
            }
            _ => self.wrong(key, "must be a list of texts, such as [\"a\", \"b\"]"),
        }
    }

    /// One text or a list of them, if there is any.
    pub fn text_or_texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        match self.entries.get(key)?.kind {
            ValueKind::String(_) if !self.is_from_environment(key) => self.text(key).map(|text| vec![text]),
            _ => self.texts(key),
        }
    }

    /// An `http` or `https` address without user, password or fragment.
    pub fn url(&mut self, key: &'static str) -> Option<url::Url> {
        let text = self.text(key)?;
        let parsed = web_address(&text);
        if parsed.is_none() {
            self.mistake(key, NO_WEB_ADDRESS);
        }
        parsed
    }

    /// An address that must be there, as [`Section::url`] has it.
    #[expect(clippy::expect_used, reason = "a fixed and valid address")]
    pub fn required_url(&mut self, key: &'static str) -> url::Url {
        let url = if self.has(key) { self.url(key) } else { self.required(key).parse().ok() };
        url.unwrap_or_else(|| url::Url::parse("http://127.0.0.1").expect("valid"))
    }

    /// A list of addresses as [`Section::url`] has them, empty where nothing was written.
    pub fn urls(&mut self, key: &'static str) -> Vec<url::Url> {
        let texts = self.texts(key).unwrap_or_default();
        let mut urls = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match web_address(text) {
                Some(url) => urls.push(url),
                None => self.mistake(&format!("{key}[{}]", index + 1), NO_WEB_ADDRESS),
            }
        }
        urls
    }

    /// A secret, given inline or as a file named by `<key>_file`; both is a mistake.
    pub fn secret(&mut self, key: &'static str, file_key: &'static str) -> Option<Secret> {
        self.secret_and_file(key, file_key).map(|(secret, _)| secret)
    }

    /// The same, with the file that it was read from, for those who look whether it changes.
    pub fn secret_and_file(&mut self, key: &'static str, file_key: &'static str) -> Option<(Secret, Option<PathBuf>)> {
        let inline = self.text(key);
        let file = self.text(file_key).map(PathBuf::from);
        let given_as = if file.is_some() { file_key } else { key };
        let secret = match (inline, &file) {
            (Some(_), Some(_)) => {
                self.mistake(key, &format!("is given twice; keep either {key} or {file_key}"));
                return None;
            }
            (Some(inline), None) => Secret::from(inline),
            (None, Some(file)) => match read_secret_file(file) {
                Ok(secret) => secret,
                // The name is not repeated: people do write the secret itself here.
                Err(error) => {
                    self.mistake(file_key, &format!("names a file that cannot be read: {error}"));
                    return None;
                }
            },
            (None, None) => return None,
        };
        if secret.expose_secret().is_empty() {
            self.mistake(given_as, "is empty; an empty secret is no secret");
            return None;
        }
        Some((secret, file))
    }

    /// A table below this one; an empty one where nothing was written.
    pub fn section(&mut self, key: &'static str) -> Self {
        let value = self.take(key).unwrap_or_else(|| Value::new(None, ValueKind::Nil));
        self.below(key, self.key_path(key), value)
    }

    /// The tables of a list (`[[key]]`), named in mistakes by their `label` key where they have
    /// one that no table before them has, else by their number.
    pub fn sections(&mut self, key: &'static str, label: &str) -> Vec<Self> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let ValueKind::Array(items) = value.kind else {
            let path = self.key_path(key);
            self.mistake(key, &format!("must be a list of tables; write [[{path}]] in the file"));
            return Vec::new();
        };
        let mut names: Vec<String> = Vec::new();
        let tables = items.into_iter().enumerate().map(|(index, item)| {
            let name = match &item.kind {
                ValueKind::Table(table) => table.get(label).and_then(|name| name.clone().into_string().ok()),
                _ => None,
            };
            // One of digits would be taken for a number.
            let tells = |name: &String| !name.bytes().all(|byte| byte.is_ascii_digit()) && !names.contains(name);
            let name = name.filter(tells).unwrap_or_else(|| (index + 1).to_string());
            names.push(name.clone());
            self.below(key, format!("{}[{name}]", self.key_path(key)), item)
        });
        tables.collect()
    }

    /// Notes that a table of a list has the same `key` as the one at this index before it.
    pub fn used_before(&self, key: &str, index: usize) {
        let list = self.pattern.rsplit('.').next().unwrap_or_default();
        self.mistake(key, &format!("is used by {list}[{}], too; give each its own", index + 1));
    }

    /// Every remaining key with its text, for tables whose keys are the operator's own.
    pub fn all_texts(&mut self) -> Vec<(String, String)> {
        let entries = std::mem::take(&mut self.entries);
        let mut pairs = Vec::new();
        for (key, value) in entries {
            match value.kind {
                ValueKind::String(text) => pairs.push((key, text)),
                _ => self.mistake(&key, "must be a text in quotes"),
            }
        }
        pairs
    }

    /// The name of this table within its list, as mistakes have it; empty where it is in none.
    #[must_use]
    pub fn entry_name(&self) -> &str {
        self.path.rsplit_once('[').and_then(|(_, name)| name.strip_suffix(']')).unwrap_or_default()
    }

    /// Every remaining key with its value, whatever it is, for tables that become JSON.
    pub fn all_json(&mut self) -> Vec<(String, serde_json::Value)> {
        let entries = std::mem::take(&mut self.entries);
        let mut pairs = Vec::new();
        for (key, value) in entries {
            match value.try_deserialize() {
                Ok(value) => pairs.push((key, value)),
                Err(_) => self.mistake(&key, "must be a text, a number, true or false, a list or a table"),
            }
        }
        pairs
    }

    /// Whether the key was written and not read yet.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether a mistake was noted at one of this table's keys.
    #[must_use]
    pub fn noted(&self, key: &str) -> bool {
        self.mistakes.noted_at(&self.key_path(key))
    }

    /// Notes a mistake at one of this table's keys, or at one entry of a list: `proxies[2]`.
    pub fn mistake(&self, key: &str, message: &str) {
        self.note(self.file_of(key), self.key_path(key), message);
    }

    /// Warns of what stands at one of this table's keys: it may be so, and is hardly meant.
    pub fn warn(&self, key: &str, message: &str) {
        let (file, key) = (self.file_of(key).to_owned(), self.key_path(key));
        self.mistakes.warn(Mistake { file, key, message: message.to_owned() });
    }

    /// Notes a mistake of the table as a whole.
    pub fn mistake_here(&self, message: &str) {
        self.note(&self.file, self.path.clone(), message);
    }

    /// Notes every key that nobody has read.
    pub fn finish(self) {
        let known = self.asked.join(", ");
        for key in self.entries.keys() {
            self.mistake(key, &format!("is not a known key here; known are: {known}"));
        }
    }

    /// All mistakes noted so far, in this table and every other of the document.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        self.mistakes.all()
    }

    /// Whom the system trusts, read at most once for the whole document.
    #[must_use]
    pub const fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// The document's mistakes, to be looked at when this section is gone.
    pub(super) fn shared_mistakes(&self) -> Mistakes {
        self.mistakes.clone()
    }

    fn ask(&mut self, key: &'static str) {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.mistakes.asked(if self.pattern.is_empty() { key.to_owned() } else { format!("{}.{key}", self.pattern) });
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.ask(key);
        self.entries.remove(key).filter(|value| !matches!(value.kind, ValueKind::Nil))
    }

    fn is_from_environment(&self, key: &str) -> bool {
        self.origins.get(key).is_some_and(|origin| origin == ENVIRONMENT)
    }

    fn wrong<T>(&self, key: &str, message: &str) -> Option<T> {
        self.mistake(key, message);
        None
    }

    /// Where the key was written: the file, if nothing else is known.
    fn file_of(&self, key: &str) -> &str {
        let name = key.split_once('[').map_or(key, |(name, _)| name);
        self.origins.get(name).unwrap_or(&self.file)
    }

    fn note(&self, file: &str, key: String, message: &str) {
        self.mistakes.note(Mistake { file: file.to_owned(), key, message: message.to_owned() });
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// What could have been written in the place of a name that is not known.
#[must_use]
pub fn there_is<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    if names.is_empty() { "there is none".to_owned() } else { format!("there is {}", names.join(", ")) }
}

/// Where a table came from that exists only because of what stands in it.
fn origin_within(value: &Value) -> Option<&str> {
    let ValueKind::Table(table) = &value.kind else { return None };
    let mut origins = table.values().map(|value| value.origin().or_else(|| origin_within(value)));
    // One key of the file's own is enough to make it the file's table.
    let first = origins.next()??;
    origins.all(|origin| origin == Some(first)).then_some(first)
}

/// An absolute `http` or `https` address that names no user and no place within the page.
fn web_address(text: &str) -> Option<url::Url> {
    url::Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    })
}
