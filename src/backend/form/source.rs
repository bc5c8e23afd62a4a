//! Where in an answer a value stands.

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{Token, Tokenizer};
use regex::Regex;
use serde_json::Value;

use super::pattern;
use crate::wire::{Answer, HeaderName};

/// Longest value that is taken, in bytes.
const LONGEST_VALUE: usize = 2048;
pub(super) const SOURCES: &str = "must say where the value stands: field:NAME, meta:NAME, cookie:NAME, json:/POINTER, \
                                  query:NAME, header:NAME or regex:PATTERN";

/// One place in an answer.
#[derive(Debug)]
pub(super) enum Source {
    /// The value of a form's field.
    Field(String),
    /// The content of a `meta` element.
    Meta(String),
    /// A cookie that the answer sets.
    Cookie(String),
    /// A member of a JSON body, by RFC 6901.
    Json(String),
    /// A parameter of the address that the answer redirects to.
    Query(String),
    /// A header.
    Header(HeaderName),
    /// The group of a regular expression over the body.
    Regex(Regex),
}

impl Source {
    /// Reads `kind:name`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once(':').ok_or(SOURCES)?;
        if name.is_empty() {
            return Err(SOURCES.to_owned());
        }
        let owned = || name.to_owned();
        match kind {
            "field" => Ok(Self::Field(owned())),
            "meta" => Ok(Self::Meta(owned())),
            "cookie" => Ok(Self::Cookie(owned())),
            "json" if name.starts_with('/') => Ok(Self::Json(owned())),
            "json" => Err("must be a JSON pointer, which begins with /, such as json:/session/token".to_owned()),
            "query" => Ok(Self::Query(owned())),
            "header" => name.parse().map(Self::Header).map_err(|_| "must be a header's name".to_owned()),
            "regex" => {
                let pattern = pattern(name)?;
                if pattern.captures_len() != 2 {
                    return Err("must have one group, in parentheses, around the value".to_owned());
                }
                Ok(Self::Regex(pattern))
            }
            _ => Err(SOURCES.to_owned()),
        }
    }

    /// The value there, if there is one that can be used: not empty, of a sane length, without
    /// control characters.
    pub fn take(&self, answer: &Answer) -> Option<String> {
        let value = match self {
            Self::Field(name) => attribute(&answer.text(), &["input", "button"], "name", name, "value"),
            Self::Meta(name) => attribute(&answer.text(), &["meta"], "name", name, "content"),
            Self::Cookie(name) => {
                answer.cookies_left().into_iter().find(|cookie| cookie.name == *name).map(|cookie| cookie.value)
            }
            Self::Json(pointer) => answer.json().as_ref().and_then(|json| json.pointer(pointer)).and_then(scalar),
            Self::Query(name) => answer.location().and_then(|location| location.query_value(name)),
            Self::Header(name) => answer.header(name).map(str::to_owned),
            Self::Regex(pattern) => {
                pattern.captures(&answer.text()).and_then(|found| Some(found.get(1)?.as_str().to_owned()))
            }
        };
        let usable = |value: &String| !value.is_empty() && value.len() <= LONGEST_VALUE;
        value.filter(usable).filter(|value| !value.chars().any(char::is_control))
    }
}

/// A JSON value as a text, if it is a single one.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) | Value::Null => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// One attribute of the first such element in which another attribute has this value. Comments and
/// scripts hold no elements, as in a browser.
fn attribute(html: &str, elements: &[&str], key: &str, expected: &str, wanted: &str) -> Option<String> {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    for token in Tokenizer::new_with_emitter(html, emitter) {
        let Ok(Token::StartTag(tag)) = token else { continue };
        let is = |attribute: &str, value: &[u8]| {
            tag.attributes.get(attribute.as_bytes()).is_some_and(|held| held.as_slice() == value)
        };
        if elements.iter().any(|element| element.as_bytes() == tag.name.as_slice()) && is(key, expected.as_bytes()) {
            let value = tag.attributes.get(wanted.as_bytes())?;
            return String::from_utf8(value.to_vec()).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_in_any_html() {
        let field = |html: &str| attribute(html, &["input", "button"], "name", "token", "value");
        for (html, value) in [
            ("<input type=\"hidden\" name=\"token\" value=\"a&amp;b\">", Some("a&b")),
            ("<INPUT VALUE='x' data-y=\"1>2\" NAME=token />", Some("x")),
            ("<!-- <input name=token value=old> --><input name=token value=new>", Some("new")),
            ("<script>'<input name=token value=old>'</script><input name=token value=new>", Some("new")),
            ("<input name=tokens value=x><meta name=token value=x>", None),
            ("<input name=token>", None),
            ("<input name=token value=", None),
            ("", None),
        ] {
            assert_eq!(field(html).as_deref(), value, "{html}");
        }
    }

    #[test]
    fn a_place_that_is_none_is_told_with_those_there_are() {
        for (text, told) in [
            ("_token", "field:NAME"),
            ("field:", "field:NAME"),
            ("input:_token", "field:NAME"),
            ("json:token", "begins with /"),
            ("regex:a(b", "does not compile"),
            ("regex:ab", "one group"),
            ("regex:(a)(b)", "one group"),
            ("header:a b", "a header's name"),
        ] {
            let error = Source::parse(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
