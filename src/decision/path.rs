//! The one path normaliser. A path is judged under every reading that a server behind us may give
//! it; which of them the server takes is not ours to know.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::domain::is_control;

/// More readings than this are made on purpose.
const MOST_READINGS: usize = 64;

/// Longest path with more than one reading, in bytes. Exploring a longer one would cost whoever is not
/// even signed in a thousand times more than an ordinary decision.
const LONGEST_ODD_PATH: usize = 2 * 1024;

/// Why a path cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A control character or a backslash, plain or encoded, or an encoding that is none.
    #[error("the path holds a control character, a backslash or a broken encoding")]
    Forbidden,
    /// It can be read in more ways than anybody would write it, or is too long to find out.
    #[error("the path can be read in too many ways")]
    TooManyReadings,
}

/// Every way to read one path; the first is the path as it came.
#[derive(Debug, PartialEq, Eq)]
pub enum Readings<'a> {
    /// There is but one.
    One(&'a str),
    /// There are several.
    Many(Vec<String>),
}

impl<'a> Readings<'a> {
    /// Finds them all: as it came, percent-decoded once and twice, dot segments removed, slashes
    /// merged, path parameters cut, and cut where a decoded `?` or `#` would end it, in every order.
    ///
    /// # Errors
    /// [`PathError`] for what no reading may hold.
    pub fn of(path: &'a str) -> Result<Self, PathError> {
        let bytes = path.as_bytes();
        if is_forbidden(bytes) {
            return Err(PathError::Forbidden);
        }
        // Nearly every path ends here: nothing in it can be read in a second way.
        let mut after_slash = false;
        let plain = |byte: &u8| match byte {
            b'%' | b';' => false,
            b'/' | b'.' if after_slash => false,
            byte => {
                after_slash = *byte == b'/';
                true
            }
        };
        if bytes.iter().all(plain) {
            return Ok(Self::One(path));
        }
        if path.len() > LONGEST_ODD_PATH {
            return Err(PathError::TooManyReadings);
        }
        Self::explore(path)
    }

    fn explore(path: &str) -> Result<Self, PathError> {
        if !is_encoded_well(path.as_bytes()) || std::str::from_utf8(&decode(path.as_bytes())).is_err() {
            return Err(PathError::Forbidden);
        }
        let mut found: Vec<(Vec<u8>, u8)> = Vec::new();
        let mut waiting = VecDeque::from([(path.as_bytes().to_vec(), 0)]);
        while let Some((reading, decoded)) = waiting.pop_front() {
            if found.iter().any(|(known, times)| *known == reading && *times <= decoded) {
                continue;
            }
            if is_forbidden(&reading) {
                return Err(PathError::Forbidden);
            }
            if found.len() == MOST_READINGS {
                return Err(PathError::TooManyReadings);
            }
            for step in [cut_parameters, merge_slashes, remove_dots] {
                waiting.push_back((step(&reading).into_owned(), decoded));
            }
            if decoded > 0 {
                waiting.push_back((cut_at_query(&reading).to_vec(), decoded));
            }
            if decoded < 2 {
                waiting.push_back((decode(&reading), decoded + 1));
            }
            found.push((reading, decoded));
        }
        // What does not decode to UTF-8 the second time is compared with routes all the same; those
        // are ASCII, so nothing is lost.
        let mut readings: Vec<String> =
            found.into_iter().map(|(reading, _)| String::from_utf8_lossy(&reading).into_owned()).collect();
        readings.dedup();
        Ok(Self::Many(readings))
    }

    /// The readings, as it came first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (one, many) = match self {
            Self::One(path) => (Some(*path), [].as_slice()),
            Self::Many(readings) => (None, readings.as_slice()),
        };
        one.into_iter().chain(many.iter().map(String::as_str))
    }
}

fn is_forbidden(path: &[u8]) -> bool {
    let by_itself = |byte: u8| byte < 0x20 || byte == 0x7f || byte == b'\\';
    // Every byte is looked at, since the compiler takes many at once where no early end is wanted. Control characters
    // beyond ASCII take two bytes and more.
    path.iter().fold(false, |found, byte| found | by_itself(*byte))
        || (!path.is_ascii() && String::from_utf8_lossy(path).contains(is_control))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Every `%` has two hexadecimal digits behind it.
fn is_encoded_well(path: &[u8]) -> bool {
    let mut rest = path;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match &rest[at + 1..] {
            [high, low, tail @ ..] if hex(*high).is_some() && hex(*low).is_some() => rest = tail,
            _ => return false,
        }
    }
    true
}

/// Decodes what can be decoded and leaves the rest, as a lenient server would the second time.
fn decode(path: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(path).collect()
}

fn cut_at_query(path: &[u8]) -> &[u8] {
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'#'));
    &path[..end.unwrap_or(path.len())]
}

/// `/a;x=1/b` becomes `/a/b`, as servlet containers read it.
fn cut_parameters(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b';') {
        return Cow::Borrowed(path);
    }
    let mut inside = false;
    let keep = |byte: &&u8| {
        inside = **byte == b';' || (inside && **byte != b'/');
        !inside
    };
    Cow::Owned(path.iter().filter(keep).copied().collect())
}

fn merge_slashes(path: &[u8]) -> Cow<'_, [u8]> {
    let mut merged = path.to_vec();
    merged.dedup_by(|later, earlier| *later == b'/' && *earlier == b'/');
    Cow::Owned(merged)
}

/// RFC 3986, section 5.2.4. Empty segments are segments, as the RFC has it; merging is a step of
/// its own.
fn remove_dots(path: &[u8]) -> Cow<'_, [u8]> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." if last => kept.push(b""),
            b"." => {}
            b".." => {
                kept.pop();
                if last {
                    kept.push(b"");
                }
            }
            _ => kept.push(segment),
        }
    }
    let mut whole = vec![b'/'];
    whole.extend_from_slice(&kept.join(&b'/'));
    Cow::Owned(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(path: &str) -> Vec<String> {
        Readings::of(path).unwrap().iter().map(str::to_owned).collect()
    }

    #[test]
    fn an_ordinary_path_has_one_reading_and_allocates_nothing() {
        for path in ["/", "/index.hsp", "/a/b.c/d-e_f~g", "/a:b@c!$&'()*+,=", "/.", "/é"] {
            let one = matches!(Readings::of(path).unwrap(), Readings::One(_));
            assert_eq!(one, path != "/.", "{path}");
        }
    }

    #[test]
    fn each_disguise_shows_what_it_hides() {
        for (path, hidden) in [
            ("/%61dmin/x", "/admin/x"),
            ("/%2561dmin/x", "/admin/x"),
            ("/public/../admin/x", "/admin/x"),
            ("/public/%2e%2E/admin/x", "/admin/x"),
            ("/public/..%2fadmin/x", "/admin/x"),
            ("/public/%252e%252e/admin", "/admin"),
            ("/public/%252e%252e%252fadmin", "/admin"),
            ("/./admin", "/admin"),
            ("//admin/x", "/admin/x"),
            ("/public//../admin", "/admin"),
            ("/public//../../admin", "/admin"),
            ("/admin;x=1/y", "/admin/y"),
            ("/public/..;a=b/admin", "/admin"),
            ("/public/..%3b/admin", "/admin"),
            ("/admin%3fx", "/admin"),
            ("/admin%23x", "/admin"),
            ("/admin%253fx", "/admin"),
            ("/..", "/"),
            ("/a/b/../..", "/"),
            ("/%2fadmin", "/admin"),
            ("/public/.;/../admin", "/admin"),
        ] {
            assert!(readings(path).contains(&hidden.to_owned()), "{path}: {:?}", readings(path));
            assert_eq!(readings(path)[0], path);
        }
    }

    #[test]
    fn what_no_server_should_see_is_forbidden() {
        for path in [
            "/a\\b",
            "/a%5cb",
            "/a%5Cb",
            "/a%255cb",
            "/a%00",
            "/%0d%0aSet-Cookie:x=1",
            "/a%2500",
            "/a%",
            "/a%4",
            "/a%zz",
            "/a%u0041",
            "/a\u{7f}",
            "/a\nb",
            "/%ff",
            "/%c0%ae%c0%ae/admin",
            "/a%7f",
            "/a\u{9b}2J",
            "/a%c2%9b2J",
            "/a%25C2%2585",
            "/a%e2%80%a8",
        ] {
            assert_eq!(Readings::of(path), Err(PathError::Forbidden), "{path:?}");
        }
    }

    #[test]
    fn a_percent_sign_in_a_file_name_is_no_crime() {
        assert!(readings("/files/100%25.txt").contains(&"/files/100%.txt".to_owned()));
        assert!(readings("/caf%C3%A9/x%20y").contains(&"/café/x y".to_owned()));
    }

    #[test]
    fn a_bomb_of_disguises_is_explored_only_so_far() {
        let bomb = format!("/{}", "%2e%2e/;a//%3b%252f./".repeat(90));
        let count = Readings::of(&bomb).map_or(0, |readings| readings.iter().count());
        assert!(count <= MOST_READINGS, "{count}");
        assert_eq!(Readings::of(&bomb.repeat(2)), Err(PathError::TooManyReadings));
    }

    proptest::proptest! {
        #[test]
        fn no_path_panics_and_the_first_reading_is_the_path(path in "/[a-c%2eEfF5./;?#\\\\0-]{0,24}") {
            if let Ok(readings) = Readings::of(&path) {
                proptest::prop_assert_eq!(readings.iter().next(), Some(path.as_str()));
            }
        }
    }
}
