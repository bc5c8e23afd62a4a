use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use config::{Value, ValueKind};

use crate::domain::Secret;

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, or `environment`.
    pub file: String,
    /// The key with its tables, for example `backend[mail].login_timeout`.
    pub key: String,
    /// What is wrong and what to write instead. Never the value of a secret.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: {}", self.file, self.key, self.message)
    }
}

/// One table of the configuration, read key by key.
///
/// Every getter takes its key out of the table. A mistake is noted and a usable value is returned,
/// so that the reader goes on and all mistakes come out together. [`Section::finish`] notes what
/// nobody asked for.
pub struct Section {
    path: String,
    file: String,
    entries: BTreeMap<String, Value>,
    asked: Vec<&'static str>,
    mistakes: Rc<RefCell<Vec<Mistake>>>,
}

impl Section {
    /// A table from a TOML text of its own, for tests of those who read sections.
    ///
    /// # Errors
    /// The text is no TOML.
    pub fn from_toml(text: &str) -> Result<Self, config::ConfigError> {
        let source = config::File::from_str(text, config::FileFormat::Toml);
        let value = config::Config::builder().add_source(source).build()?.try_deserialize::<Value>()?;
        Ok(Self::root(value, "a text"))
    }

    pub(super) fn root(value: Value, file: &str) -> Self {
        let mistakes = Rc::new(RefCell::new(Vec::new()));
        Self::of(String::new(), file.to_owned(), value, &mistakes)
    }

    fn of(path: String, file: String, value: Value, mistakes: &Rc<RefCell<Vec<Mistake>>>) -> Self {
        let file = value.origin().map_or(file, str::to_owned);
        let mut section =
            Self { path, file, entries: BTreeMap::new(), asked: Vec::new(), mistakes: Rc::clone(mistakes) };
        match value.kind {
            ValueKind::Table(table) => section.entries = table.into_iter().collect(),
            ValueKind::Nil => {}
            _ => section.note(None, &section.file, "must be a table; write [section] and keys below it"),
        }
        section
    }

    /// A text, if there is one.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.take(key)?;
        match value.kind {
            ValueKind::String(text) => Some(text),
            // The environment has only texts, and a number in the file where a text is meant is clear enough.
            ValueKind::I64(_) | ValueKind::U64(_) => value.into_string().ok(),
            _ => self.wrong(key, &value, "must be a text in quotes"),
        }
    }

    /// A text that must be there and not be empty.
    pub fn required(&mut self, key: &'static str) -> String {
        if !self.entries.contains_key(key) {
            self.asked.push(key);
            self.mistake(key, "is missing");
            return String::new();
        }
        let text = self.text(key);
        if text.as_deref() == Some("") {
            self.mistake(key, "must not be empty");
        }
        text.unwrap_or_default()
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
            Some(_) => self.wrong(key, &value, "must be longer than zero and at most a year").unwrap_or(default),
            None => self
                .wrong(key, &value, "is not a duration; write a number and a unit in quotes, such as \"10s\" or \"5m\"")
                .unwrap_or(default),
        }
    }

    /// A whole number within a range.
    pub fn integer(&mut self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let Some(value) = self.take(key) else { return default };
        match value.clone().into_uint() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (low, high) = range.into_inner();
                let message = format!("must be a whole number from {low} to {high}");
                self.wrong(key, &value, &message).unwrap_or(default)
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.take(key) else { return default };
        let parsed = match &value.kind {
            ValueKind::Boolean(flag) => Some(*flag),
            ValueKind::String(text) => text.parse().ok(),
            _ => None,
        };
        parsed.or_else(|| self.wrong(key, &value, "must be true or false")).unwrap_or(default)
    }

    /// One of several words. The first is the default.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> T {
        let default = choices[0].1;
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
        let from_environment = value.origin().is_some_and(|origin| origin == "the environment");
        match value.kind.clone() {
            ValueKind::Array(items) => {
                let texts: Option<Vec<String>> = items
                    .into_iter()
                    .map(|item| match item.kind {
                        ValueKind::String(text) => Some(text),
                        _ => None,
                    })
                    .collect();
                texts.or_else(|| self.wrong(key, &value, "must be a list of texts, such as [\"a\", \"b\"]"))
            }
            ValueKind::String(text) if from_environment => {
                Some(text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
            }
            _ => self.wrong(key, &value, "must be a list of texts, such as [\"a\", \"b\"]"),
        }
    }

    /// An `http` or `https` address without user, password or fragment.
    pub fn url(&mut self, key: &'static str) -> Option<url::Url> {
        let text = self.text(key)?;
        let parsed = url::Url::parse(&text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host().is_some()
                && url.username().is_empty()
                && url.password().is_none()
                && url.fragment().is_none()
        });
        if parsed.is_none() {
            self.mistake(key, "must be an address such as \"http://127.0.0.1:8000\", without user or fragment");
        }
        parsed
    }

    /// A secret, given inline or as a file named by `<key>_file`; both is a mistake.
    ///
    /// One line break at the end of the file is cut, since every editor puts one there.
    pub fn secret(&mut self, key: &'static str, file_key: &'static str) -> Option<Secret> {
        let inline = self.text(key);
        let file = self.text(file_key);
        let secret = match (inline, file) {
            (Some(_), Some(_)) => {
                self.mistake(key, &format!("is given twice; keep either {key} or {file_key}"));
                return None;
            }
            (Some(inline), None) => inline,
            (None, Some(file)) => match std::fs::read_to_string(&file) {
                Ok(text) => {
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    text.strip_suffix('\r').unwrap_or(text).to_owned()
                }
                Err(error) => {
                    self.mistake(file_key, &format!("{file} can not be read: {error}"));
                    return None;
                }
            },
            (None, None) => return None,
        };
        if secret.is_empty() {
            self.mistake(key, "is empty; an empty secret is no secret");
            return None;
        }
        Some(Secret::from(secret))
    }

    /// A table below this one; an empty one where nothing was written.
    pub fn section(&mut self, key: &'static str) -> Self {
        let value = self.take(key).unwrap_or_else(|| Value::new(None, ValueKind::Nil));
        Self::of(self.key_path(key), self.file.clone(), value, &self.mistakes)
    }

    /// The tables of a list (`[[key]]`), named in mistakes by their `label` key where they have one.
    pub fn sections(&mut self, key: &'static str, label: &str) -> Vec<Self> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let ValueKind::Array(items) = value.kind else {
            self.mistake(key, &format!("must be a list of tables; write [[{}]]", self.key_path(key)));
            return Vec::new();
        };
        let tables = items.into_iter().enumerate().map(|(index, item)| {
            let name = match &item.kind {
                ValueKind::Table(table) => table.get(label).and_then(|name| name.clone().into_string().ok()),
                _ => None,
            };
            let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| (index + 1).to_string());
            Self::of(format!("{}[{name}]", self.key_path(key)), self.file.clone(), item, &self.mistakes)
        });
        tables.collect()
    }

    /// Every remaining key with its text, for tables whose keys are the operator's own.
    pub fn all_texts(&mut self) -> Vec<(String, String)> {
        let entries = std::mem::take(&mut self.entries);
        let mut pairs = Vec::new();
        for (key, value) in entries {
            match value.kind {
                ValueKind::String(text) => pairs.push((key, text)),
                _ => self.note(Some(&key), &self.file, "must be a text in quotes"),
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
        let path = self.key_path(key);
        self.mistakes.borrow().iter().any(|mistake| mistake.key == path)
    }

    /// Notes a mistake at one of this table's keys.
    pub fn mistake(&self, key: &str, message: &str) {
        self.note(Some(key), &self.file, message);
    }

    /// Notes every key that nobody has read.
    pub fn finish(self) {
        for (key, value) in &self.entries {
            let file = value.origin().unwrap_or(&self.file);
            let known = self.asked.join(", ");
            self.note(Some(key), file, &format!("is not a known key here; known are: {known}"));
        }
    }

    /// All mistakes noted so far, in this table and every other of the document.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        self.mistakes.borrow().clone()
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.asked.push(key);
        self.entries.remove(key).filter(|value| !matches!(value.kind, ValueKind::Nil))
    }

    fn wrong<T>(&self, key: &str, value: &Value, message: &str) -> Option<T> {
        let file = value.origin().unwrap_or(&self.file);
        self.note(Some(key), file, message);
        None
    }

    fn note(&self, key: Option<&str>, file: &str, message: &str) {
        let key = key.map_or_else(|| self.path.clone(), |key| self.key_path(key));
        let mistake = Mistake { file: file.to_owned(), key, message: message.to_owned() };
        let mut mistakes = self.mistakes.borrow_mut();
        if !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

const LONGEST_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);
