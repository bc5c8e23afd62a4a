use std::borrow::Cow;

use actix_web::http::Method;
use actix_web::http::header::HeaderName;
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::LocalBoxFuture;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use crate::domain::ApiKey;
use crate::observe::ApiCall;
use crate::transport::Live;
use crate::transport::body::{self, NoBody};
use crate::transport::headers::Headers;
use crate::transport::problem::Problem;

/// Longest body of a call, in bytes.
const LONGEST_BODY: usize = 64 * 1024;

/// One call that can be made.
pub(super) struct Call {
    pub kind: ApiCall,
    pub method: Method,
    /// Segments in braces stand for any one segment.
    pub path: &'static str,
    pub answer: for<'a> fn(&'a Asked<'a>) -> Answer<'a>,
}

/// What is answered, in time.
pub(super) type Answer<'a> = LocalBoxFuture<'a, Result<HttpResponse, Problem>>;

/// One call that is made, by somebody with a key.
pub(super) struct Asked<'a> {
    pub request: &'a HttpRequest,
    pub live: &'a Live,
    pub key: &'a ApiKey,
    pub segments: Segments<'a>,
    pub body: Bytes,
}

/// What stands in the place of the braces, as it came.
pub(super) type Segments<'a> = Vec<&'a str>;

impl Call {
    /// What stands in the place of the braces, where the path is that of this call.
    pub fn segments<'a>(&self, path: &'a str) -> Option<Segments<'a>> {
        let (mut pattern, mut given) = (self.path.split('/'), path.split('/'));
        let mut segments = Segments::new();
        loop {
            match (pattern.next(), given.next()) {
                (None, None) => return Some(segments),
                (Some(place), Some(segment)) if place.starts_with('{') => segments.push(segment),
                (Some(literal), Some(segment)) if literal == segment => {}
                _ => return None,
            }
        }
    }
}

impl Asked<'_> {
    /// The value in the place of the braces of this number, from 0, decoded.
    pub fn segment(&self, number: usize) -> Result<Cow<'_, str>, Problem> {
        let segment = self.segments.get(number).copied().unwrap_or_default();
        percent_decode_str(segment).decode_utf8().map_err(|_| Problem::PATH)
    }

    /// The value of a header, `None` where it is absent.
    pub fn header(&self, name: &HeaderName) -> Result<Option<&[u8]>, Problem> {
        let mut values = self.request.headers().get_all(name);
        let value = values.next().map(|value| value.as_bytes());
        if values.next().is_some() { Err(Problem::HEADER) } else { Ok(value) }
    }

    /// The body of a call that must have one: a JSON object, every field of it known and given once.
    pub fn json<T: DeserializeOwned>(&self, wrong_fields: Problem) -> Result<T, Problem> {
        let kind = self.request.headers().only("content-type").unwrap_or_default();
        let mut parts = kind.split(';').map(str::trim);
        let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
            && parts.all(|parameter| parameter.eq_ignore_ascii_case("charset=utf-8"));
        if !is_json {
            return Err(Problem::MEDIA_TYPE);
        }
        // serde takes a list for a struct as well, field after field.
        let object = self.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        // What serde says of it may quote it, so it is not told.
        serde_json::from_slice(&self.body).ok().filter(|_| object).ok_or(wrong_fields)
    }
}

/// Reads a body to its end.
pub(super) async fn read(payload: Payload) -> Result<Bytes, Problem> {
    body::read(payload, LONGEST_BODY).await.map_err(|error| match error {
        NoBody::Broken => Problem::BODY,
        NoBody::TooLarge => Problem::TOO_LARGE,
        NoBody::Slow => Problem::SLOW,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_compared_segment_by_segment_as_it_came() {
        let answer = |_: &Asked<'_>| -> Answer<'_> { unreachable!("nobody calls") };
        let call = Call { kind: ApiCall::Unknown, method: Method::GET, path: "/v1/a/{b}/c/{d}", answer };
        for (path, segments) in [
            ("/v1/a/x/c/y", Some(&["x", "y"][..])),
            ("/v1/a//c/", Some(&["", ""])),
            ("/v1/a/%2F/c/y%20", Some(&["%2F", "y%20"])),
            ("/v1/a/../c/.", Some(&["..", "."])),
            ("/v1/a/x/c", None),
            ("/v1/a/x/c/y/", None),
            ("/v1/a/x/C/y", None),
            ("/v1/%61/x/c/y", None),
            ("/v1/a/x/y/c/y", None),
        ] {
            assert_eq!(call.segments(path).as_deref(), segments, "{path}");
        }
    }
}
