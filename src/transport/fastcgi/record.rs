//! Records, the frames into which everything on a FastCGI connection is cut (FastCGI 1.0, sections 3.3, 4
//! and 5: documented). This file knows bytes only: what a record means where it stands is for
//! `conversation`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

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

/// One record that came, without its padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// One of [`kind`], or something newer.
    pub kind: u8,
    /// The request it belongs to; 0 where it belongs to none.
    pub request: u16,
    /// At most [`LONGEST_CONTENT`] bytes.
    pub content: Bytes,
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

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A whole answer, headers and body, and the end of its request.
    Answer {
        /// The request it is for.
        request: u16,
        /// Headers, an empty line, body.
        stdout: Bytes,
    },
    /// The end of a request without an answer.
    End {
        /// The request that ends.
        request: u16,
        /// Why.
        ending: Ending,
    },
    /// Pairs, already in their form on the wire.
    Values(Bytes),
    /// A question that is about no request was not understood.
    UnknownType(u8),
}

/// The other side does not speak FastCGI, or has gone away.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// Most of all this is somebody who speaks HTTP.
    #[error("a record of version {0}, where FastCGI has only 1")]
    Version(u8),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Cuts bytes into records, and writes answers as such.
#[derive(Debug)]
pub struct Records;

impl Decoder for Records {
    type Item = Record;
    type Error = BadRecord;

    /// Reserves nothing: lengths are only announcements until the bytes are there.
    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Record>, BadRecord> {
        if let Some(version) = buffer.first().filter(|version| **version != VERSION) {
            return Err(BadRecord::Version(*version));
        }
        let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let [_, kind, id1, id0, length1, length0, padding, _] = *header;
        let length = usize::from(u16::from_be_bytes([length1, length0]));
        let whole = HEADER + length + usize::from(padding);
        if buffer.len() < whole {
            return Ok(None);
        }
        let mut record = buffer.split_to(whole).freeze();
        record.advance(HEADER);
        record.truncate(length);
        Ok(Some(Record { kind, request: u16::from_be_bytes([id1, id0]), content: record }))
    }

    /// What the other side left unfinished is nobody's any more.
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Record>, BadRecord> {
        self.decode(buffer)
    }
}

impl Encoder<Reply> for Records {
    type Error = BadRecord;

    /// Puts all that a reply takes into the buffer, so that one write sends it.
    fn encode(&mut self, reply: Reply, buffer: &mut BytesMut) -> Result<(), BadRecord> {
        match reply {
            Reply::Answer { request, stdout } => {
                let records = stdout.len().div_ceil(LONGEST_CONTENT) + 2;
                buffer.reserve(stdout.len() + records * HEADER + 8);
                // Headers and body in one record as long as they fit: Apache drops a body that comes in another
                // one than its headers (seen, 2.4).
                for piece in stdout.chunks(LONGEST_CONTENT) {
                    put(buffer, kind::STDOUT, request, piece);
                }
                put(buffer, kind::STDOUT, request, &[]);
                put(buffer, kind::END_REQUEST, request, &end_of_request(Ending::Complete));
            }
            Reply::End { request, ending } => put(buffer, kind::END_REQUEST, request, &end_of_request(ending)),
            Reply::Values(pairs) => put(buffer, kind::GET_VALUES_RESULT, 0, &pairs),
            Reply::UnknownType(kind) => put(buffer, kind::UNKNOWN_TYPE, 0, &[kind, 0, 0, 0, 0, 0, 0, 0]),
        }
        Ok(())
    }
}

/// A status of 0 for the application, then that of the protocol.
const fn end_of_request(ending: Ending) -> [u8; 8] {
    [0, 0, 0, 0, ending as u8, 0, 0, 0]
}

/// Puts one record there. `content` is at most [`LONGEST_CONTENT`] bytes long; more would be left out.
fn put(buffer: &mut BytesMut, kind: u8, request: u16, content: &[u8]) {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    buffer.put_slice(&[VERSION, kind]);
    buffer.put_u16(request);
    buffer.put_u16(length);
    buffer.put_slice(&[0, 0]);
    buffer.put_slice(&content[..usize::from(length)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Vec<Record> {
        let mut buffer = BytesMut::from(bytes);
        std::iter::from_fn(|| Records.decode(&mut buffer).unwrap()).collect()
    }

    fn encoded(reply: Reply) -> Vec<u8> {
        let mut buffer = BytesMut::new();
        Records.encode(reply, &mut buffer).unwrap();
        buffer.to_vec()
    }

    #[test]
    fn a_record_comes_out_without_its_padding_however_it_was_cut() {
        let bytes = [&[1, 4, 1, 2, 0, 3, 5, 0xff][..], b"abc\0\0\0\0\0", &[1, 5, 0, 1, 0, 0, 0, 0]].concat();
        let whole = decoded(&bytes);
        assert_eq!(whole[0], Record { kind: 4, request: 0x102, content: Bytes::from_static(b"abc") });
        assert_eq!(whole[1], Record { kind: 5, request: 1, content: Bytes::new() });
        let mut buffer = BytesMut::new();
        let mut piecemeal = Vec::new();
        for byte in bytes {
            buffer.put_u8(byte);
            piecemeal.extend(Records.decode(&mut buffer).unwrap());
        }
        assert_eq!(piecemeal, whole);
        assert!(buffer.is_empty());
    }

    #[test]
    fn half_a_record_is_none_and_an_announcement_reserves_nothing() {
        let mut buffer = BytesMut::from(&[1, 4, 0, 1, 0xff, 0xff, 0xff, 0, b'x'][..]);
        let before = buffer.capacity();
        assert!(Records.decode(&mut buffer).unwrap().is_none());
        assert!(Records.decode_eof(&mut buffer).unwrap().is_none());
        assert_eq!((buffer.len(), buffer.capacity()), (9, before));
    }

    #[test]
    fn another_version_is_told_by_its_first_byte() {
        let mut buffer = BytesMut::from(&b"G"[..]);
        assert!(matches!(Records.decode(&mut buffer), Err(BadRecord::Version(b'G'))));
    }

    #[test]
    fn an_answer_is_one_record_its_end_and_the_end_of_the_request() {
        let answer = encoded(Reply::Answer { request: 258, stdout: Bytes::from_static(b"Status: 200 OK\r\n\r\n") });
        let expected = [
            &[1, 6, 1, 2, 0, 18, 0, 0][..],
            b"Status: 200 OK\r\n\r\n",
            &[1, 6, 1, 2, 0, 0, 0, 0],
            &[1, 3, 1, 2, 0, 8, 0, 0],
            &[0; 8],
        ];
        assert_eq!(answer, expected.concat());
    }

    #[test]
    fn an_answer_longer_than_a_record_is_cut() {
        let long = vec![b'x'; 2 * LONGEST_CONTENT + 1];
        let records = decoded(&encoded(Reply::Answer { request: 1, stdout: long.clone().into() }));
        let lengths: Vec<usize> = records.iter().map(|record| record.content.len()).collect();
        assert_eq!(lengths, [LONGEST_CONTENT, LONGEST_CONTENT, 1, 0, 8]);
        assert_eq!(records.iter().filter(|record| record.kind == kind::STDOUT).count(), 4);
        let whole: Vec<u8> = records[..4].iter().flat_map(|record| record.content.to_vec()).collect();
        assert_eq!(whole, long);
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
            assert_eq!(encoded(reply), bytes);
        }
        let values = encoded(Reply::Values(Bytes::from_static(b"\x01\x01ab")));
        assert_eq!(values, [&[1, 10, 0, 0, 0, 4, 0, 0][..], b"\x01\x01ab"].concat());
    }
}
