//! The question, and the browser behind it, as headers tell of them, whatever protocol brought those.

use std::net::IpAddr;

use actix_web::dev::RequestHead;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;

use super::client::Trust;
use super::headers::Headers;
use crate::decision::{Ask, Host, Target};
use crate::domain::{Audience, Browser, Client, Cookies};

/// What a web server asks.
pub(super) struct Asked<'a, H> {
    /// The browser's headers, and those of the web server.
    pub headers: &'a H,
    /// The last address on the browser's way to the web server or to us that somebody we believe has seen.
    pub nearest: Option<IpAddr>,
    /// The original request; `None` where it was not understood.
    pub original: Option<Original<'a>>,
    /// The status that sends a page to sign in. nginx makes an error of any redirect.
    pub sign_in: StatusCode,
    /// What an allow begins with, where the door writes one as it is sent.
    pub begun: Vec<u8>,
}

/// The original request, less its headers.
#[derive(Clone, Copy)]
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
    pub fn into_ask(self, browser: &'a Forwarded<'_, impl Headers>) -> Option<Ask<'a>> {
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
pub(super) struct Forwarded<'a, H = HeaderMap> {
    headers: &'a H,
    nearest: Option<IpAddr>,
    trust: &'a Trust,
}

impl<'a, H> Forwarded<'a, H> {
    pub fn new(headers: &'a H, nearest: Option<IpAddr>, trust: &'a Trust) -> Self {
        Self { headers, nearest, trust }
    }
}

impl<'a> Forwarded<'a> {
    /// Whoever sent this request to us.
    pub fn by(request: &'a RequestHead, trust: &'a Trust) -> Self {
        Self::new(request.headers(), nearest(request), trust)
    }
}

impl<H: Headers> Browser for Forwarded<'_, H> {
    fn client(&self) -> Client<'_> {
        self.trust.client(self.headers, self.nearest)
    }

    fn audience(&self, method: &str) -> Audience {
        audience(method, self.headers)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.only(name)
    }
}

/// The address of whoever sent this request; a Unix socket has none.
pub(super) fn nearest(request: &RequestHead) -> Option<IpAddr> {
    request.peer_addr.map(|peer| peer.ip())
}

/// All `Cookie` lines; nginx hands several on as they came.
pub(super) fn cookies(headers: &impl Headers) -> Cookies<'_> {
    Cookies::new(headers.all("cookie"))
}

/// The id that the proxy gave the request, for finding it again in several logs.
pub(super) fn request_id(headers: &impl Headers) -> Option<&str> {
    let plain = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    headers.only("x-request-id").filter(plain)
}

/// Who looks at the answer: only to a person who wants to see a page a redirect to a sign-in page helps.
pub(super) fn audience(method: &str, headers: &impl Headers) -> Audience {
    const FETCH_MODE: &str = "sec-fetch-mode";
    let is_browser = [FETCH_MODE, "sec-fetch-site", "sec-fetch-dest"].into_iter().any(|name| headers.has(name));
    let is_script = headers.has("x-requested-with");
    let wants_html = |accept: &[u8]| accept.windows(9).any(|part| part.eq_ignore_ascii_case(b"text/html"));
    let navigates = match headers.first(FETCH_MODE) {
        Some(mode) => mode == b"navigate",
        None if is_browser || is_script => false,
        None => headers.all("accept").any(wants_html),
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
