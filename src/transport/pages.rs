use std::sync::Arc;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use url::Url;

use super::origin::{own_origin, provenance};
use super::question::Forwarded;
use super::set_cookie::SetCookie;
use super::{Live, State, answer, enter, get_or_head, html, nothing_here, question, services, touch};
use crate::domain::{Reach, Reason, escape};
use crate::handover::{Provenance, SignOutBy, SignOutRequest, Unreachable};
use crate::pages::{Language, Message, STYLE, policy_leading_to};

/// The pages for people, under `/.keyward/`.
pub(super) fn configure(service: &mut web::ServiceConfig, state: &Arc<State>) {
    services::configure(service, Reach::Browsers);
    service.app_data(web::Data::from(Arc::clone(state))).service(
        web::scope("/.keyward")
            .route("/enter/{backend}", web::route().to(enter::enter))
            .route("/touch", web::route().to(touch::touch))
            .route("/logout", web::route().to(logout))
            .route("/whoami", get_or_head().to(whoami))
            .route("/style.css", get_or_head().to(style))
            .route("/theme.css", get_or_head().to(theme)),
    );
}

async fn style() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "public, max-age=3600"))
        .content_type("text/css; charset=utf-8")
        .body(STYLE)
}

async fn theme(state: web::Data<State>) -> HttpResponse {
    let live = state.live.load_full();
    let Some(theme) = live.pages.theme() else { return nothing_here().await };
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "public, max-age=60"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("text/css; charset=utf-8")
        .body(theme.to_owned())
}

async fn whoami(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let live = state.live.load_full();
    let cookies = question::cookies(request.headers());
    let browser = Forwarded::by(request.head(), &live.trust);
    let mut response = match live.self_service.whoami(&cookies, &browser).await {
        Ok(Some(person)) => HttpResponse::Ok().json(person),
        Ok(None) => answer::refuse(StatusCode::UNAUTHORIZED, Reason::NoSession, None, None),
        Err(Unreachable { retry_after }) => answer::unavailable(Reason::PortalUnavailable, retry_after, None),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn logout(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return HttpResponse::MethodNotAllowed()
            .insert_header((header::ALLOW, "GET, POST"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .finish();
    }
    let arrival = SignOutRequest::now(SignOutBy::Browser, question::request_id(request.headers()));
    let live = state.live.load_full();
    let asked = return_parameter(request.query_string());
    if provenance(&request, &live) == Provenance::Foreign {
        return ask_first(asked.as_deref(), html::language_of(&request, &live), &live);
    }
    let cookies = question::cookies(request.headers());
    let own = own_origin(&request, &live).unwrap_or_default();
    let return_to = asked.as_deref().and_then(|asked| live.self_service.return_address(asked));
    let farewell = match live.self_service.sign_out(&cookies, &arrival, &own, return_to).await {
        Ok(farewell) => farewell,
        // The browser keeps its cookies, or nobody could sign out with them later.
        Err(Unreachable { retry_after }) => {
            let language = html::language_of(&request, &live);
            return answer::unavailable(Reason::PortalUnavailable, retry_after, Some(language));
        }
    };
    let onward = farewell.as_deref().or(return_to.map(Url::as_str));
    let mut response = signed_out(onward, html::language_of(&request, &live));
    let is_secure = own.starts_with("https://");
    for name in live.self_service.cookies_of_ours(&cookies) {
        enter::append(&mut response, &SetCookie::gone(name, None, is_secure || name.starts_with("__")));
    }
    if let Ok(origin) = Url::parse(&own) {
        for gone in live.reception.cookies_given(&origin, &cookies) {
            let gone = SetCookie::gone(&gone.name, gone.domain.as_deref(), origin.scheme() == "https");
            enter::append(&mut response, &gone);
        }
    }
    response
}

fn signed_out(onward: Option<&str>, language: &Language) -> HttpResponse {
    match onward {
        Some(address) => HttpResponse::SeeOther()
            .insert_header((header::LOCATION, address))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .finish(),
        None => html::page(
            &mut HttpResponse::Ok(),
            language,
            Message::SignedOut,
            &language.paragraph(Message::SignedOutAdvice, &[]),
        ),
    }
}

/// Asks the person, since another site's page may have sent them here. The form posts to the same
/// address, which makes it a request of our own.
fn ask_first(asked: Option<&str>, language: &Language, live: &Live) -> HttpResponse {
    let query = asked.map_or_else(String::new, |asked| {
        let mut query = url::form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
        query.append_pair(RETURN_PARAMETER, asked).finish()
    });
    let body = format!(
        "{}\n<form method=\"post\" action=\"/.keyward/logout{}\"><button>{}</button></form>",
        language.paragraph(Message::SignOutAdvice, &[]),
        escape(&query),
        language.html(Message::SignOut, &[]),
    );
    let mut page = html::page(&mut HttpResponse::Ok(), language, Message::SignOutQuestion, &body);
    // Where browsers send no Sec-Fetch-Site (plain http, old ones) only the Origin tells that the form
    // is ours, and under `no-referrer` that would be "null". The address of this page is no secret.
    page.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    let back = asked.and_then(|asked| live.self_service.return_address(asked));
    let mut onward: Vec<String> = live.self_service.farewell_origins().collect();
    onward.extend(back.map(|back| back.origin().ascii_serialization()));
    if !onward.is_empty()
        && let Ok(policy) = HeaderValue::try_from(policy_leading_to(&onward.join(" ")))
    {
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    page
}

const RETURN_PARAMETER: &str = "post_logout_redirect_uri";

/// The address asked for, if it was asked for once.
fn return_parameter(query: &str) -> Option<String> {
    let mut asked = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == RETURN_PARAMETER);
    let address = asked.next()?.1.into_owned();
    asked.next().is_none().then_some(address)
}
