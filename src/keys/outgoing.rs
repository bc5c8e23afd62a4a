//! Sessions whose keys gave way to those of another replica: they end when nobody uses their keys any more, here or
//! elsewhere.

use std::sync::Arc;
use std::time::Duration;

use super::entry::Entry;
use super::replicas::Replicas;
use super::store::{Cause, KeyStore};
use crate::backend::Guarded;
use crate::domain::{Moment, SessionKeys};

/// How long an answer that was given a moment ago may be on its way to the back-end.
const ON_THE_WAY: Duration = Duration::from_secs(5);
/// When a session is looked at again while the store cannot be asked.
const AGAIN: Duration = Duration::from_secs(10);
/// How long it is kept at most for that.
const LONGEST_KEPT: Duration = Duration::from_secs(600);
/// Most of them. One more ends at once.
const MOST: usize = 100_000;

/// A session that nobody is given any more, as far as this replica can tell.
pub(super) struct Outgoing {
    /// Under whose name it was.
    entry: Arc<Entry>,
    backend: Arc<Guarded>,
    keys: SessionKeys,
    /// When it is looked at.
    at: Moment,
    /// When it ends at the latest.
    until: Moment,
    cause: Cause,
}

impl Outgoing {
    pub(super) fn new(entry: &Arc<Entry>, backend: &Arc<Guarded>, keys: SessionKeys, at: Moment, cause: Cause) -> Self {
        let (entry, backend) = (Arc::clone(entry), Arc::clone(backend));
        Self { entry, backend, keys, at, until: at.plus(LONGEST_KEPT), cause }
    }

    #[cfg(test)]
    pub(super) fn hurry(&mut self) {
        self.at = Moment::default();
    }

    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.at <= now
    }
}

impl KeyStore {
    /// Ends the session of an entry's keys that are not on the shelf, because others are there. They may have been
    /// there before the store lost them, and then others may give them to people until they look themselves.
    pub(super) fn give_way(&self, replicas: &Replicas, entry: &Arc<Entry>, backend: &Arc<Guarded>, keys: SessionKeys) {
        // Whoever signed in counts it, so that it is counted once.
        if entry.shelving.is_own() {
            backend.metrics().leases_lost.inc();
        }
        let shared = backend.limits().keep_alive_interval.mul_f64(1.7);
        let elsewhere = if entry.shelving.latest() > 0 { shared } else { Duration::ZERO };
        let at = self.clock.now().plus(elsewhere + ON_THE_WAY);
        self.end_later(replicas, Outgoing::new(entry, backend, keys, at, Cause::Dead));
    }

    /// Ends a session at its time, unless its keys are on the shelf by then: whoever has put them there uses them.
    pub(super) fn end_later(&self, replicas: &Replicas, one: Outgoing) {
        let mut all = replicas.outgoing.lock();
        if all.len() < MOST {
            all.push(one);
        } else {
            self.log_out(&one.backend, one.keys, one.cause);
        }
    }

    /// Ends at once those that are meant.
    pub(super) fn end_outgoing(&self, replicas: &Replicas, is_meant: impl Fn(&Entry) -> bool) {
        let meant: Vec<_> = replicas.outgoing.lock().extract_if(.., |one| is_meant(&one.entry)).collect();
        for one in meant {
            self.log_out(&one.backend, one.keys, one.cause);
        }
    }

    /// Ends those whose time has come.
    pub(super) async fn see_off(&self, replicas: &Replicas) {
        let now = self.clock.now();
        let due: Vec<_> = replicas.outgoing.lock().extract_if(.., |one| one.is_due(now)).collect();
        for mut one in due {
            match replicas.shelf.find(&replicas.spot_of(&one.entry)).await {
                Ok(Some(found)) if found.record.keys == one.keys => {}
                Err(_) if now < one.until => {
                    one.at = now.plus(AGAIN);
                    self.end_later(replicas, one);
                }
                Ok(_) | Err(_) => self.log_out(&one.backend, one.keys, one.cause),
            }
        }
    }
}
