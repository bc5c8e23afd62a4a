//! Distinguished names as a directory writes them (RFC 4514): which is below which, and what the first part says.

use super::names::spelling;

/// A DN, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    /// From the entry up. Each may have several parts (`cn=a+ou=b`).
    relative: Vec<Vec<(String, String)>>,
    /// The value of the first part as it is written.
    first: String,
}

impl Name {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (mut relative, mut current, mut first) = (Vec::new(), Vec::new(), None);
        let mut rest = text;
        loop {
            let (kind, after) = rest.split_once('=')?;
            let kind = kind.trim().to_ascii_lowercase();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
            if kind.is_empty() || !kind.bytes().all(plain) {
                return None;
            }
            let (value, separator, after) = take_value(after)?;
            current.push((kind, spelling(&value)));
            first.get_or_insert(value);
            if separator != Some('+') {
                current.sort();
                relative.push(std::mem::take(&mut current));
            }
            if separator.is_none() {
                return Some(Self { relative, first: first? });
            }
            rest = after;
        }
    }

    /// Whether it lies below the other.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        self.relative.len() > other.relative.len() && self.relative.ends_with(&other.relative)
    }

    /// The value of the first part, where it is alone there and of this type.
    pub(super) fn first(&self, kind: &str) -> Option<&str> {
        match self.relative.first()?.as_slice() {
            [(found, _)] if found.eq_ignore_ascii_case(kind) => Some(&self.first),
            _ => None,
        }
    }
}

/// A value without its escapes, what ended it, and what follows.
fn take_value(text: &str) -> Option<(String, Option<char>, &str)> {
    let mut bytes = Vec::new();
    let mut rest = text.trim_start_matches(' ');
    // The encoded form (`#04…`) is for values that are no text.
    if rest.starts_with('#') {
        return None;
    }
    // Blanks at the end that were not escaped do not count.
    let mut kept = 0;
    let separator = loop {
        let mut characters = rest.chars();
        let Some(character) = characters.next() else { break None };
        rest = characters.as_str();
        match character {
            ',' | ';' => break Some(','),
            '+' => break Some('+'),
            '"' => return None,
            '\\' => {
                bytes.push(take_escape(&mut rest)?);
                kept = bytes.len();
            }
            other => {
                bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                if other != ' ' {
                    kept = bytes.len();
                }
            }
        }
    };
    bytes.truncate(kept);
    Some((String::from_utf8(bytes).ok()?, separator, rest))
}

/// What stands behind a backslash: two hexadecimal digits, or the character itself.
fn take_escape(rest: &mut &str) -> Option<u8> {
    if let Some(pair) = rest.get(..2)
        && let Some([byte]) = crate::domain::decode_hex(pair).as_deref()
    {
        *rest = &rest[2..];
        return Some(*byte);
    }
    let byte = *rest.as_bytes().first()?;
    *rest = rest.get(1..)?;
    Some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn ways_to_write_a_name_are_one_name() {
        for (one, other) in [
            ("cn=a,dc=b", "CN=A, DC=B"),
            ("cn=a\\2cb,dc=c", "cn=a\\,b,dc=c"),
            ("cn=a+ou=b,dc=c", "OU=b + cn=a ,dc=c"),
            ("cn=zo\\c3\\ab", "cn=ZOË"),
            ("cn=a  b", "cn=a b"),
        ] {
            assert_eq!(name(one).relative, name(other).relative, "{one} {other}");
        }
        assert_ne!(name("cn=a\\2cdc=b").relative, name("cn=a,dc=b").relative);
        for text in ["", "a", "=a", "cn=a,", "cn=#04", "cn=\"a\"", "cn=a\\", "c n=a", "cn=\\ff"] {
            assert_eq!(Name::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn below_is_a_matter_of_whole_parts() {
        let base = name("ou=groups,dc=example,dc=test");
        for (text, expected) in [
            ("cn=a,ou=Groups,dc=example,dc=test", true),
            ("cn=a,ou=x,ou=groups,dc=example,dc=test", true),
            ("ou=groups,dc=example,dc=test", false),
            ("cn=a,ou=mygroups,dc=example,dc=test", false),
            ("cn=a,ou=groups,dc=example,dc=test,dc=evil", false),
            ("cn=a\\,ou\\=groups,dc=example,dc=test", false),
        ] {
            assert_eq!(name(text).is_below(&base), expected, "{text}");
        }
    }

    #[test]
    fn the_first_part_says_what_a_group_is_called() {
        assert_eq!(name("CN=Post\\, Berlin ,ou=g").first("cn"), Some("Post, Berlin"));
        assert_eq!(name("ou=a,cn=b").first("cn"), None);
        assert_eq!(name("cn=a+ou=b,dc=c").first("cn"), None, "which of the two?");
    }

    proptest::proptest! {
        #[test]
        fn anything_at_all_can_be_looked_at(text: String) {
            let _ = Name::parse(&text);
        }
    }
}
