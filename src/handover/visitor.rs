use std::sync::Arc;

use smallvec::SmallVec;

use super::Entrance;
use crate::domain::{Reason, Secret, UnixSeconds};
use crate::keys::KeyStore;
use crate::portal::{Found, Portal, PortalSession, Shown, Unreachable, Verdict};

/// Somebody whom a route leads to the back-end.
pub(super) struct Visitor<'a> {
    pub entrance: &'a Entrance,
    /// The portal that vouches.
    pub portal: &'a Arc<Portal>,
    pub session: Arc<PortalSession<'static>>,
    /// The cookie that says so.
    pub cookie: Secret,
}

/// Why somebody may not enter.
pub(super) enum Wrong<'a> {
    /// This is the reason, and there they may sign in.
    Because(Reason, &'a Portal),
    /// A portal cannot be asked.
    Unreachable(Unreachable),
}

impl<'a> Visitor<'a> {
    /// Whom these cookies of the entrance's portals tell of. The first portal that knows somebody counts, as
    /// in every decision.
    async fn at<'b>(
        entrance: &'a Entrance,
        shown: impl Fn(&Portal) -> Shown<'b>,
        keys: &KeyStore,
        now: UnixSeconds,
    ) -> Result<Self, Wrong<'a>> {
        let because = |reason| Wrong::Because(reason, entrance.portals.first());
        let (portal, session) = match entrance.portals.identify(None, &shown, now).await {
            Found::Session(portal, session) => (portal, session),
            Found::Nobody(reason) => return Err(because(reason)),
            Found::Unreachable(unreachable) => return Err(Wrong::Unreachable(unreachable)),
        };
        if keys.is_revoked(portal.name(), &session) {
            return Err(because(Reason::Revoked));
        }
        if !session.identity().has_one_of(&entrance.roles) {
            return Err(because(Reason::Role));
        }
        let cookie = cookie_of(portal, &session, &shown(portal), now).await;
        let cookie = cookie.ok_or_else(|| because(Reason::Forged))?;
        Ok(Self { entrance, portal, session: Arc::new(session), cookie })
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
        shown: impl Fn(&Portal) -> Shown<'b>,
        keys: &KeyStore,
        now: UnixSeconds,
    ) -> Result<Self, Option<Wrong<'a>>> {
        let mut closest: Option<Wrong<'_>> = None;
        for entrance in entrances {
            match Self::at(entrance, &shown, keys, now).await {
                Ok(visitor) => return Ok(visitor),
                Err(wrong @ Wrong::Unreachable(_)) => return Err(Some(wrong)),
                Err(wrong) if closest.is_none() || matches!(wrong, Wrong::Because(Reason::Role, _)) => {
                    closest = Some(wrong);
                }
                Err(_) => {}
            }
        }
        Err(closest)
    }
}

/// Which of the cookies shows this session.
async fn cookie_of(
    portal: &Portal,
    session: &PortalSession<'_>,
    shown: &Shown<'_>,
    now: UnixSeconds,
) -> Option<Secret> {
    for value in shown.values.iter().copied() {
        let alone = Shown { values: SmallVec::from_slice(&[value]), ..shown.reborrow() };
        let verdict = portal.identify(&alone, now).await;
        if matches!(verdict, Verdict::Genuine(other) if other.id() == session.id()) {
            return Some(Secret::from(value));
        }
    }
    None
}
