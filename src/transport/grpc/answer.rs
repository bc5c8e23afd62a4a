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
    /// The answer to a request with these headers; `None` where it cannot be said in UTF-8.
    pub fn new(response: HttpResponse, asked: &HeaderMap) -> Option<Self> {
        Some(Self(match response.status() {
            StatusCode::OK => check_response::HttpResponse::OkResponse(allowed(response.headers(), asked)?),
            _ => check_response::HttpResponse::DeniedResponse(denied(response)?),
        }))
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

fn allowed(answer: &HeaderMap, asked: &HeaderMap) -> Option<OkHttpResponse> {
    let mut allowed = OkHttpResponse::default();
    for (name, value) in answer {
        if *name == header::SET_COOKIE {
            let line = option("set-cookie", value, HeaderAppendAction::AppendIfExistsOrAdd)?;
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
            allowed.headers.push(option(name, value, HeaderAppendAction::OverwriteIfExistsOrAdd)?);
        }
    }
    // What a client says to Keyward is not for the application, whether Keyward listens to it there or not.
    if !answer.contains_key("x-upstream-authorization") {
        allowed.headers_to_remove.push(header::AUTHORIZATION.to_string());
    }
    let nobodys = asked.keys().filter(|name| is_nobodys(name, answer)).map(|name| name.as_str().to_owned());
    allowed.headers_to_remove.extend(nobodys);
    Some(allowed)
}

/// Whether an application could take a browser's header for ours. Behind CGI an underscore is a hyphen.
fn is_nobodys(name: &HeaderName, answer: &HeaderMap) -> bool {
    let hyphens = name.as_str().replace('_', "-");
    let is_set_otherwise = hyphens != name.as_str() && (answer.contains_key(&*hyphens) || hyphens == "cookie");
    is_set_otherwise || NOBODYS.iter().any(|start| hyphens.starts_with(start))
}

/// Envoy hands all of it to the browser. Headers of one name stay as many as they are.
fn denied(response: HttpResponse) -> Option<DeniedHttpResponse> {
    let code = i32::from(response.status().as_u16());
    let lines = response.headers().iter().filter(|(name, _)| *name != header::CONTENT_LENGTH);
    let headers = lines.map(|(name, value)| option(name.as_str(), value, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let headers = headers.collect::<Option<_>>()?;
    // Bodies of decisions are made at once, never streamed, and they are text.
    let body = response.into_body().try_into_bytes().ok()?;
    let body = String::from_utf8(body.into()).ok()?;
    Some(DeniedHttpResponse { status: Some(HttpStatus { code }), headers, body })
}

/// `value` holds nothing but UTF-8, and Envoy does not look into `raw_value` of an answer (seen, 1.40: the header was
/// there, and empty).
fn option(name: &str, value: &HeaderValue, action: HeaderAppendAction) -> Option<HeaderValueOption> {
    let value = std::str::from_utf8(value.as_bytes()).ok()?.to_owned();
    let header = core::HeaderValue { key: name.to_owned(), value, ..core::HeaderValue::default() };
    Some(HeaderValueOption { header: Some(header), append_action: action.into(), ..HeaderValueOption::default() })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const IDENTITY: [(&str, &str); 4] =
        [("Remote-User", "ana"), ("Remote-Name", "Ana Día"), ("Remote-Email", ""), ("Remote-Groups", "a,b")];

    fn response(status: StatusCode, headers: &[(&'static str, &'static str)]) -> HttpResponse {
        let mut response = HttpResponse::build(status);
        for header in headers {
            response.append_header(*header);
        }
        response.body("text")
    }

    fn asked(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let request = headers.iter().fold(TestRequest::get(), |request, header| request.append_header(*header));
        request.to_request().head().headers().clone()
    }

    fn lines(options: &[HeaderValueOption]) -> Vec<(String, i32)> {
        let line = |option: &HeaderValueOption| {
            let header = option.header.clone().unwrap();
            (format!("{}: {}", header.key, header.value), option.append_action)
        };
        let mut lines: Vec<_> = options.iter().map(line).collect();
        lines.sort();
        lines
    }

    fn allow(headers: &[(&'static str, &'static str)], client: &[(&'static str, &'static str)]) -> OkHttpResponse {
        let headers = [&IDENTITY[..], headers].concat();
        let answer = Answer::new(response(StatusCode::OK, &headers), &asked(client)).unwrap();
        let answer = CheckResponse::from(answer);
        assert_eq!(answer.status.unwrap().code, 0);
        match answer.http_response.unwrap() {
            check_response::HttpResponse::OkResponse(allowed) => allowed,
            other => panic!("{other:?}"),
        }
    }

    const OVERWRITE: i32 = HeaderAppendAction::OverwriteIfExistsOrAdd as i32;
    const APPEND: i32 = HeaderAppendAction::AppendIfExistsOrAdd as i32;

    #[test]
    fn an_allow_is_what_goes_upstream_and_what_the_browser_gets_beside() {
        let allowed = allow(
            &[
                ("X-Upstream-Cookie", "a=1; k=2"),
                ("X-Upstream-Uri", "/a?_h=3"),
                ("X-Upstream-Authorization", "Bearer k"),
                ("X-Axigen-Session", "4"),
                ("X-Keyward-Session-Seconds", "5"),
                ("Cache-Control", "no-store"),
                ("Set-Cookie", "c=1"),
                ("Set-Cookie", "d=2"),
                ("X-Set-Cookie-1", "c=1"),
                ("X-Set-Cookie-2", "d=2"),
            ],
            &[],
        );
        let overwritten = [
            ":path: /a?_h=3",
            "authorization: Bearer k",
            "cookie: a=1; k=2",
            "remote-groups: a,b",
            "remote-name: Ana Día",
            "remote-user: ana",
            "x-axigen-session: 4",
        ];
        assert_eq!(lines(&allowed.headers), overwritten.map(|line| (line.to_owned(), OVERWRITE)));
        let added = ["set-cookie: c=1", "set-cookie: d=2"].map(|line| (line.to_owned(), APPEND));
        assert_eq!(lines(&allowed.response_headers_to_add), added);
        assert_eq!(allowed.headers_to_remove, ["remote-email"]);
    }

    #[test]
    fn what_has_no_value_goes_and_what_only_we_say_as_well() {
        let client = [
            ("Authorization", "evil"),
            ("X-Upstream-Cookie", "evil"),
            ("X_Upstream_Uri", "evil"),
            ("X-Original-URL", "evil"),
            ("X-Keyward-Reason", "evil"),
            ("Remote_User", "evil"),
            ("Remote-User", "evil"),
            ("Remote-Users", "fine"),
            ("X-Custom", "fine"),
        ];
        let mut removed = allow(&[("X-Upstream-Cookie", ""), ("X-Upstream-Uri", "/")], &client).headers_to_remove;
        removed.sort();
        let wanted = [
            "authorization",
            "cookie",
            "remote-email",
            "remote_user",
            "x-keyward-reason",
            "x-original-url",
            "x-upstream-cookie",
            "x_upstream_uri",
        ];
        assert_eq!(removed, wanted);
    }

    #[test]
    fn a_refusal_is_whole_and_is_one() {
        for status in [
            StatusCode::FOUND,
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::NO_CONTENT,
        ] {
            let headers = [("Content-Type", "text/html"), ("WWW-Authenticate", "A"), ("WWW-Authenticate", "B")];
            let answer = CheckResponse::from(Answer::new(response(status, &headers), &asked(&[])).unwrap());
            assert_ne!(answer.status.unwrap().code, 0);
            let Some(check_response::HttpResponse::DeniedResponse(denied)) = answer.http_response else { panic!() };
            assert_eq!(denied.status.unwrap().code, i32::from(status.as_u16()));
            let wanted = ["content-type: text/html", "www-authenticate: A", "www-authenticate: B"];
            assert_eq!(lines(&denied.headers), wanted.map(|line| (line.to_owned(), OVERWRITE)));
            assert_eq!(denied.body, "text");
        }
    }

    #[test]
    fn what_cannot_be_said_in_utf_8_is_not_said() {
        let mut response = response(StatusCode::OK, &IDENTITY);
        let value = HeaderValue::from_bytes(b"a=\xfc").unwrap();
        response.headers_mut().insert(HeaderName::from_static("x-upstream-cookie"), value);
        assert!(Answer::new(response, &asked(&[])).is_none());
    }
}
