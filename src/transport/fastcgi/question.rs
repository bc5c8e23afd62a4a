//! The variables of a request as the question that all doors ask.

use std::net::IpAddr;
use std::str;

use super::params::Params;
use crate::transport::headers::{Headers, odd_bytes};
use crate::transport::question::{Original, is_secure};

/// The browser's headers; of a request that is not believed there are none.
#[derive(Default)]
pub struct BrowserHeaders<'a>(Params<'a>);

impl<'a> BrowserHeaders<'a> {
    /// `None` where one holds what no header may: some server would then have let a line break through.
    pub fn of(params: Params<'a>) -> Option<Self> {
        let fit = !params.has_controls() || params.headers().all(|(_, value)| odd_bytes(value) == 0);
        fit.then_some(Self(params))
    }

    /// Whether several lines are one. Only Apache says who it is, and no browser can.
    fn is_joined(&self, name: &str) -> bool {
        name == "cookie" && self.0.get("FCGI_APACHE_ROLE").is_some()
    }
}

impl Headers for BrowserHeaders<'_> {
    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let is_joined = self.is_joined(name);
        self.0.header(name).flat_map(move |value| Apart { rest: Some(value), is_joined })
    }
}

/// Lines of cookies that Apache joined by `, ` (seen, 2.4). What stands behind a comma is a line of its own only where
/// it begins as a cookie does: browsers send commas in values, too. No other server joins so, and there a comma is
/// part of a value: to divide it would make cookies that the browser does not have.
struct Apart<'a> {
    rest: Option<&'a [u8]>,
    is_joined: bool,
}

impl<'a> Iterator for Apart<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let mut commas = rest.windows(2).enumerate().filter(|(_, pair)| *pair == b", ").map(|(comma, _)| comma);
        let divides = |comma: &usize| begins_a_cookie(&rest[comma + 2..]);
        let Some(comma) = self.is_joined.then(|| commas.find(divides)).flatten() else { return Some(rest) };
        self.rest = Some(&rest[comma + 2..]);
        Some(&rest[..comma])
    }
}

/// Whether a name and `=` stand here.
fn begins_a_cookie(text: &[u8]) -> bool {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b",;=".contains(byte);
    text.iter().position(ends).is_some_and(|end| end > 0 && text[end] == b'=')
}

/// The address that the web server saw; `Some(None)` where it was asked over a Unix socket.
///
/// A server that does not say who asked is not set up, and to guess would be to believe the browser.
pub fn remote(params: &Params<'_>) -> Option<Option<IpAddr>> {
    let address = text(params, "REMOTE_ADDR")?;
    // nginx says "unix:", lighttpd the socket's name, which is empty for those who connect.
    if address.is_empty() || address.starts_with("unix:") || address.starts_with('/') {
        return Some(None);
    }
    address.parse().ok().map(Some)
}

/// What the web server says of the original request. Only names without `HTTP_` are its own words.
///
/// `REQUEST_URI` is the address as it came: `SCRIPT_NAME` and `PATH_INFO` are decoded, `QUERY_STRING` is empty
/// in nginx's subrequests. The host is the one that goes upstream, `HTTP_HOST`. `SERVER_NAME` is never taken in its
/// place: it may be the first name in the server's configuration (nginx), and so lead to a route that the browser
/// did not ask for. Whoever sends no host gets no decision.
pub fn original<'a>(params: &Params<'a>) -> Option<Original<'a>> {
    let secure = match text(params, "REQUEST_SCHEME") {
        Some(scheme) => is_secure(scheme)?,
        // Older servers say this only, and leave it out where it is not so.
        None => match text(params, "HTTPS") {
            Some("on") => true,
            None | Some("off" | "") => false,
            Some(_) => return None,
        },
    };
    Some(Original {
        secure,
        authority: text(params, "HTTP_HOST")?,
        target: text(params, "REQUEST_URI")?,
        method: text(params, "REQUEST_METHOD")?,
    })
}

fn text<'a>(params: &Params<'a>, name: &str) -> Option<&'a str> {
    str::from_utf8(params.get(name)?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::params::{Gathering, put_pair};
    use super::*;

    const USUAL: [(&str, &str); 5] = [
        ("REQUEST_SCHEME", "https"),
        ("HTTP_HOST", "app.test:8443"),
        ("REQUEST_URI", "/a%2Fb?c"),
        ("REQUEST_METHOD", "PROPFIND"),
        ("REMOTE_ADDR", "198.51.100.7"),
    ];

    /// The usual variables, with these in the place of those of the same name; without a value there is none.
    fn gathered(changes: &[(&str, Option<&str>)]) -> Gathering {
        let mut stream = Vec::new();
        let usual = USUAL.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        usual.for_each(|(name, value)| put_pair(&mut stream, name.as_bytes(), value.as_bytes()));
        for (name, value) in changes {
            if let Some(value) = value {
                put_pair(&mut stream, name.as_bytes(), value.as_bytes());
            }
        }
        let mut gathered = Gathering::default();
        gathered.add(&stream);
        gathered
    }

    fn told(changes: &[(&str, Option<&str>)]) -> Option<String> {
        let mut gathered = gathered(changes);
        let params = gathered.read().unwrap();
        let Original { secure, authority, target, method } = original(&params)?;
        Some(format!("{method} {}://{authority}{target}", if secure { "https" } else { "http" }))
    }

    #[test]
    fn the_request_is_what_the_web_server_says_of_it() {
        let https = Some("PROPFIND https://app.test:8443/a%2Fb?c");
        let http = Some("PROPFIND http://app.test:8443/a%2Fb?c");
        for (changes, expected) in [
            (&[][..], https),
            (&[("REQUEST_SCHEME", Some("http"))], http),
            (&[("REQUEST_SCHEME", Some("http")), ("HTTPS", Some("on"))], http),
            (&[("REQUEST_SCHEME", Some("ftp"))], None),
            (&[("REQUEST_SCHEME", Some(""))], None),
            (&[("REQUEST_SCHEME", None)], http),
            (&[("REQUEST_SCHEME", None), ("HTTPS", Some("on"))], https),
            (&[("REQUEST_SCHEME", None), ("HTTPS", Some("off"))], http),
            (&[("REQUEST_SCHEME", None), ("HTTPS", Some(""))], http),
            (&[("REQUEST_SCHEME", None), ("HTTPS", Some("1"))], None),
            (&[("HTTP_HOST", None)], None),
            (&[("HTTP_HOST", None), ("SERVER_NAME", Some("public.test"))], None),
            (&[("SERVER_NAME", Some("public.test")), ("HTTP_X_FORWARDED_HOST", Some("public.test"))], https),
            (&[("REQUEST_URI", None)], None),
            (&[("REQUEST_URI", None), ("SCRIPT_NAME", Some("/a")), ("PATH_INFO", Some("/b"))], None),
            (&[("SCRIPT_NAME", Some("/x")), ("QUERY_STRING", Some("y")), ("DOCUMENT_URI", Some("/z"))], https),
            (&[("HTTP_X_ORIGINAL_URL", Some("/x")), ("HTTP_X_FORWARDED_URI", Some("/x"))], https),
            (&[("HTTP_X_HTTP_METHOD_OVERRIDE", Some("GET"))], https),
            (&[("REQUEST_METHOD", None)], None),
            (&[("HTTP_REQUEST_METHOD", Some("GET")), ("REQUEST_METHOD", None)], None),
        ] {
            assert_eq!(told(changes).as_deref(), expected, "{changes:?}");
        }
    }

    #[test]
    fn the_browser_is_where_the_web_server_saw_it() {
        for (address, expected) in [
            (Some("198.51.100.7"), Some(Some("198.51.100.7"))),
            (Some("2001:db8::7"), Some(Some("2001:db8::7"))),
            (Some("unix:"), Some(None)),
            (Some("/run/web.sock"), Some(None)),
            (Some(""), Some(None)),
            (Some("localhost"), None),
            (Some("198.51.100.7, 6.6.6.6"), None),
            (None, None),
        ] {
            let mut gathered = gathered(&[("REMOTE_ADDR", address), ("HTTP_X_FORWARDED_FOR", Some("6.6.6.6"))]);
            let found = remote(&gathered.read().unwrap());
            let found = found.map(|found| found.map(|address| address.to_string()));
            assert_eq!(found, expected.map(|expected| expected.map(str::to_owned)), "{address:?}");
        }
    }

    #[test]
    fn headers_are_the_browsers_byte_for_byte_and_whole() {
        let usual = [("HTTP_COOKIE", Some("a=ü; b")), ("HTTP_SEC_FETCH_MODE", Some("navigate"))];
        let mut usual = gathered(&usual);
        let found = BrowserHeaders::of(usual.read().unwrap()).unwrap();
        assert_eq!(found.only("cookie"), Some("a=ü; b"));
        assert_eq!(found.only("sec-fetch-mode"), Some("navigate"));
        assert_eq!(found.only("host"), Some("app.test:8443"));
        for absent in ["request-uri", "sec-fetch", "sec-fetch-mode-", "sec_fetch_mode", "http-cookie", ""] {
            assert!(!found.has(absent), "{absent}");
        }
        for value in ["a\r\nX: y", "a\0", "a\n", "\u{7f}"] {
            let of = |name| BrowserHeaders::of(gathered(&[(name, Some(value))]).read().unwrap()).is_some();
            assert!(!of("HTTP_X_ANY"), "{value:?}");
            assert!(of("SSL_CLIENT_CERT"), "{value:?} in a variable of the web server's own");
        }
        let mut tabbed = gathered(&[("HTTP_X_ANY", Some("a\tb"))]);
        assert_eq!(BrowserHeaders::of(tabbed.read().unwrap()).unwrap().only("x-any"), Some("a\tb"));
    }

    #[test]
    fn lines_that_apache_joined_are_apart_again() {
        let lines = |role: Option<&str>, joined: &str| {
            let mut gathered = gathered(&[("FCGI_APACHE_ROLE", role), ("HTTP_COOKIE", Some(joined))]);
            let found = BrowserHeaders::of(gathered.read().unwrap()).unwrap();
            let line = |line: &[u8]| String::from_utf8(line.to_vec()).unwrap();
            found.all("cookie").map(line).collect::<Vec<_>>()
        };
        for (joined, expected) in [
            ("a=1", &["a=1"][..]),
            ("a=1; b=2, c=3, d=4; e=5", &["a=1; b=2", "c=3", "d=4; e=5"]),
            ("a=1,b=2; c=x, y; d=1,, e=5", &["a=1,b=2; c=x, y; d=1,", "e=5"]),
            ("a=1, =2, b, c;=d, ", &["a=1, =2, b, c;=d, "]),
            (", a=1", &["", "a=1"]),
        ] {
            assert_eq!(lines(Some("AUTHENTICATOR"), joined), expected, "{joined}");
            assert_eq!(lines(None, joined), [joined]);
        }
    }
}
