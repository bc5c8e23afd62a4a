//! The variables of a request as the question that all doors ask.

use std::net::IpAddr;
use std::str;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::params::Params;
use crate::transport::question::{Original, is_secure};

/// The browser's headers.
///
/// `None` where one holds what no header may: some server would then have let a line break through.
pub fn headers(params: &Params) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in params.headers() {
        let name = HeaderName::from_bytes(&name).ok()?;
        headers.append(name, HeaderValue::from_maybe_shared(value.clone()).ok()?);
    }
    Some(headers)
}

/// The address that the web server saw; `Some(None)` where it was asked over a Unix socket.
///
/// A server that does not say who asked is not set up, and to guess would be to believe the browser.
pub fn remote(params: &Params) -> Option<Option<IpAddr>> {
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
pub fn original(params: &Params) -> Option<Original<'_>> {
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

fn text<'a>(params: &'a Params, name: &str) -> Option<&'a str> {
    str::from_utf8(params.get(name)?).ok()
}
