//! One request, as it is configured.

use serde_json::Value;

use super::template::{Phase, Scope, Template, Values, has_dot_segments};
use crate::config::Section;
use crate::domain::Outage;
use crate::wire::{HeaderName, Method, Request, is_header_value};

/// Headers that are not the configuration's to set.
const NOT_SET: [&str; 5] = ["cookie", "host", "content-length", "transfer-encoding", "connection"];

/// One request.
pub(super) struct Exchange {
    method: Method,
    path: Template,
    headers: Vec<(HeaderName, Template)>,
    body: Body,
}

enum Body {
    None,
    Form(Vec<(String, Template)>),
    Json(Json),
}

/// JSON whose texts are templates, so that no value can leave its place.
enum Json {
    Fixed(Value),
    Text(Template),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Exchange {
    /// Reads `path` and `headers`: a request without a body.
    pub fn read_get(section: &mut Section, scope: &mut Scope) -> Self {
        let phase = Phase::Prefetch;
        let path = path(section, phase, scope);
        let headers = headers(section, phase, scope);
        Self { method: Method::GET, path, headers, body: Body::None }
    }

    /// Reads `method`, `path`, `headers`, `fields` and their `encoding`.
    pub fn read(section: &mut Section, phase: Phase, scope: &mut Scope) -> Self {
        let path = path(section, phase, scope);
        let headers = headers(section, phase, scope);
        let body = Body::read(section, phase, scope);
        let has_body = !matches!(body, Body::None);
        let methods = [("get", 0), ("post", 1), ("put", 2), ("delete", 3)];
        let method = section.choice("method", usize::from(has_body), &methods);
        if has_body && method == 0 {
            section.mistake("method", "cannot be \"get\" with fields; write them into path");
        }
        let method = [Method::GET, Method::POST, Method::PUT, Method::DELETE][method].clone();
        Self { method, path, headers, body }
    }

    /// The request with these values, and with the headers of a browser where it sets none of its own.
    pub fn request(&self, values: &Values<'_>, browser: &[(HeaderName, Vec<u8>)]) -> Result<Request, Outage> {
        let mut request = Request::new(self.method.clone(), self.path.fill_path(values)?);
        request = match &self.body {
            Body::None => request,
            Body::Form(fields) => {
                let mut filled = Vec::new();
                for (name, template) in fields {
                    filled.push((name.as_str(), template.fill(values)?));
                }
                let fields: Vec<(&str, &str)> = filled.iter().map(|(name, value)| (*name, value.as_str())).collect();
                request.form(&fields)
            }
            Body::Json(json) => request.json(&json.fill(values)?),
        };
        for (name, value) in browser {
            request = request.header(name, value);
        }
        for (name, template) in &self.headers {
            let value = template.fill(values)?;
            if !is_header_value(&value) {
                return Err(Outage::Protocol(format!("a value cannot stand in the header {name}")));
            }
            request = request.header(name, value.as_bytes());
        }
        Ok(request)
    }
}

impl Body {
    fn read(section: &mut Section, phase: Phase, scope: &mut Scope) -> Self {
        let is_json = section.choice("encoding", false, &[("form", false), ("json", true)]);
        let written = section.has("fields");
        let mut table = section.section("fields");
        let body = if is_json {
            let values = table.all_json().into_iter();
            let read = |(name, value): (String, Value)| {
                let json = Json::read(value, &mut |text| template(&table, &name, text, phase, scope));
                (name, json)
            };
            Self::Json(Json::Object(values.map(read).collect()))
        } else {
            let mut fields = Vec::new();
            for (name, text) in table.all_texts() {
                let template = template(&table, &name, &text, phase, scope);
                fields.push((name, template));
            }
            Self::Form(fields)
        };
        if written { body } else { Self::None }
    }
}

impl Json {
    fn read(value: Value, text: &mut impl FnMut(&str) -> Template) -> Self {
        match value {
            Value::String(template) => Self::Text(text(&template)),
            Value::Array(items) => Self::List(items.into_iter().map(|item| Self::read(item, text)).collect()),
            Value::Object(members) => {
                Self::Object(members.into_iter().map(|(name, value)| (name, Self::read(value, text))).collect())
            }
            fixed => Self::Fixed(fixed),
        }
    }

    fn fill(&self, values: &Values<'_>) -> Result<Value, Outage> {
        Ok(match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(template) => Value::String(template.fill(values)?),
            Self::List(items) => Value::Array(items.iter().map(|item| item.fill(values)).collect::<Result<_, _>>()?),
            Self::Object(members) => {
                let filled = members.iter().map(|(name, value)| Ok((name.clone(), value.fill(values)?)));
                Value::Object(filled.collect::<Result<_, Outage>>()?)
            }
        })
    }
}

/// Reads a template; what is wrong with it is noted at the key.
pub(super) fn template(section: &Section, key: &str, text: &str, phase: Phase, scope: &mut Scope) -> Template {
    match Template::parse(text, phase, scope) {
        Ok(template) => template,
        Err(error) => {
            section.mistake(key, &error.to_string());
            Template::default()
        }
    }
}

fn path(section: &mut Section, phase: Phase, scope: &mut Scope) -> Template {
    let text = section.required("path");
    let template = template(section, "path", &text, phase, scope);
    if template.holds_password() {
        section.warn("path", "has the password in it, and servers write addresses into their logs; see fields");
    }
    if !is_path(&text) {
        section.mistake("path", "must be a path such as \"/login?lang=en\", as it stands in an address");
    }
    template
}

/// Whether a text can stand in an address as path and query.
pub(super) fn is_path(text: &str) -> bool {
    let plain = |byte: u8| (0x21..0x7f).contains(&byte) && byte != b'#';
    text.starts_with('/') && !text.starts_with("//") && !has_dot_segments(text) && text.bytes().all(plain)
}

fn headers(section: &mut Section, phase: Phase, scope: &mut Scope) -> Vec<(HeaderName, Template)> {
    let mut table = section.section("headers");
    let mut headers = Vec::new();
    for (name, text) in table.all_texts() {
        match name.parse::<HeaderName>() {
            Ok(header) if NOT_SET.contains(&header.as_str()) => {
                table.mistake(&name, "is set by Keyward itself; leave it out");
            }
            Ok(header) => headers.push((header, template(&table, &name, &text, phase, scope))),
            Err(_) => table.mistake(&name, "must be a header's name"),
        }
    }
    headers
}
