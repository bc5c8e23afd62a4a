use memchr::memchr;
use smallvec::SmallVec;

/// The browser's `Cookie` header lines as they came. HTTP/1.1 through nginx may bring several.
#[derive(Clone, Default)]
pub struct Cookies<'a> {
    // Nearly always there is one, and a `Vec` that stays empty allocates nothing.
    first: &'a [u8],
    rest: Vec<&'a [u8]>,
}

impl<'a> Cookies<'a> {
    /// The lines, in order.
    pub fn new(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut lines = lines.into_iter();
        Self { first: lines.next().unwrap_or_default(), rest: lines.collect() }
    }

    /// Every cookie with its name, in order. What stands before the first `=` is the name; a piece
    /// without one is a cookie without a name's value, and its name is all of it.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        let lines = std::iter::once(self.first).chain(self.rest.iter().copied());
        lines.flat_map(|line| Pieces { rest: Some(line) }).filter_map(|piece| {
            let pair = piece.trim_ascii();
            let name = pair[..memchr(b'=', pair).unwrap_or(pair.len())].trim_ascii_end();
            (!pair.is_empty()).then_some((name, pair))
        })
    }

    /// Every value that was sent under this name, in order. Values that are no UTF-8 are nobody's.
    pub fn values(&self, name: &str) -> SmallVec<[&'a str; 2]> {
        let named = self.pairs().filter(|(held, _)| *held == name.as_bytes());
        let value = |(_, pair): (&'a [u8], &'a [u8])| {
            let value = pair[memchr(b'=', pair)? + 1..].trim_ascii_start();
            Some(std::str::from_utf8(value).unwrap_or_default())
        };
        named.filter_map(value).collect()
    }
}

/// What stands between the semicolons. A ticket is some hundred bytes long, too many to look at one
/// by one.
struct Pieces<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let Some(end) = memchr(b';', rest) else { return Some(rest) };
        self.rest = Some(&rest[end + 1..]);
        Some(&rest[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_order_and_odd_bytes_are_nobodys() {
        let sent = Cookies::new([&b"portal=a; x=1; portal=\xff"[..], &b"portal = c"[..]]);
        assert_eq!(sent.values("portal").as_slice(), ["a", "", "c"]);
    }

    #[test]
    fn a_name_may_hold_a_path() {
        let sent = Cookies::new([&b"ID1/express/site/shop=a=/b; x/y"[..]]);
        let names: Vec<&[u8]> = sent.pairs().map(|(name, _)| name).collect();
        assert_eq!(names, [&b"ID1/express/site/shop"[..], b"x/y"]);
        assert_eq!(sent.values("ID1/express/site/shop").as_slice(), ["a=/b"]);
    }
}
