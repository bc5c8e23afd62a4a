//! Cookies: what a browser would hold between two steps, and which of them are the application's.

use crate::config::Section;
use crate::domain::is_token;
use crate::wire::Answer;

/// The name of a cookie, or the beginning of several: `sid`, `_h*`.
#[derive(Clone, Debug)]
pub(super) struct CookieName {
    text: String,
    /// Whether more may follow.
    is_beginning: bool,
    /// As applications may fold it.
    folded: Vec<u8>,
}

impl CookieName {
    /// Reads a list of names.
    pub fn read(section: &mut Section, key: &'static str) -> Vec<Self> {
        let mut names = Vec::new();
        for (index, text) in section.texts(key).unwrap_or_default().iter().enumerate() {
            match Self::parse(text) {
                Some(name) => names.push(name),
                None => section.mistake(
                    &format!("{key}[{}]", index + 1),
                    "must be a cookie's name, such as \"sid\", or the beginning of several, such as \"sid_*\"",
                ),
            }
        }
        names
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, is_beginning) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        let plain = |byte: u8| is_token(byte) && byte != b'*';
        let folded = name.bytes().map(folded).collect();
        (!name.is_empty() && name.bytes().all(plain)).then(|| Self { text: name.to_owned(), is_beginning, folded })
    }

    /// Whether a cookie that the application set is this one.
    pub fn is(&self, name: &str) -> bool {
        if self.is_beginning { name.starts_with(&self.text) } else { name == self.text }
    }

    /// Whether some application might take a browser's cookie for this one. How it reads names is not
    /// known, so it counts what PHP and others do: decoding, cutting blanks, taking `.`, blank and `[`
    /// for `_`, arrays, and any case.
    pub fn may_be(&self, name: &[u8]) -> bool {
        let decoded = percent_encoding::percent_decode(name).map(|byte| if byte == b'+' { b' ' } else { byte });
        let mut rest = decoded.skip_while(u8::is_ascii_whitespace);
        if !self.folded.iter().all(|own| rest.next().is_some_and(|byte| folded(byte) == *own)) {
            return false;
        }
        self.is_beginning || matches!(rest.next(), None | Some(0 | b' ' | b'\t' | b'['))
    }
}

impl std::fmt::Display for CookieName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}{}", self.text, if self.is_beginning { "*" } else { "" })
    }
}

fn folded(byte: u8) -> u8 {
    if b". [".contains(&byte) { b'_' } else { byte.to_ascii_lowercase() }
}

/// The cookies of one person at one application.
#[derive(Default)]
pub(super) struct Jar {
    held: Vec<(String, String)>,
}

impl Jar {
    /// From how they stand in a header.
    pub fn of(header: &str) -> Self {
        let pairs = header.split("; ").filter_map(|pair| pair.split_once('='));
        Self { held: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
    }

    /// Does what an answer says, in its order.
    pub fn obey(&mut self, answer: &Answer) {
        for cookie in answer.set_cookies() {
            self.held.retain(|(name, _)| *name != cookie.name);
            if !cookie.deletes && !cookie.value.is_empty() {
                self.held.push((cookie.name, cookie.value));
            }
        }
    }

    /// As they stand in a header.
    pub fn header(&self) -> String {
        let pairs: Vec<String> = self.held.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    /// Those of this name.
    pub fn named<'a>(&'a self, name: &'a CookieName) -> impl Iterator<Item = &'a (String, String)> {
        self.held.iter().filter(|(held, _)| name.is(held))
    }
}
