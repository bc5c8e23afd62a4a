//! The variables that a web server tells of a request: pairs of name and value (FastCGI 1.0, section 3.4:
//! documented), with the browser's headers under `HTTP_…` (CGI/1.1, RFC 3875, section 4.1.18).

use std::cmp::Ordering;

/// Most bytes of all names and values together. Web servers stop long before: nginx cannot send more than
/// 64 KiB, and none takes more headers than that from a browser unless told to.
pub const LONGEST: usize = 256 * 1024;
/// Most variables. A web server makes some forty of its own, and takes a hundred headers by default (Apache).
pub const MOST: usize = 1024;
/// Most bytes of a name that is told.
const LONGEST_TOLD: usize = 64;
/// How many are told apart at a glance: more than most requests have.
const FEW: usize = 64;
/// Most bytes whose memory is kept for the next request, and most variables whose places are.
const LARGEST_KEPT: usize = 8 * 1024;
const MOST_KEPT: usize = 128;
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

/// Gathers the stream of variables, whatever records it came in, in memory that serves request after request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Gathering {
    stream: Vec<u8>,
    too_long: bool,
    /// Room for where its pairs lie.
    pairs: Vec<Pair>,
}

impl Gathering {
    /// Takes the next piece. One that is too much is not kept, nor is any that follows.
    pub fn add(&mut self, piece: &[u8]) {
        self.too_long |= self.stream.len() + piece.len() > LONGEST;
        if self.too_long {
            self.stream = Vec::new();
        } else {
            self.stream.extend_from_slice(piece);
        }
    }

    /// Reads what was gathered.
    ///
    /// # Errors
    /// Anything that a web server would not send.
    pub fn read(&mut self) -> Result<Params<'_>, BadParams> {
        if self.too_long { Err(BadParams::TooLong) } else { Params::read(&self.stream, &mut self.pairs) }
    }

    /// Bytes held.
    pub const fn len(&self) -> usize {
        self.stream.len()
    }

    /// Nothing, in the same memory.
    pub fn emptied(mut self) -> Self {
        self.stream.clear();
        self.stream.shrink_to(LARGEST_KEPT);
        self.pairs.clear();
        self.pairs.shrink_to(MOST_KEPT);
        Self { too_long: false, ..self }
    }
}

/// The variables of one request, where they lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a> {
    stream: &'a [u8],
    /// In the order in which they came.
    pairs: &'a [Pair],
    has_controls: bool,
}

impl<'a> Params<'a> {
    /// Reads a whole stream. Allocates nothing by a length that is only announced.
    ///
    /// # Errors
    /// As [`Gathering::read`].
    pub fn read(stream: &'a [u8], room: &'a mut Vec<Pair>) -> Result<Self, BadParams> {
        let controls = find_pairs(stream, room)?;
        let pairs = &*room;
        if pairs.iter().any(|pair| pair.name_length() == 0) {
            return Err(BadParams::Nameless);
        }
        if !differ_at_a_glance(stream, pairs)
            && let Some(name) = twice(stream, pairs)
        {
            let told = String::from_utf8_lossy(&name[..name.len().min(LONGEST_TOLD)]);
            return Err(BadParams::Twice(told.into_owned()));
        }
        // All at once: lengths are the only other bytes there are.
        Ok(Self { stream, pairs, has_controls: count_controls(stream) != controls })
    }

    /// Whether a name or a value holds a control character.
    pub const fn has_controls(&self) -> bool {
        self.has_controls
    }

    /// The value of a variable that is there exactly once.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        let mut named = self.of_length(name.len()).filter(|(held, _)| are_one(held, name.as_bytes()));
        let (_, value) = named.next()?;
        named.next().is_none().then_some(value)
    }

    /// The browser's headers: their names as CGI spells them, less `HTTP_`, and their values.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(HEADER).filter(|name| !name.is_empty())?;
            Some((name, value))
        })
    }

    /// The values of one header of the browser, in the order in which they came. Its name is given in lower case.
    pub fn header(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let hyphens = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
        // From the end, where names differ: many begin with the same words.
        let is_it = move |held: &[u8]| held.iter().rev().map(hyphens).eq(name.bytes().rev());
        let named = self.of_length(HEADER.len() + name.len()).filter(|_| !name.is_empty());
        named.filter(move |(held, _)| held.strip_prefix(HEADER).is_some_and(is_it)).map(|(_, value)| value)
    }

    fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let stream = self.stream;
        self.pairs.iter().map(|pair| (pair.name(stream), pair.value(stream)))
    }

    /// Those with names of this length, which tells most of them apart.
    fn of_length(&self, length: usize) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let stream = self.stream;
        let pairs = self.pairs.iter().filter(move |pair| pair.name_length() == length);
        pairs.map(|pair| (pair.name(stream), pair.value(stream)))
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

    const fn name_length(self) -> usize {
        self.value - self.name
    }

    fn value(self, stream: &[u8]) -> &[u8] {
        &stream[self.value..self.end]
    }
}

/// Finds every pair, in order, and tells how many control characters there are in the lengths before them.
///
/// # Errors
/// [`BadParams::Broken`] and [`BadParams::TooMany`].
pub fn find_pairs(stream: &[u8], pairs: &mut Vec<Pair>) -> Result<usize, BadParams> {
    pairs.clear();
    let (mut rest, mut controls) = (stream, 0);
    while !rest.is_empty() {
        if pairs.len() == MOST {
            return Err(BadParams::TooMany);
        }
        let name = length(&mut rest, &mut controls).ok_or(BadParams::Broken)?;
        let value = length(&mut rest, &mut controls).ok_or(BadParams::Broken)?;
        // Neither sum nor index can wrap: both are below 2³¹, and what is there is compared first.
        if rest.len() < name || rest.len() - name < value {
            return Err(BadParams::Broken);
        }
        let start = stream.len() - rest.len();
        pairs.push(Pair { name: start, value: start + name, end: start + name + value });
        rest = &rest[name + value..];
    }
    Ok(controls)
}

/// A length of one byte, or of four with the highest bit set.
fn length(stream: &mut &[u8], controls: &mut usize) -> Option<usize> {
    let (length, rest) = match **stream {
        [short @ ..0x80, ref rest @ ..] => {
            *controls += usize::from(short.is_ascii_control());
            (u32::from(short), rest)
        }
        [high, b2, b1, b0, ref rest @ ..] => {
            *controls += count_controls(&[b2, b1, b0]);
            (u32::from_be_bytes([high & 0x7f, b2, b1, b0]), rest)
        }
        _ => return None,
    };
    *stream = rest;
    usize::try_from(length).ok()
}

fn count_controls(bytes: &[u8]) -> usize {
    // Each piece is counted to its end, in a byte, so that the compiler looks at many at once.
    let controls = |piece: &[u8]| piece.iter().map(|byte| u8::from(byte.is_ascii_control())).sum::<u8>();
    bytes.chunks(128).map(|piece| usize::from(controls(piece))).sum()
}

/// Writes one pair.
pub fn put_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for text in [name, value] {
        match u8::try_from(text.len()) {
            Ok(length @ ..0x80) => out.push(length),
            _ => out.extend((u32::try_from(text.len()).unwrap_or(u32::MAX) | 0x8000_0000).to_be_bytes()),
        }
    }
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

/// Whether no two names are the same, as far as a few of their bytes tell: nearly always, and at a fraction of the
/// cost of looking at all.
fn differ_at_a_glance(stream: &[u8], pairs: &[Pair]) -> bool {
    let mut glances = [0; FEW];
    pairs.len() <= FEW
        && pairs.iter().enumerate().all(|(index, pair)| {
            let (before, from_here) = glances.split_at_mut(index);
            let glance = glance(pair.name(stream));
            from_here[0] = glance;
            !before.contains(&glance)
        })
}

/// The same for names that are the same.
fn glance(name: &[u8]) -> u32 {
    let at = |place: usize| name.get(place).map_or(0, |byte| fold(*byte));
    let length = name.len();
    // The first letter behind `HTTP_`, and the last two.
    u32::from_le_bytes([
        length.to_le_bytes()[0],
        at(HEADER.len()),
        at(length.wrapping_sub(2)),
        at(length.wrapping_sub(1)),
    ])
}

/// A name that is there twice and may not be.
fn twice<'a>(stream: &'a [u8], pairs: &[Pair]) -> Option<&'a [u8]> {
    let mut names: Vec<&[u8]> = pairs.iter().map(|pair| pair.name(stream)).collect();
    names.sort_by(|one, other| compare(one, other));
    let found = names.windows(2).find(|two| are_one(two[0], two[1]) && !may_repeat(two[0]));
    found.map(|two| two[0])
}

/// Compares names of headers as every CGI program would see them, and other names as they are. By their lengths first,
/// which tell most of them apart.
fn compare(one: &[u8], other: &[u8]) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| folded(one).cmp(folded(other)))
}

fn are_one(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && (one == other || one.starts_with(HEADER) && compare(one, other) == Ordering::Equal)
}

fn folded(name: &[u8]) -> impl Iterator<Item = u8> {
    let is_header = name.starts_with(HEADER);
    name.iter().map(move |byte| if is_header { fold(*byte) } else { *byte })
}

fn fold(byte: u8) -> u8 {
    FOLDED[usize::from(byte)]
}

/// Every byte of a header's name, as CGI spells it.
static FOLDED: [u8; 256] = {
    let mut folded = [b'_'; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        if byte.is_ascii_alphanumeric() {
            folded[byte as usize] = byte.to_ascii_uppercase();
        }
        byte += 1;
    }
    folded
};

/// Whether several of this name are several lines of one header. A name of one word, such as `HTTP_COOKIE`, has
/// one spelling only; nginx before 1.23 sends each line on its own (documented).
fn may_repeat(name: &[u8]) -> bool {
    name.strip_prefix(HEADER).is_some_and(|word| !word.is_empty() && word.iter().all(u8::is_ascii_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut stream = Vec::new();
        pairs.iter().for_each(|(name, value)| put_pair(&mut stream, name.as_bytes(), value.as_bytes()));
        stream
    }

    fn gathered(stream: &[u8]) -> Gathering {
        let mut gathering = Gathering::default();
        gathering.add(stream);
        gathering
    }

    fn read<T>(pairs: &[(&str, &str)], look: impl FnOnce(Result<Params<'_>, BadParams>) -> T) -> T {
        look(gathered(&stream(pairs)).read())
    }

    #[test]
    fn lengths_take_one_byte_or_four() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536, 200_000] {
            let value = "v".repeat(length);
            read(&[("A", &value), ("B", "after")], |params| {
                let params = params.unwrap();
                assert_eq!((params.get("A").unwrap().len(), params.get("B")), (length, Some(&b"after"[..])));
                assert!(!params.has_controls(), "{length}");
            });
        }
        // Four bytes where one would have done.
        let mut gathered = gathered(b"\x80\0\0\x01\x80\0\0\x02Avw");
        assert_eq!(gathered.read().unwrap().get("A"), Some(&b"vw"[..]));
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
            assert_eq!(gathered(bytes).read(), Err(BadParams::Broken), "{bytes:?}");
        }
        assert_eq!(gathered(b"\x80\0\0\0\0").read(), Err(BadParams::Nameless));
        assert_eq!(gathered(b"\0\x01v").read(), Err(BadParams::Nameless));
        assert_eq!(gathered(b"").read(), Ok(Params::default()));
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
            // Few, and more than are told apart at a glance.
            let many: Vec<String> = (0..FEW).map(|number| format!("N{number}")).collect();
            for between in [&many[..0], &many[..1], &many] {
                let between = between.iter().map(|name| (name.as_str(), "x"));
                let pairs: Vec<_> = [(one, "a")].into_iter().chain(between).chain([(other, "a")]).collect();
                read(&pairs, |params| {
                    assert!(matches!(params, Err(BadParams::Twice(name)) if name == one), "{one} {other}");
                });
                read(&pairs[..pairs.len() - 1], |params| assert!(params.is_ok(), "{one}"));
            }
        }
        for (one, other) in [
            ("REMOTE_USER", "HTTP_REMOTE_USER"),
            ("REMOTE_USER", "remote_user"),
            ("REMOTE_USER", "REMOTE-USER"),
            ("SERVER_NAME", "SERVED_NAME"),
            ("HTTP_A_B", "HTTP_A_C"),
            ("HTTP", "http"),
        ] {
            read(&[(one, "a"), (other, "b")], |params| {
                let params = params.unwrap();
                assert_eq!((params.get(one), params.get(other)), (Some(&b"a"[..]), Some(&b"b"[..])));
            });
        }
    }

    #[test]
    fn what_is_one_name_is_one_at_a_glance() {
        for (one, other) in [("HTTP_X_Y", "HTTP_x-y"), ("HTTP_A!", "HTTP_a_"), ("HTTP_", "HTTP_"), ("A", "A")] {
            assert!(are_one(one.as_bytes(), other.as_bytes()));
            assert_eq!(glance(one.as_bytes()), glance(other.as_bytes()), "{one} {other}");
        }
    }

    #[test]
    fn a_header_of_one_word_may_have_several_lines_and_no_one_value() {
        let pairs = [("HTTP_COOKIE", "b=2"), ("A", ""), ("HTTP_COOKIE", "a=1"), ("HTTP_HOST", "h")];
        read(&pairs, |params| {
            let params = params.unwrap();
            let cookies: Vec<_> = params.header("cookie").collect();
            assert_eq!(cookies, [&b"b=2"[..], b"a=1"]);
            assert_eq!((params.get("HTTP_COOKIE"), params.get("HTTP_HOST")), (None, Some(&b"h"[..])));
        });
        read(&[("HTTP_HOST", "h"), ("HTTP_Host", "i")], |params| assert_eq!(params.unwrap().get("HTTP_HOST"), None));
    }

    #[test]
    fn a_control_character_is_seen_wherever_it_stands() {
        for control in ["\0", "\t", "\n", "\r", "\x1f", "\x7f"] {
            for (name, value) in [(control, "a"), ("HTTP_A", control), ("HTTP_A", &"x\n".repeat(200)), ("A", control)] {
                read(&[("B", ""), (name, value)], |params| assert!(params.unwrap().has_controls(), "{control:?}"));
            }
        }
        // Lengths of every kind.
        for length in 0..600 {
            let value = "ü ~".repeat(length);
            read(&[("B", &value), ("C", "c")], |params| assert!(!params.unwrap().has_controls(), "{length}"));
        }
    }

    #[test]
    fn headers_get_their_hyphens_back_and_other_variables_are_none() {
        let mut gathered = gathered(&stream(&[
            ("HTTP_SEC_FETCH_MODE", "navigate"),
            ("HTTP_X!Y", "z"),
            ("HTTP_", "nothing"),
            ("CONTENT_TYPE", "text/plain"),
            ("HTTPS", "on"),
            ("http_cookie", "a=1"),
        ]));
        let params = gathered.read().unwrap();
        for (name, expected) in [
            ("sec-fetch-mode", Some(&b"navigate"[..])),
            ("x-y", Some(b"z")),
            ("sec-fetch", None),
            ("", None),
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
        read(&many, |params| assert_eq!(params, Err(BadParams::TooMany)));
        read(&many[1..], |params| assert_eq!(params.unwrap().get("N1024"), Some(&b""[..])));

        let mut gathering = Gathering::default();
        gathering.add(&vec![0; LONGEST]);
        assert_eq!(gathering.len(), LONGEST);
        gathering.add(&[0]);
        assert_eq!(gathering.len(), 0);
        gathering.add(&stream(&[("A", "b")]));
        assert_eq!((gathering.len(), gathering.read()), (0, Err(BadParams::TooLong)));
        let mut next = gathering.emptied();
        next.add(&stream(&[("A", "b")]));
        assert_eq!(next.read().unwrap().get("A"), Some(&b"b"[..]));
    }
}
