//! The cookies of a session. Names end in a hash whose salt only the server knows, so they are told
//! apart by how they begin.

use crate::domain::{SessionKeys, SessionKeysBuilder, SessionKeysError};
use crate::wire::Answer;

use super::Outage;

/// How all of the application's own begin (documented): `-secret-`, `-session-`, `-public-session-` and
/// `-shard`, and those of guests and of other ways to sign in, `-share-`, `-saml-` and `-oidc-`.
const OWN: &str = "open-xchange-";
const SECRET: &str = "open-xchange-secret-";
const SESSION: &str = "open-xchange-session-";
/// Those whose name goes on with a hash. One of a kind is enough: another hash takes its place.
const HASHED: [&str; 3] = [SECRET, SESSION, "open-xchange-public-session-"];

/// Whether the application would take a cookie of this name for one of its own.
pub(super) fn is_own(name: &[u8], route_cookies: &[String]) -> bool {
    name.get(..OWN.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN.as_bytes()))
        || route_cookies.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// Whether an answer takes the secret away.
pub(super) fn deletes_secret(answer: &Answer) -> bool {
    answer.set_cookies().iter().any(|cookie| cookie.name.starts_with(SECRET) && cookie.deletes)
}

/// How many secrets an answer leaves. Of several nobody could tell which one is right.
pub(super) fn secrets(answer: &Answer) -> usize {
    answer.cookies_left().iter().filter(|cookie| cookie.name.starts_with(SECRET)).count()
}

/// The session's cookies, while they change.
pub(super) struct Jar<'a> {
    route_cookies: &'a [String],
    cookies: Vec<(String, String)>,
}

impl<'a> Jar<'a> {
    pub(super) const fn empty(route_cookies: &'a [String]) -> Self {
        Self { route_cookies, cookies: Vec::new() }
    }

    /// Those that are held.
    pub(super) fn of(keys: &SessionKeys, route_cookies: &'a [String]) -> Self {
        let pairs = keys.cookies().split("; ").filter_map(|pair| pair.split_once('='));
        Self { route_cookies, cookies: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
    }

    /// Does what an answer says about them. Cookies of others are left alone: what is injected takes
    /// the place of the browser's own.
    pub(super) fn take(&mut self, answer: &Answer) {
        for cookie in answer.set_cookies() {
            if !is_own(cookie.name.as_bytes(), self.route_cookies) {
                continue;
            }
            if cookie.deletes || cookie.value.is_empty() {
                self.cookies.retain(|(held, _)| *held != cookie.name);
                continue;
            }
            match self.cookies.iter_mut().find(|(held, _)| is_same(held, &cookie.name)) {
                Some(held) => *held = (cookie.name, cookie.value),
                None => self.cookies.push((cookie.name, cookie.value)),
            }
        }
    }

    pub(super) fn has_secret(&self) -> bool {
        self.has(SECRET)
    }

    /// Whether the user interface's autologin will find the session.
    pub(super) fn has_session(&self) -> bool {
        self.has(SESSION)
    }

    /// As they stand in a header.
    pub(super) fn header(&self) -> String {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    pub(super) fn into_keys(self, memo: String) -> Result<SessionKeys, Outage> {
        let mut builder = Ok(SessionKeys::builder());
        for (name, value) in &self.cookies {
            builder = builder.and_then(|builder| builder.cookie(name, value));
        }
        let keys = builder.and_then(|builder| builder.memo(memo)).and_then(SessionKeysBuilder::build);
        keys.map_err(|error: SessionKeysError| Outage::Protocol(error.to_string()))
    }

    fn has(&self, beginning: &str) -> bool {
        self.cookies.iter().any(|(name, _)| name.starts_with(beginning))
    }
}

fn is_same(held: &str, name: &str) -> bool {
    held == name || HASHED.iter().any(|kind| held.starts_with(kind) && name.starts_with(kind))
}
