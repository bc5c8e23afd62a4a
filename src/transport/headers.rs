use actix_web::http::header::HeaderMap;

/// The header lines of a message, whatever they were read from. Names are asked for in lower case.
pub(super) trait Headers: Sync {
    /// The values of all lines of this name, in order.
    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]>;

    /// The value of the first line of this name.
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Whether there is a line of this name.
    fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// The one value of a header that must be there once, in UTF-8: nginx hands it on raw, as it stood in a path.
    fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let value = values.next()?;
        if values.next().is_some() { None } else { simdutf8::basic::from_utf8(value).ok() }
    }
}

impl Headers for HeaderMap {
    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).map(|value| value.as_bytes())
    }
}

/// How many of these bytes no header's value may hold (RFC 9110, section 5.5: documented; obsolete text is taken as it
/// comes).
pub(super) fn odd_bytes(text: &[u8]) -> usize {
    let is_odd = |byte: u8| byte != b'\t' && (byte < b' ' || byte == 0x7f);
    // Each piece is counted to its end, in a byte, so that the compiler looks at many at once.
    let odd = |piece: &[u8]| piece.iter().map(|byte| u8::from(is_odd(*byte))).sum::<u8>();
    text.chunks(128).map(|piece| usize::from(odd(piece))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_odd_and_a_tab_is_not() {
        let odd = |byte: u8| odd_bytes(&[byte]) == 1;
        let found: Vec<u8> = (0..=u8::MAX).filter(|byte| odd(*byte)).collect();
        let expected: Vec<u8> = (0..b'\t').chain(b'\n'..b' ').chain([0x7f]).collect();
        assert_eq!(found, expected);
        for length in [0, 1, 127, 128, 129, 300, 1000] {
            assert_eq!(odd_bytes(&vec![b'\n'; length]), length);
            assert_eq!(odd_bytes(&vec![b'a'; length]), 0);
        }
    }
}
