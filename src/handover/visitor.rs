use std::sync::Arc;

use super::Entrance;
use crate::domain::{Reason, Secret, UnixSeconds};
use crate::keys::KeyStore;
use crate::portal::{Portal, PortalSession, Scratch, Verdict};

/// Somebody whom a route leads to the back-end.
pub(super) struct Visitor<'a> {
    pub entrance: &'a Entrance,
    pub session: Arc<PortalSession<'static>>,
    /// The cookie that says so.
    pub cookie: Secret,
}

/// Why somebody may not enter, and the portal that says so.
pub(super) struct Wrong<'a> {
    pub reason: Reason,
    pub portal: &'a Portal,
}

impl<'a> Visitor<'a> {
    /// Whom these cookies of the entrance's portal tell of.
    pub fn at(entrance: &'a Entrance, shown: &[&str], keys: &KeyStore, now: UnixSeconds) -> Result<Self, Wrong<'a>> {
        let portal = &*entrance.portal;
        let wrong = |reason| Wrong { reason, portal };
        let validate = |shown: &[&str]| {
            let mut scratch = Scratch::default();
            match portal.validate(shown, now, &mut scratch) {
                Verdict::Genuine(session) => Ok(session.into_owned()),
                Verdict::Rejected(reason) => Err(wrong(reason)),
            }
        };
        let session = validate(shown)?;
        if keys.is_revoked(portal.name(), &session) {
            return Err(wrong(Reason::Revoked));
        }
        if !session.identity().has_one_of(&entrance.roles) {
            return Err(wrong(Reason::Role));
        }
        let says_so = |one: &&&str| validate(&[**one]).is_ok_and(|other| other.id() == session.id());
        let cookie = Secret::from(*shown.iter().find(says_so).ok_or_else(|| wrong(Reason::Forged))?);
        Ok(Self { entrance, session: Arc::new(session), cookie })
    }

    /// Writes the line that tells of it.
    pub fn enters(&self) {
        let (backend, user) = (self.entrance.backend.name(), self.session.identity().user());
        tracing::info!(backend, user, "handed over");
    }

    /// The first who may enter; else what is wrong with whoever came closest. Nobody where nobody was
    /// looked at.
    pub fn first(looked_at: impl Iterator<Item = Result<Self, Wrong<'a>>>) -> Result<Self, Option<Wrong<'a>>> {
        let mut closest: Option<Wrong<'_>> = None;
        for one in looked_at {
            match one {
                Ok(visitor) => return Ok(visitor),
                Err(wrong) if closest.is_none() || wrong.reason == Reason::Role => closest = Some(wrong),
                Err(_) => {}
            }
        }
        Err(closest)
    }
}
