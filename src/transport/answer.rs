use std::borrow::Cow;
use std::iter;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use memchr::memchr;

use super::headers::odd_bytes;
use super::{Live, html};
use crate::decision::{Ask, Decision, Grant, MOST_SCRIPT_COOKIES, ScriptCookie};
use crate::domain::{Audience, Identity, Reason, Ruling};
use crate::pages::Language;

static NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
static KEYWARD_REASON: HeaderName = HeaderName::from_static("x-keyward-reason");
static KEYWARD_LOGIN: HeaderName = HeaderName::from_static("x-keyward-login");

const COOKIE: Label = Label::written("\r\ncookie: ");
const AUTHORIZATION: Label = Label::written("\r\nauthorization: ");
const UPSTREAM_COOKIE: Label = Label::written("\r\nx-upstream-cookie: ");
const UPSTREAM_AUTHORIZATION: Label = Label::written("\r\nx-upstream-authorization: ");
const UPSTREAM_URI: Label = Label::written("\r\nx-upstream-uri: ");
const CACHE_CONTROL: Label = Label::written("\r\ncache-control: ");
const SESSION_SECONDS: Label = Label::written("\r\nx-keyward-session-seconds: ");
const SET_COOKIE: Label = Label::written("\r\nset-cookie: ");
/// The same lines again, for web servers that lose all but one of those: as many as their examples take over.
const NUMBERED_SET_COOKIES: [Label; MOST_SCRIPT_COOKIES] =
    [Label::written("\r\nx-set-cookie-1: "), Label::written("\r\nx-set-cookie-2: ")];

/// What the status line and the headers that every answer has (`Content-Length`, `Date`) take at most.
const FRAMING: usize = 208;

/// What the other headers of a redirect to a page's own address take at most.
const ELSEWHERE_FRAMING: usize = 384;

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
/// status that sends a page there, `names` are for an allow, and so is what was `begun`.
pub(super) fn render(
    decision: &Decision<'_>,
    ask: &Ask<'_>,
    live: &Live,
    sign_in: StatusCode,
    names: Names,
    begun: Vec<u8>,
) -> (Answer, Ruling, Reason) {
    let (ruling, reason) = (decision.ruling(), decision.reason());
    // Looked for only where a page is shown.
    let page = || ask.audience().is_person().then(|| live.pages.speaking(&ask.browser.client().accept_language));
    let response = match decision {
        Decision::Allow(grant) => match allow(grant, live, names, begun) {
            Some(allowed) => return (Answer::Allow(allowed), ruling, reason),
            None => {
                let response = refuse(StatusCode::SERVICE_UNAVAILABLE, too_large(live), page(), None);
                return (Answer::Other(response), Ruling::Unavailable, Reason::AnswerTooLarge);
            }
        },
        Decision::Elsewhere { address } if address.len() + ELSEWHERE_FRAMING > live.answer_limit => {
            let response = refuse(StatusCode::SERVICE_UNAVAILABLE, too_large(live), page(), None);
            return (Answer::Other(response), Ruling::Unavailable, Reason::AnswerTooLarge);
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
    (Answer::Other(response), ruling, reason)
}

/// What a door tells a web server.
pub(super) enum Answer {
    /// It may pass.
    Allow(Allowed),
    /// Everything else. Its body was made at once, and is never streamed.
    Other(HttpResponse),
}

impl Answer {
    /// The same for whoever speaks HTTP by the framework.
    pub fn into_response(self) -> HttpResponse {
        match self {
            Self::Allow(allowed) => allowed.into_response(),
            Self::Other(response) => response,
        }
    }
}

/// How a line of an allow begins: with the end of the line before it, and the name of a header. In one piece, since to
/// write a piece takes as long as to write twenty letters more.
#[derive(Clone)]
pub struct Label(Cow<'static, str>);

impl Label {
    const fn written(label: &'static str) -> Self {
        Self(Cow::Borrowed(label))
    }
}

impl From<&HeaderName> for Label {
    fn from(name: &HeaderName) -> Self {
        Self(Cow::Owned(format!("\r\n{name}: ")))
    }
}

/// All that goes upstream with an allow: names in lower case and values that any header may have, each header
/// always there. It is written once, as lines of HTTP, behind what the door has begun its answer with. That has no
/// end of its last line, nor do they.
pub(super) struct Allowed {
    text: Vec<u8>,
    /// Where the lines begin.
    start: usize,
    lines: usize,
}

impl Allowed {
    fn behind(begun: Vec<u8>) -> Self {
        let (start, mut text) = (begun.len(), begun);
        // Seldom more than this, and allocators have pieces below a kibibyte at hand.
        text.reserve(768);
        Self { text, start, lines: 0 }
    }

    /// An allow of these lines.
    #[cfg(test)]
    pub fn of(begun: Vec<u8>, lines: &[(&str, &str)]) -> Self {
        let mut allowed = Self::behind(begun);
        lines.iter().for_each(|(name, value)| allowed.named(name, value));
        allowed
    }

    fn line(&mut self, Label(label): &Label, write: impl FnOnce(&mut Vec<u8>)) {
        self.text.extend_from_slice(label.as_bytes());
        write(&mut self.text);
        self.lines += 1;
    }

    fn text(&mut self, label: &Label, value: &str) {
        self.line(label, |text| text.extend_from_slice(value.as_bytes()));
    }

    /// The same under a name of which there is no label.
    fn named(&mut self, name: &str, value: &str) {
        for piece in ["\r\n", name, ": ", value] {
            self.text.extend_from_slice(piece.as_bytes());
        }
        self.lines += 1;
    }

    /// Whether no value holds what no header may: whatever there is of that are the ends of our own lines.
    fn is_sound(&self) -> bool {
        odd_bytes(&self.text[self.start..]) == 2 * self.lines
    }

    /// Every header.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.text[self.start..];
        iter::from_fn(move || {
            let line = rest.strip_prefix(b"\r\n")?;
            let (colon, end) = (memchr(b':', line)?, memchr(b'\r', line).unwrap_or(line.len()));
            rest = &line[end..];
            Some((&line[..colon], &line[colon + 2..end]))
        })
    }

    /// Bytes of all lines, with their punctuation.
    pub fn len(&self) -> usize {
        self.text.len() - self.start
    }

    /// The door's own beginning, and all lines.
    pub fn into_text(self) -> Vec<u8> {
        self.text
    }

    fn into_response(self) -> HttpResponse {
        let mut response = HttpResponse::new(StatusCode::OK);
        let headers = response.headers_mut();
        headers.reserve(self.lines);
        for (name, value) in self.lines() {
            // Both were looked at before.
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        response
    }
}

/// Everything that goes upstream, each header always there; `None` where it would be too long.
fn allow(grant: &Grant<'_>, live: &Live, names: Names, begun: Vec<u8>) -> Option<Allowed> {
    let mut allowed = Allowed::behind(begun);
    let (cookie, authorization) = match names {
        Names::Upstream | Names::Variables => (&UPSTREAM_COOKIE, &UPSTREAM_AUTHORIZATION),
        Names::Plain => (&COOKIE, &AUTHORIZATION),
    };
    allowed.line(cookie, |text| grant.write_cookies(text));
    let mut target = 0;
    allowed.line(&UPSTREAM_URI, |text| {
        let start = text.len();
        grant.write_target(text);
        target = text.len() - start;
    });
    let [user, name, email, groups] = &live.identity_headers;
    let identity = grant.identity();
    allowed.text(user, identity.map_or("", Identity::user));
    allowed.text(name, identity.map_or("", Identity::name));
    allowed.text(email, identity.map_or("", Identity::email));
    allowed.line(groups, |text| grant.write_groups(text));
    // Under its plain name `Authorization` is always there: where the answer has none, Envoy leaves the client's own.
    // Who has a session header takes `Authorization` as well.
    let session = grant.session_header();
    if names == Names::Plain || session.is_some() || grant.authorization().is_some() {
        allowed.text(authorization, grant.authorization().unwrap_or_default());
    }
    if let Some((name, value)) = session {
        allowed.named(name, value);
    }
    allowed.text(&CACHE_CONTROL, "no-store");
    allowed.text(&SESSION_SECONDS, itoa::Buffer::new().format(grant.session_seconds()));
    for (cookie, numbered) in grant.script_cookies().map(script_cookie).zip(NUMBERED_SET_COOKIES) {
        allowed.text(&SET_COOKIE, &cookie);
        allowed.text(&numbered, &cookie);
    }
    let repeated = if names == Names::Variables { target } else { 0 };
    // Identities, keys and cookies were checked where they came in; a byte that no header may hold would be a defect,
    // and then nothing may pass.
    let fits = allowed.len() + repeated + FRAMING <= live.answer_limit;
    (fits && allowed.is_sound()).then_some(allowed)
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
