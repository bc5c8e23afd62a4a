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
        Pairs { line: self.first, more: self.rest.iter() }
    }

    /// Every value that was sent under this name, in order. Values that are no UTF-8 are nobody's.
    pub fn values(&self, name: &str) -> SmallVec<[&'a str; 2]> {
        let mut values = SmallVec::new();
        for (held, pair) in self.pairs() {
            if held == name.as_bytes()
                && let Some(equals) = memchr(b'=', pair)
            {
                let value = pair[equals + 1..].trim_ascii_start();
                values.push(std::str::from_utf8(value).unwrap_or_default());
            }
        }
        values
    }
}

/// What stands between the semicolons, line after line.
struct Pairs<'a, 'l> {
    line: &'a [u8],
    more: std::slice::Iter<'l, &'a [u8]>,
}

impl<'a> Iterator for Pairs<'a, '_> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while self.line.is_empty() {
                self.line = self.more.next()?;
            }
            // A ticket is some hundred bytes long, too many to look at one by one; a name is short.
            let end = memchr(b';', self.line).unwrap_or(self.line.len());
            let pair = self.line[..end].trim_ascii();
            self.line = self.line.get(end + 1..).unwrap_or_default();
            if !pair.is_empty() {
                let equals = pair.iter().position(|byte| *byte == b'=');
                return Some((pair[..equals.unwrap_or(pair.len())].trim_ascii_end(), pair));
            }
        }
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
    fn what_is_blank_is_no_cookie() {
        let sent = Cookies::new([&b""[..], b" ;\t; a=1;;", b"", b" ", b";b ;=; =c"]);
        let pairs: Vec<(&[u8], &[u8])> = sent.pairs().collect();
        assert_eq!(pairs, [(&b"a"[..], &b"a=1"[..]), (b"b", b"b"), (b"", b"="), (b"", b"=c")]);
    }

    #[test]
    fn a_name_may_hold_a_path() {
        let sent = Cookies::new([&b"ID1/express/site/shop=a=/b; x/y"[..]]);
        let names: Vec<&[u8]> = sent.pairs().map(|(name, _)| name).collect();
        assert_eq!(names, [&b"ID1/express/site/shop"[..], b"x/y"]);
        assert_eq!(sent.values("ID1/express/site/shop").as_slice(), ["a=/b"]);
    }
}
