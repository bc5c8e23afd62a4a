use url::Url;

/// A path with its query on this very origin, written anew; `None` for everything else.
pub(super) fn place_on(origin: &str, asked: &str) -> Option<String> {
    let own = Url::parse(origin).ok()?;
    let plain = |byte: u8| (0x21..0x7f).contains(&byte) && byte != b'\\';
    let is_path = asked.starts_with('/') && !asked.starts_with("//");
    let is_whole = asked.starts_with("https://") || asked.starts_with("http://");
    if !(is_path || is_whole) || !asked.bytes().all(plain) {
        return None;
    }
    let place = own.join(asked).ok().filter(|place| place.origin() == own.origin())?;
    if !place.username().is_empty() || place.password().is_some() {
        return None;
    }
    let query = place.query().map(|query| format!("?{query}")).unwrap_or_default();
    // Dot segments are gone by now, and may have left two slashes in front.
    let path = place.path();
    (!path.starts_with("//")).then(|| format!("{path}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_to_go_on_to_is_on_this_host() {
        let own = "https://mail.example.test";
        for (asked, place) in [
            ("/", Some("/")),
            ("/mail/?folder=INBOX&x=%2F", Some("/mail/?folder=INBOX&x=%2F")),
            ("/a/../b", Some("/b")),
            ("/@evil.test", Some("/@evil.test")),
            ("/a?next=//evil.test", Some("/a?next=//evil.test")),
            ("/a#b", Some("/a")),
            ("https://mail.example.test/a?b=c", Some("/a?b=c")),
            ("https://MAIL.example.test:443", Some("/")),
            ("https://mail.example.test//evil.test", None),
            ("https://u@mail.example.test/", None),
            ("https://:p@mail.example.test/", None),
            ("https://mail.example.test:8443/", None),
            ("https://mail.example.test.evil.test/", None),
            ("http://mail.example.test/", None),
            ("", None),
            ("mail", None),
            ("//evil.test", None),
            ("///evil.test", None),
            ("/.//evil.test", None),
            ("/..//evil.test", None),
            ("/%2e//evil.test", None),
            ("/\\evil.test", None),
            ("\\\\evil.test", None),
            ("/\t/evil.test", None),
            ("/\r\nSet-Cookie: a=b", None),
            (" //evil.test", None),
            ("https://evil.test/", None),
            ("https:evil.test", None),
            ("https://mail.example.test@evil.test/", None),
            ("javascript:alert(1)", None),
            ("/\u{fffd}", None),
        ] {
            assert_eq!(place_on(own, asked).as_deref(), place, "{asked:?}");
        }
        assert_eq!(place_on("", "/mail/"), None);
    }
}
