use std::borrow::Cow;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};

use crate::domain::Reason;

/// An error as RFC 9457 has it: `application/problem+json`. It never holds what was sent.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    /// What it is, always the same for the same trouble.
    title: &'static str,
    /// What to do about it.
    detail: Cow<'static, str>,
    /// The word for it that decisions use, where there is one.
    reason: Option<Reason>,
    /// When to ask again.
    retry_after: Option<Duration>,
    /// The methods that are known there, where another was asked with.
    allow: Option<String>,
    /// More fields: what became of a change wherever accounts are kept.
    changed: Option<serde_json::Value>,
}

impl Problem {
    pub(super) const UNAUTHORIZED: Self = Self::new(
        StatusCode::UNAUTHORIZED,
        "no known key",
        "send Authorization: Bearer with a key that [[api.key]] names",
    );
    pub(in crate::transport) const NOT_FOUND: Self =
        Self::new(StatusCode::NOT_FOUND, "no such resource", "there is nothing here");
    pub(super) const PATH: Self =
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no usable path", "the path must be UTF-8 where it is decoded");
    pub(super) const HEADER: Self =
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "a header twice", "send each header once");
    pub(super) const BODY: Self = Self::new(StatusCode::BAD_REQUEST, "no whole body", "the body broke off");
    pub(super) const SLOW: Self =
        Self::new(StatusCode::REQUEST_TIMEOUT, "no whole body", "the body must come within ten seconds");
    pub(super) const TOO_LARGE: Self =
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large", "a body may have 64 KiB");
    pub(super) const MEDIA_TYPE: Self = Self::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "no JSON",
        "send the body as Content-Type: application/json, in UTF-8",
    );

    pub(super) const fn new(status: StatusCode, title: &'static str, detail: &'static str) -> Self {
        let detail = Cow::Borrowed(detail);
        Self { status, title, detail, reason: None, retry_after: None, allow: None, changed: None }
    }

    /// The same, with other words about what to do.
    pub(super) fn because(self, detail: String) -> Self {
        Self { detail: Cow::Owned(detail), ..self }
    }

    /// The same, with the advice to ask again.
    pub(super) fn again_after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// The same, with the fields of this object: what became of a change wherever accounts are kept.
    pub(super) fn with_changes(self, changed: serde_json::Value) -> Self {
        Self { changed: Some(changed), ..self }
    }

    pub(super) fn method_not_allowed(allowed: &[&str]) -> Self {
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "no such method here", "Allow tells what can be asked");
        Self { allow: Some(allowed.join(", ")), ..problem }
    }

    /// Somebody was told no for this reason, in the words that decisions use.
    pub(super) fn refused(status: StatusCode, reason: Reason) -> Self {
        Self { reason: Some(reason), ..Self::new(status, reason.text(), advice(reason)) }
    }

    /// Nobody can tell at the moment.
    pub(super) fn unavailable(reason: Reason, retry_after: Duration) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, reason.text(), "ask again after Retry-After");
        Self { reason: Some(reason), ..problem.again_after(retry_after) }
    }

    pub(in crate::transport) fn into_response(self) -> HttpResponse {
        let mut body = serde_json::json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(reason) = self.reason {
            body["reason"] = reason.as_str().into();
        }
        if let Some(serde_json::Value::Object(changed)) = self.changed {
            for (name, value) in changed {
                body[name] = value;
            }
        }
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"keyward\"")));
        }
        if let Some(allow) = self.allow {
            response.insert_header((header::ALLOW, allow));
        }
        if let Some(retry_after) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, retry_after.as_secs().max(1)));
        }
        response.content_type("application/problem+json").body(body.to_string())
    }
}

/// What the portal's server can do where somebody was told no.
const fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::NoSession | Reason::Expired | Reason::Forged => {
            "register the session first, or send its living ticket in X-Keyward-Ticket"
        }
        Reason::Revoked => "sign the person in anew, under another session id",
        Reason::Role => "asking again does not help; see the roles of the [[route]]",
        Reason::CredentialsRefused => "tell the session anew, with the password that the application knows",
        Reason::NoCredentials => "tell the session anew, with its password",
        _ => "asking again does not help",
    }
}
