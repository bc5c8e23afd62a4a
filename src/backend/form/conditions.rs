//! What an answer must look like to mean something.

use regex::Regex;

use super::cookies::CookieName;
use super::{pattern, source};
use crate::config::Section;
use crate::wire::{Answer, HeaderName, Location};

/// Conditions that must all hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    /// `status`: one of these.
    status: Vec<u64>,
    /// `location`: path and query of a redirect to the same server.
    location: Option<Regex>,
    /// `headers`: a header's first value.
    headers: Vec<(HeaderName, Regex)>,
    /// `cookies`: each set by the answer itself, and not empty.
    cookies: Vec<CookieName>,
    /// `body`: each found.
    body: Vec<Regex>,
    /// `body_lacks`: none found.
    body_lacks: Vec<Regex>,
    /// `json`: single values, by JSON pointer.
    json: Vec<(String, Regex)>,
}

impl Conditions {
    /// Reads a table; one without any condition is a mistake, since everything would fit.
    pub fn read(section: &mut Section) -> Self {
        let conditions = Self {
            status: section.integers("status", 200..=499),
            location: section.text("location").and_then(|text| compiled(section, "location", &text)),
            headers: headers(section),
            cookies: CookieName::read(section, "cookies"),
            body: patterns(section, "body"),
            body_lacks: patterns(section, "body_lacks"),
            json: json(section),
        };
        if conditions.status.contains(&429) {
            section.mistake("status", "must not be 429, which is an outage whatever else the answer says");
        }
        conditions
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        let Self { status, location, headers, cookies, body, body_lacks, json } = self;
        let patterns = body.is_empty() && body_lacks.is_empty() && location.is_none();
        patterns && status.is_empty() && headers.is_empty() && cookies.is_empty() && json.is_empty()
    }

    /// Whether the status is all that is looked at.
    pub fn tell_by_status_alone(&self) -> bool {
        !self.status.is_empty() && Self { status: Vec::new(), ..self.clone() }.is_empty()
    }

    /// Whether all hold.
    pub fn hold(&self, answer: &Answer) -> bool {
        let status = self.status.is_empty() || self.status.contains(&u64::from(answer.status()));
        if !status {
            return false;
        }
        let location = self.location.as_ref().is_none_or(|pattern| match answer.location() {
            Some(Location::Here { path, query }) if query.is_empty() => pattern.is_match(&path),
            Some(Location::Here { path, query }) => pattern.is_match(&format!("{path}?{query}")),
            _ => false,
        });
        let has_header =
            |(name, pattern): &(HeaderName, Regex)| answer.header(name).is_some_and(|value| pattern.is_match(value));
        let set = answer.cookies_left();
        let is_set = |cookie: &CookieName| set.iter().any(|held| cookie.is(&held.name) && !held.value.is_empty());
        let text = answer.text();
        location
            && self.headers.iter().all(has_header)
            && self.cookies.iter().all(is_set)
            && self.body.iter().all(|pattern| pattern.is_match(&text))
            && !self.body_lacks.iter().any(|pattern| pattern.is_match(&text))
            && self.json_holds(answer)
    }

    fn json_holds(&self, answer: &Answer) -> bool {
        if self.json.is_empty() {
            return true;
        }
        let Some(json) = answer.json() else { return false };
        let holds = |(pointer, pattern): &(String, Regex)| {
            json.pointer(pointer).and_then(source::scalar).is_some_and(|value| pattern.is_match(&value))
        };
        self.json.iter().all(holds)
    }
}

fn compiled(section: &Section, key: &str, text: &str) -> Option<Regex> {
    pattern(text).map_err(|error| section.mistake(key, &error)).ok()
}

fn patterns(section: &mut Section, key: &'static str) -> Vec<Regex> {
    let texts = section.texts(key).unwrap_or_default();
    let compile = |(index, text): (usize, &String)| compiled(section, &format!("{key}[{}]", index + 1), text);
    texts.iter().enumerate().filter_map(compile).collect()
}

fn headers(section: &mut Section) -> Vec<(HeaderName, Regex)> {
    let mut table = section.section("headers");
    let mut headers = Vec::new();
    for (name, text) in table.all_texts() {
        match name.parse::<HeaderName>() {
            Ok(header) => headers.extend(compiled(&table, &name, &text).map(|pattern| (header, pattern))),
            Err(_) => table.mistake(&name, "must be a header's name"),
        }
    }
    headers
}

fn json(section: &mut Section) -> Vec<(String, Regex)> {
    let mut table = section.section("json");
    let mut members = Vec::new();
    for (pointer, text) in table.all_texts() {
        if pointer.starts_with('/') {
            members.extend(compiled(&table, &pointer, &text).map(|pattern| (pointer.clone(), pattern)));
        } else {
            table.mistake(&pointer, "must be a JSON pointer, which begins with /, such as \"/session/state\"");
        }
    }
    members
}
