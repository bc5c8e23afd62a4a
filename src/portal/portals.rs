use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::{Portal, PortalSession, Scratch, Shown, Verdict};
use crate::domain::{Reason, UnixSeconds};

/// When to ask again where nothing better is known.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Portals that are tried in turn; there is one at least.
///
/// The first whose session is genuine counts, whatever becomes of it: that it was signed out, or lacks a
/// role, is no reason to take the same browser for somebody else. One that cannot be asked ends the search
/// for the same reason: it might have known another person.
#[derive(Clone)]
pub struct Portals {
    first: Arc<Portal>,
    others: Vec<Arc<Portal>>,
}

/// Whom portals found, tried in turn.
pub enum Found<'a, 's> {
    /// Somebody, by this portal.
    Session(&'a Arc<Portal>, PortalSession<'s>),
    /// Nobody.
    Nobody(Reason),
    /// One of them cannot be asked, and none before it knows anybody.
    Unreachable(Unreachable),
}

/// A portal could not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the portal cannot be asked")]
pub struct Unreachable {
    /// When to ask again.
    pub retry_after: Duration,
}

/// A search that stopped at a portal that must be asked.
#[derive(Clone, Copy)]
pub struct Unfinished {
    index: usize,
    reason: Reason,
}

/// Memory for looking at several portals in turn.
#[derive(Default)]
pub struct Sheets(SmallVec<[Scratch; 1]>);

impl Portals {
    /// These, in this order; `None` of none.
    #[must_use]
    pub fn new(portals: Vec<Arc<Portal>>) -> Option<Self> {
        let mut portals = portals.into_iter();
        Some(Self { first: portals.next()?, others: portals.collect() })
    }

    /// The first, where people sign in.
    #[must_use]
    pub const fn first(&self) -> &Arc<Portal> {
        &self.first
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Portal>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The one of this name, if it is one of them.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Portal>> {
        self.iter().find(|portal| portal.name() == name)
    }

    /// Who is this, as far as can be told without asking anybody?
    ///
    /// # Errors
    /// Somebody must be asked: go on with [`identify`](Self::identify).
    pub fn validate<'a>(
        &'a self,
        shown: impl Fn(&Portal) -> Shown<'a>,
        now: UnixSeconds,
        sheets: &'a mut Sheets,
    ) -> Result<Found<'a, 'a>, Unfinished> {
        let mut reason = Reason::NoSession;
        sheets.0.resize_with(1 + self.others.len(), Scratch::default);
        for (index, (portal, scratch)) in self.iter().zip(&mut sheets.0).enumerate() {
            match portal.validate(&shown(portal), now, scratch) {
                Verdict::Genuine(session) => return Ok(Found::Session(portal, session)),
                Verdict::Rejected(Reason::Revoked) => return Ok(Found::Nobody(Reason::Revoked)),
                Verdict::Rejected(why) => reason = more_telling(reason, why),
                Verdict::Unreachable { retry_after } => return Ok(Found::Unreachable(Unreachable { retry_after })),
                Verdict::Unasked => return Err(Unfinished { index, reason }),
            }
        }
        Ok(Found::Nobody(reason))
    }

    /// Goes on from there, or begins, and asks whoever knows.
    pub async fn identify<'s>(
        &self,
        begun: Option<Unfinished>,
        shown: impl Fn(&Portal) -> Shown<'s>,
        now: UnixSeconds,
    ) -> Found<'_, 'static> {
        let Unfinished { index, mut reason } = begun.unwrap_or(Unfinished { index: 0, reason: Reason::NoSession });
        for portal in self.iter().skip(index) {
            match portal.identify(&shown(portal), now).await {
                Verdict::Genuine(session) => return Found::Session(portal, session),
                Verdict::Rejected(Reason::Revoked) => return Found::Nobody(Reason::Revoked),
                Verdict::Rejected(why) => reason = more_telling(reason, why),
                Verdict::Unreachable { retry_after } => return Found::Unreachable(Unreachable { retry_after }),
                // Nobody who was asked says so.
                Verdict::Unasked => return Found::Unreachable(Unreachable { retry_after: ASK_AGAIN }),
            }
        }
        Found::Nobody(reason)
    }
}

/// Of what two portals say, the first that is more than that nobody is there.
fn more_telling(before: Reason, now: Reason) -> Reason {
    if before == Reason::NoSession { now } else { before }
}
