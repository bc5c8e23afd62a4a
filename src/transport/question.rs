//! The question, and the browser behind it, as headers tell of them, whatever protocol brought those.

use std::net::IpAddr;

use actix_web::dev::RequestHead;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName};

use super::client::Trust;
use crate::decision::{Ask, Host, Target};
use crate::domain::{Audience, Browser, Client, Cookies};

/// What a web server asks.
pub(super) struct Asked<'a> {
    /// The browser's headers, and those of the web server.
    pub headers: &'a HeaderMap,
    /// The last address on the browser's way to the web server or to us that somebody we believe has seen.
    pub nearest: Option<IpAddr>,
    /// The original request; `None` where it was not understood.
    pub original: Option<Original<'a>>,
    /// The status that sends a page to sign in. nginx makes an error of any redirect.
    pub sign_in: StatusCode,
}

/// The original request, less its headers.
pub(super) struct Original<'a> {
    /// Whether it came by https.
    pub secure: bool,
    /// Its host, with a port or without.
    pub authority: &'a str,
    /// Its path and query, as they came.
    pub target: &'a str,
    /// Its method.
    pub method: &'a str,
}

impl<'a> Original<'a> {
    /// The question; `None` where it is none.
    pub fn into_ask(self, browser: &'a Forwarded<'_>) -> Option<Ask<'a>> {
        let is_method = !self.method.is_empty() && self.method.bytes().all(|byte| byte.is_ascii_graphic());
        Some(Ask {
            secure: self.secure,
            host: Host::parse(self.authority).ok()?,
            target: Target::parse(self.target).ok()?,
            method: is_method.then_some(self.method)?,
            cookies: cookies(browser.headers),
            browser,
        })
    }
}

/// Whether a word for the way a request came means https.
pub(super) fn is_secure(scheme: &str) -> Option<bool> {
    match scheme {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

/// The browser, as a proxy's request tells of it.
pub(super) struct Forwarded<'a> {
    headers: &'a HeaderMap,
    nearest: Option<IpAddr>,
    trust: &'a Trust,
}

impl<'a> Forwarded<'a> {
    pub fn new(headers: &'a HeaderMap, nearest: Option<IpAddr>, trust: &'a Trust) -> Self {
        Self { headers, nearest, trust }
    }

    /// Whoever sent this request to us.
    pub fn by(request: &'a RequestHead, trust: &'a Trust) -> Self {
        Self::new(request.headers(), nearest(request), trust)
    }
}

impl Browser for Forwarded<'_> {
    fn client(&self) -> Client<'_> {
        self.trust.client(self.headers, self.nearest)
    }

    fn audience(&self, method: &str) -> Audience {
        audience(method, self.headers)
    }

    fn header(&self, name: &str) -> Option<&str> {
        only(self.headers, &HeaderName::from_bytes(name.as_bytes()).ok()?)
    }
}

/// The address of whoever sent this request; a Unix socket has none.
pub(super) fn nearest(request: &RequestHead) -> Option<IpAddr> {
    request.peer_addr.map(|peer| peer.ip())
}

/// All `Cookie` lines; nginx hands several on as they came.
pub(super) fn cookies(headers: &HeaderMap) -> Cookies<'_> {
    Cookies::new(headers.get_all(header::COOKIE).map(|line| line.as_bytes()))
}

/// The id that the proxy gave the request, for finding it again in several logs.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&str> {
    static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    let plain = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    only(headers, &REQUEST_ID).filter(plain)
}

/// The one value of a header that must be there once.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    // Not `to_str`: nginx hands raw UTF-8 in a path on as it came.
    std::str::from_utf8(value.as_bytes()).ok()
}

/// Who looks at the answer: only to a person who wants to see a page a redirect to a sign-in page helps.
pub(super) fn audience(method: &str, headers: &HeaderMap) -> Audience {
    static FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
    static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    static FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
    static REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
    let is_browser = [&FETCH_MODE, &FETCH_SITE, &FETCH_DEST].into_iter().any(|name| headers.contains_key(name));
    let is_script = headers.contains_key(&REQUESTED_WITH);
    let wants_html = |accept: &[u8]| accept.windows(9).any(|part| part.eq_ignore_ascii_case(b"text/html"));
    let navigates = match headers.get(&FETCH_MODE) {
        Some(mode) => mode.as_bytes() == b"navigate",
        None if is_browser || is_script => false,
        None => headers.get_all(header::ACCEPT).any(|accept| wants_html(accept.as_bytes())),
    };
    match method {
        "GET" | "HEAD" if navigates => Audience::Page,
        // No other method is ever a form's.
        "POST" if navigates => Audience::Form,
        _ if is_browser || is_script => Audience::Script,
        _ => Audience::Program,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_person_navigates_a_script_says_so_and_the_rest_are_programs() {
        use Audience::{Form, Page, Program, Script};
        for (method, headers, expected) in [
            ("GET", &[("Sec-Fetch-Mode", "navigate")][..], Page),
            ("HEAD", &[("Sec-Fetch-Mode", "navigate")], Page),
            ("POST", &[("Sec-Fetch-Mode", "navigate")], Form),
            ("POST", &[("Accept", "text/html")], Form),
            ("POST", &[("Accept", "*/*")], Program),
            ("POST", &[("Accept", "text/html"), ("X-Requested-With", "XMLHttpRequest")], Script),
            ("POST", &[("Sec-Fetch-Mode", "cors"), ("Accept", "text/html")], Script),
            ("PUT", &[("Sec-Fetch-Mode", "navigate")], Script),
            ("GET", &[("Sec-Fetch-Mode", "cors"), ("Accept", "text/html")], Script),
            ("GET", &[("Sec-Fetch-Site", "same-origin"), ("Accept", "text/html")], Script),
            ("GET", &[("Sec-Fetch-Dest", "image")], Script),
            ("GET", &[("Accept", "text/html,application/xhtml+xml")], Page),
            ("GET", &[("Accept", "text/html"), ("X-Requested-With", "XMLHttpRequest")], Script),
            ("GET", &[("Accept", "application/json")], Program),
            ("PROPFIND", &[("Accept", "text/html")], Program),
            ("get", &[("Accept", "text/html")], Program),
            ("GET", &[], Program),
        ] {
            let request = headers.iter().fold(TestRequest::get(), |request, header| request.append_header(*header));
            assert_eq!(audience(method, request.to_request().head().headers()), expected, "{method} {headers:?}");
        }
    }
}
