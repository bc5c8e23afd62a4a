use memchr::{memchr, memchr2};

/// Appends the complete upstream path and query: `target` as it came, less every copy of the
/// query key that the client sent, plus `pair` (`name=value`, or empty).
///
/// Some servers split a query at `;` as well, and some take a name in another case or encoding, so a
/// copy is found under all of these. What is not a copy stays byte for byte, separators included.
pub fn write_upstream_target(out: &mut Vec<u8>, target: &str, query_key: Option<&str>, pair: &[u8]) {
    let Some(query_key) = query_key else {
        out.extend_from_slice(target.as_bytes());
        return;
    };
    let (path, query) = split(target);
    out.extend_from_slice(path);
    let after_path = out.len();
    if let Some(query) = query {
        out.push(b'?');
        write_without(out, query, query_key.as_bytes());
        // All that was asked were copies of the key: then nothing was asked.
        if out.len() == after_path + 1 && !query.is_empty() {
            out.truncate(after_path);
        }
    }
    if !pair.is_empty() {
        let separator = match &out[after_path..] {
            [] => "?",
            [b'?'] | [.., b'&'] => "",
            _ => "&",
        };
        out.extend_from_slice(separator.as_bytes());
        out.extend_from_slice(pair);
    }
}

/// Whether the query of `target` has `pair` (`name=value`) byte for byte, once, and no other copy of its name,
/// whatever server reads it.
pub fn carries_key(target: &str, query_key: &str, pair: &str) -> bool {
    let query = split(target).1.unwrap_or_default();
    let pieces = query.split(|byte| matches!(byte, b'&' | b';'));
    let mut copies = pieces.filter(|piece| is_copy(piece, query_key.as_bytes()));
    copies.next() == Some(pair.as_bytes()) && copies.next().is_none()
}

/// The path, and the query where there is one.
fn split(target: &str) -> (&[u8], Option<&[u8]>) {
    let target = target.as_bytes();
    match memchr(b'?', target) {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    }
}

fn write_without(out: &mut Vec<u8>, query: &[u8], query_key: &[u8]) {
    let (mut separator, mut kept_one) = (None, false);
    let mut rest = query;
    loop {
        let end = memchr2(b'&', b';', rest).unwrap_or(rest.len());
        let piece = &rest[..end];
        if !is_copy(piece, query_key) {
            if let Some(separator) = separator {
                out.push(separator);
            }
            out.extend_from_slice(piece);
            kept_one = true;
        }
        let Some(found) = rest.get(end) else { break };
        separator = kept_one.then_some(*found);
        rest = &rest[end + 1..];
    }
}

fn is_copy(piece: &[u8], query_key: &[u8]) -> bool {
    let name = &piece[..memchr(b'=', piece).unwrap_or(piece.len())];
    if memchr2(b'%', b'+', name).is_none() {
        return name.eq_ignore_ascii_case(query_key);
    }
    // Twice, for whoever decodes again behind the web server.
    let blanks: Vec<u8> = name.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let once: Vec<u8> = percent_encoding::percent_decode(&blanks).collect();
    let twice: Vec<u8> = percent_encoding::percent_decode(&once).collect();
    [once, twice].iter().any(|read| {
        // Where names are C strings, a NUL ends them.
        let read = read.split(|byte| *byte == 0).next().unwrap_or_default();
        read.trim_ascii().eq_ignore_ascii_case(query_key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(target: &str) -> String {
        let mut out = Vec::new();
        write_upstream_target(&mut out, target, Some("_h"), b"_h=KEY");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn our_key_is_there_once_and_the_clients_is_gone() {
        for (target, expected) in [
            ("/", "/?_h=KEY"),
            ("/x?", "/x?_h=KEY"),
            ("/x?a=1", "/x?a=1&_h=KEY"),
            // A question mark in a query is no beginning of one.
            ("/x?a=1?", "/x?a=1?&_h=KEY"),
            ("/x??", "/x??&_h=KEY"),
            ("/x?_h=evil", "/x?_h=KEY"),
            ("/x?_h=evil&a=1", "/x?a=1&_h=KEY"),
            ("/x?a=1&_h=evil&b=2&_h=evil", "/x?a=1&b=2&_h=KEY"),
            ("/x?a=1;_h=evil;b=2", "/x?a=1;b=2&_h=KEY"),
            ("/x?a=1;role=admin", "/x?a=1;role=admin&_h=KEY"),
            ("/x?%5fh=evil&%5F%68=evil&_H=evil&_h", "/x?_h=KEY"),
            ("/x?%255fh=evil&+_h=evil&%20_h=evil", "/x?_h=KEY"),
            ("/x?_hx=1&x_h=2&a=_h=3", "/x?_hx=1&x_h=2&a=_h=3&_h=KEY"),
            ("/x?a=%zz&b=%C3%A9&c=?&&d", "/x?a=%zz&b=%C3%A9&c=?&&d&_h=KEY"),
            ("/x?_h%00=evil&a=1&_h%2500x=evil", "/x?a=1&_h=KEY"),
            ("/x?&&a=1&", "/x?&&a=1&_h=KEY"),
            ("/x?_h=1&&a", "/x?&a&_h=KEY"),
            ("/a%2Fb/%20c?q=%26", "/a%2Fb/%20c?q=%26&_h=KEY"),
        ] {
            assert_eq!(upstream(target), expected, "{target}");
        }
    }

    #[test]
    fn what_carries_the_key_has_it_once_and_as_it_is() {
        for (target, expected) in [
            ("/?_h=KEY", true),
            ("/x?a=1&_h=KEY&b=2", true),
            ("/x?a=1;_h=KEY", true),
            ("/x?_h=KEY&", true),
            ("/x?a=_h=KEY&_h=KEY", true),
            ("/", false),
            ("/?", false),
            ("/_h=KEY", false),
            ("/&_h=KEY", false),
            ("/?_h=KEY&_h=KEY", false),
            ("/?_h=KEY&_H=evil", false),
            ("/?_h=evil;_h=KEY", false),
            ("/?_h=KEY&%5fh=evil", false),
            ("/?_h=key", false),
            ("/?_H=KEY", false),
            ("/?%5Fh=KEY", false),
            ("/?_h=KEY%20", false),
            ("/?_h=KEYS", false),
            ("/?_h", false),
            ("/?x_h=KEY", false),
            ("/?a?_h=KEY", false),
        ] {
            assert_eq!(carries_key(target, "_h", "_h=KEY"), expected, "{target}");
            assert!(carries_key(&upstream(target), "_h", "_h=KEY"), "whoever is sent there stays there: {target}");
        }
    }

    #[test]
    fn a_back_end_without_a_query_key_gets_the_target_as_it_came() {
        let mut out = Vec::new();
        write_upstream_target(&mut out, "/x?_h=1&&;", None, b"");
        assert_eq!(out, b"/x?_h=1&&;");
    }
}
