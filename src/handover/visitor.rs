use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::Entrance;
use crate::domain::{Reason, Secret, UnixSeconds};
use crate::keys::KeyStore;
use crate::portal::{Portal, PortalSession, Shown, Verdict};

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
    /// When to ask again, where nobody could tell.
    pub retry_after: Option<Duration>,
}

impl<'a> Wrong<'a> {
    const fn because(reason: Reason, portal: &'a Portal) -> Self {
        Self { reason, portal, retry_after: None }
    }
}

impl<'a> Visitor<'a> {
    /// Whom these cookies of the entrance's portal tell of.
    pub async fn at(
        entrance: &'a Entrance,
        shown: &Shown<'_>,
        keys: &KeyStore,
        now: UnixSeconds,
    ) -> Result<Self, Wrong<'a>> {
        let portal = &*entrance.portal;
        let session = Self::identify(portal, shown, now).await?;
        if keys.is_revoked(portal.name(), &session) {
            return Err(Wrong::because(Reason::Revoked, portal));
        }
        if !session.identity().has_one_of(&entrance.roles) {
            return Err(Wrong::because(Reason::Role, portal));
        }
        let mut cookie = None;
        for value in shown.values.iter().copied() {
            let alone = Shown { values: SmallVec::from_slice(&[value]), ..shown.reborrow() };
            if Self::identify(portal, &alone, now).await.is_ok_and(|other| other.id() == session.id()) {
                cookie = Some(Secret::from(value));
                break;
            }
        }
        let cookie = cookie.ok_or(Wrong::because(Reason::Forged, portal))?;
        Ok(Self { entrance, session: Arc::new(session), cookie })
    }

    async fn identify(
        portal: &'a Portal,
        shown: &Shown<'_>,
        now: UnixSeconds,
    ) -> Result<PortalSession<'static>, Wrong<'a>> {
        match portal.identify(shown, now).await {
            Verdict::Genuine(session) => Ok(session),
            Verdict::Rejected(reason) => Err(Wrong::because(reason, portal)),
            Verdict::Unreachable { retry_after } => {
                Err(Wrong { reason: Reason::PortalUnavailable, portal, retry_after: Some(retry_after) })
            }
            Verdict::Unasked => Err(Wrong::because(Reason::PortalUnavailable, portal)),
        }
    }

    /// Writes the line that tells of it.
    pub fn enters(&self) {
        let (backend, user) = (self.entrance.backend.name(), self.session.identity().user());
        tracing::info!(backend, user, "handed over");
    }

    /// The first who may enter at one of these entrances; else what is wrong with whoever came closest. Nobody
    /// where there is no entrance. Where nobody can tell of one, no other is tried: what is known there counts
    /// before it.
    pub async fn first<'b>(
        entrances: impl Iterator<Item = &'a Entrance>,
        shown: impl Fn(&'a Portal) -> Shown<'b>,
        keys: &KeyStore,
        now: UnixSeconds,
    ) -> Result<Self, Option<Wrong<'a>>> {
        let mut closest: Option<Wrong<'_>> = None;
        for entrance in entrances {
            match Self::at(entrance, &shown(&entrance.portal), keys, now).await {
                Ok(visitor) => return Ok(visitor),
                Err(wrong) if wrong.reason == Reason::PortalUnavailable => return Err(Some(wrong)),
                Err(wrong) if closest.is_none() || wrong.reason == Reason::Role => closest = Some(wrong),
                Err(_) => {}
            }
        }
        Err(closest)
    }
}
