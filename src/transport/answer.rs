use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use smallvec::SmallVec;

use super::{Live, html};
use crate::decision::{Ask, Decision, Grant, MOST_SCRIPT_COOKIES, ScriptCookie};
use crate::domain::{Audience, Reason, Ruling};
use crate::pages::Language;

static NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
static UPSTREAM_COOKIE: HeaderName = HeaderName::from_static("x-upstream-cookie");
static UPSTREAM_URI: HeaderName = HeaderName::from_static("x-upstream-uri");
static UPSTREAM_AUTHORIZATION: HeaderName = HeaderName::from_static("x-upstream-authorization");
static SESSION_SECONDS: HeaderName = HeaderName::from_static("x-keyward-session-seconds");
static KEYWARD_REASON: HeaderName = HeaderName::from_static("x-keyward-reason");
static KEYWARD_LOGIN: HeaderName = HeaderName::from_static("x-keyward-login");

/// The same lines again, for web servers that lose all but one of those: as many as their examples take over.
static NUMBERED_SET_COOKIES: [HeaderName; MOST_SCRIPT_COOKIES] =
    [HeaderName::from_static("x-set-cookie-1"), HeaderName::from_static("x-set-cookie-2")];
/// The names of both headers, and their punctuation.
const SET_COOKIE_FRAMING: usize = 34;

/// What the status line, the punctuation of the headers and those that the framework adds take at most.
const FRAMING: usize = 256;

/// What the other headers of a redirect to a page's own address take at most.
const ELSEWHERE_FRAMING: usize = FRAMING + 128;

/// The names under which an allow carries what takes the place of a header of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// `X-Upstream-Cookie` and `X-Upstream-Authorization`: for web servers that are told what becomes of each.
    Upstream,
    /// The same, and the query once more by itself: for FastCGI.
    Variables,
    /// `Cookie` and `Authorization`: for those that copy a header of the answer under its own name only.
    Plain,
}

/// The answer to a decision, and what it was in the end: what does not fit is unavailable. `sign_in` is the
/// status that sends a page there, `names` are for an allow.
pub(super) fn render(
    decision: &Decision<'_>,
    ask: &Ask<'_>,
    live: &Live,
    sign_in: StatusCode,
    names: Names,
) -> (HttpResponse, Ruling, Reason) {
    let (ruling, reason) = (decision.ruling(), decision.reason());
    // Looked for only where a page is shown.
    let page = || ask.audience().is_person().then(|| live.pages.speaking(&ask.browser.client().accept_language));
    let response = match decision {
        Decision::Allow(grant) => match allow(grant, live, names) {
            Some(response) => response,
            None => {
                let response = refuse(StatusCode::SERVICE_UNAVAILABLE, too_large(live), page(), None);
                return (response, Ruling::Unavailable, Reason::AnswerTooLarge);
            }
        },
        Decision::Elsewhere { address } if address.len() + ELSEWHERE_FRAMING > live.answer_limit => {
            let response = refuse(StatusCode::SERVICE_UNAVAILABLE, too_large(live), page(), None);
            return (response, Ruling::Unavailable, Reason::AnswerTooLarge);
        }
        Decision::Elsewhere { address } => elsewhere(sign_in, address),
        Decision::SignIn { login, audience: Audience::Page, .. } => {
            let mut response = refuse(sign_in, reason, None, Some(login));
            insert_text(response.headers_mut(), header::LOCATION, login);
            response
        }
        Decision::SignIn { login, audience, challenges, .. } => {
            let mut response = match audience {
                Audience::Form => {
                    let language = live.pages.speaking(&ask.browser.client().accept_language);
                    html::form_not_sent(refusal(StatusCode::UNAUTHORIZED, reason), language, reason, login)
                }
                _ => refuse(StatusCode::UNAUTHORIZED, reason, None, Some(login)),
            };
            for challenge in challenges {
                if let Ok(challenge) = HeaderValue::from_str(challenge) {
                    response.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
                }
            }
            insert_text(response.headers_mut(), KEYWARD_LOGIN.clone(), login);
            response
        }
        Decision::Deny(_) => refuse(StatusCode::FORBIDDEN, reason, page(), None),
        Decision::Unavailable { retry_after, .. } => unavailable(reason, *retry_after, page()),
    };
    (response, ruling, reason)
}

/// Everything that goes upstream, each header always there; `None` where it would be too long.
fn allow(grant: &Grant<'_>, live: &Live, names: Names) -> Option<HttpResponse> {
    // All values in one piece of memory, shared by the headers. Seldom more than this, and allocators
    // have pieces below a kibibyte at hand.
    let mut text = Vec::with_capacity(768);
    let mut ends = [0; 8];
    let mut mark = |index: usize, text: &Vec<u8>| ends[index] = text.len();
    grant.write_cookies(&mut text);
    mark(0, &text);
    grant.write_target(&mut text);
    mark(1, &text);
    if let Some(identity) = grant.identity() {
        text.extend_from_slice(identity.user().as_bytes());
        mark(2, &text);
        text.extend_from_slice(identity.name().as_bytes());
        mark(3, &text);
        text.extend_from_slice(identity.email().as_bytes());
        mark(4, &text);
        grant.write_groups(&mut text);
        mark(5, &text);
    } else {
        (2..=5).for_each(|index| mark(index, &text));
    }
    text.extend_from_slice(grant.authorization().unwrap_or_default().as_bytes());
    mark(6, &text);
    let session = grant.session_header();
    text.extend_from_slice(session.map_or("", |(_, value)| value).as_bytes());
    mark(7, &text);

    let [user, name, email, groups] = &live.identity_headers;
    let session = session.map(|(name, _)| HeaderName::from_static(name));
    let (cookie, authorization) = match names {
        Names::Upstream | Names::Variables => (&UPSTREAM_COOKIE, &UPSTREAM_AUTHORIZATION),
        Names::Plain => (&header::COOKIE, &header::AUTHORIZATION),
    };
    let last = session.as_ref().unwrap_or(authorization);
    let repeated = if names == Names::Variables { ends[1] - ends[0] } else { 0 };
    // Under its plain name `Authorization` is always there: where the answer has none, Envoy leaves the client's own.
    let has_authorization = names == Names::Plain || grant.authorization().is_some();
    // Who has a session header takes `Authorization` as well.
    let count = if session.is_some() { 8 } else { 6 + usize::from(has_authorization) };
    let names = [cookie, &UPSTREAM_URI, user, name, email, groups, authorization, last];
    let names = &names[..count];
    let name_bytes: usize = names.iter().map(|name| name.as_str().len() + 4).sum();
    let lines: SmallVec<[String; 2]> = grant.script_cookies().map(script_cookie).collect();
    let line_bytes: usize = lines.iter().map(|line| 2 * line.len() + SET_COOKIE_FRAMING).sum();
    if text.len() + repeated + name_bytes + line_bytes + FRAMING > live.answer_limit {
        return None;
    }
    let mut response = HttpResponse::new(StatusCode::OK);
    let headers = response.headers_mut();
    headers.reserve(names.len() + 2);
    let text = Bytes::from(text);
    let mut start = 0;
    for (name, end) in names.iter().zip(ends) {
        // Identities, keys and cookies were checked where they came in; a byte that no header may
        // hold would be a defect, and then nothing may pass.
        let value = HeaderValue::from_maybe_shared(text.slice(start..end)).ok()?;
        headers.insert((*name).clone(), value);
        start = end;
    }
    headers.insert(header::CACHE_CONTROL, NO_STORE.clone());
    headers.insert(SESSION_SECONDS.clone(), HeaderValue::from(grant.session_seconds()));
    for (line, numbered) in lines.iter().zip(&NUMBERED_SET_COOKIES) {
        let value = HeaderValue::from_str(line).ok()?;
        headers.append(header::SET_COOKIE, value.clone());
        headers.insert(numbered.clone(), value);
    }
    Some(response)
}

/// Says what to do about an answer that no web server would take.
fn too_large(live: &Live) -> Reason {
    tracing::error!(
        limit = live.answer_limit,
        "an answer is longer than [limits] answer; raise it and the web server's header buffers with it"
    );
    Reason::AnswerTooLarge
}

/// Sends a page to the address with its owner's key in it. The only answer but an allow that holds a key: it is for
/// the browser, and for nobody whom the browser could tell of it.
fn elsewhere(status: StatusCode, address: &str) -> HttpResponse {
    let mut response = refusal(status, Reason::Ok).finish();
    let headers = response.headers_mut();
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    insert_text(headers, header::LOCATION, address);
    response
}

/// The line by which a browser gets a cookie for an application's scripts, which must be able to read it.
fn script_cookie((cookie, value, secure): (&ScriptCookie, &str, bool)) -> String {
    let ScriptCookie { name, path } = cookie;
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={value}; Path={path}; SameSite=Strict{secure}")
}

/// An answer that lets nothing through. It carries no key and no identity: most web servers hand
/// its headers to the browser.
/// `page` is the language of whoever looks at it as a page.
pub(super) fn refuse(status: StatusCode, reason: Reason, page: Option<&Language>, login: Option<&str>) -> HttpResponse {
    let mut builder = refusal(status, reason);
    if let (Some(language), None) = (page, login) {
        return html::refusal(&mut builder, language, status, reason);
    }
    let body = match login {
        Some(login) => serde_json::json!({"reason": reason.as_str(), "login": login}),
        None => serde_json::json!({"reason": reason.as_str()}),
    };
    builder.content_type("application/json").body(body.to_string())
}

/// An answer that says when to ask again.
pub(super) fn unavailable(reason: Reason, retry_after: Duration, page: Option<&Language>) -> HttpResponse {
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, reason, page, None);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
    response
}

fn refusal(status: StatusCode, reason: Reason) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(status);
    builder.insert_header((header::CACHE_CONTROL, NO_STORE.clone()));
    builder.insert_header((KEYWARD_REASON.clone(), HeaderValue::from_static(reason.as_str())));
    builder
}

/// A value that was made of printable ASCII; anything else is left out and the answer stays a no.
fn insert_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
