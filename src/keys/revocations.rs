use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::UnixSeconds;

/// When which revoked session may be forgotten: when its ticket has expired by itself.
#[derive(Default)]
pub(super) struct Revocations {
    by_end: Mutex<BTreeSet<(UnixSeconds, Arc<[u8]>)>>,
}

impl Revocations {
    pub(super) fn add(&self, name: Arc<[u8]>, until: UnixSeconds) {
        self.by_end.lock().insert((until, name));
    }

    /// Takes one whose time has come.
    pub(super) fn ended(&self, now: UnixSeconds) -> Option<Arc<[u8]>> {
        let mut by_end = self.by_end.lock();
        let first = by_end.first()?;
        if first.0 > now {
            return None;
        }
        by_end.pop_first().map(|(_, name)| name)
    }
}
