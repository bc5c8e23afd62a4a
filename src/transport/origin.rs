//! Which origin is asked, which page a request comes from, and what its browser is told of that (CORS).

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

use super::headers::Headers;
use super::{Live, question};
use crate::decision::Host;
use crate::handover::Provenance;

static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

/// Where a request that would sign out comes from, as the browser says.
pub(super) fn provenance(request: &HttpRequest, live: &Live) -> Provenance {
    let headers = request.headers();
    let own = own_origin(request, live).unwrap_or_default();
    Provenance::of(text(headers, &FETCH_SITE), text(headers, &header::ORIGIN), text(headers, &PURPOSE), &own)
}

/// The origin of the page asked for, from the headers of a trusted proxy, else from the connection.
pub(super) fn own_origin(request: &HttpRequest, live: &Live) -> Option<String> {
    let headers = request.headers();
    let by_proxy = live.trust.is_proxy(question::nearest(request.head()));
    let forwarded = |name| headers.only(name).filter(|_| by_proxy);
    let secure = forwarded("x-forwarded-proto") == Some("https");
    let host = forwarded("x-forwarded-host").or_else(|| headers.only("host"))?;
    Some(Host::parse(host).ok()?.origin(secure))
}

/// Whose script calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller<'a> {
    /// A page of the very origin that is called.
    Own,
    /// A page of an origin that is listed.
    Listed(&'a str),
}

impl<'a> Caller<'a> {
    /// Who sent a request that is no navigation; `None` for everybody else's pages. `Origin` is set by the
    /// browser, never by a page, and so is `Sec-Fetch-Site`.
    pub fn of(headers: &'a HeaderMap, own: &str, lists: impl FnOnce(&str) -> bool) -> Option<Self> {
        let origin = headers.only("origin");
        // Where a page has the policy no-referrer, its own requests come with `Origin: null`.
        let own = match text(headers, &FETCH_SITE) {
            Some(site) => site == "same-origin",
            None => origin == Some(own),
        };
        if own && headers.get_all(header::ORIGIN).count() <= 1 {
            return Some(Self::Own);
        }
        origin.filter(|origin| lists(origin)).map(Caller::Listed)
    }

    /// Tells the browser which page may read the answer: exactly that one, or none but our own.
    pub fn admit(self, response: &mut HttpResponse) {
        let Self::Listed(origin) = self else { return };
        if let Ok(origin) = HeaderValue::from_str(origin) {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// The answer to the question that browsers ask ahead of a request from another origin.
    pub fn preflight(methods: &'static str) -> HttpResponse {
        HttpResponse::NoContent()
            .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, methods))
            .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"))
            .insert_header((header::ACCESS_CONTROL_MAX_AGE, "600"))
            .finish()
    }

    /// Whether the page that calls is of another site. Where the browser does not tell, it is.
    pub fn is_of_another_site(self, headers: &HeaderMap) -> bool {
        let near = matches!(text(headers, &FETCH_SITE), Some("same-site" | "same-origin"));
        matches!(self, Self::Listed(_)) && !near
    }
}

/// For nobody else's eyes, and not to be told by a `Referer`. What is said depends on who asks.
pub(super) fn keep_private(response: &mut HttpResponse) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
}

/// Whether a browser fetches a page ahead, which nobody may ever look at.
pub(super) fn is_fetched_ahead(headers: &HeaderMap) -> bool {
    text(headers, &PURPOSE).is_some_and(|purpose| purpose.contains("prefetch"))
}

/// Whether the browser shows the answer as a page, or does not say.
pub(super) fn navigates(headers: &HeaderMap) -> bool {
    matches!(text(headers, &FETCH_MODE), None | Some("navigate"))
}

/// Whether a question is asked ahead of another request.
pub(super) fn is_preflight(request: &HttpRequest) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_our_own_pages_and_those_that_are_listed_may_call() {
        const PORTAL: &str = "https://portal.test";
        let (own, listed) = (Some(Caller::Own), Some(Caller::Listed(PORTAL)));
        for (lines, expected) in [
            (&[("Sec-Fetch-Site", "same-origin")][..], own),
            (&[("Sec-Fetch-Site", "same-origin"), ("Origin", "null")], own),
            (&[("Origin", "https://mail.test")], own),
            (&[("Sec-Fetch-Site", "cross-site"), ("Origin", PORTAL)], listed),
            (&[("Sec-Fetch-Site", "same-site"), ("Origin", PORTAL)], listed),
            (&[("Origin", PORTAL)], listed),
            (&[], None),
            (&[("Origin", "null")], None),
            (&[("Origin", "")], None),
            (&[("Origin", "https://evil.test")], None),
            (&[("Origin", "https://portal.test.evil.test")], None),
            (&[("Origin", "https://portal.test:443")], None),
            (&[("Origin", "HTTPS://PORTAL.TEST")], None),
            (&[("Origin", "http://portal.test")], None),
            (&[("Origin", "https://portal.test, https://evil.test")], None),
            (&[("Origin", PORTAL), ("Origin", PORTAL)], None),
            (&[("Origin", PORTAL), ("Origin", "https://evil.test")], None),
            (&[("Origin", "https://mail.test"), ("Origin", "https://mail.test")], None),
            (&[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://mail.test")], None),
            (&[("Sec-Fetch-Site", "cross-site")], None),
            (&[("Sec-Fetch-Site", "same-site")], None),
            (&[("Sec-Fetch-Site", "none")], None),
        ] {
            let request = lines.iter().fold(TestRequest::post(), |request, line| request.append_header(*line));
            let request = request.to_http_request();
            let caller = Caller::of(request.headers(), "https://mail.test", |origin| origin == PORTAL);
            assert_eq!(caller, expected, "{lines:?}");
        }
    }
}
