use std::borrow::Cow;
use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError};

/// An error as RFC 9457 has it: `application/problem+json`.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    /// What it is, always the same for the same trouble.
    title: &'static str,
    /// What to do about it. Never holds what was sent.
    detail: Cow<'static, str>,
}

impl Problem {
    pub(super) const UNAUTHORIZED: Self = Self::new(
        StatusCode::UNAUTHORIZED,
        "no known key",
        "send Authorization: Bearer with a key that [[api.key]] names",
    );
    pub(super) const NOT_FOUND: Self = Self::new(StatusCode::NOT_FOUND, "no such resource", "there is nothing here");

    pub(super) const fn new(status: StatusCode, title: &'static str, detail: &'static str) -> Self {
        Self { status, title, detail: Cow::Borrowed(detail) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.title, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"keyward\"")));
        }
        response.content_type("application/problem+json").body(body.to_string())
    }
}

impl Responder for Problem {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.error_response()
    }
}
