//! `/.keyward/enter/<backend>`: the hand-over, for browsers that follow links and redirects (GET) and for
//! scripts of portal pages (POST, JSON).

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::headers::Headers;
use super::origin::{Caller, is_fetched_ahead, is_preflight, keep_private, navigates, own_origin};
use super::question::Forwarded;
use super::set_cookie::{Scope, SetCookie};
use super::{Live, State, answer, body, html, question};
use crate::domain::{Cookies, ExposeSecret, RETURN_PARAMETER, Reason, Ruling, WayIn, escape};
use crate::handover::{Arrival, Given, LIFETIME, Step, Visit};
use crate::pages::{Language, Message};

/// Longest body of a call, in bytes.
const LONGEST_BODY: usize = 16 * 1024;

pub(super) async fn enter(
    request: HttpRequest,
    state: web::Data<State>,
    backend: web::Path<String>,
    body: web::Payload,
) -> HttpResponse {
    let live = state.live.load_full();
    let (backend, headers) = (backend.into_inner(), request.headers());
    let Some(own) = own_origin(&request, &live).and_then(|own| Url::parse(&own).ok()) else {
        return private(refuse(Reason::BadRequest, None));
    };
    let door = Door { request: &request, live: &live, backend: &backend, own: &own };
    match *request.method() {
        Method::GET => private(door.open_to_browser().await),
        Method::POST | Method::OPTIONS => {
            let caller = Caller::of(headers, &own.origin().ascii_serialization(), |origin| {
                live.reception.lists_for(&backend, origin)
            });
            let Some(caller) = caller else { return private(refuse(Reason::BadRequest, None)) };
            let mut response = match *request.method() {
                Method::POST => door.open_to_script(caller, body).await,
                _ if is_preflight(&request) => Caller::preflight("POST"),
                _ => wrong_method(),
            };
            caller.admit(&mut response);
            private(response)
        }
        _ => private(wrong_method()),
    }
}

fn wrong_method() -> HttpResponse {
    HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, "GET, POST")).finish()
}

fn private(mut response: HttpResponse) -> HttpResponse {
    keep_private(&mut response);
    response
}

/// One request, with what it takes to answer it.
struct Door<'a> {
    request: &'a HttpRequest,
    live: &'a Live,
    backend: &'a str,
    own: &'a Url,
}

/// The parameters in an address, each at most once.
#[derive(Default)]
struct Parameters {
    from: Option<String>,
    state: Option<String>,
    at: Option<String>,
    token: Option<String>,
    then: Option<String>,
    return_to: Option<String>,
}

/// What a script sends.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    state: Option<String>,
    token: Option<String>,
    return_to: Option<String>,
}

impl Parameters {
    fn read(query: &str) -> Option<Self> {
        let mut read = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "from" => &mut read.from,
                "state" => &mut read.state,
                "at" => &mut read.at,
                "token" => &mut read.token,
                "then" => &mut read.then,
                RETURN_PARAMETER => &mut read.return_to,
                // A portal may count its links.
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        Some(read)
    }

    fn step<'a>(&'a self, state: Option<&'a str>) -> Option<Step<'a>> {
        match (self.from.as_deref(), self.state.as_deref(), self.token.as_deref(), self.then.as_deref()) {
            (None, None, None, None) => Some(Step::Start),
            (Some(from), None, None, None) => Some(Step::Greet(from)),
            (None, Some(mark), None, None) => Some(Step::Mint { mark, at: self.at.as_deref() }),
            (None, None, Some(token), None) => Some(Step::Redeem { token, state }),
            (None, None, None, Some("open")) => Some(Step::Open),
            _ => None,
        }
    }
}

impl Asked {
    /// Pages of ours start and have tokens made; those of others are greeted and redeem.
    fn step<'a>(&'a self, caller: Caller<'a>, state: Option<&'a str>) -> Option<Step<'a>> {
        match (caller, self.state.as_deref(), self.token.as_deref()) {
            (Caller::Own, None, None) => Some(Step::Start),
            (Caller::Own, Some(mark), None) => Some(Step::Mint { mark, at: None }),
            (Caller::Listed(origin), None, None) => Some(Step::Greet(origin)),
            (_, None, Some(token)) => Some(Step::Redeem { token, state }),
            _ => None,
        }
    }
}

impl Door<'_> {
    async fn open_to_browser(&self) -> HttpResponse {
        let headers = self.request.headers();
        let is_page = question::audience("GET", headers).is_person();
        let foreign = !navigates(headers) && Caller::of(headers, &self.origin(), |_| false).is_none();
        let read = Parameters::read(self.request.query_string());
        let cookies = question::cookies(headers);
        let step = read.as_ref().and_then(|read| read.step(self.state_among(&cookies)));
        let (Some(read), Some(step), false) = (&read, step, foreign || is_fetched_ahead(headers)) else {
            return refuse(Reason::BadRequest, is_page.then(|| self.language()));
        };
        let arrival = self.arrive(step, read.return_to.as_deref(), &cookies).await;
        self.tell_browser(arrival, is_page).await
    }

    async fn open_to_script(&self, caller: Caller<'_>, payload: web::Payload) -> HttpResponse {
        let headers = self.request.headers();
        // A form cannot send it, so a browser asks first whether another origin's page may.
        if headers.only("content-type").is_none_or(|kind| !is_json(kind)) {
            return HttpResponse::UnsupportedMediaType().finish();
        }
        let asked = match body::read(payload, LONGEST_BODY).await {
            Ok(body) if body.is_empty() => Some(Asked::default()),
            Ok(body) => serde_json::from_slice(&body).ok(),
            Err(error) => return HttpResponse::build(error.status()).finish(),
        };
        let cookies = question::cookies(headers);
        let step = asked.as_ref().and_then(|asked| asked.step(caller, self.state_among(&cookies)));
        let (Some(asked), Some(step)) = (&asked, step) else { return refuse(Reason::BadRequest, None) };
        let arrival = self.arrive(step, asked.return_to.as_deref(), &cookies).await;
        self.tell_script(arrival, caller).await
    }

    async fn arrive(&self, step: Step<'_>, return_to: Option<&str>, cookies: &Cookies<'_>) -> Arrival {
        let browser = &Forwarded::by(self.request.head(), &self.live.trust);
        let visit = Visit { backend: self.backend, origin: self.own, cookies, browser, return_to, step };
        self.live.reception.arrive(&visit).await
    }

    async fn tell_browser(&self, arrival: Arrival, is_page: bool) -> HttpResponse {
        let scope = Scope { secure: self.is_secure(), across_sites: false };
        match arrival {
            Arrival::Inside { cookies, location } => {
                let mut response = see_other(&location);
                self.give(&mut response, &cookies, scope);
                response
            }
            Arrival::Onward(onward) | Arrival::Across { onward, .. } => see_other(&onward),
            Arrival::Greeted { state, onward, .. } => {
                let mut response = see_other(&onward);
                self.remember(&mut response, state.expose_secret(), scope);
                response
            }
            Arrival::Token { token, at } => see_other(&at.with(&[("token", token.expose_secret())])),
            Arrival::SignIn { login, .. } if is_page => see_other(&login),
            Arrival::Stranger { again } if is_page => {
                let language = self.language();
                let advice = language.paragraph(Message::OnceMoreAdvice, &[]);
                let (again, link) = (escape(&again), language.html(Message::OnceMoreLink, &[]));
                let body = format!("{advice}\n<p><a href=\"{again}\">{link}</a></p>");
                html::page(&mut HttpResponse::Forbidden(), language, Message::OnceMore, &body)
            }
            other => self.tell_no(other, is_page).await,
        }
    }

    async fn tell_script(&self, arrival: Arrival, caller: Caller<'_>) -> HttpResponse {
        let across_sites = caller.is_of_another_site(self.request.headers());
        let scope = Scope { secure: self.is_secure(), across_sites };
        match (arrival, caller) {
            (Arrival::Inside { cookies, location }, _) => {
                let mut response = says(StatusCode::OK, &json!({"url": location}));
                self.give(&mut response, &cookies, scope);
                response
            }
            (Arrival::Across { at: Some(at), .. }, _) => says(StatusCode::OK, &json!({"at": at.address})),
            (Arrival::Onward(onward) | Arrival::Across { onward, .. }, _) => {
                says(StatusCode::OK, &json!({"url": onward}))
            }
            (Arrival::Greeted { state, mark, onward }, caller) => {
                let to = if caller == Caller::Own { json!({"url": onward}) } else { json!({"state": mark}) };
                let mut response = says(StatusCode::OK, &to);
                self.remember(&mut response, state.expose_secret(), scope);
                response
            }
            (Arrival::Token { token, .. }, _) => says(StatusCode::OK, &json!({"token": token.expose_secret()})),
            // Most likely the browser keeps no cookies for a page of another site; redirects do without.
            (Arrival::Stranger { .. }, Caller::Listed(origin)) => {
                let url = WayIn::at(origin, self.backend).address;
                says(StatusCode::CONFLICT, &json!({"reason": Reason::BadRequest.as_str(), "url": url}))
            }
            (other, _) => self.tell_no(other, false).await,
        }
    }

    /// What pages and scripts are told alike.
    async fn tell_no(&self, arrival: Arrival, is_page: bool) -> HttpResponse {
        match arrival {
            Arrival::SignIn { reason, login } => answer::refuse(StatusCode::UNAUTHORIZED, reason, None, Some(&login)),
            Arrival::Refused(no) => {
                let mut response = refuse(no.reason, is_page.then(|| self.language()));
                if response.status() == StatusCode::SERVICE_UNAVAILABLE {
                    let seconds = HeaderValue::from(no.retry_after.as_secs().max(1));
                    response.headers_mut().insert(header::RETRY_AFTER, seconds);
                }
                response
            }
            Arrival::Unknown => html::no_application(self.language()),
            _ => refuse(Reason::BadRequest, is_page.then(|| self.language())),
        }
    }

    fn give(&self, response: &mut HttpResponse, cookies: &[Given], scope: Scope) {
        for given in cookies {
            let (value, domain) = (given.value.expose_secret(), given.domain.as_deref());
            append(response, &SetCookie { name: &given.name, value, domain, lives: None, scope });
        }
        let name = self.state_name();
        if !question::cookies(self.request.headers()).values(name).is_empty() {
            // It has served.
            append(response, &SetCookie { scope, ..SetCookie::gone(name, None, scope.secure) });
        }
    }

    fn remember(&self, response: &mut HttpResponse, state: &str, scope: Scope) {
        let name = self.state_name();
        append(response, &SetCookie { name, value: state, domain: None, lives: Some(LIFETIME), scope });
    }

    /// The prefix keeps neighbours from planting one: browsers take it from this host alone.
    fn state_name(&self) -> &'static str {
        if self.is_secure() { "__Host-keyward_state" } else { "keyward_state" }
    }

    /// The browser's state, if it shows exactly one.
    fn state_among<'c>(&self, cookies: &Cookies<'c>) -> Option<&'c str> {
        match cookies.values(self.state_name()).as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    fn language(&self) -> &Language {
        html::language_of(self.request, self.live)
    }

    fn is_secure(&self) -> bool {
        self.own.scheme() == "https"
    }

    fn origin(&self) -> String {
        self.own.origin().ascii_serialization()
    }
}

pub(super) fn append(response: &mut HttpResponse, cookie: &SetCookie<'_>) {
    // Values were checked where they came in; one that could break out of its header is left out.
    if let Ok(line) = HeaderValue::from_str(&cookie.to_string()) {
        response.headers_mut().append(header::SET_COOKIE, line);
    }
}

fn is_json(kind: &str) -> bool {
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn see_other(location: &str) -> HttpResponse {
    match HeaderValue::from_str(location) {
        Ok(location) => HttpResponse::SeeOther().insert_header((header::LOCATION, location)).finish(),
        Err(_) => refuse(Reason::BadRequest, None),
    }
}

fn says(status: StatusCode, body: &serde_json::Value) -> HttpResponse {
    HttpResponse::build(status).content_type("application/json").body(body.to_string())
}

/// The same page, or the same JSON, that a decision would give.
fn refuse(reason: Reason, page: Option<&Language>) -> HttpResponse {
    let status = match reason.rulings() {
        [Ruling::Unavailable] => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    };
    answer::refuse(status, reason, page, None)
}
