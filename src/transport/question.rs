//! One dialect a door: where the original request is read from. Each reads its own headers only, so
//! that nothing a browser sends along under another dialect's names is ever taken for the proxy's.

use std::net::SocketAddr;

use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderMap, HeaderName};

use super::client::Trust;
use crate::decision::{Ask, Host, Target};
use crate::domain::{Audience, Browser, Client, Cookies};
use crate::observe::Door;

/// What a proxy says of the original request.
struct Original<'a> {
    secure: bool,
    authority: &'a str,
    target: &'a str,
    method: &'a str,
}

/// The browser, as a proxy's request tells of it.
pub(super) struct Forwarded<'a> {
    headers: &'a HeaderMap,
    peer: Option<SocketAddr>,
    trust: &'a Trust,
}

impl<'a> Forwarded<'a> {
    pub fn by(request: &'a RequestHead, trust: &'a Trust) -> Self {
        Self { headers: request.headers(), peer: request.peer_addr, trust }
    }
}

impl Browser for Forwarded<'_> {
    fn client(&self) -> Client<'_> {
        self.trust.client(self.headers, self.peer)
    }

    fn audience(&self, method: &str) -> Audience {
        audience(method, self.headers)
    }

    fn header(&self, name: &str) -> Option<&str> {
        only(self.headers, &HeaderName::from_bytes(name.as_bytes()).ok()?)
    }
}

/// Reads the question out of a request at this door; `None` where it is not understood.
pub(super) fn read<'a>(door: Door, browser: &'a Forwarded<'_>) -> Option<Ask<'a>> {
    let headers = browser.headers;
    let original = match door {
        Door::AuthRequest => auth_request(headers)?,
        Door::ForwardAuth => forward_auth(headers)?,
    };
    Some(Ask {
        secure: original.secure,
        host: Host::parse(original.authority).ok()?,
        target: Target::parse(original.target).ok()?,
        method: original.method,
        cookies: cookies(headers),
        browser,
    })
}

/// All `Cookie` lines; nginx hands several on as they came.
pub(super) fn cookies(headers: &HeaderMap) -> Cookies<'_> {
    Cookies::new(headers.get_all(header::COOKIE).map(|line| line.as_bytes()))
}

/// nginx and those that imitate it: the whole address in one header.
fn auth_request(headers: &HeaderMap) -> Option<Original<'_>> {
    static URL: HeaderName = HeaderName::from_static("x-original-url");
    static METHOD: HeaderName = HeaderName::from_static("x-original-method");
    let url = only(headers, &URL)?;
    let (secure, rest) = match url.split_once("://")? {
        ("https", rest) => (true, rest),
        ("http", rest) => (false, rest),
        _ => return None,
    };
    let (authority, target) = rest.split_at(rest.find('/')?);
    Some(Original { secure, authority, target, method: method(headers, &METHOD)? })
}

/// Traefik ForwardAuth and Caddy forward_auth.
fn forward_auth(headers: &HeaderMap) -> Option<Original<'_>> {
    static METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
    static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    static HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    static URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
    let secure = match only(headers, &PROTO)? {
        "https" | "wss" => true,
        "http" | "ws" => false,
        _ => return None,
    };
    let (authority, target) = (only(headers, &HOST)?, only(headers, &URI)?);
    Some(Original { secure, authority, target, method: method(headers, &METHOD)? })
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

fn method<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    only(headers, name).filter(|method| !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_graphic()))
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

    fn trust() -> Trust {
        Trust { proxies: vec!["127.0.0.1/32".parse().unwrap()], unix: true }
    }

    fn asked(door: Door, headers: &[(&'static str, &'static str)]) -> Option<String> {
        let request = headers.iter().fold(TestRequest::get(), |request, header| request.append_header(*header));
        let request = request.to_request();
        let trust = trust();
        let browser = Forwarded::by(request.head(), &trust);
        read(door, &browser).map(|ask| format!("{} {}", ask.method, ask.url_without(None)))
    }

    #[test]
    fn auth_request_reads_its_own_two_headers() {
        const URL: &str = "X-Original-URL";
        const GET: (&str, &str) = ("X-Original-Method", "GET");
        for (headers, expected) in [
            (&[(URL, "https://app.test:8443/a?b"), GET][..], Some("GET https://app.test:8443/a?b")),
            (&[(URL, "https://APP.test:443/a"), GET], Some("GET https://app.test/a")),
            (&[(URL, "http://app.test/%0d%0aX:y"), GET], Some("GET http://app.test/%0d%0aX:y")),
            (&[(URL, "http://app.test/a"), GET, ("X-Forwarded-Uri", "/public")], Some("GET http://app.test/a")),
            (&[(URL, "http://app.test/a"), GET, ("X-HTTP-Method-Override", "PUT")], Some("GET http://app.test/a")),
            (&[("X-Forwarded-Uri", "/a"), ("X-Forwarded-Host", "app.test"), GET], None),
            (&[(URL, "http://app.test/a"), (URL, "http://app.test/a"), GET], None),
            (&[(URL, "http://app.test/a"), GET, GET], None),
            (&[(URL, "http://app.test/a")], None),
            (&[(URL, "http://app.test/a"), ("X-Original-Method", "")], None),
            (&[(URL, ""), GET], None),
            (&[(URL, "http://app.test"), GET], None),
            (&[(URL, "http:///a"), GET], None),
            (&[(URL, "http://[::1/a"), GET], None),
            (&[(URL, "http://u@app.test/a"), GET], None),
            (&[(URL, "ftp://app.test/a"), GET], None),
            (&[(URL, "/a"), GET], None),
            (&[(URL, "http://app.test/a#b"), GET], None),
            (&[(URL, "http://app.test/a b"), GET], None),
        ] {
            assert_eq!(asked(Door::AuthRequest, headers).as_deref(), expected, "{headers:?}");
        }
    }

    #[test]
    fn forward_auth_reads_its_own_four_headers() {
        let whole = [
            ("X-Forwarded-Method", "POST"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "app.test"),
            ("X-Forwarded-Uri", "/a?b"),
        ];
        assert_eq!(asked(Door::ForwardAuth, &whole).as_deref(), Some("POST https://app.test/a?b"));
        for (missing, header) in whole.iter().enumerate() {
            let without: Vec<_> = whole.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, h)| *h).collect();
            assert_eq!(asked(Door::ForwardAuth, &without), None, "without {header:?}");
            let twice: Vec<_> = whole.iter().chain([header]).copied().collect();
            assert_eq!(asked(Door::ForwardAuth, &twice), None, "twice {header:?}");
        }
    }

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
