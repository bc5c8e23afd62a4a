use memchr::memchr;
use smallvec::SmallVec;

/// Cookies for which there is room beside the rest of a question. More take memory of their own.
const FEW: usize = 6;

/// The browser's cookies, in order and byte for byte. HTTP/1.1 through nginx may bring several lines of them.
#[derive(Clone, Default)]
pub struct Cookies<'a> {
    // No `SmallVec`, which would keep the compiler from shortening the lifetime.
    few: [Pair<'a>; FEW],
    count: usize,
    more: Vec<Pair<'a>>,
}

/// What stands between two semicolons, and how much of it is the name.
#[derive(Clone, Copy, Default)]
struct Pair<'a> {
    whole: &'a [u8],
    name: usize,
}

impl<'a> Cookies<'a> {
    /// The cookies of these lines.
    pub fn new(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut cookies = Self::default();
        for mut line in lines {
            while !line.is_empty() {
                // A ticket is some hundred bytes long, too many to look at one by one; a name is short.
                let end = memchr(b';', line).unwrap_or(line.len());
                let whole = line[..end].trim_ascii();
                line = line.get(end + 1..).unwrap_or_default();
                if !whole.is_empty() {
                    let equals = whole.iter().position(|byte| *byte == b'=');
                    let name = whole[..equals.unwrap_or(whole.len())].trim_ascii_end().len();
                    cookies.push(Pair { whole, name });
                }
            }
        }
        cookies
    }

    fn push(&mut self, pair: Pair<'a>) {
        match self.few.get_mut(self.count) {
            Some(place) => {
                *place = pair;
                self.count += 1;
            }
            None => self.more.push(pair),
        }
    }

    /// Every cookie with its name, in order. What stands before the first `=` is the name; a piece
    /// without one is a cookie without a name's value, and its name is all of it.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        self.few[..self.count].iter().chain(&self.more).map(|Pair { whole, name }| (&whole[..*name], *whole))
    }

    /// Every value that was sent under this name, in order. Values that are no UTF-8 are nobody's.
    pub fn values(&self, name: &str) -> SmallVec<[&'a str; 2]> {
        let mut values = SmallVec::new();
        for (held, pair) in self.pairs() {
            if held == name.as_bytes()
                && let Some(value) = pair[held.len()..].trim_ascii_start().strip_prefix(b"=")
            {
                values.push(simdutf8::basic::from_utf8(value.trim_ascii_start()).unwrap_or_default());
            }
        }
        values
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
