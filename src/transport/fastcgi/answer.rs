//! An answer in the words of CGI: `Status` first, because lighttpd throws away what stands before it (seen, 1.4.69).

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header;

use super::conversation::Role;
use super::record::{begin_answer, end_answer};
use crate::transport::answer::{Allowed, Answer};

/// What an allow says of itself to a web server that reads headers.
const ALLOWED: &[u8] = b"Status: 200 OK\r\ncontent-length: 0";

/// Begins an allow, in the memory of an earlier answer. Only a responder's goes on with lines as they are.
pub fn begin(role: Role, mut out: Vec<u8>) -> Vec<u8> {
    if role == Role::Responder {
        begin_answer(&mut out);
        out.extend_from_slice(ALLOWED);
    }
    out
}

/// Writes the answer to this request, which is begun if it is an allow: headers, an empty line, body.
pub fn write(request: u16, role: Role, answer: Answer) -> Vec<u8> {
    let mut out = match (answer, role) {
        (Answer::Allow(allowed), Role::Responder) => {
            let mut text = allowed.into_text();
            text.extend_from_slice(b"\r\n\r\n");
            text
        }
        (Answer::Allow(allowed), Role::Authorizer) => write_variables(&allowed),
        (Answer::Other(response), role) => write_refusal(role, response),
    };
    end_answer(&mut out, request);
    out
}

/// `Status` and its line's end; more is to follow.
fn started(status: StatusCode, more: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(256 + more);
    begin_answer(&mut text);
    text.extend_from_slice(b"Status: ");
    text.extend_from_slice(status.as_str().as_bytes());
    text.push(b' ');
    // The words after the number reach the browser through Apache.
    text.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    text.extend_from_slice(b"\r\n");
    text
}

fn write_refusal(role: Role, response: HttpResponse) -> Vec<u8> {
    let (response, body) = response.into_parts();
    // Bodies of decisions are made at once, never streamed.
    let body = body.try_into_bytes().unwrap_or_default();
    let mut text = started(response.status(), 768 + body.len());
    let is_page = |value: &header::HeaderValue| value.as_bytes().starts_with(b"text/html");
    let is_page = response.headers().get(header::CONTENT_TYPE).is_some_and(is_page);
    for (name, value) in response.headers() {
        write_line(&mut text, name.as_str().as_bytes(), value.as_bytes());
    }
    if role == Role::Responder {
        write_line(&mut text, b"content-length", body.len().to_string().as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    match std::str::from_utf8(&body) {
        Ok(page) if is_page && role == Role::Authorizer => write_ascii(&mut text, page),
        _ => text.extend_from_slice(&body),
    }
    text
}

/// What the web server remembers of the request, and cookies for the browser. Nothing else: Apache hands every other
/// header of an allow on to the browser (seen, 2.4), keys and all.
fn write_variables(allowed: &Allowed) -> Vec<u8> {
    let mut text = started(StatusCode::OK, allowed.len());
    for (name, value) in allowed.lines() {
        match name {
            b"set-cookie" => write_line(&mut text, name, value),
            b"cache-control" => {}
            _ => {
                text.extend_from_slice(b"Variable-");
                let plain = name.strip_prefix(b"x-").unwrap_or(name);
                text.extend(plain.iter().map(|byte| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }));
                write_value(&mut text, value);
            }
        }
        if name == b"x-upstream-uri" {
            // For Apache's mod_rewrite and lighttpd, which change path and query apart from each other.
            let query = value.splitn(2, |byte| *byte == b'?').nth(1);
            write_line(&mut text, b"Variable-UPSTREAM_QUERY", query.unwrap_or_default());
        }
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// A line, with its name as people write it.
fn write_line(text: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let mut begins_word = true;
    text.extend(name.iter().map(|byte| {
        let spelled = if begins_word { byte.to_ascii_uppercase() } else { *byte };
        begins_word = *byte == b'-';
        spelled
    }));
    write_value(text, value);
}

fn write_value(text: &mut Vec<u8>, value: &[u8]) {
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

/// A page in ASCII: Apache gives an authorizer's body out as ISO-8859-1, whatever we say of it (seen, 2.4).
fn write_ascii(text: &mut Vec<u8>, page: &str) {
    for character in page.chars() {
        if character.is_ascii() {
            text.push(character as u8);
        } else {
            text.extend_from_slice(format!("&#{};", u32::from(character)).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{cut_off, kind};
    use super::*;

    /// What a web server reads of an answer.
    fn written(role: Role, answer: Answer) -> String {
        let answer = write(7, role, answer);
        let stdout = cut_off(&mut &answer[..]).unwrap().unwrap();
        assert_eq!((stdout.kind, stdout.request), (kind::STDOUT, 7));
        String::from_utf8(stdout.content.to_vec()).unwrap()
    }

    /// As every door allows.
    fn allow(role: Role, uri: &'static str) -> Answer {
        let lines = [
            ("cache-control", "no-store"),
            ("x-upstream-cookie", "a=1; k=2"),
            ("x-upstream-uri", uri),
            ("remote-user", "alice"),
            ("remote-groups", ""),
            ("set-cookie", "s=1; Path=/"),
            ("set-cookie", "t=2; Path=/"),
            ("x-set-cookie-1", "s=1; Path=/"),
        ];
        Answer::Allow(Allowed::of(begin(role, Vec::new()), &lines))
    }

    #[test]
    fn an_authorizers_allow_is_variables_and_cookies() {
        let text = written(Role::Authorizer, allow(Role::Authorizer, "/a?b=c?d&e"));
        let (status, rest) = text.split_once("\r\n").unwrap();
        let mut lines: Vec<&str> = rest.strip_suffix("\r\n\r\n").unwrap().split("\r\n").collect();
        lines.sort_unstable();
        assert_eq!(status, "Status: 200 OK");
        assert_eq!(
            lines,
            [
                "Set-Cookie: s=1; Path=/",
                "Set-Cookie: t=2; Path=/",
                "Variable-REMOTE_GROUPS: ",
                "Variable-REMOTE_USER: alice",
                "Variable-SET_COOKIE_1: s=1; Path=/",
                "Variable-UPSTREAM_COOKIE: a=1; k=2",
                "Variable-UPSTREAM_QUERY: b=c?d&e",
                "Variable-UPSTREAM_URI: /a?b=c?d&e",
            ]
        );
        let text = written(Role::Authorizer, allow(Role::Authorizer, "/a"));
        assert!(text.contains("\r\nVariable-UPSTREAM_QUERY: \r\n"), "always there, so that nothing else stays: {text}");
    }

    #[test]
    fn a_responders_allow_is_what_http_would_say() {
        let text = written(Role::Responder, allow(Role::Responder, "/a"));
        assert!(text.starts_with("Status: 200 OK\r\n"));
        for line in ["x-upstream-uri: /a", "remote-groups: ", "content-length: 0", "cache-control: no-store"] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line} is not in {text}");
        }
        assert!(!text.contains("Variable-") && text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn a_refusal_is_whole_and_a_page_is_ascii() {
        let refusal = |kind: &'static str, body: &'static str| {
            let mut builder = HttpResponse::Forbidden();
            Answer::Other(builder.insert_header(("X-Keyward-Reason", "role")).content_type(kind).body(body))
        };
        for (role, length) in [(Role::Authorizer, ""), (Role::Responder, "Content-Length: 11\r\n")] {
            let text = written(role, refusal("text/html; charset=utf-8", "<p>für €"));
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let head = format!("{head}\r\n");
            assert!(head.starts_with("Status: 403 Forbidden\r\n") && head.contains("X-Keyward-Reason: role\r\n"));
            assert!(head.contains(length) && head.contains("Content-Type: text/html; charset=utf-8\r\n"), "{head}");
            let expected = if role == Role::Authorizer { "<p>f&#252;r &#8364;" } else { "<p>für €" };
            assert_eq!(body, expected);
        }
        assert!(written(Role::Authorizer, refusal("application/json", "{\"a\":\"ü\"}")).ends_with("{\"a\":\"ü\"}"));
    }
}
