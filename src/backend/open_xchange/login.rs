//! The two ways of logging in: what is sent, and what the answer says.

use serde_json::Value;

use super::codes;
use super::settings::{Action, Settings};
use crate::backend::{Outage, Refusal};
use crate::domain::{Client, ExposeSecret, Secret};
use crate::wire::{Answer, Request, form_encoded};

/// A session as the server describes it. All of it is text that needs no encoding; what the server does
/// not say is empty.
pub(super) struct Opened {
    pub session: String,
    pub user_id: String,
    pub context_id: String,
    pub locale: String,
}

/// How a login ended.
pub(super) enum Verdict {
    Opened(Opened),
    Refused(Refusal),
}

/// The request for a session. The password stands in the body, where alone the server takes it (read).
pub(super) fn request(settings: &Settings, login: &str, password: &Secret, client: &Client<'_>) -> Request {
    let auth_id = format!("{:032x}", rand::random::<u128>());
    let address = client.address.to_string();
    let password = password.expose_secret();
    let stay = settings.stay_signed_in.then_some(("staySignedIn", "true"));
    let about_us = [("client", settings.client.as_str()), ("version", settings.version.as_str())];
    let mut query = Vec::new();
    let mut body = Vec::new();
    match settings.action {
        Action::Login => {
            query.extend([("action", "login"), ("authId", auth_id.as_str())]);
            query.extend(about_us);
            query.extend(stay);
            body.extend([("name", login), ("password", password), ("clientIP", address.as_str())]);
        }
        Action::FormLogin => {
            query.extend([("action", "formlogin"), ("authId", auth_id.as_str())]);
            body.extend([("login", login), ("password", password), ("clientIP", address.as_str())]);
            body.extend(about_us);
            body.push(("uiWebPath", settings.ui_web_path.as_str()));
            body.extend(settings.autologin.then_some(("autologin", "true")));
            body.extend(stay);
        }
    }
    Request::post(format!("{}/login?{}", settings.api_path, form_encoded(&query))).form(&body)
}

/// Judges the answer to `login`.
pub(super) fn judge_json(answer: &Answer) -> Result<Verdict, Outage> {
    let json = answer.json().unwrap_or_default();
    if let Some(code) = codes::of(&json) {
        return codes::at_login(&code).map(Verdict::Refused);
    }
    if answer.status() != 200 {
        return Err(Outage::Protocol(format!("it answered a login with status {}; see `api_path`", answer.status())));
    }
    let value = |name: &str| match json.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    opened(value).ok_or_else(|| Outage::Protocol("it answered a login with neither a session nor an error".to_owned()))
}

/// Judges the answer to `formlogin`: a redirect with the session in its fragment, wherever it leads.
pub(super) fn judge_form(answer: &Answer, settings: &Settings) -> Result<Verdict, Outage> {
    if answer.redirects() {
        let fragment = answer.location_fragment().unwrap_or_default();
        let value = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(fragment.as_bytes());
            pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned())).unwrap_or_default()
        };
        return opened(value)
            .ok_or_else(|| Outage::Protocol("it sends a login elsewhere, without a session".to_owned()));
    }
    // Read: newer servers may answer with JSON where no template is set.
    if let Some(code) = answer.json().as_ref().and_then(codes::of) {
        return codes::at_login(&code).map(Verdict::Refused);
    }
    let page = answer.text();
    let says = |texts: &[String]| texts.iter().any(|text| page.contains(text.as_str()));
    if says(&settings.locked_texts) {
        return Err(Outage::Locked { retry_after: None });
    }
    if says(&settings.refused_texts) {
        return Ok(Verdict::Refused(Refusal::Credentials));
    }
    if let Some(code) = codes::within(&page) {
        return codes::at_login(code).map(Verdict::Refused);
    }
    let status = answer.status();
    Err(Outage::Protocol(format!(
        "it answered a login with status {status} and a page that says none of `refused_texts`; see `api_path`, too"
    )))
}

/// A session, if the fields name one. What is odd about the rest is left out: it is for the address of
/// the user interface only.
fn opened(value: impl Fn(&str) -> String) -> Option<Verdict> {
    let plain = |text: &String| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let short = |name: &str| Some(value(name)).filter(|text| text.len() <= 32 && plain(text)).unwrap_or_default();
    let session = value("session");
    if session.is_empty() || session.len() > 128 || !plain(&session) {
        return None;
    }
    let locale = Some(short("locale")).filter(|locale| !locale.is_empty()).unwrap_or_else(|| short("language"));
    Some(Verdict::Opened(Opened { session, user_id: short("user_id"), context_id: short("context_id"), locale }))
}
