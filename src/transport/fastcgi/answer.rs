//! An answer in the words of CGI: `Status` first, because lighttpd throws away what stands before it (seen, 1.4.69).

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use bytes::Bytes;

use super::conversation::Role;

static UPSTREAM_URI: HeaderName = HeaderName::from_static("x-upstream-uri");

/// Headers, an empty line, body.
pub fn write(role: Role, response: HttpResponse) -> Bytes {
    let status = response.status();
    let mut text = Vec::with_capacity(1024);
    // The words after the number reach the browser through Apache.
    let words = status.canonical_reason().unwrap_or_default();
    text.extend_from_slice(format!("Status: {} {words}\r\n", status.as_u16()).as_bytes());
    let (response, body) = response.into_parts();
    // Bodies of decisions are made at once, never streamed.
    let body = body.try_into_bytes().unwrap_or_default();
    if role == Role::Authorizer && status == StatusCode::OK {
        write_variables(&mut text, &response);
        text.extend_from_slice(b"\r\n");
        return Bytes::from(text);
    }
    let is_page = |value: &header::HeaderValue| value.as_bytes().starts_with(b"text/html");
    let is_page = response.headers().get(header::CONTENT_TYPE).is_some_and(is_page);
    for (name, value) in response.headers() {
        write_line(&mut text, &spelled(name), value.as_bytes());
    }
    if role == Role::Responder {
        write_line(&mut text, "Content-Length", body.len().to_string().as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    match std::str::from_utf8(&body) {
        Ok(page) if is_page && role == Role::Authorizer => write_ascii(&mut text, page),
        _ => text.extend_from_slice(&body),
    }
    Bytes::from(text)
}

/// What the web server remembers of the request, and cookies for the browser. Nothing else: Apache hands every other
/// header of an allow on to the browser (seen, 2.4), keys and all.
fn write_variables(text: &mut Vec<u8>, response: &HttpResponse<()>) {
    let not_for_anybody = [&header::CACHE_CONTROL, &header::CONTENT_TYPE, &header::CONTENT_LENGTH];
    for (name, value) in response.headers() {
        if *name == header::SET_COOKIE {
            write_line(text, "Set-Cookie", value.as_bytes());
        } else if !not_for_anybody.contains(&name) {
            let plain = name.as_str().strip_prefix("x-").unwrap_or(name.as_str());
            let variable = plain.replace('-', "_").to_ascii_uppercase();
            write_line(text, &format!("Variable-{variable}"), value.as_bytes());
        }
        if *name == UPSTREAM_URI {
            // For Apache's mod_rewrite and lighttpd, which change path and query apart from each other.
            let query = value.as_bytes().splitn(2, |byte| *byte == b'?').nth(1);
            write_line(text, "Variable-UPSTREAM_QUERY", query.unwrap_or_default());
        }
    }
}

fn write_line(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

/// A header's name as people write it.
fn spelled(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
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
    use super::*;

    fn written(role: Role, response: HttpResponse) -> String {
        String::from_utf8(write(role, response).to_vec()).unwrap()
    }

    /// As every door allows.
    fn allow(uri: &'static str) -> HttpResponse {
        let mut builder = HttpResponse::Ok();
        for (name, value) in [
            ("Cache-Control", "no-store"),
            ("X-Upstream-Cookie", "a=1; k=2"),
            ("X-Upstream-Uri", uri),
            ("Remote-User", "alice"),
            ("Remote-Groups", ""),
            ("Set-Cookie", "s=1; Path=/"),
            ("Set-Cookie", "t=2; Path=/"),
            ("X-Set-Cookie-1", "s=1; Path=/"),
        ] {
            builder.append_header((name, value));
        }
        builder.finish()
    }

    #[test]
    fn an_authorizers_allow_is_variables_and_cookies() {
        let text = written(Role::Authorizer, allow("/a?b=c?d&e"));
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
        let text = written(Role::Authorizer, allow("/a"));
        assert!(text.contains("\r\nVariable-UPSTREAM_QUERY: \r\n"), "always there, so that nothing else stays: {text}");
    }

    #[test]
    fn a_responders_allow_is_what_http_would_say() {
        let text = written(Role::Responder, allow("/a"));
        assert!(text.starts_with("Status: 200 OK\r\n"));
        for line in ["X-Upstream-Uri: /a", "Remote-Groups: ", "Content-Length: 0", "Cache-Control: no-store"] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line} is not in {text}");
        }
        assert!(!text.contains("Variable-"), "{text}");
    }

    #[test]
    fn a_refusal_is_whole_and_a_page_is_ascii() {
        let refusal = |kind: &'static str, body: &'static str| {
            HttpResponse::Forbidden().insert_header(("X-Keyward-Reason", "role")).content_type(kind).body(body)
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
