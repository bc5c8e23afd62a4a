//! The few pages that people see: plain HTML without script, readable by everything.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};

use crate::domain::Reason;

/// The one stylesheet of our pages, at `/.keyward/style.css`.
pub(super) const STYLE: &str = include_str!("style.css");

/// No script at all, and forms lead to ourselves.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

/// The policy for a page whose form is answered with a redirect to other origins, separated by blanks:
/// Chromium holds the whole chain against `form-action`, and would stop at its last step.
pub(super) fn policy_leading_to(origins: &str) -> String {
    format!("{CONTENT_SECURITY_POLICY} {origins}")
}

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
    let (title, advice) = words(reason);
    let next = match (status, reason) {
        (_, Reason::AnswerTooLarge) => "",
        (StatusCode::SERVICE_UNAVAILABLE, _) => TRY_AGAIN,
        _ => "<p><a href=\"/.keyward/logout\">Sign out</a></p>\n",
    };
    let word = reason.as_str();
    page(builder, title, &format!("<p>{advice}</p>\n{next}<p><small>Reason: <code>{word}</code></small></p>"))
}

/// The page at a link that leads to no application.
pub(super) fn no_application() -> HttpResponse {
    let advice = "<p>This address leads to no application, or not to one for this host. Go back to where you came from, \
                  and tell whoever runs this service which link led here.</p>";
    page(&mut HttpResponse::NotFound(), "There is nothing here", advice)
}

/// As the advice promises. Browsers take it in the body, too.
const TRY_AGAIN: &str = "<meta http-equiv=\"refresh\" content=\"5\">\n";

/// Title and advice for people. nginx shows pages of its own, with the same words from
/// `examples/nginx/keyward/http.conf`.
const fn words(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::CredentialsRefused => (
            "The application did not accept your password",
            "Sign out and in again. If you changed your password a moment ago, that is all it takes.",
        ),
        Reason::NoCredentials => {
            ("The application did not get your password", "Sign out and in again, so that it comes along.")
        }
        Reason::Role => (
            "You may not open this page",
            "Your account may not use this service. If you think it should, ask whoever runs it.",
        ),
        Reason::BackendUnavailable => (
            "One moment, please",
            "The application cannot be reached right now. You stay signed in, and this page tries again by itself.",
        ),
        Reason::PortalUnavailable => (
            "One moment, please",
            "The portal cannot be reached right now. You stay signed in, and this page tries again by itself.",
        ),
        Reason::Busy => (
            "One moment, please",
            "Many people are signing in right now. You stay signed in, and this page tries again by itself.",
        ),
        Reason::AnswerTooLarge => (
            "This request is too large",
            "Your browser sends more cookies to this site than fit. Delete them and sign in again.",
        ),
        // Which rule it was would help only somebody who feels their way along the routes.
        _ => ("You may not open this page", "If you think you should, ask whoever runs this service."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Ruling;

    const NGINX: &str = include_str!("../../examples/nginx/keyward/http.conf");

    /// What nginx's map of this name makes of a reason.
    fn mapped(map: &str, reason: Reason) -> String {
        let body = NGINX.split_once(&format!("map $keyward_reason {map} {{")).unwrap().1;
        let lines = body.split_once('}').unwrap().0.lines().map(str::trim);
        let pairs: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(' ')).collect();
        let of = |key: &str| pairs.iter().find(|(held, _)| *held == key).map(|(_, value)| *value);
        let value = of(reason.as_str()).or_else(|| of("default")).unwrap();
        value.trim().trim_matches([';', '"']).to_owned()
    }

    #[test]
    fn nginx_says_the_same_as_we_do_of_every_refusal() {
        for reason in Reason::ALL {
            let maps = match reason.rulings() {
                [Ruling::Deny] => ["$keyward_denied_title", "$keyward_denied_advice"],
                [Ruling::Unavailable] => ["$keyward_outage_title", "$keyward_outage_advice"],
                _ => continue,
            };
            let [title, advice] = maps.map(|map| mapped(map, reason));
            assert_eq!((title.as_str(), advice.as_str()), words(reason), "{}", reason.as_str());
        }
    }
}
