//! The head of a plain question, read where it lies.

use std::mem::MaybeUninit;

use httparse::{Header, Request, Status};

use super::dialect::RequestLine;
use crate::transport::headers::Headers;

/// Most header lines. The framework takes as many.
const MOST_LINES: usize = 96;

/// Room for the lines of one head.
pub type Room<'b> = [MaybeUninit<Header<'b>>; MOST_LINES];

/// Room that nothing was written to.
pub const fn room<'b>() -> Room<'b> {
    [const { MaybeUninit::uninit() }; MOST_LINES]
}

/// What the bytes of a connection begin with.
pub enum Reading<'r, 'b> {
    /// A request with nothing behind its head, as web servers ask.
    Plain(Head<'r, 'b>),
    /// The beginning of one, perhaps.
    Unfinished,
    /// Anything else, whether it is a request or not.
    Other,
}

/// The head of a plain question.
pub struct Head<'r, 'b> {
    /// Its method and target.
    pub line: RequestLine<'b>,
    /// Its headers.
    pub headers: Lines<'r, 'b>,
    /// Whether the connection is for more requests.
    pub keeps: bool,
    /// Its bytes.
    pub length: usize,
}

/// Header lines, as they came.
pub struct Lines<'r, 'b>(&'r [Header<'b>]);

impl Headers for Lines<'_, '_> {
    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value)
    }
}

/// Reads what a connection begins with, by the framework's own parser.
///
/// Only HTTP/1.1, and only where nobody could disagree on where the request ends: one host, no body, and no word of
/// another protocol.
pub fn read<'r, 'b>(bytes: &'b [u8], room: &'r mut Room<'b>) -> Reading<'r, 'b> {
    if bytes.is_empty() {
        return Reading::Unfinished;
    }
    let mut request = Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, room) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Reading::Unfinished,
        Err(_) => return Reading::Other,
    };
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version) else {
        return Reading::Other;
    };
    let lines: &'r [Header<'b>] = request.headers;
    let (mut hosts, mut lengths, mut keeps) = (0, 0, true);
    for Header { name, value } in lines {
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => hosts += 1,
            14 if name.eq_ignore_ascii_case("content-length") && *value == b"0" => lengths += 1,
            10 if name.eq_ignore_ascii_case("connection") => match *value {
                value if value.eq_ignore_ascii_case(b"keep-alive") => {}
                value if value.eq_ignore_ascii_case(b"close") => keeps = false,
                _ => return Reading::Other,
            },
            6 | 7 | 14 | 17 if is_of_the_connection(name) => return Reading::Other,
            _ => {}
        }
    }
    if hosts != 1 || lengths > 1 || !target.bytes().all(|byte| PLAIN[usize::from(byte)]) {
        return Reading::Other;
    }
    Reading::Plain(Head { line: RequestLine { method, target }, headers: Lines(lines), keeps, length })
}

fn is_of_the_connection(name: &str) -> bool {
    ["expect", "upgrade", "content-length", "transfer-encoding"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// What every reader takes in an address, and as nothing else.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        plain[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'/' | b'%' | b'?' | b'=' | b'&' | b'.' | b'-' | b'_' | b'~' | b'+')
            || matches!(byte, b'!' | b'$' | b'\'' | b'(' | b')' | b'*' | b',' | b';' | b':' | b'@');
        byte += 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> String {
        match read(bytes, &mut room()) {
            Reading::Plain(Head { line, headers, keeps, length }) => {
                let host = headers.only("host").unwrap();
                format!("{} {} {host} {keeps} {}", line.method, line.target, bytes.len() - length)
            }
            Reading::Unfinished => "unfinished".to_owned(),
            Reading::Other => "other".to_owned(),
        }
    }

    #[test]
    fn a_plain_question_is_read_as_it_is() {
        for (head, expected) in [
            ("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a h true 0"),
            ("GET /a HTTP/1.1\r\nHOST:h\r\n\r\nGET /b", "GET /a h true 6"),
            ("PROPFIND /a?b=%20 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "PROPFIND /a?b=%20 h true 0"),
            ("GET / HTTP/1.1\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n", "GET / h true 0"),
            ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "GET / h false 0"),
            ("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / h true 0"),
        ] {
            assert_eq!(told(head.as_bytes()), expected, "{head:?}");
            for end in 0..head.rfind("\r\n\r\n").unwrap() + 3 {
                assert_eq!(told(&head.as_bytes()[..end]), "unfinished", "{:?}", &head[..end]);
            }
        }
    }

    #[test]
    fn whatever_two_servers_could_read_in_two_ways_is_not_plain() {
        for lines in [
            "",
            "Host: h\r\nHost: h\r\n",
            "Host: h\r\nContent-Length: 5\r\n",
            "Host: h\r\nContent-Length: 00\r\n",
            "Host: h\r\nContent-Length:\r\n",
            "Host: h\r\nContent-Length: 0\r\nContent-Length: 0\r\n",
            "Host: h\r\nContent-Length: 0, 0\r\n",
            "Host: h\r\nTransfer-Encoding: chunked\r\n",
            "Host: h\r\ntransfer-encoding: identity\r\n",
            "Host: h\r\nExpect: 100-continue\r\n",
            "Host: h\r\nUpgrade: h2c\r\n",
            "Host: h\r\nConnection: upgrade\r\n",
            "Host: h\r\nConnection: close, keep-alive\r\n",
            "Host: h\r\n folded: x\r\n",
            "Host : h\r\n",
            "Host: h\r\nx: a\0b\r\n",
            "Host: h\r\n: x\r\n",
        ] {
            assert_eq!(told(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes()), "other", "{lines:?}");
        }
        for line in [
            "GET / HTTP/1.0",
            "GET / HTTP/2.0",
            "GET  / HTTP/1.1",
            "GET http://h/ HTTP/1.1 ",
            "GET /<a> HTTP/1.1",
            "GET /# HTTP/1.1",
            "GET /\u{e9} HTTP/1.1",
            "G\0T / HTTP/1.1",
            "\x16\x03\x01",
        ] {
            assert_eq!(told(format!("{line}\r\nHost: h\r\n\r\n").as_bytes()), "other", "{line:?}");
        }
        let many = "a: b\r\n".repeat(MOST_LINES);
        assert_eq!(told(format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n").as_bytes()), "other");
    }
}
