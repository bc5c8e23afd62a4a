//! FastCGI as a web server speaks it that keeps its connections, as far as the load needs it.

use std::io::{self, Read};
use std::ops::Range;

const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const HEADER: usize = 8;
/// Role responder, as for nginx, and the flag that keeps the connection.
const RESPONDER_KEPT: [u8; 8] = [0, 1, 1, 0, 0, 0, 0, 0];

/// Writes a request with these variables and no body.
pub fn write_request<'a>(out: &mut Vec<u8>, variables: impl Iterator<Item = (&'a str, &'a str)>) {
    out.extend(header(BEGIN_REQUEST, RESPONDER_KEPT.len()));
    out.extend(RESPONDER_KEPT);
    let start = out.len();
    out.extend([0; HEADER]);
    for (name, value) in variables {
        write_length(out, name.len());
        write_length(out, value.len());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    let params = header(PARAMS, out.len() - start - HEADER);
    out[start..start + HEADER].copy_from_slice(&params);
    out.extend(header(PARAMS, 0));
    out.extend(header(STDIN, 0));
}

fn header(kind: u8, length: usize) -> [u8; HEADER] {
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    [1, kind, 0, 1, high, low, 0, 0]
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short @ ..0x80) => out.push(short),
        _ => out.extend((u32::try_from(length).unwrap_or(u32::MAX) | 0x8000_0000).to_be_bytes()),
    }
}

/// Reads an answer to its end. What its first record holds is all of it, short as it is, and lies there in the buffer.
///
/// # Errors
/// A connection that ends or breaks.
pub fn read_answer(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<Range<usize>> {
    let (mut length, mut record, mut first) = (0, 0, None);
    loop {
        while let Some([_, kind, _, _, high, low, padding, _]) = buffer[record..length].first_chunk::<HEADER>() {
            let content = usize::from(u16::from_be_bytes([*high, *low]));
            let end = record + HEADER + content + usize::from(*padding);
            if end > length {
                break;
            }
            if *kind == END_REQUEST {
                return Ok(first.unwrap_or_default());
            }
            first.get_or_insert(record + HEADER..record + HEADER + content);
            record = end;
        }
        match stream.read(&mut buffer[length..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => length += read,
        }
    }
}
