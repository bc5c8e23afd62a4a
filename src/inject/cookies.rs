use memchr::memchr;

use crate::domain::{Cookies, is_token};

/// Appends the complete upstream `Cookie` value: the browser's cookies that are not `cut`, then
/// `keys` (already rendered as `a=1; b=2`, or empty).
pub fn write_upstream_cookies(out: &mut Vec<u8>, sent: &Cookies<'_>, cut: impl Fn(&[u8]) -> bool, keys: &[u8]) {
    let start = out.len();
    for (name, pair) in sent.pairs() {
        if !cut(name) && !hides(name, pair, &cut) {
            if out.len() > start {
                out.extend_from_slice(b"; ");
            }
            out.extend_from_slice(pair);
        }
    }
    if !keys.is_empty() {
        if out.len() > start {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(keys);
    }
}

/// Whether some servers find another cookie in a pair than browsers do. To those that go by RFC 2965 a
/// comma divides like a semicolon, and Grizzly (seen in 2.4) skips what is no token before a name and ends
/// the name at what is none. It would take the first cookie of a name, and ours is the last.
fn hides(name: &[u8], pair: &[u8], cut: &impl Fn(&[u8]) -> bool) -> bool {
    let is_plain = !name.is_empty() && name.iter().copied().all(is_token);
    if is_plain && memchr(b',', pair).is_none() {
        return false;
    }
    pair.split(|byte| *byte == b',').any(|piece| {
        // Names that are no token, for whoever takes all that stands before `=`.
        let whole = piece[..memchr(b'=', piece).unwrap_or(piece.len())].trim_ascii();
        let start = piece.iter().position(|byte| is_token(*byte)).unwrap_or(piece.len());
        let token = &piece[start..];
        let end = token.iter().position(|byte| !is_token(*byte)).unwrap_or(token.len());
        cut(whole) || (end > 0 && cut(&token[..end]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(lines: &[&str], keys: &str) -> String {
        let sent = Cookies::new(lines.iter().map(|line| line.as_bytes()));
        let mut out = Vec::new();
        write_upstream_cookies(
            &mut out,
            &sent,
            |name| [&b"portal"[..], b"_hmail", b"ID1/app"].contains(&name),
            keys.as_bytes(),
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_portal_is_cut_the_keys_are_ours_and_the_rest_stays() {
        for (lines, keys, expected) in [
            (&["a=1; portal=t; b=2"][..], "_hmail=K", "a=1; b=2; _hmail=K"),
            (&["portal=t; a=1; portal=u; _hmail=evil"], "_hmail=K", "a=1; _hmail=K"),
            (&["portal=t"], "_hmail=K", "_hmail=K"),
            (&["portal=t"], "", ""),
            (&[], "", ""),
            (&["a=1", "portal=t", "b=2"], "", "a=1; b=2"),
            (&[";;=;"], "k=v", "=; k=v"),
            (&["a=1;b=2;;  ;c"], "", "a=1; b=2; c"),
            (&["portal =t; portal; portal=; \tportal=x"], "k=v", "k=v"),
            (&["a=x=y=z; q=\"a b\""], "", "a=x=y=z; q=\"a b\""),
            (&["Portal=t; portal2=t; xportal=t"], "", "Portal=t; portal2=t; xportal=t"),
        ] {
            assert_eq!(upstream(lines, keys), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_key_that_only_lenient_servers_would_find_is_cut() {
        for line in [
            "a=1,_hmail=evil",
            "a=1, _hmail = evil",
            "a,_hmail=evil",
            "a=\"1,_hmail=evil\"",
            "a=\"1;_hmail=evil;b=\",_hmail=evil",
            "=_hmail=evil",
            "\"_hmail=evil",
            "@_hmail=evil",
            "a=1,\"{_hmail=evil",
            "_hmail\"=evil",
            "_hmail?",
            "a=1,portal=t",
            "a=1, ID1/app=evil",
            "a=1,ID1/app = _hmail=evil",
        ] {
            let upstream = upstream(&["x=1,2; y=\"3\"", line], "_hmail=K");
            let (theirs, ours) = upstream.rsplit_once("; ").unwrap();
            assert_eq!(ours, "_hmail=K");
            assert!(theirs.starts_with("x=1,2; y=\"3\"") && !theirs.contains("_hmail=evil"), "{line}: {theirs}");
            assert!(!theirs.contains("portal") && !theirs.contains("_hmail"), "{line}: {theirs}");
            assert!(!theirs.contains("ID1"), "{line}: {theirs}");
        }
    }

    #[test]
    fn three_hundred_cookies_with_ours_last_lose_only_ours() {
        let mut line: String = (0..300).map(|n| format!("c{n}={n}; ")).collect();
        let kept = line.trim_end_matches("; ").to_owned();
        line.push_str("portal=t");
        assert_eq!(upstream(&[&line], ""), kept);
    }
}
