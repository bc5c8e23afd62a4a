//! The few pages that people see: plain HTML without script, readable by everything.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};

use crate::domain::Reason;

/// The one stylesheet of our pages, at `/.keyward/style.css`.
pub(super) const STYLE: &str = include_str!("style.css");

const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

/// A page with a title and a body that is HTML already.
pub(super) fn page(builder: &mut HttpResponseBuilder, title: &str, body: &str) -> HttpResponse {
    builder
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("text/html; charset=utf-8")
        .body(format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
             <link rel=\"stylesheet\" href=\"/.keyward/style.css\">\n<main>\n<h1>{title}</h1>\n{body}\n</main>\n</html>\n",
        ))
}

/// The page that says no, or not now.
pub(super) fn refusal(builder: &mut HttpResponseBuilder, status: StatusCode, reason: Reason) -> HttpResponse {
    let (title, advice) = match reason {
        Reason::CredentialsRefused => (
            "The application did not accept your password",
            "Sign out at the portal and sign in again. If you changed your password a moment ago, that is all it takes.",
        ),
        _ if status == StatusCode::SERVICE_UNAVAILABLE => {
            ("One moment, please", "The application can not be reached right now. Try again in a few seconds.")
        }
        _ => ("You may not open this page", "If you think you should, ask whoever runs this service."),
    };
    let word = reason.as_str();
    page(builder, title, &format!("<p>{advice}</p>\n<p><small>Reason: <code>{word}</code></small></p>"))
}

/// Text made harmless inside HTML, attribute values included.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
