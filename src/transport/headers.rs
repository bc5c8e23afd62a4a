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
        if values.next().is_some() { None } else { std::str::from_utf8(value).ok() }
    }
}

impl Headers for HeaderMap {
    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).map(|value| value.as_bytes())
    }
}

/// Whether a header's value may hold this byte (RFC 9110, section 5.5: documented; obsolete text is taken as it comes).
pub(super) const fn is_header_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
