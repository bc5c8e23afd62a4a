use std::fmt;
use std::ops::Range;

use memchr::memchr;

use super::{ShortText, is_token};

/// Longest cookie, query pair or authorization value, in bytes. A SOGo session cookie has 4053.
const LONGEST_KEY: usize = 6 * 1024;
/// Longest cookie line of one back-end, in bytes.
const LONGEST_COOKIES: usize = 12 * 1024;
/// Longest memo, in bytes.
const LONGEST_MEMO: usize = 2 * 1024;
/// Keys that are longer together have a place of their own. Those that are but a session's number or two fit.
const MOST_IN_PLACE: usize = 86;

/// Why something that a back-end sent cannot be a session key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionKeysError {
    /// Neither a cookie name as RFC 6265 has it, nor one with a `/` in it beside.
    #[error("the back-end's cookie has a name that is not allowed")]
    CookieName,
    /// Line breaks, blanks and `;` would write headers of their own.
    #[error("the back-end's key holds a character that is not allowed")]
    Value,
    /// Larger than any web server would carry.
    #[error("the back-end's keys are too long")]
    TooLong,
    /// A session that needs no key is none.
    #[error("the back-end gave no key")]
    Empty,
}

/// What opens one person's session at one back-end: cookies, a key in the query, a header.
///
/// They are rendered once, here, as they travel upstream, and never printed.
///
/// All in one piece of memory, one after the other, and that of their owner where they are short: there may be a
/// million of them, and whoever asks for one wants all of it. Copies cost next to nothing, and equal keys open the
/// same session.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKeys {
    text: ShortText<MOST_IN_PLACE>,
    /// Where cookies, query, authorization and session end; the memo is the rest.
    ends: [u16; 4],
}

// Even the longest of everything has its end in 16 bits.
const _: () = assert!(LONGEST_COOKIES + 4 * LONGEST_KEY + LONGEST_MEMO <= u16::MAX as usize);

impl SessionKeys {
    /// Starts with no key at all.
    #[must_use]
    pub fn builder() -> SessionKeysBuilder {
        SessionKeysBuilder::default()
    }

    /// The cookies as they stand in a `Cookie` header, `a=1; b=2`, or empty.
    #[must_use]
    pub fn cookies(&self) -> &str {
        self.part(0)
    }

    /// The same for whoever writes them, and need not know that they are text.
    #[must_use]
    pub fn cookie_bytes(&self) -> &[u8] {
        self.bytes(0)
    }

    /// The value of one of the cookies.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies()
            .split("; ")
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(held, value)| (held == name).then_some(value))
    }

    /// Whether one of the cookies has this name.
    #[must_use]
    pub fn has_cookie(&self, name: &[u8]) -> bool {
        let mut rest = self.cookie_bytes();
        while !rest.is_empty() {
            if rest.strip_prefix(name).is_some_and(|after| after.starts_with(b"=")) {
                return true;
            }
            // No name and no value holds a semicolon.
            let end = memchr(b';', rest).unwrap_or(rest.len());
            rest = rest.get(end + "; ".len()..).unwrap_or_default();
        }
        false
    }

    /// The key in the query as it stands there, `_h=…`, or empty.
    #[must_use]
    pub fn query(&self) -> &str {
        self.part(1)
    }

    /// The same for whoever writes it, and need not know that it is text.
    #[must_use]
    pub fn query_bytes(&self) -> &[u8] {
        self.bytes(1)
    }

    /// The whole `Authorization` value, or empty.
    #[must_use]
    pub fn authorization(&self) -> &str {
        self.part(2)
    }

    /// The value of the application's own header for the session's id, or empty.
    #[must_use]
    pub fn session(&self) -> &str {
        self.part(3)
    }

    /// What the connector itself needs to check or end the session. It is never injected.
    #[must_use]
    pub fn memo(&self) -> &str {
        self.part(4)
    }

    /// A builder with all of these but the cookies, for a session whose cookies were renewed.
    #[must_use]
    pub fn without_cookies(&self) -> SessionKeysBuilder {
        SessionKeysBuilder {
            cookies: Vec::new(),
            query: self.query().to_owned(),
            authorization: self.authorization().to_owned(),
            session: self.session().to_owned(),
            memo: self.memo().to_owned(),
        }
    }

    /// All there is, for somebody who keeps it elsewhere: cookies, query, authorization, session and memo, as
    /// [`SessionKeys::from_parts`] takes them.
    #[must_use]
    pub fn parts(&self) -> [&str; 5] {
        [0, 1, 2, 3, 4].map(|index| self.part(index))
    }

    /// The keys that these parts were, checked as if a back-end had just given them.
    ///
    /// # Errors
    /// They are no keys, or not written as [`SessionKeys::parts`] writes them.
    pub fn from_parts(parts: [&str; 5]) -> Result<Self, SessionKeysError> {
        let [cookies, query, authorization, session, memo] = parts;
        let mut builder = Self::builder().memo(memo.to_owned())?;
        for cookie in cookies.split("; ").filter(|_| !cookies.is_empty()) {
            let (name, value) = cookie.split_once('=').ok_or(SessionKeysError::CookieName)?;
            builder = builder.cookie(name, value)?;
        }
        if !query.is_empty() {
            let (name, value) = query.split_once('=').ok_or(SessionKeysError::Value)?;
            builder = builder.query(name, value)?;
        }
        if !authorization.is_empty() {
            builder = builder.authorization(authorization)?;
        }
        if !session.is_empty() {
            builder = builder.session(session)?;
        }
        let keys = builder.build()?;
        // Two cookies of one name would have become one.
        if keys.parts() == parts { Ok(keys) } else { Err(SessionKeysError::Value) }
    }

    fn part(&self, index: usize) -> &str {
        self.text.part(self.place(index))
    }

    fn bytes(&self, index: usize) -> &[u8] {
        self.text.bytes().get(self.place(index)).unwrap_or_default()
    }

    fn place(&self, index: usize) -> Range<usize> {
        let end = |index: usize| self.ends.get(index).map_or(self.text.bytes().len(), |end| usize::from(*end));
        index.checked_sub(1).map_or(0, end)..end(index)
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionKeys(…)")
    }
}

/// Makes [`SessionKeys`], refusing whatever could break out of its header.
#[derive(Default)]
pub struct SessionKeysBuilder {
    cookies: Vec<(String, String)>,
    query: String,
    authorization: String,
    session: String,
    memo: String,
}

impl SessionKeysBuilder {
    /// Adds a cookie; a later one of the same name takes the place of the earlier.
    ///
    /// # Errors
    /// A name or value that is not allowed in a `Cookie` header, or too long.
    pub fn cookie(mut self, name: &str, value: &str) -> Result<Self, SessionKeysError> {
        // A `/` is against the rule and harmless: it ends no name, and there are servers that put the
        // path of a site into it.
        if name.is_empty() || !name.bytes().all(|byte| is_token(byte) || byte == b'/') {
            return Err(SessionKeysError::CookieName);
        }
        check_value(value)?;
        self.cookies.retain(|(held, _)| held != name);
        self.cookies.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// Sets the key in the query. Name and value are used as they are, so they must need no encoding.
    ///
    /// # Errors
    /// Anything but letters, digits, `-`, `.`, `_` and `~`, or too long.
    pub fn query(mut self, name: &str, value: &str) -> Result<Self, SessionKeysError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if name.is_empty() || value.is_empty() || !name.bytes().chain(value.bytes()).all(plain) {
            return Err(SessionKeysError::Value);
        }
        if value.len() > LONGEST_KEY {
            return Err(SessionKeysError::TooLong);
        }
        self.query = format!("{name}={value}");
        Ok(self)
    }

    /// Sets the whole `Authorization` value, for example `Bearer …`.
    ///
    /// # Errors
    /// A character that is not printable ASCII, or too long.
    pub fn authorization(mut self, value: &str) -> Result<Self, SessionKeysError> {
        if value.is_empty() || !value.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
            return Err(SessionKeysError::Value);
        }
        if value.len() > LONGEST_KEY {
            return Err(SessionKeysError::TooLong);
        }
        value.clone_into(&mut self.authorization);
        Ok(self)
    }

    /// Sets the value of the application's own header for the session's id.
    ///
    /// # Errors
    /// Anything but letters, digits, `-`, `.`, `_` and `~`, or too long.
    pub fn session(mut self, value: &str) -> Result<Self, SessionKeysError> {
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) {
            return Err(SessionKeysError::Value);
        }
        if value.len() > LONGEST_KEY {
            return Err(SessionKeysError::TooLong);
        }
        value.clone_into(&mut self.session);
        Ok(self)
    }

    /// Keeps what the connector needs later.
    ///
    /// # Errors
    /// More than 2 KiB.
    pub fn memo(mut self, memo: String) -> Result<Self, SessionKeysError> {
        if memo.len() > LONGEST_MEMO {
            return Err(SessionKeysError::TooLong);
        }
        self.memo = memo;
        Ok(self)
    }

    /// The finished keys.
    ///
    /// # Errors
    /// No key at all, or cookies too long for any web server's header.
    pub fn build(self) -> Result<SessionKeys, SessionKeysError> {
        let mut text = String::new();
        for (name, value) in &self.cookies {
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(name);
            text.push('=');
            text.push_str(value);
        }
        if text.len() > LONGEST_COOKIES {
            return Err(SessionKeysError::TooLong);
        }
        let mut ends = [0; 4];
        for (end, part) in ends.iter_mut().zip(["", &self.query, &self.authorization, &self.session]) {
            text.push_str(part);
            *end = u16::try_from(text.len()).map_err(|_| SessionKeysError::TooLong)?;
        }
        if text.is_empty() {
            return Err(SessionKeysError::Empty);
        }
        text.push_str(&self.memo);
        Ok(SessionKeys { text: text.as_str().into(), ends })
    }
}

/// RFC 6265's cookie-octet: no control character, blank, quote, comma, semicolon or backslash.
fn check_value(value: &str) -> Result<(), SessionKeysError> {
    if value.len() > LONGEST_KEY {
        return Err(SessionKeysError::TooLong);
    }
    let allowed = |byte: u8| (0x21..0x7f).contains(&byte) && !b"\",;\\".contains(&byte);
    if value.bytes().all(allowed) { Ok(()) } else { Err(SessionKeysError::Value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_would_write_headers_are_refused() {
        for value in ["a\rb", "a\nb", "a;b", "a b", "a\"", "a,b", "é", "a\\"] {
            assert_eq!(SessionKeys::builder().cookie("k", value).err(), Some(SessionKeysError::Value), "{value:?}");
            assert_eq!(SessionKeys::builder().query("k", value).err(), Some(SessionKeysError::Value), "{value:?}");
        }
        for name in ["", "a b", "a;b", "a=b", "a,b", "a\nb", "a\tb", "\"a\"", "a\\b", "a?b", "a@b", "é", "/a\0"] {
            let refused = SessionKeys::builder().cookie(name, "x").err();
            assert_eq!(refused, Some(SessionKeysError::CookieName), "{name:?}");
        }
        for value in ["", "a\r\nb", "a b", "a,b", "é"] {
            assert_eq!(SessionKeys::builder().session(value).err(), Some(SessionKeysError::Value), "{value:?}");
        }
        assert_eq!(SessionKeys::builder().cookie("k", &"x".repeat(64 * 1024)).err(), Some(SessionKeysError::TooLong));
        assert_eq!(SessionKeys::builder().build().err(), Some(SessionKeysError::Empty));
    }

    #[test]
    fn the_last_cookie_of_a_name_wins_and_all_are_rendered_in_order() {
        let builder = SessionKeys::builder().cookie("auth", "-del-").unwrap().cookie("sid", "B").unwrap();
        let keys = builder.cookie("auth", "S-1").unwrap().build().unwrap();
        assert_eq!(keys.cookies(), "sid=B; auth=S-1");
        assert_eq!(keys.cookie("auth"), Some("S-1"));
        assert!(keys.has_cookie(b"sid") && keys.has_cookie(b"auth"));
        for name in ["", "s", "id", "B", "aut", "auth=", "S-1", "Auth"] {
            assert!(!keys.has_cookie(name.as_bytes()), "{name}");
        }
        assert_eq!(format!("{keys:?}"), "SessionKeys(…)");
    }

    #[test]
    fn a_path_in_a_cookies_name_is_carried_as_it_is() {
        let builder = SessionKeys::builder().cookie("ID1/express/site/shop", "A").unwrap().cookie("b", "2").unwrap();
        let keys = builder.build().unwrap();
        assert_eq!(keys.cookies(), "ID1/express/site/shop=A; b=2");
        assert_eq!(keys.cookie("ID1/express/site/shop"), Some("A"));
        assert!(keys.has_cookie(b"ID1/express/site/shop") && !keys.has_cookie(b"ID1"));
    }

    #[test]
    fn every_part_comes_out_as_it_went_in() {
        for (cookies, query, authorization, session, memo) in [
            ("sid=1", "_h=2", "Bearer 3", "4", "memo"),
            ("sid=1", "", "", "", ""),
            ("", "_h=2", "", "", "é"),
            ("", "", "Bearer 3", "", ""),
            ("", "", "Bearer 3", "4", ""),
            ("", "", "", "4", "memo"),
            ("", "_h=2", "Bearer 3", "", ""),
            ("sid=1", "", "Bearer 3", "", "memo"),
        ] {
            let mut builder = SessionKeys::builder().memo(memo.to_owned()).unwrap();
            if let Some((name, value)) = cookies.split_once('=') {
                builder = builder.cookie(name, value).unwrap();
            }
            if let Some((name, value)) = query.split_once('=') {
                builder = builder.query(name, value).unwrap();
            }
            if !authorization.is_empty() {
                builder = builder.authorization(authorization).unwrap();
            }
            if !session.is_empty() {
                builder = builder.session(session).unwrap();
            }
            let keys = builder.build().unwrap();
            let parts = (keys.cookies(), keys.query(), keys.authorization(), keys.session(), keys.memo());
            assert_eq!(parts, (cookies, query, authorization, session, memo));
            assert_eq!(SessionKeys::from_parts(keys.parts()).as_ref(), Ok(&keys));
        }
    }

    #[test]
    fn parts_that_are_no_keys_are_refused() {
        for parts in [
            ["", "", "", "", ""],
            ["", "", "", "", "memo"],
            ["sid", "", "", "", ""],
            ["sid=1;b=2", "", "", "", ""],
            ["sid=1; ", "", "", "", ""],
            ["sid=1; b=2; sid=3", "", "", "", ""],
            ["sid=1\r\nSet-Cookie: a=b", "", "", "", ""],
            ["", "_h", "", "", ""],
            ["", "_h=", "", "", ""],
            ["", "_h=1&a=2", "", "", ""],
            ["", "", "Bearer\n", "", ""],
            ["", "", "", "a b", ""],
        ] {
            assert!(SessionKeys::from_parts(parts).is_err(), "{parts:?}");
        }
    }

    #[test]
    fn a_memo_alone_opens_nothing() {
        let built = SessionKeys::builder().memo("memo".to_owned()).unwrap().build();
        assert_eq!(built.err(), Some(SessionKeysError::Empty));
    }

    #[test]
    fn keys_are_the_same_wherever_their_text_stands() {
        for length in [1, MOST_IN_PLACE - 3, MOST_IN_PLACE - 2, MOST_IN_PLACE - 1, MOST_IN_PLACE, LONGEST_KEY] {
            let with = |last: &str| {
                let value = format!("{}{last}", "x".repeat(length - 1));
                SessionKeys::builder().cookie("k", &value).unwrap().build().unwrap()
            };
            let keys = with("a");
            assert_eq!((keys.cookies().len(), keys.cookie("k").unwrap().len()), (length + 2, length));
            assert!(keys.has_cookie(b"k") && keys.memo().is_empty());
            assert!(keys == keys.clone() && keys == with("a") && keys != with("b"), "{length}");
        }
    }

    #[test]
    fn the_longest_keys_of_all_fit() {
        let long = "x".repeat(LONGEST_KEY);
        let builder = SessionKeys::builder().cookie("a", &long).unwrap().query("q", &long).unwrap();
        let builder =
            builder.authorization(&long).unwrap().session(&long).unwrap().memo("x".repeat(LONGEST_MEMO)).unwrap();
        let keys = builder.build().unwrap();
        assert_eq!((keys.query().len(), keys.memo().len()), (LONGEST_KEY + 2, LONGEST_MEMO));
    }
}
