//! Payloads as nearly every portal writes them: texts without escapes, and blanks behind punctuation if at all. Reading
//! a payload is the dearest step of a decision after its signature, and a plain one takes half of what the library needs.
//!
//! Whatever is not plain is no mistake here: the library reads it, or says what is wrong with it.

use std::borrow::Cow;

use memchr::memchr;

use super::NewTicket;
use crate::domain::UnixSeconds;

/// So many fit into a number, whatever they are.
const MOST_DIGITS: usize = 18;

/// What a plain payload says; it is the same that the library reads in it.
pub(super) fn read(payload: &str) -> Option<NewTicket<'_>> {
    // Every byte is looked at, since the compiler takes many at once where no early end is wanted.
    let is_plain = |byte: u8| byte >= b' ' && byte != b'\\';
    if !payload.bytes().fold(true, |so_far, byte| so_far & is_plain(byte)) {
        return None;
    }
    let mut rest = Rest(payload);
    let (mut sid, mut sub, mut iat, mut exp) = (None, None, None, None);
    let (mut roles, mut name, mut email, mut cred) = (None, None, None, None);
    rest.take("{")?;
    loop {
        // A field that is given twice is for the library to refuse.
        let is_second = match rest.field()? {
            Field::Sid => sid.replace(rest.text()?).is_some(),
            Field::Sub => sub.replace(rest.text()?).is_some(),
            Field::Iat => iat.replace(rest.seconds()?).is_some(),
            Field::Exp => exp.replace(rest.seconds()?).is_some(),
            Field::Roles => roles.replace(rest.texts()?).is_some(),
            Field::Name => name.replace(rest.text()?).is_some(),
            Field::Email => email.replace(rest.text()?).is_some(),
            Field::Cred => cred.replace(rest.text()?).is_some(),
        };
        if is_second {
            return None;
        }
        if rest.take(",").is_none() {
            break;
        }
    }
    rest.take("}")?;
    if !rest.0.is_empty() {
        return None;
    }
    let (sid, sub) = (Cow::Borrowed(sid?), Cow::Borrowed(sub?));
    let [name, email, cred] = [name, email, cred].map(|text| text.map(Cow::Borrowed));
    Some(NewTicket { sid, sub, iat: iat?, exp: exp?, roles: roles.unwrap_or_default(), name, email, cred })
}

enum Field {
    Sid,
    Sub,
    Iat,
    Exp,
    Roles,
    Name,
    Email,
    Cred,
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// These signs, and the blanks behind them.
    fn take(&mut self, signs: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(signs)?;
        self.skip_blanks();
        Some(())
    }

    fn skip_blanks(&mut self) {
        while let Some(behind) = self.0.strip_prefix(' ') {
            self.0 = behind;
        }
    }

    /// The name of a field, and the colon behind it.
    fn field(&mut self) -> Option<Field> {
        let (field, length) = match self.0.as_bytes() {
            [b'"', b's', b'i', b'd', b'"', b':', ..] => (Field::Sid, 6),
            [b'"', b's', b'u', b'b', b'"', b':', ..] => (Field::Sub, 6),
            [b'"', b'i', b'a', b't', b'"', b':', ..] => (Field::Iat, 6),
            [b'"', b'e', b'x', b'p', b'"', b':', ..] => (Field::Exp, 6),
            [b'"', b'r', b'o', b'l', b'e', b's', b'"', b':', ..] => (Field::Roles, 8),
            [b'"', b'n', b'a', b'm', b'e', b'"', b':', ..] => (Field::Name, 7),
            [b'"', b'e', b'm', b'a', b'i', b'l', b'"', b':', ..] => (Field::Email, 8),
            [b'"', b'c', b'r', b'e', b'd', b'"', b':', ..] => (Field::Cred, 7),
            _ => return None,
        };
        self.0 = &self.0[length..];
        self.skip_blanks();
        Some(field)
    }

    /// A text, which ends at the next quote, since there are no escapes.
    fn text(&mut self) -> Option<&'a str> {
        let inside = self.0.strip_prefix('"')?;
        let (text, behind) = inside.split_at(memchr(b'"', inside.as_bytes())?);
        self.0 = behind;
        self.take("\"")?;
        Some(text)
    }

    fn texts(&mut self) -> Option<Vec<Cow<'a, str>>> {
        self.take("[")?;
        // Room for some, so that it need not grow at once.
        let mut texts = Vec::with_capacity(2);
        if self.take("]").is_some() {
            return Some(texts);
        }
        loop {
            texts.push(Cow::Borrowed(self.text()?));
            if self.take(",").is_none() {
                break;
            }
        }
        self.take("]")?;
        Some(texts)
    }

    /// Digits. Fractions, signs and exponents are for the library, and so are more digits than any time has.
    fn seconds(&mut self) -> Option<UnixSeconds> {
        let (mut seconds, mut digits) = (0_u64, 0);
        for byte in self.0.bytes().take_while(u8::is_ascii_digit) {
            seconds = seconds.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
            digits += 1;
        }
        let is_number = digits == 1 || (2..=MOST_DIGITS).contains(&digits) && !self.0.starts_with('0');
        self.0 = &self.0[digits..];
        self.skip_blanks();
        is_number.then_some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn library(payload: &str) -> Option<NewTicket<'_>> {
        serde_json::from_str(payload).ok()
    }

    #[test]
    fn what_portals_write_is_plain() {
        for payload in [
            r#"{"sid":"0123456789abcdef","sub":"ana","iat":1767225600,"exp":1767229200}"#,
            r#"{"sid": "0123456789abcdef", "sub": "ana", "iat": 1767225600, "exp": 1767229200, "roles": ["a", "b"]}"#,
            r#"{"sub":"","exp":0,"iat":1,"sid":"é李","roles":[],"name":"Zoë","email":"a@b","cred":"AA"}"#,
            r#"{"roles":[ ] , "sid":"" ,"sub":"}\u007f","iat":999999999999999999 , "exp":10 } "#.replace("\\u007f", "\u{7f}").trim(),
        ] {
            assert_eq!(read(payload), Some(library(payload).unwrap()), "{payload}");
        }
    }

    #[test]
    fn whatever_else_is_left_to_the_library() {
        for payload in [
            "",
            "{",
            "{}",
            "[]",
            "null",
            r#"{"sid":"a","sub":"b","iat":1,"exp":2"#,
            r#"{"sid":"a","sub":"b","iat":1,"exp":2}}"#,
            r#"{"sid":"a","sub":"b","iat":1,"exp":2,}"#,
            r#" {"sid":"a","sub":"b","iat":1,"exp":2}"#,
            r#"{"sid":"a","sub":"b","iat":1,"exp":2,"exp":2}"#,
            r#"{"sid":"a","sub":"b","iat":1,"exp":2,"uid":2}"#,
            r#"{"sid":"a","sub":"b","iat":1}"#,
            r#"{"sid":"a","sub":"b","iat":1,"exp":2,"name":null}"#,
            r#"{"sid":"a","sub":"b","iat":1,"exp":2,"roles":"a"}"#,
            r#"{"sid":"a","sub":"b","iat":1,"exp":2,"roles":["a",]}"#,
            r#"{"sid":"a","sub":"b","iat":1,"exp":2,"roles":["a" "b"]}"#,
            r#"{"sid":"a","sub":"b","iat":1,"exp":2,"roles":[1]}"#,
            r#"{"sid":"a","sub":"b","iat":01,"exp":2}"#,
            r#"{"sid":"a","sub":"b","iat":-1,"exp":2}"#,
            r#"{"sid":"a","sub":"b","iat":1.0,"exp":2}"#,
            r#"{"sid":"a","sub":"b","iat":1e3,"exp":2}"#,
            r#"{"sid":"a","sub":"b","iat":,"exp":2}"#,
            r#"{"sid":"a","sub":"b","iat":"1","exp":2}"#,
            r#"{"sid":"a","sub":"b","iat":1,"exp":18446744073709551616}"#,
            r#"{"sid":"a\u0062","sub":"b","iat":1,"exp":2}"#,
            r#"{"s\u0069d":"a","sub":"b","iat":1,"exp":2}"#,
            "{\"sid\":\"a\nb\",\"sub\":\"b\",\"iat\":1,\"exp\":2}",
            "{\"sid\":\"a\",\n\"sub\":\"b\",\"iat\":1,\"exp\":2}",
        ] {
            assert_eq!(read(payload), None, "{payload}");
        }
    }

    /// Payloads that are right or nearly so.
    fn payloads() -> impl Strategy<Value = String> {
        let name = prop_oneof![Just("sid"), Just("sub"), Just("iat"), Just("exp"), Just("roles"), Just("name")];
        let value = prop_oneof![
            "\"[a-z ,:é\u{7f}}\\[\\]]{0,6}\"",
            "[0-9]{1,21}",
            "\\[ ?(\"[a-c,]{0,2}\"(, ?\"[a-c]\"){0,2})? ?\\]",
            "[\"0-9a-c\\\\,{}\\[\\] .+-]{0,6}",
        ];
        let field = (prop_oneof![8 => name, 1 => Just("email"), 1 => Just("uid")], " {0,2}", value, " {0,2}")
            .prop_map(|(name, before, value, behind)| format!("\"{name}\":{before}{value}{behind}"));
        let fields = proptest::collection::vec(field, 0..4).prop_map(|fields| fields.join(","));
        let whole = fields.prop_map(|more| {
            let more = if more.is_empty() { String::new() } else { format!(",{more}") };
            format!(r#"{{"sid":"a","sub":"b","iat":1,"exp":2{more}}}"#)
        });
        prop_oneof![whole, "[{}\\[\\]\"a-z:, 0-9\\\\]{0,24}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn what_is_read_here_the_library_reads_as_the_same(payload in payloads()) {
            if let Some(ticket) = read(&payload) {
                prop_assert_eq!(Some(ticket), library(&payload), "{}", payload);
            }
        }

        #[test]
        fn what_is_cut_or_changed_is_read_as_the_library_does(at in 0_usize..110, byte in any::<char>()) {
            let whole = r#"{"sid":"0123456789abcdef","sub":"ana", "iat":17672256, "exp":17672292,"roles":["a", "b"],"name":"Zoë"}"#;
            let at = (0..=at.min(whole.len())).rev().find(|at| whole.is_char_boundary(*at)).unwrap();
            for payload in [whole[..at].to_owned(), format!("{}{byte}{}", &whole[..at], &whole[at..])] {
                if let Some(ticket) = read(&payload) {
                    prop_assert_eq!(Some(ticket), library(&payload), "{}", payload);
                }
            }
        }
    }
}
