//! A decision's answer as changes: of the request on its way to the application, and of the answer to the browser.

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{self as core, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::check_response;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use tonic::Code;

/// What the answer calls otherwise than the request upstream.
const UPSTREAM: [(&str, &str); 3] =
    [("x-upstream-uri", ":path"), ("x-upstream-cookie", "cookie"), ("x-upstream-authorization", "authorization")];
/// What of an allow is for no application.
const NOT_UPSTREAM: [&str; 4] = ["cache-control", "content-length", "content-type", "x-keyward-session-seconds"];
/// Headers that only a web server or Keyward says, and no application is to hear of from a browser.
const NOBODYS: [&str; 4] = ["x-keyward-", "x-original-", "x-set-cookie-", "x-upstream-"];

/// An answer, ready to be sent.
pub struct Answer(check_response::HttpResponse);

impl Answer {
    /// The answer to a request with these headers.
    pub fn new(response: HttpResponse, asked: &HeaderMap) -> Self {
        Self(match response.status() {
            StatusCode::OK => check_response::HttpResponse::OkResponse(allowed(response.headers(), asked)),
            _ => check_response::HttpResponse::DeniedResponse(denied(response)),
        })
    }
}

impl From<Answer> for CheckResponse {
    fn from(Answer(answer): Answer) -> Self {
        let code = match &answer {
            check_response::HttpResponse::OkResponse(_) => Code::Ok,
            _ => Code::PermissionDenied,
        };
        let status = rpc::Status { code: code.into(), ..rpc::Status::default() };
        Self { status: Some(status), http_response: Some(answer), ..Self::default() }
    }
}

fn allowed(answer: &HeaderMap, asked: &HeaderMap) -> OkHttpResponse {
    let mut allowed = OkHttpResponse::default();
    for (name, value) in answer {
        if *name == header::SET_COOKIE {
            let line = option("set-cookie", value, HeaderAppendAction::AppendIfExistsOrAdd);
            allowed.response_headers_to_add.push(line);
            continue;
        }
        let name = name.as_str();
        if NOT_UPSTREAM.contains(&name) || name.starts_with("x-set-cookie-") {
            continue;
        }
        let name = UPSTREAM.iter().find(|(ours, _)| *ours == name).map_or(name, |(_, theirs)| theirs);
        if value.is_empty() {
            allowed.headers_to_remove.push(name.to_owned());
        } else {
            allowed.headers.push(option(name, value, HeaderAppendAction::OverwriteIfExistsOrAdd));
        }
    }
    let nobodys = asked.keys().filter(|name| is_nobodys(name, answer)).map(|name| name.as_str().to_owned());
    allowed.headers_to_remove.extend(nobodys);
    allowed
}

/// Whether an application could take a browser's header for ours. Behind CGI an underscore is a hyphen.
fn is_nobodys(name: &HeaderName, answer: &HeaderMap) -> bool {
    let hyphens = name.as_str().replace('_', "-");
    let is_set_otherwise = hyphens != name.as_str() && (answer.contains_key(&*hyphens) || hyphens == "cookie");
    is_set_otherwise || NOBODYS.iter().any(|start| hyphens.starts_with(start))
}

/// Envoy hands all of it to the browser. Headers of one name stay as many as they are.
fn denied(response: HttpResponse) -> DeniedHttpResponse {
    let code = i32::from(response.status().as_u16());
    let lines = response.headers().iter().filter(|(name, _)| *name != header::CONTENT_LENGTH);
    let headers = lines.map(|(name, value)| option(name.as_str(), value, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let headers = headers.collect();
    // Bodies of decisions are made at once, never streamed, and they are text.
    let body = response.into_body().try_into_bytes().unwrap_or_default();
    let body = String::from_utf8(body.into()).unwrap_or_default();
    DeniedHttpResponse { status: Some(HttpStatus { code }), headers, body }
}

fn option(name: &str, value: &HeaderValue, action: HeaderAppendAction) -> HeaderValueOption {
    let key = name.to_owned();
    // As bytes, where it is not ASCII alone: `value` would have to be UTF-8, and what a browser sent may be anything.
    let header = match value.to_str() {
        Ok(value) => core::HeaderValue { key, value: value.to_owned(), raw_value: Vec::new() },
        Err(_) => core::HeaderValue { key, value: String::new(), raw_value: value.as_bytes().to_vec() },
    };
    HeaderValueOption { header: Some(header), append_action: action.into(), ..HeaderValueOption::default() }
}
