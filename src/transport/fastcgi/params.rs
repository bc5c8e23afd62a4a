//! The variables that a web server tells of a request: pairs of name and value (FastCGI 1.0, section 3.4:
//! documented), with the browser's headers under `HTTP_…` (CGI/1.1, RFC 3875, section 4.1.18).

use std::cmp::Ordering;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Most bytes of all names and values together. Web servers stop long before: nginx cannot send more than
/// 64 KiB, and none takes more headers than that from a browser unless told to.
pub const LONGEST: usize = 256 * 1024;
/// Most variables. A web server makes some forty of its own, and takes a hundred headers by default (Apache).
pub const MOST: usize = 1024;
/// Most bytes of a name that is told.
const LONGEST_TOLD: usize = 64;
/// What stands before the name of a header.
const HEADER: &[u8] = b"HTTP_";

/// Why variables are not believed, none of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadParams {
    /// More than [`LONGEST`] bytes.
    #[error("they are longer than 256 KiB")]
    TooLong,
    /// More than [`MOST`].
    #[error("there are more than 1024")]
    TooMany,
    /// A length that leads beyond the end.
    #[error("they end in the middle of one")]
    Broken,
    /// A name of no bytes, which no server sends.
    #[error("one has no name")]
    Nameless,
    /// Two that a CGI program would take for one. Where a browser can send `Remote-User` and `Remote_User`,
    /// whoever reads only one of them reads what the browser chose.
    #[error("{0} is there twice, or is another name once the hyphens of headers are underscores")]
    Twice(String),
}

/// Gathers the stream of variables, whatever records it came in.
#[derive(Debug, Default)]
pub struct Gathering {
    bytes: BytesMut,
    too_long: bool,
}

impl Gathering {
    /// Takes the next piece. One that is too much is not kept, nor is any that follows.
    pub fn add(&mut self, piece: &[u8]) {
        self.too_long |= self.bytes.len() + piece.len() > LONGEST;
        if self.too_long {
            self.bytes = BytesMut::new();
        } else {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// Reads what was gathered.
    ///
    /// # Errors
    /// Anything that a web server would not send.
    pub fn read(self) -> Result<Params, BadParams> {
        if self.too_long { Err(BadParams::TooLong) } else { Params::read(self.bytes.freeze()) }
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// The variables of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Params {
    stream: Bytes,
    /// In an order that has names that are the same side by side.
    pairs: Vec<Pair>,
}

impl Params {
    /// Reads a whole stream. Allocates nothing by a length that is only announced.
    ///
    /// # Errors
    /// As [`Gathering::read`].
    pub fn read(stream: Bytes) -> Result<Self, BadParams> {
        let mut pairs = pairs(&stream)?;
        if pairs.iter().any(|pair| pair.name(&stream).is_empty()) {
            return Err(BadParams::Nameless);
        }
        // In the order in which they came, where names are the same: lines of cookies have one.
        pairs.sort_by(|one, other| compare(one.name(&stream), other.name(&stream)));
        for (one, next) in pairs.iter().zip(pairs.iter().skip(1)) {
            let (name, next) = (one.name(&stream), next.name(&stream));
            if compare(name, next) == Ordering::Equal && !may_repeat(name) {
                let told = String::from_utf8_lossy(&name[..name.len().min(LONGEST_TOLD)]);
                return Err(BadParams::Twice(told.into_owned()));
            }
        }
        Ok(Self { stream, pairs })
    }

    /// The value of a variable that is there exactly once.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut named = self.iter().filter(|(held, _)| compare(held, name.as_bytes()) == Ordering::Equal);
        let (_, value) = named.next()?;
        named.next().is_none().then_some(value)
    }

    /// The browser's headers: their names as CGI spells them, less `HTTP_`, and their values.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(HEADER).filter(|name| !name.is_empty())?;
            Some((name, value))
        })
    }

    /// The values of one header of the browser, in the order in which they came. Its name is given in lower case.
    pub fn header<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let hyphens = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
        let is_it = move |held: &[u8]| held.len() == name.len() && held.iter().map(hyphens).eq(name.bytes());
        self.headers().filter(move |(held, _)| is_it(held)).map(|(_, value)| value)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs.iter().map(|pair| (pair.name(&self.stream), pair.value(&self.stream)))
    }
}

/// Where a pair lies in its stream: its name, and behind that its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    name: usize,
    value: usize,
    end: usize,
}

impl Pair {
    /// Its name.
    pub fn name(self, stream: &[u8]) -> &[u8] {
        &stream[self.name..self.value]
    }

    fn value(self, stream: &[u8]) -> &[u8] {
        &stream[self.value..self.end]
    }
}

/// Every pair, in order.
///
/// # Errors
/// [`BadParams::Broken`] and [`BadParams::TooMany`].
pub fn pairs(stream: &[u8]) -> Result<Vec<Pair>, BadParams> {
    let (mut pairs, mut rest) = (Vec::new(), stream);
    while !rest.is_empty() {
        if pairs.len() == MOST {
            return Err(BadParams::TooMany);
        }
        let name = length(&mut rest).ok_or(BadParams::Broken)?;
        let value = length(&mut rest).ok_or(BadParams::Broken)?;
        // Neither sum nor index can wrap: both are below 2³¹, and what is there is compared first.
        if rest.len() < name || rest.len() - name < value {
            return Err(BadParams::Broken);
        }
        let start = stream.len() - rest.len();
        pairs.push(Pair { name: start, value: start + name, end: start + name + value });
        rest = &rest[name + value..];
    }
    Ok(pairs)
}

/// A length of one byte, or of four with the highest bit set.
fn length(stream: &mut &[u8]) -> Option<usize> {
    if stream.first()? & 0x80 == 0 {
        return Some(usize::from(stream.get_u8()));
    }
    if stream.len() < 4 {
        return None;
    }
    usize::try_from(stream.get_u32() & 0x7fff_ffff).ok()
}

/// Writes one pair.
pub fn put_pair(buffer: &mut BytesMut, name: &[u8], value: &[u8]) {
    for text in [name, value] {
        match u8::try_from(text.len()) {
            Ok(length @ ..0x80) => buffer.put_u8(length),
            _ => buffer.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX) | 0x8000_0000),
        }
    }
    buffer.put_slice(name);
    buffer.put_slice(value);
}

/// Compares names of headers as every CGI program would see them, and other names as they are. By their lengths first,
/// which tell most of them apart.
fn compare(one: &[u8], other: &[u8]) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| folded(one).cmp(folded(other)))
}

fn folded(name: &[u8]) -> impl Iterator<Item = u8> {
    let is_header = name.starts_with(HEADER);
    name.iter().map(move |byte| match byte {
        byte if !is_header => *byte,
        byte if byte.is_ascii_alphanumeric() => byte.to_ascii_uppercase(),
        _ => b'_',
    })
}

/// Whether several of this name are several lines of one header. A name of one word, such as `HTTP_COOKIE`, has
/// one spelling only; nginx before 1.23 sends each line on its own (documented).
fn may_repeat(name: &[u8]) -> bool {
    name.strip_prefix(HEADER).is_some_and(|word| !word.is_empty() && word.iter().all(u8::is_ascii_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(pairs: &[(&str, &str)]) -> Bytes {
        let mut buffer = BytesMut::new();
        pairs.iter().for_each(|(name, value)| put_pair(&mut buffer, name.as_bytes(), value.as_bytes()));
        buffer.freeze()
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Params, BadParams> {
        Params::read(stream(pairs))
    }

    #[test]
    fn lengths_take_one_byte_or_four() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536, 200_000] {
            let value = "v".repeat(length);
            let params = read(&[("A", &value), ("B", "after")]).unwrap();
            assert_eq!((params.get("A").unwrap().len(), params.get("B")), (length, Some(&b"after"[..])));
        }
        // Four bytes where one would have done.
        let params = Params::read(Bytes::from_static(b"\x80\0\0\x01\x80\0\0\x02Avw")).unwrap();
        assert_eq!(params.get("A"), Some(&b"vw"[..]));
    }

    #[test]
    fn what_is_only_announced_is_broken() {
        for bytes in [
            &b"\x01"[..],
            b"\x80",
            b"\x80\0\0",
            b"\x80\0\0\0",
            b"\x01\x80\0\0",
            b"\x01\x01A",
            b"\x05\0A",
            b"\xff\xff\xff\xff\xff\xff\xff\xffA",
            b"\x80\0\0\x01\xff\xff\xff\xffA",
            b"\x01\x01Av\x01",
        ] {
            assert_eq!(Params::read(Bytes::copy_from_slice(bytes)), Err(BadParams::Broken), "{bytes:?}");
        }
        assert_eq!(Params::read(Bytes::from_static(b"\x80\0\0\0\0")), Err(BadParams::Nameless));
        assert_eq!(Params::read(Bytes::from_static(b"\0\x01v")), Err(BadParams::Nameless));
        assert_eq!(Params::read(Bytes::new()), Ok(Params::default()));
    }

    #[test]
    fn two_that_are_one_to_a_cgi_program_refuse_all() {
        for (one, other) in [
            ("HTTP_REMOTE_GROUPS", "HTTP_REMOTE_GROUPS"),
            ("HTTP_REMOTE_GROUPS", "HTTP_REMOTE-GROUPS"),
            ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED.FOR"),
            ("HTTP_ACCEPT_LANGUAGE", "HTTP_Accept_Language"),
            ("REQUEST_URI", "REQUEST_URI"),
            ("REMOTE_USER", "REMOTE_USER"),
            ("HTTP_", "HTTP_"),
        ] {
            for pairs in [&[(one, "a"), (other, "b")][..], &[(one, "a"), ("SERVER_NAME", "x"), (other, "a")]] {
                assert!(matches!(read(pairs), Err(BadParams::Twice(name)) if name == one), "{one} {other}");
            }
        }
        read(&[("REMOTE_USER", "a"), ("HTTP_REMOTE_USER", "b"), ("remote_user", "c")]).unwrap();
    }

    #[test]
    fn a_header_of_one_word_may_have_several_lines_and_no_one_value() {
        let params = read(&[("HTTP_COOKIE", "b=2"), ("A", ""), ("HTTP_COOKIE", "a=1"), ("HTTP_HOST", "h")]).unwrap();
        let cookies: Vec<_> = params.header("cookie").collect();
        assert_eq!(cookies, [&b"b=2"[..], b"a=1"]);
        assert_eq!((params.get("HTTP_COOKIE"), params.get("HTTP_HOST")), (None, Some(&b"h"[..])));
        assert_eq!(read(&[("HTTP_HOST", "h"), ("HTTP_Host", "i")]).unwrap().get("HTTP_HOST"), None);
    }

    #[test]
    fn headers_get_their_hyphens_back_and_other_variables_are_none() {
        let params = read(&[
            ("HTTP_SEC_FETCH_MODE", "navigate"),
            ("HTTP_X!Y", "z"),
            ("HTTP_", "nothing"),
            ("CONTENT_TYPE", "text/plain"),
            ("HTTPS", "on"),
            ("http_cookie", "a=1"),
        ]);
        let params = params.unwrap();
        for (name, expected) in [
            ("sec-fetch-mode", Some(&b"navigate"[..])),
            ("x-y", Some(b"z")),
            ("sec-fetch", None),
            ("sec-fetch-mode-", None),
            ("content-type", None),
            ("s", None),
            ("cookie", None),
        ] {
            assert_eq!(params.header(name).next(), expected, "{name}");
        }
    }

    #[test]
    fn there_is_an_end_to_their_number_and_their_length() {
        let many: Vec<_> = (0..=MOST).map(|number| (format!("N{number}"), String::new())).collect();
        let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read(&many), Err(BadParams::TooMany));
        read(&many[1..]).unwrap();

        let mut gathering = Gathering::default();
        gathering.add(&vec![0; LONGEST]);
        assert_eq!(gathering.len(), LONGEST);
        gathering.add(&[0]);
        assert_eq!(gathering.len(), 0);
        gathering.add(&stream(&[("A", "b")]));
        assert_eq!((gathering.len(), gathering.read()), (0, Err(BadParams::TooLong)));
    }
}
