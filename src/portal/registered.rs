//! Portal kind `registered`: the portal's own session cookie, whatever it is. The portal told us of the
//! session through the API before the browser came with it; nobody has to be asked.

use std::sync::Arc;

use super::{HeldSession, Kept, Kind, NoPassword, NotKept, PortalSession, Scratch, Sessions, Shown, SignedSession};
use super::{Surroundings, Verdict, Verifier, Whose, read_cookie_name};
use crate::config::Section;
use crate::domain::{Reason, Secret, UnixSeconds};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "registered", build };

/// Most cookies of one name that are looked up.
const MOST_LOOKED_UP: usize = 16;

fn build(section: &mut Section, surroundings: &Surroundings) -> Box<dyn Verifier> {
    Box::new(Registered::new(read_cookie_name(section), surroundings))
}

/// Looks a cookie's value up among the sessions that are kept.
pub(super) struct Registered {
    portal: String,
    cookie: String,
    sessions: Arc<Sessions>,
}

impl Registered {
    /// For sessions of this portal, under this cookie.
    pub(super) fn new(cookie: String, surroundings: &Surroundings) -> Self {
        let Surroundings { name, sessions, .. } = surroundings;
        Self { portal: name.clone(), cookie, sessions: Arc::clone(sessions) }
    }

    /// The one session among these values, and its id. Two different ones at once mean that somebody planted
    /// one, and nobody can tell which.
    pub(super) fn look_up(&self, values: &[&str], now: UnixSeconds) -> Result<(String, Arc<HeldSession>), Reason> {
        let mut found: Option<(String, Arc<HeldSession>)> = None;
        for shown in values.iter().take(MOST_LOOKED_UP) {
            let Some(one) = self.sessions.find(&self.portal, shown, now) else { continue };
            if found.as_ref().is_some_and(|(other, _)| *other != one.0) {
                return Err(Reason::Forged);
            }
            found = Some(one);
        }
        found.ok_or(Reason::NoSession)
    }
}

impl Verifier for Registered {
    fn cookie(&self) -> &str {
        &self.cookie
    }

    fn verify<'a>(&'a self, shown: &Shown<'a>, now: UnixSeconds, scratch: &'a mut Scratch) -> Verdict<'a> {
        match self.look_up(&shown.values, now) {
            Ok((id, held)) => Verdict::Genuine(PortalSession::held(id, scratch.held.insert(held))),
            Err(reason) => Verdict::Rejected(reason),
        }
    }

    fn signed(&self, presented: &[&str]) -> Vec<SignedSession> {
        let looked_up = presented.iter().take(MOST_LOOKED_UP);
        let session = |shown: &&str| {
            let (id, held) = self.sessions.find(&self.portal, shown, 0)?;
            Some(SignedSession { id, user: held.identity.user().to_owned(), expires: held.expires })
        };
        looked_up.filter_map(session).collect()
    }

    /// One, whether it was told of already or not.
    fn called(&self, sid: &str) -> Vec<String> {
        vec![self.sessions.id_of(&self.portal, sid)]
    }

    fn registers(&self) -> bool {
        true
    }

    fn register(&self, sid: &str, session: HeldSession) -> Result<Kept, NotKept> {
        // What ends a cookie, or is cut off at its ends, comes back as another value or not at all.
        if !sid.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
            return Err(NotKept::NoCookie);
        }
        Ok(self.sessions.keep(&self.portal, sid, session)?)
    }

    fn whose(&self, id: &str, now: UnixSeconds) -> Whose {
        self.sessions.whose(id, now).map_or(Whose::Nobody, Whose::Of)
    }

    fn end(&self, id: &str) -> Option<UnixSeconds> {
        self.sessions.end(id).map(|ended| ended.expires)
    }

    fn password(&self, session: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        session.held_password().ok_or(NoPassword::Absent)
    }
}
