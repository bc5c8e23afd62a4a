use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::sessions::SessionName;
use crate::domain::{Moment, UnixSeconds};

/// When which revoked session may be forgotten: when its ticket has expired by itself. That must be
/// so by both clocks, or a wall clock that is set ahead and back again would revive it.
#[derive(Default)]
pub(super) struct Revocations {
    by_end: Mutex<BTreeSet<End>>,
}

/// When a session may be forgotten, by the wall clock and by our own, and its name.
type End = (UnixSeconds, Moment, SessionName);

impl Revocations {
    pub(super) fn add(&self, name: SessionName, until: UnixSeconds, end: Moment) {
        self.by_end.lock().insert((until, end, name));
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_end.lock().len()
    }

    /// Takes one whose time has come.
    pub(super) fn ended(&self, unix: UnixSeconds, now: Moment) -> Option<SessionName> {
        let mut by_end = self.by_end.lock();
        let (until, end, _) = by_end.first()?;
        if *until > unix || *end > now {
            return None;
        }
        by_end.pop_first().map(|(_, _, name)| name)
    }
}
