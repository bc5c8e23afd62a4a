//! What a replica owes the others about once a second: to say who looks after what, to take over what nobody does, and to
//! tell what could not be told before.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::entry::Entry;
use super::replicas::Replicas;
use super::shelf::Spot;
use super::shelving::Promise;
use super::store::KeyStore;
use crate::domain::Moment;

/// Between two searches for records that nobody looks after, in milliseconds.
const SEARCHES: std::ops::Range<u64> = 3000..7000;
/// Records that are taken over at once.
const MOST_ORPHANS: usize = 100;
/// How often in a row, where there are many.
const MOST_SEARCHES: usize = 10;

impl KeyStore {
    /// Does about once a second what the other replicas are owed.
    pub(super) fn tend_shelf(self: &Arc<Self>, now: Moment) {
        let Some(replicas) = self.replicas.get() else { return };
        if !replicas.may_ask(now) {
            return;
        }
        if replicas.has_unsaid() {
            self.begin_duty(Duty::Tell, replicas);
        }
        if !replicas.promises.lock().is_empty() {
            self.begin_duty(Duty::Promise, replicas);
        }
        if replicas.outgoing.lock().iter().any(|one| one.is_due(now)) {
            self.begin_duty(Duty::SeeOff, replicas);
        }
        if now.as_millis() >= replicas.next_search.load(Ordering::Relaxed) {
            let pause = Duration::from_millis(rand::random_range(SEARCHES));
            replicas.next_search.store(now.plus(pause).as_millis(), Ordering::Relaxed);
            self.begin_duty(Duty::Seek, replicas);
        }
    }

    /// Does a duty in the background, unless it is being done.
    fn begin_duty(&self, duty: Duty, replicas: &Replicas) {
        if replicas.under_way[duty as usize].swap(true, Ordering::Relaxed) {
            return;
        }
        self.in_background(async move |store| {
            let doing = Doing(store, duty);
            let Some(replicas) = doing.0.replicas.get() else { return };
            match duty {
                Duty::Tell => doing.0.tell_unsaid(replicas).await,
                Duty::Promise => doing.0.keep_promises(replicas).await,
                Duty::SeeOff => doing.0.see_off(replicas).await,
                Duty::Seek => doing.0.seek(replicas).await,
            }
        });
    }

    pub(super) async fn keep_promises(&self, replicas: &Replicas) {
        let (all, now) = (std::mem::take(&mut *replicas.promises.lock()), self.clock.now());
        let all: HashMap<Spot, (Arc<Entry>, Moment)> = all
            .into_iter()
            .filter_map(|(entry, at)| {
                let entry = entry.upgrade()?;
                Some((replicas.spot_of(&entry), (entry, at)))
            })
            .collect();
        let due = all.iter().map(|(spot, (_, at))| (*spot, at.since(now))).collect();
        let untold = replicas.shelf.all_due_in(due).await;
        for (entry, _) in untold.iter().filter_map(|spot| all.get(spot)) {
            entry.shelving.promise(Promise::None);
        }
        if !untold.is_empty() {
            replicas.pause(now);
        }
    }

    /// Takes over records that nobody looks after.
    async fn seek(self: &Arc<Self>, replicas: &Replicas) {
        for _ in 0..MOST_SEARCHES {
            let Ok(orphans) = replicas.shelf.orphans(MOST_ORPHANS).await else {
                return replicas.pause(self.clock.now());
            };
            let count = orphans.len();
            for orphan in orphans {
                self.adopt(replicas, orphan);
            }
            if count < MOST_ORPHANS {
                return;
            }
        }
    }
}

/// What the other replicas are owed, each done by one task at a time.
#[derive(Clone, Copy)]
enum Duty {
    /// What ended while the store could not be told.
    Tell,
    /// When somebody looks at which record again.
    Promise,
    /// Records that nobody looks after.
    Seek,
    /// Sessions whose keys gave way to others.
    SeeOff,
}

/// A duty that is being done, however it ends.
struct Doing(Arc<KeyStore>, Duty);

impl Drop for Doing {
    fn drop(&mut self) {
        if let Some(replicas) = self.0.replicas.get() {
            replicas.under_way[self.1 as usize].store(false, Ordering::Relaxed);
        }
    }
}
