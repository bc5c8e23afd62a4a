//! Portal kind `registered`: the portal's own session cookie, whatever it is. The portal told us of the
//! session through the API before the browser came with it; nobody has to be asked.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{
    Called, HeldSession, Keeps, Kept, Kind, NoPassword, NotKept, PortalSession, Scratch, Sessions, Shown, SignedSession,
};
use super::{Surroundings, Verdict, Verifier, Whose, read_cookie_name};
use crate::config::Section;
use crate::domain::{Reason, Secret, UnixSeconds};
use crate::store::StoreOutage;

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "registered", build };

/// Most cookies of one name that are looked up.
pub(super) const MOST_LOOKED_UP: usize = 16;

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

    /// Has the sessions of these values here, as far as there are any.
    ///
    /// # Errors
    /// Nobody can tell whether there are more.
    pub(super) async fn bring(&self, values: &[&str]) -> Result<(), StoreOutage> {
        self.sessions.bring_shown(&self.portal, &values[..values.len().min(MOST_LOOKED_UP)]).await
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

    fn keeps(&self) -> Keeps {
        Keeps::Sessions
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
    fn called<'a>(&'a self, sid: &'a str) -> BoxFuture<'a, Called> {
        Box::pin(std::future::ready(Called::all(vec![self.sessions.id_of(&self.portal, sid)])))
    }

    fn called_off<'a>(&'a self, sid: &'a str) -> BoxFuture<'a, Called> {
        Box::pin(async move {
            let ids = vec![self.sessions.id_of(&self.portal, sid)];
            Called { outage: self.sessions.bring(&self.portal, &ids).await.err(), ids }
        })
    }

    fn registers(&self) -> bool {
        true
    }

    fn register<'a>(&'a self, sid: &'a str, session: HeldSession) -> BoxFuture<'a, Result<Kept, NotKept>> {
        Box::pin(async move {
            // What ends a cookie, or is cut off at its ends, comes back as another value or not at all.
            if !sid.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
                return Err(NotKept::NoCookie);
            }
            self.sessions.keep(&self.portal, sid, session).await
        })
    }

    fn whose(&self, id: &str, now: UnixSeconds) -> Whose {
        self.sessions.whose(id, now)
    }

    fn end(&self, id: &str) -> Option<UnixSeconds> {
        self.sessions.end(&self.portal, id).map(|ended| ended.expires)
    }

    fn password(&self, session: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        session.held_password().ok_or(NoPassword::Absent)
    }
}
