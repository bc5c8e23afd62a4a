//! The few pages that people see: plain HTML without script, readable by everything.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

use super::Live;
use crate::domain::{Reason, escape};
use crate::pages::{CONTENT_SECURITY_POLICY, Language, Message};

/// The language of whoever sent a request.
pub(super) fn language_of<'a>(request: &HttpRequest, live: &'a Live) -> &'a Language {
    let asked = request.headers().get(header::ACCEPT_LANGUAGE);
    live.pages.speaking(asked.map_or(&[][..], |asked| asked.as_bytes()))
}

/// A page with a title and a body that is HTML already.
pub(super) fn page(builder: &mut HttpResponseBuilder, language: &Language, title: Message, body: &str) -> HttpResponse {
    builder
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("text/html; charset=utf-8")
        .body(language.page(title, body))
}

/// The page that says no, or not now.
pub(super) fn refusal(
    builder: &mut HttpResponseBuilder,
    language: &Language,
    status: StatusCode,
    reason: Reason,
) -> HttpResponse {
    let (title, advice) = words(reason);
    let next = match (status, reason) {
        (_, Reason::AnswerTooLarge) => String::new(),
        (StatusCode::SERVICE_UNAVAILABLE, _) => TRY_AGAIN.to_owned(),
        _ => format!("<p><a href=\"/.keyward/logout\">{}</a></p>\n", language.html(Message::SignOut, &[])),
    };
    let (advice, why) = (language.paragraph(advice, &[]), language.html(Message::Reason, &[]));
    let word = reason.as_str();
    page(builder, language, title, &format!("{advice}\n{next}<p><small>{why} <code>{word}</code></small></p>"))
}

/// The page in the place of the answer to a form, in the words of nginx. To be sent to sign in would lose what
/// stands in it.
pub(super) fn form_not_sent(
    mut builder: HttpResponseBuilder,
    language: &Language,
    reason: Reason,
    login: &str,
) -> HttpResponse {
    let (login, word) = (escape(login), reason.as_str());
    let (sign_in, why) = (language.html(Message::FormNotSentLink, &[]), language.html(Message::Reason, &[]));
    let advice = language.paragraph(Message::FormNotSentAdvice, &[]);
    // Without noopener the portal's page could put another address into the tab that waits here.
    let link = format!("<a href=\"{login}\" target=\"_blank\" rel=\"noopener noreferrer\">{sign_in}</a>");
    let body = format!("{advice}\n<p>{link}</p>\n<p><small>{why} <code>{word}</code></small></p>");
    page(&mut builder, language, Message::SignedOut, &body)
}

/// The page at a link that leads to no application.
pub(super) fn no_application(language: &Language) -> HttpResponse {
    let advice = language.paragraph(Message::NothingHereAdvice, &[]);
    page(&mut HttpResponse::NotFound(), language, Message::NothingHere, &advice)
}

/// As the advice promises. Browsers take it in the body, too.
const TRY_AGAIN: &str = "<meta http-equiv=\"refresh\" content=\"5\">\n";

/// Title and advice for people. nginx shows pages of its own, with the same words from
/// `examples/nginx/keyward/http.conf`.
const fn words(reason: Reason) -> (Message, Message) {
    match reason {
        Reason::CredentialsRefused => (Message::PasswordRefused, Message::PasswordRefusedAdvice),
        Reason::NoCredentials => (Message::NoPassword, Message::NoPasswordAdvice),
        Reason::Role => (Message::Denied, Message::RoleAdvice),
        Reason::BackendUnavailable => (Message::OneMoment, Message::ApplicationDown),
        Reason::PortalUnavailable => (Message::OneMoment, Message::PortalDown),
        Reason::Busy => (Message::OneMoment, Message::Busy),
        Reason::AnswerTooLarge => (Message::TooLarge, Message::TooLargeAdvice),
        // Which rule it was would help only somebody who feels their way along the routes.
        _ => (Message::Denied, Message::DeniedAdvice),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;

    use super::*;
    use crate::domain::Ruling;
    use crate::pages::Pages;

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
    fn nginx_says_the_same_as_we_do_to_somebody_whose_form_was_not_sent() {
        let pages = Pages::shipped();
        let english = pages.speaking(b"en");
        let ours = form_not_sent(HttpResponse::Unauthorized(), english, Reason::Expired, "$keyward_login");
        let ours = ours.into_body().try_into_bytes().ok().unwrap();
        let ours = String::from_utf8(ours.to_vec()).unwrap().replace("expired", "$keyward_reason");
        let written = format!("return 401 '{}'", ours.replace('\n', "\\n"));
        assert!(include_str!("../../examples/nginx/keyward/server.inc").contains(&written), "{written}");
    }

    #[test]
    fn nginx_says_the_same_as_we_do_of_every_refusal() {
        let pages = Pages::shipped();
        let english = pages.speaking(b"en");
        for reason in Reason::ALL {
            let maps = match reason.rulings() {
                [Ruling::Deny] => ["$keyward_denied_title", "$keyward_denied_advice"],
                [Ruling::Unavailable] => ["$keyward_outage_title", "$keyward_outage_advice"],
                _ => continue,
            };
            let [title, advice] = maps.map(|map| mapped(map, reason));
            let (said, advised) = words(reason);
            let ours = (english.text(said), english.text(advised));
            assert_eq!((title.as_str(), advice.as_str()), ours, "{}", reason.as_str());
        }
    }
}
