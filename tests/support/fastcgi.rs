//! A web server that asks by FastCGI as an authorizer, and reads the answer as one over HTTP, so that what is expected
//! can be said once for all doors.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Answer;

/// Longest content of a record.
const LONGEST: usize = 65_535;

/// Asks with these variables, and reads the answer up to the end of the connection.
pub async fn exchange(address: SocketAddr, variables: &[(String, Vec<u8>)]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let pairs: Vec<u8> = variables.iter().flat_map(|(name, value)| pair(name.as_bytes(), value)).collect();
    // The authorizer's role, and a connection for this request alone.
    let mut question = record(1, &[0, 2, 0, 0, 0, 0, 0, 0]);
    for piece in pairs.chunks(LONGEST) {
        question.extend(record(4, piece));
    }
    question.extend(record(4, b""));
    // That the other side has closed is for the reader to find out.
    let _ = stream.write_all(&question).await;
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    let read = tokio::time::timeout(super::wire::ANSWER_WITHIN, reading).await.expect("an answer in time");
    read.unwrap();
    answer(&output(&bytes))
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
}

fn pair(name: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| (u32::try_from(bytes.len()).unwrap() | 0x8000_0000).to_be_bytes();
    [&length(name)[..], &length(value), name, value].concat()
}

/// Everything on standard output.
fn output(mut bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    while let [1, kind, _, _, high, low, padding, _, rest @ ..] = bytes {
        let (content, rest) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
        if *kind == 6 {
            output.extend_from_slice(content);
        }
        bytes = &rest[usize::from(*padding)..];
    }
    output
}

fn answer(output: &[u8]) -> Answer {
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of the headers");
    let mut lines = output[..end].split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let status = lines.next().and_then(|line| line.strip_prefix(b"Status: ")).expect("Status comes first");
    let status = std::str::from_utf8(&status[..3]).unwrap().parse().unwrap();
    let lines = lines.map(|line| {
        let colon = line.iter().position(|byte| *byte == b':').expect("a header");
        (std::str::from_utf8(&line[..colon]).unwrap(), line[colon + 1..].trim_ascii().to_vec())
    });
    let mut headers: Vec<_> = match status {
        200 => lines.filter_map(|(name, value)| Some((header(name)?, value))).collect(),
        _ => lines.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
    };
    if status == 200 {
        // What an authorizer's yes has no words for, because nobody would hear it.
        headers.extend([("cache-control", "no-store"), ("content-length", "0")].map(|(name, value)| {
            assert!(!headers.iter().any(|(held, _)| held == name), "{name} would go to the browser");
            (name.to_owned(), value.as_bytes().to_vec())
        }));
    }
    Answer { status, headers, body: output[end + 4..].to_vec(), head_length: end + 4 }
}

/// The name over HTTP of what an allow has as a variable.
fn header(name: &str) -> Option<String> {
    if name.eq_ignore_ascii_case("Set-Cookie") {
        return Some("set-cookie".to_owned());
    }
    let variable = name.strip_prefix("Variable-").unwrap_or_else(|| panic!("{name} would go to the browser"));
    let plain = variable.to_ascii_lowercase().replace('_', "-");
    let private = ["upstream-", "set-cookie-", "keyward-"].iter().any(|start| plain.starts_with(start));
    // Half of the address, once more.
    (plain != "upstream-query").then(|| if private { format!("x-{plain}") } else { plain })
}
