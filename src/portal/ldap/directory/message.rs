//! The shape of an LDAP message (RFC 4511, section 4 and appendix B), in the part of BER that LDAP allows.
//!
//! `ldap3` is made for servers that mean well. It panics at an element that is missing, reads a result code of
//! no bytes, or of five that end in zeros, as 0, which is success, and takes an answer of any kind for the one
//! that it waits for. So it gets to see only what passes here.

/// Longest message that is read, in bytes. We ask for a handful of attributes of a person, and for names of
/// groups.
pub(super) const LONGEST: usize = 1 << 20;
/// Longest header of an element: a tag and a length.
const LONGEST_HEADER: usize = 6;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTROLS: u8 = 0xa0;
const REFERRAL: u8 = 0xa3;
const SASL_CREDENTIALS: u8 = 0x87;
const RESPONSE_NAME: u8 = 0x8a;
const RESPONSE_VALUE: u8 = 0x8b;
/// `error` of a password policy's response.
const POLICY_ERROR: u8 = 0x81;

const BIND_REQUEST: u8 = 0x60;
const BIND_RESPONSE: u8 = 0x61;
const SEARCH_REQUEST: u8 = 0x63;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const SEARCH_REFERENCE: u8 = 0x73;
const EXTENDED_REQUEST: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;

/// What is no LDAP message, or not one that we may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

type Read<T> = Result<T, Malformed>;

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    id: u32,
    operation: u8,
}

/// How long the message is that begins here, as soon as that can be told.
pub(super) fn length(bytes: &[u8]) -> Read<Option<usize>> {
    let Some(&tag) = bytes.first() else { return Ok(None) };
    if tag != SEQUENCE {
        return Err(Malformed);
    }
    match header(bytes) {
        Ok((head, content)) if content <= LONGEST - head => Ok(Some(head + content)),
        Err(Malformed) if bytes.len() < LONGEST_HEADER => Ok(None),
        _ => Err(Malformed),
    }
}

/// Which answer a request of ours waits for; `None` for one that has none.
pub(super) fn asked(request: &[u8]) -> Read<Option<Asked>> {
    let (id, operation, _) = envelope(request)?;
    let has_answer = matches!(operation, BIND_REQUEST | SEARCH_REQUEST | EXTENDED_REQUEST);
    Ok(has_answer.then_some(Asked { id, operation }))
}

/// Checks an answer to this request. Says whether it was the last one.
pub(super) fn check_answer(answer: &[u8], asked: Asked) -> Read<bool> {
    let (id, operation, mut rest) = envelope(answer)?;
    if id != asked.id {
        return Err(Malformed);
    }
    let content = rest.expect_any()?.1;
    if !rest.is_empty() {
        check_controls(rest.expect(CONTROLS)?)?;
    }
    rest.end()?;
    match (asked.operation, operation) {
        (SEARCH_REQUEST, SEARCH_ENTRY) => check_entry(content).map(|()| false),
        (SEARCH_REQUEST, SEARCH_REFERENCE) => check_addresses(content).map(|()| false),
        (BIND_REQUEST, BIND_RESPONSE) | (SEARCH_REQUEST, SEARCH_DONE) | (EXTENDED_REQUEST, EXTENDED_RESPONSE) => {
            check_result(content).map(|()| true)
        }
        _ => Err(Malformed),
    }
}

/// The result code of an answer that [`check_answer`] let pass and that has one.
pub(super) fn result_code(answer: &[u8]) -> Read<u32> {
    let (_, _, mut rest) = envelope(answer)?;
    code(&mut Elements(rest.expect_any()?.1))
}

/// Whether a directory's rules for passwords are against somebody whose password is right, as the control beside
/// the answer to a bind says (draft-behera-ldap-password-policy-10, section 6.2). A warning alone is none.
pub(super) fn has_policy_error(control: &[u8]) -> Read<bool> {
    let mut outside = Elements(control);
    let mut parts = Elements(outside.expect(SEQUENCE)?);
    outside.end()?;
    let mut has_error = false;
    while !parts.is_empty() {
        has_error |= parts.expect_any()?.0 == POLICY_ERROR;
    }
    Ok(has_error)
}

/// The id and the operation's tag, and all elements from the operation on.
fn envelope(message: &[u8]) -> Read<(u32, u8, Elements<'_>)> {
    let mut outside = Elements(message);
    let mut elements = Elements(outside.expect(SEQUENCE)?);
    outside.end()?;
    let id = number(elements.expect(INTEGER)?)?;
    let operation = *elements.0.first().ok_or(Malformed)?;
    Ok((id, operation, elements))
}

fn check_result(content: &[u8]) -> Read<()> {
    let mut elements = Elements(content);
    code(&mut elements)?;
    text(elements.expect(OCTETS)?)?;
    text(elements.expect(OCTETS)?)?;
    while !elements.is_empty() {
        match elements.expect_any()? {
            (REFERRAL, addresses) => check_addresses(addresses)?,
            (RESPONSE_NAME, name) => text(name)?,
            (SASL_CREDENTIALS | RESPONSE_VALUE, _) => {}
            _ => return Err(Malformed),
        }
    }
    Ok(())
}

fn code(elements: &mut Elements<'_>) -> Read<u32> {
    number(elements.expect(ENUMERATED)?)
}

fn check_entry(content: &[u8]) -> Read<()> {
    let mut elements = Elements(content);
    text(elements.expect(OCTETS)?)?;
    let mut attributes = Elements(elements.expect(SEQUENCE)?);
    elements.end()?;
    while !attributes.is_empty() {
        let mut attribute = Elements(attributes.expect(SEQUENCE)?);
        text(attribute.expect(OCTETS)?)?;
        let mut values = Elements(attribute.expect(SET)?);
        attribute.end()?;
        while !values.is_empty() {
            values.expect(OCTETS)?;
        }
    }
    Ok(())
}

fn check_addresses(content: &[u8]) -> Read<()> {
    let mut addresses = Elements(content);
    while !addresses.is_empty() {
        text(addresses.expect(OCTETS)?)?;
    }
    Ok(())
}

fn check_controls(content: &[u8]) -> Read<()> {
    let mut controls = Elements(content);
    while !controls.is_empty() {
        let mut control = Elements(controls.expect(SEQUENCE)?);
        text(control.expect(OCTETS)?)?;
        if control.0.first() == Some(&BOOLEAN) && control.expect(BOOLEAN)?.len() != 1 {
            return Err(Malformed);
        }
        if !control.is_empty() {
            control.expect(OCTETS)?;
        }
        control.end()?;
    }
    Ok(())
}

/// A number that is not negative, in as few bytes as it needs.
fn number(content: &[u8]) -> Read<u32> {
    match content {
        [first] if *first < 0x80 => Ok(u32::from(*first)),
        // A leading zero is there only to keep the number from being negative.
        [0, second, ..] if *second < 0x80 => Err(Malformed),
        [first, .., _] if *first < 0x80 && content.len() <= 4 => {
            Ok(content.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
        }
        _ => Err(Malformed),
    }
}

fn text(content: &[u8]) -> Read<()> {
    std::str::from_utf8(content).map(|_| ()).map_err(|_| Malformed)
}

/// The length of an element's header and that of its content. Indefinite lengths and tags of several bytes are
/// not for LDAP.
fn header(bytes: &[u8]) -> Read<(usize, usize)> {
    let [tag, length, more @ ..] = bytes else { return Err(Malformed) };
    if tag & 0x1f == 0x1f {
        return Err(Malformed);
    }
    match *length {
        short @ 0..=0x7f => Ok((2, short.into())),
        long @ 0x81..=0x84 => {
            let size = usize::from(long & 0x7f);
            let digits = more.get(..size).ok_or(Malformed)?;
            Ok((2 + size, digits.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))))
        }
        _ => Err(Malformed),
    }
}

/// Elements one after the other.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next one's tag and content.
    fn expect_any(&mut self) -> Read<(u8, &'a [u8])> {
        let (head, length) = header(self.0)?;
        let tag = self.0[0];
        let (element, rest) = self.0.split_at_checked(head.saturating_add(length)).ok_or(Malformed)?;
        self.0 = rest;
        Ok((tag, &element[head..]))
    }

    /// The content of the next one, which has this tag.
    fn expect(&mut self, tag: u8) -> Read<&'a [u8]> {
        let (found, content) = self.expect_any()?;
        if found == tag { Ok(content) } else { Err(Malformed) }
    }

    const fn end(&self) -> Read<()> {
        if self.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        [&[tag, length][..], content].concat()
    }

    fn message(id: &[u8], operation: u8, content: &[u8]) -> Vec<u8> {
        element(SEQUENCE, &[element(INTEGER, id), element(operation, content)].concat())
    }

    /// A result with this code.
    fn result(code: &[u8]) -> Vec<u8> {
        [element(ENUMERATED, code), element(OCTETS, b""), element(OCTETS, b"")].concat()
    }

    const BIND: Asked = Asked { id: 1, operation: BIND_REQUEST };
    const SEARCH: Asked = Asked { id: 1, operation: SEARCH_REQUEST };

    #[test]
    fn an_answer_counts_for_the_question_that_it_answers() {
        for (operation, asked, last) in [
            (BIND_RESPONSE, BIND, Ok(true)),
            (SEARCH_DONE, SEARCH, Ok(true)),
            (EXTENDED_RESPONSE, Asked { id: 1, operation: EXTENDED_REQUEST }, Ok(true)),
            (SEARCH_DONE, BIND, Err(Malformed)),
            (EXTENDED_RESPONSE, BIND, Err(Malformed)),
            (BIND_RESPONSE, SEARCH, Err(Malformed)),
            (0x69, BIND, Err(Malformed)),
        ] {
            assert_eq!(check_answer(&message(&[1], operation, &result(&[0])), asked), last, "{operation:x}");
        }
        assert_eq!(check_answer(&message(&[2], BIND_RESPONSE, &result(&[0])), BIND), Err(Malformed));
    }

    #[test]
    fn a_result_code_that_only_looks_like_success_is_none() {
        for code in [&[][..], &[1, 0, 0, 0, 0], &[0, 0], &[0x80], &[0xff, 0], &[0, 49]] {
            let answer = message(&[1], BIND_RESPONSE, &result(code));
            assert_eq!(check_answer(&answer, BIND), Err(Malformed), "{code:?}");
        }
        for (code, value) in [(&[0][..], 0), (&[49], 49), (&[0x10, 0], 4096), (&[0, 0x80], 128)] {
            let answer = message(&[1], BIND_RESPONSE, &result(code));
            assert_eq!((check_answer(&answer, BIND), result_code(&answer)), (Ok(true), Ok(value)), "{code:?}");
        }
    }

    #[test]
    fn whatever_is_cut_off_or_goes_on_is_no_message() {
        let entry = [
            element(OCTETS, b"uid=a"),
            element(
                SEQUENCE,
                &element(SEQUENCE, &[element(OCTETS, b"uid"), element(SET, &element(OCTETS, b"a"))].concat()),
            ),
        ];
        let good = message(&[1], SEARCH_ENTRY, &entry.concat());
        assert_eq!(check_answer(&good, SEARCH), Ok(false));
        for end in 0..good.len() {
            assert_eq!(check_answer(&good[..end], SEARCH), Err(Malformed), "{end}");
        }
        assert_eq!(check_answer(&[&good[..], &[0]].concat(), SEARCH), Err(Malformed));
        // One wrong byte anywhere is found, or is in a text, where it says something else.
        for at in 0..good.len() {
            let mut wrong = good.clone();
            wrong[at] ^= 0x80;
            assert!(check_answer(&wrong, SEARCH).is_err() || b"uida=".contains(&good[at]), "{at}");
        }
    }

    #[test]
    fn controls_are_looked_at() {
        let answer = |control: &[u8]| {
            let operation = element(BIND_RESPONSE, &result(&[0]));
            element(SEQUENCE, &[element(INTEGER, &[1]), operation, element(CONTROLS, control)].concat())
        };
        let control = |parts: &[Vec<u8>]| element(SEQUENCE, &parts.concat());
        let (name, value) = (element(OCTETS, b"1.2"), element(OCTETS, b"x"));
        for (parts, good) in [
            (vec![name.clone()], true),
            (vec![name.clone(), value.clone()], true),
            (vec![name.clone(), element(BOOLEAN, &[0xff]), value.clone()], true),
            (vec![name.clone(), element(BOOLEAN, &[]), value.clone()], false),
            (vec![name.clone(), element(INTEGER, &[1])], false),
            (vec![name, value.clone(), value], false),
            (vec![], false),
        ] {
            assert_eq!(check_answer(&answer(&control(&parts)), BIND).is_ok(), good, "{parts:?}");
        }
    }

    #[test]
    fn an_error_of_the_rules_for_passwords_is_told_from_a_warning() {
        let (error, warning) = (element(POLICY_ERROR, &[2]), element(0xa0, &element(0x80, &[9])));
        for (parts, expected) in [
            (vec![], Ok(false)),
            (vec![warning.clone()], Ok(false)),
            (vec![error.clone()], Ok(true)),
            (vec![warning, error.clone()], Ok(true)),
            (vec![error[..2].to_vec()], Err(Malformed)),
        ] {
            assert_eq!(has_policy_error(&element(SEQUENCE, &parts.concat())), expected, "{parts:?}");
        }
        assert_eq!(has_policy_error(&error), Err(Malformed));
    }

    #[test]
    fn a_message_is_measured_before_it_is_kept() {
        for (bytes, expected) in [
            (&[][..], Ok(None)),
            (&[0x30], Ok(None)),
            (&[0x30, 5], Ok(Some(7))),
            (&[0x30, 0x82, 1], Ok(None)),
            (&[0x30, 0x82, 1, 0], Ok(Some(260))),
            (&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff], Err(Malformed)),
            (&[0x30, 0x80, 0, 0, 0, 0], Err(Malformed)),
            (&[0x30, 0x89, 0, 0, 0, 0], Err(Malformed)),
            (b"HTTP/1.1", Err(Malformed)),
            (&[0x16, 3, 1], Err(Malformed)),
        ] {
            assert_eq!(length(bytes), expected, "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_at_all_can_be_looked_at(bytes: Vec<u8>) {
            let _ = (length(&bytes), asked(&bytes), check_answer(&bytes, SEARCH), result_code(&bytes));
        }
    }
}
