//! Records, the frames into which everything on a FastCGI connection is cut (FastCGI 1.0, sections 3.3, 4
//! and 5: documented). This file knows bytes only: what a record means where it stands is for
//! `conversation`.

/// Bytes before the content of every record.
const HEADER: usize = 8;
/// The one version there is.
const VERSION: u8 = 1;
/// Most bytes of content in a record: its length is written in two bytes.
pub const LONGEST_CONTENT: usize = 0xffff;

/// The types of records.
pub mod kind {
    pub const BEGIN_REQUEST: u8 = 1;
    pub const ABORT_REQUEST: u8 = 2;
    pub const END_REQUEST: u8 = 3;
    pub const PARAMS: u8 = 4;
    pub const STDOUT: u8 = 6;
    pub const GET_VALUES: u8 = 9;
    pub const GET_VALUES_RESULT: u8 = 10;
    pub const UNKNOWN_TYPE: u8 = 11;
}

/// One record that came, where it lies, without its padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// One of [`kind`], or something newer.
    pub kind: u8,
    /// The request it belongs to; 0 where it belongs to none.
    pub request: u16,
    /// At most [`LONGEST_CONTENT`] bytes.
    pub content: &'a [u8],
}

/// A record of another version: the other side does not speak FastCGI. Most of all this is somebody who speaks HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of version {0}, where FastCGI has only 1")]
pub struct BadVersion(pub u8);

/// Cuts the first record off these bytes; there is none as long as it is not whole.
///
/// # Errors
/// Bytes that are no record, as soon as that can be seen.
pub fn cut_off<'a>(bytes: &mut &'a [u8]) -> Result<Option<Record<'a>>, BadVersion> {
    if let Some(version) = bytes.first().filter(|version| **version != VERSION) {
        return Err(BadVersion(*version));
    }
    let Some(([_, kind, id1, id0, length1, length0, padding, _], rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([*length1, *length0]));
    let Some(after) = rest.get(length + usize::from(*padding)..) else { return Ok(None) };
    *bytes = after;
    Ok(Some(Record { kind: *kind, request: u16::from_be_bytes([*id1, *id0]), content: &rest[..length] }))
}

/// How a request ended, beside its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Complete = 0,
    /// Another one is under way on this connection, and we answer one at a time.
    NotBesideAnother = 1,
    /// It wanted something other than a decision.
    UnknownRole = 3,
}

/// What is sent beside answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The end of a request without an answer.
    End {
        /// The request that ends.
        request: u16,
        /// Why.
        ending: Ending,
    },
    /// Pairs, already in their form on the wire.
    Values(Vec<u8>),
    /// A question that is about no request was not understood.
    UnknownType(u8),
}

impl Reply {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::End { request, ending } => put(&mut bytes, kind::END_REQUEST, *request, &end_of_request(*ending)),
            Self::Values(pairs) => put(&mut bytes, kind::GET_VALUES_RESULT, 0, pairs),
            Self::UnknownType(kind) => put(&mut bytes, kind::UNKNOWN_TYPE, 0, &[*kind, 0, 0, 0, 0, 0, 0, 0]),
        }
        bytes
    }
}

/// Leaves room for what stands before an answer, which is written behind it: headers, an empty line, body.
pub fn begin_answer(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; HEADER]);
}

/// Ends an answer that is all that was written since its beginning, and its request with it.
///
/// Headers and body are in one record as long as they fit: Apache drops a body that comes in another one than its
/// headers (seen, 2.4).
pub fn end_answer(out: &mut Vec<u8>, request: u16) {
    match (u16::try_from(out.len().saturating_sub(HEADER)), out.first_chunk_mut::<HEADER>()) {
        (Ok(length @ 1..), Some(room)) => *room = header(kind::STDOUT, request, length),
        _ => {
            let long = std::mem::take(out);
            let pieces = long.get(HEADER..).unwrap_or_default().chunks(LONGEST_CONTENT);
            pieces.for_each(|piece| put(out, kind::STDOUT, request, piece));
        }
    }
    put(out, kind::STDOUT, request, &[]);
    put(out, kind::END_REQUEST, request, &end_of_request(Ending::Complete));
}

/// A status of 0 for the application, then that of the protocol.
const fn end_of_request(ending: Ending) -> [u8; 8] {
    [0, 0, 0, 0, ending as u8, 0, 0, 0]
}

/// What stands before the content of a record. It has no padding.
const fn header(kind: u8, request: u16, length: u16) -> [u8; HEADER] {
    let ([id1, id0], [length1, length0]) = (request.to_be_bytes(), length.to_be_bytes());
    [VERSION, kind, id1, id0, length1, length0, 0, 0]
}

/// Puts one record there. `content` is at most [`LONGEST_CONTENT`] bytes long; more would be left out.
fn put(out: &mut Vec<u8>, kind: u8, request: u16, content: &[u8]) {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&header(kind, request, length));
    out.extend_from_slice(&content[..usize::from(length)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every record that there is, and what is left.
    fn cut(mut bytes: &[u8]) -> (Vec<Record<'_>>, &[u8]) {
        let records = std::iter::from_fn(|| cut_off(&mut bytes).unwrap()).collect();
        (records, bytes)
    }

    fn answered(request: u16, answer: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        begin_answer(&mut out);
        out.extend_from_slice(answer);
        end_answer(&mut out, request);
        out
    }

    #[test]
    fn a_record_comes_out_without_its_padding_and_half_a_one_stays() {
        let bytes = [&[1, 4, 1, 2, 0, 3, 5, 0xff][..], b"abc\0\0\0\0\0", &[1, 5, 0, 1, 0, 0, 0, 0]].concat();
        let first = Record { kind: 4, request: 0x102, content: b"abc" };
        let second = Record { kind: 5, request: 1, content: b"" };
        assert_eq!(cut(&bytes), (vec![first, second], &b""[..]));
        for end in 0..bytes.len() {
            let whole = if end < 16 { vec![] } else { vec![first] };
            assert_eq!(cut(&bytes[..end]), (whole, &bytes[if end < 16 { 0 } else { 16 }..end]), "{end}");
        }
        let announced = &[1, 4, 0, 1, 0xff, 0xff, 0xff, 0, b'x'];
        assert_eq!(cut(announced), (vec![], &announced[..]));
    }

    #[test]
    fn another_version_is_told_by_its_first_byte() {
        assert_eq!(cut_off(&mut &b"G"[..]), Err(BadVersion(b'G')));
    }

    #[test]
    fn an_answer_is_one_record_its_end_and_the_end_of_the_request() {
        let expected = [
            &[1, 6, 1, 2, 0, 18, 0, 0][..],
            b"Status: 200 OK\r\n\r\n",
            &[1, 6, 1, 2, 0, 0, 0, 0],
            &[1, 3, 1, 2, 0, 8, 0, 0],
            &[0; 8],
        ];
        assert_eq!(answered(258, b"Status: 200 OK\r\n\r\n"), expected.concat());
        // A record without content is the end, and there is one.
        assert_eq!(answered(258, b""), expected[2..].concat());
    }

    #[test]
    fn an_answer_longer_than_a_record_is_cut() {
        for (length, expected) in [
            (LONGEST_CONTENT, &[LONGEST_CONTENT, 0, 8][..]),
            (LONGEST_CONTENT + 1, &[LONGEST_CONTENT, 1, 0, 8]),
            (2 * LONGEST_CONTENT + 1, &[LONGEST_CONTENT, LONGEST_CONTENT, 1, 0, 8]),
        ] {
            let long: Vec<u8> = (0..length).map(|number| number.to_le_bytes()[0]).collect();
            let bytes = answered(1, &long);
            let (records, rest) = cut(&bytes);
            let (end, stdout) = records.split_last().unwrap();
            assert_eq!((end.kind, rest), (kind::END_REQUEST, &b""[..]));
            assert!(stdout.iter().all(|record| record.kind == kind::STDOUT));
            let lengths: Vec<usize> = records.iter().map(|record| record.content.len()).collect();
            assert_eq!(lengths, expected);
            let whole: Vec<u8> = stdout.iter().flat_map(|record| record.content.to_vec()).collect();
            assert_eq!(whole, long);
        }
    }

    #[test]
    fn the_other_replies_are_as_the_specification_says() {
        for (reply, bytes) in [
            (Reply::End { request: 7, ending: Ending::UnknownRole }, [1, 3, 0, 7, 0, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]),
            (
                Reply::End { request: 7, ending: Ending::NotBesideAnother },
                [1, 3, 0, 7, 0, 8, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
            ),
            (Reply::UnknownType(77), [1, 11, 0, 0, 0, 8, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(reply.to_bytes(), bytes);
        }
        let values = Reply::Values(b"\x01\x01ab".to_vec());
        assert_eq!(values.to_bytes(), [&[1, 10, 0, 0, 0, 4, 0, 0][..], b"\x01\x01ab"].concat());
    }
}
