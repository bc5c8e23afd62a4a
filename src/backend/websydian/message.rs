//! The three spellings of one question and its answer: SOAP 1.1 document/literal, XML without an
//! envelope, and JSON. A message is answered in the spelling in which it came.
//!
//! The vendor fixes what is asked and answered (login and password; a valid flag and at most twenty
//! roles) and leaves the way to whoever writes the site's function, so the messages are ours.

use std::fmt::Write;
use std::time::Duration;

use quick_xml::escape::escape;
use serde::Deserialize;
use serde_json::json;

use super::xml::{self, Element, XmlError};
use crate::domain::{Reply, Secret};

/// Longest message, in bytes.
const LONGEST: usize = 16 * 1024;
/// The namespace of our elements.
const NAMESPACE: &str = "urn:sso:websydian";
/// SOAP 1.1, section 3.
const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const OPERATION: &str = "AuthorizeSession";
const WSDL: &str = include_str!("authorize.wsdl");

/// How a message is spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Soap,
    Xml,
    Json,
}

/// Who wants in, and the proof.
pub(super) struct Question {
    pub login: String,
    pub password: Secret,
}

/// Why there is no question in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// It cannot be read at all.
    #[error("{0}")]
    Xml(#[from] XmlError),
    /// More than 16 KiB.
    #[error("it is longer than 16 KiB")]
    TooLong,
    /// Not the object that is expected.
    #[error("expected a JSON object with the texts login and password, and nothing else")]
    Json,
    /// Not the element that is expected.
    #[error("expected AuthorizeSession with one Login and one Password, and nothing else")]
    Question,
    /// SOAP 1.1, section 4: a header, and a body with one element.
    #[error("expected an envelope with a body that holds AuthorizeSession of urn:sso:websydian")]
    Envelope,
    /// SOAP 1.1, section 4.1.2.
    #[error("only SOAP 1.1 is spoken here")]
    Version,
    /// SOAP 1.1, section 4.2.3.
    #[error("a header that must be understood is not")]
    Header,
}

/// Reads a message, and says how it is spelt, as far as it was understood.
pub(super) fn read(body: &[u8]) -> (Spelling, Result<Question, Malformed>) {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json = body.trim_ascii_start().starts_with(b"{");
    if body.len() > LONGEST {
        return (if json { Spelling::Json } else { Spelling::Xml }, Err(Malformed::TooLong));
    }
    if json {
        return (Spelling::Json, read_json(text));
    }
    if text.is_empty() && !body.is_empty() {
        return (Spelling::Xml, Err(XmlError::Encoding.into()));
    }
    match xml::read(text) {
        Ok(root) if root.name == "Envelope" => (Spelling::Soap, read_envelope(&root)),
        Ok(root) => (Spelling::Xml, read_question(&root)),
        Err(error) => (Spelling::Xml, Err(error.into())),
    }
}

fn read_json(text: &str) -> Result<Question, Malformed> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fields {
        login: String,
        password: String,
    }
    let fields: Fields = serde_json::from_str(text).map_err(|_| Malformed::Json)?;
    Ok(Question { login: fields.login, password: fields.password.into() })
}

fn read_envelope(envelope: &Element) -> Result<Question, Malformed> {
    if envelope.namespace != ENVELOPE {
        return Err(Malformed::Version);
    }
    let is = |element: &Element, name: &str| element.namespace == ENVELOPE && element.name == name;
    let body = match &envelope.children[..] {
        [body] if is(body, "Body") => body,
        [header, body] if is(header, "Header") && is(body, "Body") => {
            let must = |entry: &Element| entry.attribute(ENVELOPE, "mustUnderstand").is_some_and(|value| value != "0");
            if header.children.iter().any(must) {
                return Err(Malformed::Header);
            }
            body
        }
        _ => return Err(Malformed::Envelope),
    };
    match &body.children[..] {
        [question] if question.namespace == NAMESPACE => read_question(question),
        _ => Err(Malformed::Envelope),
    }
}

/// The elements may be in our namespace or in none: what a caller's library makes of "unqualified" is
/// its own matter, and nothing else could be meant.
fn read_question(question: &Element) -> Result<Question, Malformed> {
    let is = |element: &Element, name: &str| {
        (element.namespace == NAMESPACE || element.namespace.is_empty()) && element.name == name
    };
    let leaf = |element: &Element| element.children.is_empty();
    match &question.children[..] {
        [login, password]
            if is(question, OPERATION)
                && question.has_only_children()
                && is(login, "Login")
                && is(password, "Password")
                && leaf(login)
                && leaf(password) =>
        {
            Ok(Question { login: login.text.clone(), password: password.text.as_str().into() })
        }
        _ => Err(Malformed::Question),
    }
}

/// The answer: whether the session is to be that user's, and with which roles.
pub(super) fn answer(spelling: Spelling, roles: Option<&[String]>) -> Reply {
    let valid = if roles.is_some() { "Y" } else { "N" };
    let roles = roles.unwrap_or_default();
    match spelling {
        Spelling::Json => Reply::json(200, &json!({ "valid": valid == "Y", "roles": roles })),
        Spelling::Xml => {
            let roles = elements("Role", roles);
            document(200, &format!("<{OPERATION}Result valid=\"{valid}\">{roles}</{OPERATION}Result>"))
        }
        Spelling::Soap => {
            let (count, roles) = (roles.len(), elements("a:Role", roles));
            let body = format!("<a:Valid>{valid}</a:Valid><a:RoleCount>{count}</a:RoleCount>{roles}");
            let name = format!("a:{OPERATION}Response");
            envelope(200, &format!("<{name} xmlns:a=\"{NAMESPACE}\">{body}</{name}>"))
        }
    }
}

/// What somebody is told whose message is not one.
pub(super) fn fault(spelling: Spelling, malformed: Malformed) -> Reply {
    let status = if malformed == Malformed::TooLong { 413 } else { 400 };
    let code = match malformed {
        Malformed::Version => "VersionMismatch",
        Malformed::Header => "MustUnderstand",
        _ => "Client",
    };
    complaint(spelling, status, code, &malformed.to_string())
}

/// What somebody is told whose question cannot be answered now.
pub(super) fn unavailable(spelling: Spelling, retry_after: Duration) -> Reply {
    let reply = complaint(spelling, 503, "Server", "whether the ticket is good cannot be told now; nobody is refused");
    reply.header("retry-after", retry_after.as_secs().to_string())
}

fn complaint(spelling: Spelling, status: u16, code: &str, text: &str) -> Reply {
    match spelling {
        Spelling::Json => Reply::json(status, &json!({ "error": text })),
        Spelling::Xml => document(status, &format!("<Error>{}</Error>", escape(text))),
        Spelling::Soap => {
            let text = escape(text);
            // SOAP 1.1, section 6.2, knows no other status for a fault.
            let fault = format!("<faultcode>soap:{code}</faultcode><faultstring>{text}</faultstring>");
            envelope(500, &format!("<soap:Fault>{fault}</soap:Fault>"))
        }
    }
}

/// The service's description, to be reached at `address`.
pub(super) fn wsdl(address: &str) -> Reply {
    reply(200, WSDL.replace("{address}", &escape(address)))
}

fn elements(name: &str, texts: &[String]) -> String {
    let mut all = String::new();
    for text in texts {
        // Writing to a text does not fail.
        let _ = write!(all, "<{name}>{}</{name}>", escape(text));
    }
    all
}

fn envelope(status: u16, body: &str) -> Reply {
    let body = format!("<soap:Body>{body}</soap:Body>");
    document(status, &format!("<soap:Envelope xmlns:soap=\"{ENVELOPE}\">{body}</soap:Envelope>"))
}

fn document(status: u16, root: &str) -> Reply {
    reply(status, format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{root}"))
}

fn reply(status: u16, body: String) -> Reply {
    Reply { status, headers: vec![("content-type", "text/xml; charset=utf-8".to_owned())], body }
}
