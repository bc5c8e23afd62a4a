//! One dialect a path: where the original request is read from over HTTP. Each reads its own headers only,
//! so that nothing a browser sends along under another dialect's names is ever taken for the proxy's.

use actix_web::http::StatusCode;
use memchr::memchr;

use crate::transport::headers::Headers;
use crate::transport::question::{Original, is_secure};

/// What stands in the first line of the web server's own request.
#[derive(Clone, Copy)]
pub struct RequestLine<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path and query.
    pub target: &'a str,
}

impl RequestLine<'_> {
    /// Its path.
    pub fn path(&self) -> &str {
        &self.target[..memchr(b'?', self.target.as_bytes()).unwrap_or(self.target.len())]
    }
}

/// How a web server tells of the original request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// nginx and those that imitate it: the whole address in one header.
    AuthRequest,
    /// Traefik ForwardAuth and Caddy forward_auth: its parts in several.
    ForwardAuth,
    /// Envoy ext_authz over HTTP: the request itself, with the path behind a prefix.
    ExtAuthz {
        /// What stands before the path.
        prefix: &'static str,
    },
}

impl Dialect {
    /// What the original request was; `None` where that is not said, or said twice.
    pub fn original<'a>(self, line: RequestLine<'a>, headers: &'a impl Headers) -> Option<Original<'a>> {
        match self {
            Self::AuthRequest => auth_request(headers),
            Self::ForwardAuth => forward_auth(headers),
            Self::ExtAuthz { prefix } => ext_authz(line, headers, prefix),
        }
    }

    /// See [`crate::transport::question::Asked::sign_in`].
    pub fn sign_in(self) -> StatusCode {
        if self == Self::AuthRequest { StatusCode::UNAUTHORIZED } else { StatusCode::FOUND }
    }
}

fn auth_request(headers: &impl Headers) -> Option<Original<'_>> {
    let url = headers.only("x-original-url")?;
    let (secure, rest) = match url.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, url.strip_prefix("http://")?),
    };
    let (authority, target) = rest.split_at(memchr(b'/', rest.as_bytes())?);
    Some(Original { secure, authority, target, method: headers.only("x-original-method")? })
}

fn forward_auth(headers: &impl Headers) -> Option<Original<'_>> {
    let secure = is_secure(headers.only(PROTO)?)?;
    let (authority, target) = (headers.only("x-forwarded-host")?, headers.only("x-forwarded-uri")?);
    Some(Original { secure, authority, target, method: headers.only("x-forwarded-method")? })
}

fn ext_authz<'a>(line: RequestLine<'a>, headers: &'a impl Headers, prefix: &str) -> Option<Original<'a>> {
    let target = line.target.strip_prefix(prefix).filter(|target| target.starts_with('/'))?;
    let secure = is_secure(headers.only(PROTO)?)?;
    Some(Original { secure, authority: headers.only("host")?, target, method: line.method })
}

const PROTO: &str = "x-forwarded-proto";

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::transport::client::Trust;
    use crate::transport::question::Forwarded;

    fn trust() -> Trust {
        Trust { proxies: vec!["127.0.0.1/32".parse().unwrap()], unix: true }
    }

    fn asked(dialect: Dialect, headers: &[(&'static str, &'static str)]) -> Option<String> {
        read(dialect, headers.iter().fold(TestRequest::get(), |request, header| request.append_header(*header)))
    }

    fn read(dialect: Dialect, request: TestRequest) -> Option<String> {
        let request = request.to_srv_request().into_parts().0;
        let trust = trust();
        let browser = Forwarded::by(request.head(), &trust);
        let head = request.head();
        let line = RequestLine { method: head.method.as_str(), target: head.uri.path_and_query()?.as_str() };
        let ask = dialect.original(line, head.headers())?.into_ask(&browser)?;
        Some(format!("{} {}", ask.method, ask.url_without(None)))
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
            assert_eq!(asked(Dialect::AuthRequest, headers).as_deref(), expected, "{headers:?}");
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
        assert_eq!(asked(Dialect::ForwardAuth, &whole).as_deref(), Some("POST https://app.test/a?b"));
        for (missing, header) in whole.iter().enumerate() {
            let without: Vec<_> = whole.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, h)| *h).collect();
            assert_eq!(asked(Dialect::ForwardAuth, &without), None, "without {header:?}");
            let twice: Vec<_> = whole.iter().chain([header]).copied().collect();
            assert_eq!(asked(Dialect::ForwardAuth, &twice), None, "twice {header:?}");
        }
    }

    #[test]
    fn ext_authz_reads_the_request_itself() {
        const HTTPS: (&str, &str) = ("X-Forwarded-Proto", "https");
        for (target, headers, expected) in [
            (
                "/authz/ext-authz/a%2Fb?c",
                &[("Host", "app.test:8443"), HTTPS][..],
                Some("PUT https://app.test:8443/a%2Fb?c"),
            ),
            ("/authz/ext-authz/", &[("Host", "app.test"), HTTPS], Some("PUT https://app.test/")),
            ("/authz/ext-authz//a/../b", &[("Host", "app.test"), HTTPS], Some("PUT https://app.test//a/../b")),
            (
                "/authz/ext-authz/a",
                &[("Host", "app.test"), HTTPS, ("X-Forwarded-Host", "b.test")],
                Some("PUT https://app.test/a"),
            ),
            (
                "/authz/ext-authz/a",
                &[("Host", "app.test"), HTTPS, ("X-Forwarded-Uri", "/public")],
                Some("PUT https://app.test/a"),
            ),
            ("/authz/ext-authz", &[("Host", "app.test"), HTTPS], None),
            ("/authz/ext-authz?x", &[("Host", "app.test"), HTTPS], None),
            ("/authz/ext-authzx", &[("Host", "app.test"), HTTPS], None),
            ("/authz/ext-authz-plain/a", &[("Host", "app.test"), HTTPS], None),
            ("/authz/ext-authz/a", &[("Host", "app.test")], None),
            ("/authz/ext-authz/a", &[("Host", "app.test"), HTTPS, HTTPS], None),
            ("/authz/ext-authz/a", &[HTTPS], None),
            ("/authz/ext-authz/a", &[("Host", "app.test"), ("Host", "app.test"), HTTPS], None),
            ("/authz/ext-authz/a", &[("Host", "u@app.test"), HTTPS], None),
        ] {
            let request = TestRequest::with_uri(target).method(actix_web::http::Method::PUT);
            let request = headers.iter().fold(request, |request, header| request.append_header(*header));
            assert_eq!(
                read(Dialect::ExtAuthz { prefix: "/authz/ext-authz" }, request).as_deref(),
                expected,
                "{target} {headers:?}"
            );
        }
    }
}
