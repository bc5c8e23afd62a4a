//! An answer, as the bytes of HTTP/1.1.

use std::cell::Cell;
use std::time::{Duration, UNIX_EPOCH};

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use httpdate::HttpDate;

use crate::domain::SystemClock;
use crate::transport::answer::Answer;

/// How an answer is to be written.
#[derive(Clone, Copy)]
pub struct Manner {
    /// Whether another request may follow on this connection.
    pub keeps: bool,
    /// Whether the body is left out, as in an answer to HEAD.
    pub head_only: bool,
}

/// Begins an allow, in the memory of an earlier answer. Its last line is ended by what follows, as every line here is.
pub fn begin(mut out: Vec<u8>) -> Vec<u8> {
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 0");
    out
}

/// Writes an answer, which is begun if it is an allow.
pub fn write(answer: Answer, manner: Manner) -> Vec<u8> {
    let mut out = Vec::new();
    match answer {
        Answer::Allow(allowed) => {
            out = allowed.into_text();
            finish(&mut out, manner);
        }
        Answer::Other(response) => write_response(&mut out, response, manner),
    }
    out
}

fn write_response(out: &mut Vec<u8>, response: HttpResponse, manner: Manner) {
    let status = response.status();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
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
        out.extend_from_slice(b"\r\nconnection: close");
    }
    out.extend_from_slice(&end());
}

fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
}

/// How every head ends: the time of day, written once a second on each thread, and an empty line.
fn end() -> End {
    thread_local! {
        static WRITTEN: Cell<(u64, End)> = const { Cell::new((u64::MAX, *NO_TIME)) };
    }
    let now = SystemClock::wall();
    let (written, end) = WRITTEN.get();
    if written == now {
        return end;
    }
    let date = HttpDate::from(UNIX_EPOCH + Duration::from_secs(now));
    let end = End::try_from(format!("\r\ndate: {date}\r\n\r\n").as_bytes()).unwrap_or(*NO_TIME);
    WRITTEN.set((now, end));
    end
}

type End = [u8; NO_TIME.len()];
const NO_TIME: &[u8; 41] = b"\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
