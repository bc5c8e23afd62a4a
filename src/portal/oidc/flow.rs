//! A sign-in that is under way. All of it is in a cookie of the browser that began it, sealed: whoever has
//! not signed in leaves nothing here, and nobody can finish what another browser began.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::domain::{Call, Cookies, UnixSeconds, is_token};
use crate::portal::Sessions;
use crate::portal::cookie_line::cookie_line;

/// How long somebody may take to sign in at the provider, in seconds.
pub(super) const LIFETIME: u64 = 600;
/// Most sign-ins of one browser at once, one for each tab.
const MOST: usize = 5;
/// Most cookies that are taken away at once.
const MOST_GONE: usize = 20;
/// Length of what tells one sign-in's cookie from another's: the beginning of its state, in characters.
const TAG: usize = 8;

/// A sign-in under way.
#[derive(Deserialize, Serialize)]
pub(super) struct Flow {
    pub state: String,
    pub nonce: String,
    /// The secret of PKCE (RFC 7636).
    pub verifier: String,
    /// Where to go on to, on the origin of the callback.
    pub next: String,
    /// Our own address, to which the provider sends the browser back.
    pub callback: String,
    ends: UnixSeconds,
}

/// The cookies of sign-ins at one portal.
pub(super) struct Flows<'a> {
    pub portal: &'a str,
    /// The name of the portal's session cookie.
    pub cookie: &'a str,
    pub sessions: &'a Sessions,
    /// What the browser asked.
    pub call: &'a Call<'a>,
}

/// 256 random bits, in characters that can stand everywhere.
pub(super) fn random() -> String {
    let bytes: [u8; 32] = rand::random();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the names of all such cookies begin with.
pub(super) fn prefix(cookie: &str) -> String {
    format!("{cookie}-flow-")
}

impl Flow {
    pub(super) fn new(verifier: String, next: String, callback: String, now: UnixSeconds) -> Self {
        Self { state: random(), nonce: random(), verifier, next, callback, ends: now.saturating_add(LIFETIME) }
    }
}

impl Flows<'_> {
    /// The `Set-Cookie` lines that begin this sign-in, and end those for which there is no room beside it.
    pub(super) fn begin(&self, flow: &Flow, cookies: &Cookies<'_>, now: UnixSeconds) -> Option<Vec<String>> {
        let tag = flow.state.get(..TAG)?;
        let sealed = self.sessions.seal_to_show(&self.bound_to(tag), serde_json::to_string(flow).ok()?.as_bytes())?;
        let value = URL_SAFE_NO_PAD.encode(sealed);
        let mut lines = self.make_room(cookies, now);
        lines.push(self.line(tag, &value, LIFETIME));
        Some(lines)
    }

    /// The sign-in of this state, if this browser began it.
    pub(super) fn find(&self, state: &str, cookies: &Cookies<'_>, now: UnixSeconds) -> Option<Flow> {
        let tag = state.get(..TAG)?;
        let name = format!("{}{tag}", prefix(self.cookie));
        let mut found = cookies.values(&name).into_iter().take(MOST).filter_map(|value| self.open(tag, value));
        found.find(|flow| flow.state == state && flow.ends > now)
    }

    /// The `Set-Cookie` line that ends the sign-in of this state.
    pub(super) fn end(&self, flow: &Flow) -> String {
        self.line(flow.state.get(..TAG).unwrap_or_default(), "", 0)
    }

    fn make_room(&self, cookies: &Cookies<'_>, now: UnixSeconds) -> Vec<String> {
        let prefix = prefix(self.cookie);
        let mut held: Vec<(UnixSeconds, &str)> = Vec::new();
        for (name, pair) in cookies.pairs() {
            let Some(tag) = std::str::from_utf8(name).ok().and_then(|name| name.strip_prefix(&prefix)) else {
                continue;
            };
            if tag.len() != TAG || !tag.bytes().all(is_token) {
                continue;
            }
            let value = pair.get(name.len() + 1..).and_then(|value| std::str::from_utf8(value).ok());
            let flow = value.and_then(|value| self.open(tag, value));
            held.push((flow.map_or(0, |flow| flow.ends), tag));
        }
        held.sort_unstable_by_key(|(ends, _)| std::cmp::Reverse(*ends));
        let gone = held.iter().enumerate().filter(|(index, (ends, _))| *index >= MOST - 1 || *ends <= now);
        gone.take(MOST_GONE).map(|(_, (_, tag))| self.line(tag, "", 0)).collect()
    }

    fn open(&self, tag: &str, value: &str) -> Option<Flow> {
        let sealed = URL_SAFE_NO_PAD.decode(value).ok()?;
        serde_json::from_slice(&self.sessions.unseal_shown(&self.bound_to(tag), sealed)?).ok()
    }

    fn bound_to(&self, tag: &str) -> String {
        format!("sign-in under way\n{}\n{tag}", self.portal)
    }

    fn line(&self, tag: &str, value: &str, lifetime: u64) -> String {
        cookie_line(self.call, &format!("{}{tag}", prefix(self.cookie)), value, Some(lifetime))
    }
}
