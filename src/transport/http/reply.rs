//! An answer, as the bytes of HTTP/1.1.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use httpdate::HttpDate;

use crate::transport::answer::Answer;

/// How an answer is to be written.
#[derive(Clone, Copy)]
pub struct Manner {
    /// Whether another request may follow on this connection.
    pub keeps: bool,
    /// Whether the body is left out, as in an answer to HEAD.
    pub head_only: bool,
}

/// Writes an answer.
pub fn write(out: &mut Vec<u8>, answer: Answer<'_>, manner: Manner) {
    match answer {
        Answer::Allow(allowed) => {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n");
            allowed.lines().for_each(|(name, value)| write_line(out, name, value));
            finish(out, manner);
        }
        Answer::Other(response) => write_response(out, response, manner),
    }
}

fn write_response(out: &mut Vec<u8>, response: HttpResponse, manner: Manner) {
    let status = response.status();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let (response, body) = response.into_parts();
    // Bodies of decisions are made at once, never streamed.
    let body = body.try_into_bytes().unwrap_or_default();
    write_line(out, "content-length", itoa::Buffer::new().format(body.len()).as_bytes());
    response.headers().iter().for_each(|(name, value)| write_line(out, name.as_str(), value.as_bytes()));
    finish(out, manner);
    if !manner.head_only {
        out.extend_from_slice(&body);
    }
}

/// The lines that every answer has, and the end of its head.
fn finish(out: &mut Vec<u8>, manner: Manner) {
    if !manner.keeps {
        out.extend_from_slice(b"connection: close\r\n");
    }
    write_line(out, "date", &date());
    out.extend_from_slice(b"\r\n");
}

fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The time of day, written once a second on each thread.
#[expect(clippy::disallowed_methods, reason = "a header for people who compare logs; nothing is judged by it")]
fn date() -> [u8; 29] {
    thread_local! {
        static WRITTEN: Cell<(u64, [u8; 29])> = const { Cell::new((u64::MAX, [b' '; 29])) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (written, text) = WRITTEN.get();
    if written == second {
        return text;
    }
    let text = HttpDate::from(UNIX_EPOCH + std::time::Duration::from_secs(second)).to_string();
    let text = <[u8; 29]>::try_from(text.as_bytes()).unwrap_or([b' '; 29]);
    WRITTEN.set((second, text));
    text
}
