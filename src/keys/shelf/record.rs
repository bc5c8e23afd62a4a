use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::domain::{SessionKeys, UnixSeconds};

/// One back-end session, with all that another replica needs to go on with it. It is sealed whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The portal's name.
    pub portal: String,
    /// The portal session's id in the house.
    pub session: String,
    /// When the portal session ends by itself.
    pub expires: UnixSeconds,
    /// The back-end, as its id says.
    pub backend: [u8; 8],
    /// Whose keys these are.
    pub holding: Holding,
    /// The keys.
    pub keys: SessionKeys,
}

/// Whose keys these are: see `keys::entry::Holder`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub user: String,
    /// The name at the back-end.
    pub login: String,
    pub user_agent: Option<Vec<u8>>,
    pub address: Option<IpAddr>,
    pub accept_language: Option<Vec<u8>>,
}

/// How records are written. A replica that does not know the one it finds treats the record as not there, so while
/// replicas are upgraded one by one the older ones sign in anew rather than guess.
const FORMAT: u8 = 1;

// What there is of what there may be. Any other bit is of a later format.
const OWN_LOGIN: u8 = 1;
const USER_AGENT: u8 = 1 << 1;
const ADDRESS_V4: u8 = 1 << 2;
const ADDRESS_V6: u8 = 1 << 3;
const ACCEPT_LANGUAGE: u8 = 1 << 4;

impl Record {
    /// As bytes, as few as can be: there may be millions.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Self { portal, session, expires, backend, holding, keys } = self;
        let Holding { user, login, user_agent, address, accept_language } = holding;
        let flags = [
            (login != user, OWN_LOGIN),
            (user_agent.is_some(), USER_AGENT),
            (address.is_some_and(|address| address.is_ipv4()), ADDRESS_V4),
            (address.is_some_and(|address| address.is_ipv6()), ADDRESS_V6),
            (accept_language.is_some(), ACCEPT_LANGUAGE),
        ];
        let flags = flags.iter().filter(|(is, _)| *is).fold(0, |all, (_, flag)| all | flag);
        let mut bytes = vec![FORMAT, flags];
        bytes.extend_from_slice(backend);
        put_number(&mut bytes, *expires);
        for text in [portal, session, user] {
            put(&mut bytes, text.as_bytes());
        }
        if login != user {
            put(&mut bytes, login.as_bytes());
        }
        if let Some(user_agent) = user_agent {
            put(&mut bytes, user_agent);
        }
        match address {
            Some(IpAddr::V4(address)) => bytes.extend_from_slice(&address.octets()),
            Some(IpAddr::V6(address)) => bytes.extend_from_slice(&address.octets()),
            None => {}
        }
        if let Some(accept_language) = accept_language {
            put(&mut bytes, accept_language);
        }
        for part in keys.parts() {
            put(&mut bytes, part.as_bytes());
        }
        bytes
    }

    /// What [`Record::to_bytes`] wrote; nothing where it was another format, or is not exactly that.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        let [format, flags] = rest.array()?;
        let known = OWN_LOGIN | USER_AGENT | ADDRESS_V4 | ADDRESS_V6 | ACCEPT_LANGUAGE;
        if format != FORMAT || flags & !known != 0 {
            return None;
        }
        let has = |flag: u8| flags & flag != 0;
        let backend = rest.array()?;
        let expires = rest.number()?;
        let (portal, session, user) = (rest.text()?.to_owned(), rest.text()?.to_owned(), rest.text()?.to_owned());
        let login = if has(OWN_LOGIN) { rest.text().filter(|login| *login != user)?.to_owned() } else { user.clone() };
        let user_agent = if has(USER_AGENT) { Some(rest.bytes()?.to_owned()) } else { None };
        let address = match (has(ADDRESS_V4), has(ADDRESS_V6)) {
            (false, false) => None,
            (true, false) => Some(IpAddr::from(Ipv4Addr::from(rest.array::<4>()?))),
            (false, true) => Some(IpAddr::from(Ipv6Addr::from(rest.array::<16>()?))),
            (true, true) => return None,
        };
        let accept_language = if has(ACCEPT_LANGUAGE) { Some(rest.bytes()?.to_owned()) } else { None };
        let mut parts = [""; 5];
        for part in &mut parts {
            *part = rest.text()?;
        }
        if !rest.0.is_empty() {
            return None;
        }
        let keys = SessionKeys::from_parts(parts).ok()?;
        let holding = Holding { user, login, user_agent, address, accept_language };
        Some(Self { portal, session, expires, backend, holding, keys })
    }
}

/// A number in groups of seven bits, the lowest first, as few as it needs.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn put(bytes: &mut Vec<u8>, text: &[u8]) {
    put_number(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for place in 0..10_u32 {
            let [byte] = self.array()?;
            let group = u64::from(byte & 0x7f);
            let shifted = group << (7 * place);
            // One way to write each number, so what is written twice is the same.
            let fits = shifted >> (7 * place) == group && (byte != 0 || place == 0);
            if !fits {
                return None;
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(parts: (String, String, u64, [u8; 8]), holding: Holding, cookies: &[String]) -> Record {
        let mut keys = SessionKeys::builder().session("id").unwrap();
        for (index, value) in cookies.iter().enumerate() {
            keys = keys.cookie(&format!("c{index}"), value).unwrap();
        }
        let (portal, session, expires, backend) = parts;
        Record { portal, session, expires, backend, holding, keys: keys.build().unwrap() }
    }

    fn records() -> impl Strategy<Value = Record> {
        let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..300));
        let login = prop_oneof![Just(None), "\\PC{0,20}".prop_map(Some)];
        let holding = ("\\PC{0,20}", login, bytes(), any::<Option<IpAddr>>(), bytes()).prop_map(
            |(user, login, user_agent, address, accept_language)| {
                let login = login.unwrap_or_else(|| user.clone());
                Holding { user, login, user_agent, address, accept_language }
            },
        );
        let parts = ("[a-z]{0,9}", "\\PC{0,40}", any::<u64>(), any::<[u8; 8]>());
        let cookies = prop::collection::vec("[!-+\\--:<-\\[\\]-~]{0,200}".prop_map(|text| text.replace('"', "")), 0..4);
        (parts, holding, cookies).prop_map(|(parts, holding, cookies)| record(parts, holding, &cookies))
    }

    proptest! {
        #[test]
        fn a_record_comes_out_as_it_went_in_and_no_other_bytes_do(
            record in records(), cut in any::<prop::sample::Index>(), changed in any::<u8>()
        ) {
            let bytes = record.to_bytes();
            prop_assert_eq!(Record::from_bytes(&bytes), Some(record));
            let at = cut.index(bytes.len());
            prop_assert!(Record::from_bytes(&bytes[..at]).is_none());
            let mut longer = bytes.clone();
            longer.push(changed);
            prop_assert!(Record::from_bytes(&longer).is_none());
            let mut other = bytes;
            other[at] = changed;
            // Whatever is read is written just so.
            if let Some(read) = Record::from_bytes(&other) {
                prop_assert_eq!(read.to_bytes(), other);
            }
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_read(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(read) = Record::from_bytes(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes.clone());
            }
            if let Some(first) = bytes.first_mut() {
                *first = FORMAT;
            }
            if let Some(read) = Record::from_bytes(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn a_record_is_hardly_longer_than_what_is_in_it() {
        let user = "ana@example.org".to_owned();
        let holding = Holding { login: user.clone(), user, user_agent: None, address: None, accept_language: None };
        let parts = ("main".to_owned(), "0123456789abcdef0123456789abcdef".to_owned(), 1_800_000_000, [7; 8]);
        let record = record(parts, holding, &["x".repeat(300)]);
        let content = 4 + 32 + 15 + 8 + "c0=".len() + 300 + "id".len();
        assert!(record.to_bytes().len() <= content + 20, "{}", record.to_bytes().len());
    }

    #[test]
    fn a_record_of_a_later_format_is_not_there() {
        let holding =
            Holding { user: "a".into(), login: "a".into(), user_agent: None, address: None, accept_language: None };
        let mut bytes = record(("p".into(), "s".into(), 1, [0; 8]), holding, &[]).to_bytes();
        bytes[1] |= 1 << 5;
        assert_eq!(Record::from_bytes(&bytes), None);
        bytes[1] &= !(1 << 5);
        bytes[0] = FORMAT + 1;
        assert_eq!(Record::from_bytes(&bytes), None);
    }
}
