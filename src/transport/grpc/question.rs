//! What Envoy tells of a request as the question that all doors ask.

use std::collections::HashMap;
use std::net::IpAddr;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::{self as core};
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer};

use crate::transport::question::{Original, is_secure, only};

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
        static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
        self.nearest?;
        let http = self.http.as_ref().filter(|http| http.query.is_empty() && http.fragment.is_empty())?;
        let secure = is_secure(only(&self.headers, &PROTO)?)?;
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
            let value = if raw_value.is_empty() { value.into_bytes() } else { raw_value };
            headers.append(name(&key)?, HeaderValue::from_maybe_shared(bytes::Bytes::from(value)).ok()?);
        }
    }
    Some(headers)
}

/// Lines of the same name are joined by commas, which is no harm but to cookies.
fn joined(map: HashMap<String, String>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(map.len());
    for (key, value) in map {
        if is_pseudo(&key) {
            continue;
        }
        let name = name(&key)?;
        let value = if name == header::COOKIE { without_joints(value) } else { value };
        headers.append(name, HeaderValue::from_maybe_shared(bytes::Bytes::from(value)).ok()?);
    }
    Some(headers)
}

/// A name as Envoy writes it, in lower case. Two spellings of one would be two lines, in whatever order.
fn name(key: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(key.as_bytes()).ok().filter(|name| name.as_str() == key)
}

/// What HTTP/2 has in the place of the request line, and Envoy tells of apart from the headers.
fn is_pseudo(key: &str) -> bool {
    key.starts_with(':')
}

/// The cookies, less those at a joint of two lines.
///
/// `a=1,b=2` is one cookie, or two of two lines. Whoever takes it for one hands the second on to the application,
/// whatever it is; whoever takes it for two signs in by what somebody wrote into a value. So it is neither: it signs
/// nobody in, and goes nowhere. A comma with no `=` after it is none of a joint that would matter, and stays.
fn without_joints(line: String) -> String {
    if !line.contains(',') {
        return line;
    }
    let is_joint = |piece: &str| piece.split_once(',').is_some_and(|(_, rest)| rest.contains('='));
    line.split(';').filter(|piece| !is_joint(piece)).collect::<Vec<_>>().join(";")
}
