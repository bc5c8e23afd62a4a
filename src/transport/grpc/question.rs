//! What Envoy tells of a request as the question that all doors ask.

use std::collections::HashMap;
use std::net::IpAddr;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::{self as core};
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer};

use crate::transport::headers::Headers;
use crate::transport::question::{Original, is_secure};

/// One request, as Envoy tells of it.
#[derive(Default)]
pub struct Question {
    headers: HeaderMap,
    /// `Some(None)` where no address came; `None` where one was not understood.
    nearest: Option<Option<IpAddr>>,
    /// `None` where the headers were not understood.
    http: Option<HttpRequest>,
}

impl Question {
    /// Reads it. What cannot be understood is a question all the same, so that it is counted and a stranger is told
    /// nothing else.
    pub fn read(request: CheckRequest) -> Self {
        let Some(attributes) = request.attributes else { return Self::default() };
        let Some(mut http) = attributes.request.and_then(|request| request.http) else { return Self::default() };
        let nearest = nearest(attributes.source);
        let folded = std::mem::take(&mut http.headers);
        let headers = match (http.header_map.take(), folded.is_empty()) {
            (Some(raw), true) => as_they_came(raw),
            (None, _) => joined(folded),
            // Envoy tells of them once, and two tales may differ.
            (Some(_), false) => None,
        };
        match headers {
            Some(headers) => Self { headers, nearest, http: Some(http) },
            None => Self::default(),
        }
    }

    /// The browser's headers.
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The address of whoever is connected to Envoy; over a Unix socket there is none.
    pub fn nearest(&self) -> Option<IpAddr> {
        self.nearest.flatten()
    }

    /// The request, less its headers. `path` holds the query, and `query` and `fragment` are always empty (documented).
    ///
    /// `scheme` is whatever the browser wrote where it speaks HTTP/2 (seen, 1.40): how it came is told by the header that
    /// Envoy sets.
    pub fn original(&self) -> Option<Original<'_>> {
        self.nearest?;
        let http = self.http.as_ref().filter(|http| http.query.is_empty() && http.fragment.is_empty())?;
        let secure = is_secure(self.headers.only("x-forwarded-proto")?)?;
        Some(Original { secure, authority: &http.host, target: &http.path, method: &http.method })
    }
}

fn nearest(source: Option<Peer>) -> Option<Option<IpAddr>> {
    match source.and_then(|peer| peer.address).and_then(|address| address.address) {
        Some(Address::SocketAddress(address)) => address.address.parse().ok().map(Some),
        Some(Address::Pipe(_) | Address::EnvoyInternalAddress(_)) | None => Some(None),
    }
}

/// Each line for itself, byte for byte: what Envoy sends with `encode_raw_headers`.
fn as_they_came(lines: core::HeaderMap) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(lines.headers.len());
    for core::HeaderValue { key, value, raw_value } in lines.headers {
        if !is_pseudo(&key) {
            let (name, value) = (name(&key)?, if raw_value.is_empty() { value.into_bytes() } else { raw_value });
            let value = if name == header::COOKIE { in_utf_8(value) } else { value };
            headers.append(name, HeaderValue::from_maybe_shared(Bytes::from(value)).ok()?);
        }
    }
    Some(headers)
}

/// Lines of the same name are joined by commas, cookies as well. `a=1,b=2` is then one cookie that nobody is signed in
/// by, and goes nowhere where a part of it could be a session; see [`crate::inject`].
fn joined(map: HashMap<String, String>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(map.len());
    for (key, value) in map {
        if !is_pseudo(&key) {
            headers.append(name(&key)?, HeaderValue::from_maybe_shared(Bytes::from(value)).ok()?);
        }
    }
    Some(headers)
}

/// The cookies that can be told of in an answer.
fn in_utf_8(line: Vec<u8>) -> Vec<u8> {
    if std::str::from_utf8(&line).is_ok() {
        return line;
    }
    let pieces = line.split(|byte| *byte == b';').filter(|piece| std::str::from_utf8(piece).is_ok());
    pieces.collect::<Vec<_>>().join(&b';')
}

/// A name as Envoy writes it, in lower case. Two spellings of one would be two lines, in whatever order.
fn name(key: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(key.as_bytes()).ok().filter(|name| name.as_str() == key)
}

/// What HTTP/2 has in the place of the request line, and Envoy tells of apart from the headers.
fn is_pseudo(key: &str) -> bool {
    key.starts_with(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, raw: &[u8]) -> core::HeaderValue {
        core::HeaderValue { key: key.to_owned(), raw_value: raw.to_vec(), ..core::HeaderValue::default() }
    }

    #[test]
    fn lines_come_byte_for_byte_but_for_cookies_that_no_answer_can_hold() {
        let lines = [
            line(":path", b"/a"),
            line("cookie", b"a=1; b=\xfc; c=3"),
            line("cookie", b"d=4,e"),
            line("user-agent", b"\xfcber"),
            core::HeaderValue { key: "accept".to_owned(), value: "*/*".to_owned(), ..core::HeaderValue::default() },
        ];
        let headers = as_they_came(core::HeaderMap { headers: lines.to_vec() }).unwrap();
        let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).map(|line| line.as_bytes()).collect();
        assert_eq!(cookies, [&b"a=1; c=3"[..], b"d=4,e"]);
        assert_eq!(headers.get("user-agent").unwrap().as_bytes(), b"\xfcber");
        assert_eq!(headers.get("accept").unwrap(), "*/*");
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn what_no_header_may_be_is_not_understood() {
        for (key, value) in [("X-Any", "a"), ("", "a"), ("x any", "a"), ("x-any", "a\nb"), ("x-any", "\0"), ("ü", "a")]
        {
            let lines = core::HeaderMap { headers: vec![line(key, value.as_bytes())] };
            assert!(as_they_came(lines).is_none(), "{key:?} {value:?}");
            assert!(joined(HashMap::from([(key.to_owned(), value.to_owned())])).is_none(), "{key:?} {value:?}");
        }
    }
}
