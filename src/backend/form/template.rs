//! Texts with places for values in them: `{login}`, `{password}`, and what was taken from an answer.

use percent_encoding::utf8_percent_encode;

use crate::domain::Outage;
use crate::wire::FORM;

/// A text with placeholders.
#[derive(Debug, Default)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    /// A placeholder's name.
    Value(String),
}

/// When a template is filled in, which decides what it may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before anybody has signed in.
    Prefetch,
    /// With the password.
    Submit,
    /// Once, with what the login's answer gave.
    Keys,
    /// Again and again, as long as the session lives: what it needs must be kept.
    Session,
}

/// The placeholders that there are, and which of them are used.
#[derive(Default)]
pub(super) struct Scope {
    taken: Vec<String>,
    used: Vec<(String, Phase)>,
}

impl Scope {
    /// Makes a taken value known, unless there is one of this name.
    pub fn take(&mut self, name: &str) -> bool {
        let new = !self.taken.iter().any(|taken| taken == name) && !["login", "password"].contains(&name);
        self.taken.push(name.to_owned());
        new
    }

    pub fn is_used(&self, name: &str) -> bool {
        self.used.iter().any(|(used, _)| used == name)
    }

    /// Whether the name is used before or while the person is signed in.
    pub fn is_sent(&self, name: &str) -> bool {
        self.used.iter().any(|(used, phase)| used == name && matches!(phase, Phase::Prefetch | Phase::Submit))
    }

    /// What must be kept as long as the session lives.
    pub fn kept(&self) -> Vec<String> {
        let mut kept: Vec<String> = Vec::new();
        for (name, phase) in &self.used {
            if *phase == Phase::Session && !kept.contains(name) {
                kept.push(name.clone());
            }
        }
        kept
    }

    fn known(&self, phase: Phase) -> Vec<&str> {
        let mut known = vec!["login"];
        if phase == Phase::Submit {
            known.push("password");
        }
        known.extend(self.taken.iter().map(String::as_str));
        known
    }
}

/// Why a text is no template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("has a brace without its partner; write {{{{ or }}}} for one that is meant as it is")]
    Brace,
    #[error("{{{name}}} is not known here; known are {known}")]
    Unknown { name: String, known: String },
}

impl Template {
    /// Reads a template that is filled in then.
    pub fn parse(text: &str, phase: Phase, scope: &mut Scope) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let from_brace = &rest[at..];
            if let Some(doubled) = ["{{", "}}"].into_iter().find(|doubled| from_brace.starts_with(doubled)) {
                literal.push_str(&doubled[1..]);
                rest = &from_brace[2..];
                continue;
            }
            let inner = from_brace.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (name, after) = inner.ok_or(TemplateError::Brace)?;
            let known = scope.known(phase);
            if !known.contains(&name) {
                let known: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
                return Err(TemplateError::Unknown { name: name.to_owned(), known: known.join(", ") });
            }
            scope.used.push((name.to_owned(), phase));
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Value(name.to_owned()));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// Whether the password stands in it.
    pub fn holds_password(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Value(name) if name == "password"))
    }

    /// The text with the values as they are, for places that encode by themselves.
    pub fn fill(&self, values: &Values<'_>) -> Result<String, Outage> {
        self.render(values, |text, value| text.push_str(value))
    }

    /// The text as path and query, with the values percent-encoded.
    pub fn fill_path(&self, values: &Values<'_>) -> Result<String, Outage> {
        let path = self.render(values, |text, value| text.extend(utf8_percent_encode(value, FORM)))?;
        // A person named ".." would be a path of its own.
        if has_dot_segments(&path) {
            return Err(Outage::Protocol("a value cannot stand in a path as a segment of dots".to_owned()));
        }
        Ok(path)
    }

    fn render(&self, values: &Values<'_>, mut write: impl FnMut(&mut String, &str)) -> Result<String, Outage> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Value(name) => write(&mut text, values.get(name).ok_or_else(|| missing(name))?),
            }
        }
        Ok(text)
    }
}

fn missing(name: &str) -> Outage {
    Outage::Protocol(format!("{{{name}}} was not kept; the session is older than the configuration"))
}

/// Whether the path would be another one after its dots are resolved.
pub(super) fn has_dot_segments(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    path.split('/').any(|segment| segment == "." || segment == "..")
}

/// What stands for the placeholders.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub login: Option<&'a str>,
    pub password: Option<&'a str>,
    pub taken: &'a [(String, String)],
}

impl<'a> Values<'a> {
    pub fn get(&self, name: &str) -> Option<&'a str> {
        match name {
            "login" => self.login,
            "password" => self.password,
            _ => self.taken.iter().find(|(taken, _)| taken == name).map(|(_, value)| value.as_str()),
        }
    }
}
