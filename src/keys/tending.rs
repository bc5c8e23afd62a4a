//! What is done in the background for sessions that are held: keep-alives, offers of what other replicas do not have,
//! and the end of what nobody uses.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::entry::{Due, Entry, State};
use super::outgoing::Outgoing;
use super::replicas::Replicas;
use super::shelf::{Claim, Commit, Fence, Shelved, Spot, Taken, Tend};
use super::shelving::Promise;
use super::store::{Cause, KeyStore};
use crate::backend::{Guarded, Liveness, Outage};
use crate::domain::{Moment, SessionKeys};

/// How long an offer may take.
const OFFER: Duration = Duration::from_secs(5);
/// When a session that could not be ended is looked at again.
const AGAIN: Duration = Duration::from_secs(10);
/// How long a copy is kept at most after its end while the store cannot say whether somebody else uses it.
const LONGEST_KEPT: Duration = Duration::from_secs(600);
/// How much later than they should other replicas look at a session, or than by their own clock it is too old.
const LATE: Duration = Duration::from_secs(5);

impl KeyStore {
    /// Refreshes a session in the background. Its keys go on being used meanwhile.
    pub(super) fn refresh(self: &Arc<Self>, entry: &Arc<Entry>, backend: &Arc<Guarded>) {
        let Some(keys) = open_keys(entry) else { return };
        let Some(refreshing) = Refreshing::begin(entry) else { return };
        let (store, at) = (Arc::clone(self), Arc::clone(backend));
        // Where there is no place for it, it is dropped, and tried again at the next look.
        self.chores.submit(backend.id(), async move {
            match store.replicas.get() {
                None => store.refresh_alone(&refreshing.0, &at, &keys).await,
                Some(replicas) => store.refresh_for_all(replicas, &refreshing.0, &at, &keys).await,
            }
        });
    }

    async fn refresh_alone(&self, entry: &Arc<Entry>, backend: &Arc<Guarded>, keys: &SessionKeys) {
        let liveness = backend.check(keys).await;
        let renewed = matches!(liveness, Ok(Liveness::Renewed(_)));
        if let Some(keys) = self.settle_refresh(entry, backend, keys, liveness)
            && renewed
        {
            while_open_with(entry, &keys, |entry| entry.shelving.keep_apart(0));
        }
    }

    /// Refreshes a session if it is upon us.
    async fn refresh_for_all(
        self: &Arc<Self>,
        replicas: &Replicas,
        entry: &Arc<Entry>,
        backend: &Arc<Guarded>,
        keys: &SessionKeys,
    ) {
        let Some(fence) = entry.shelving.fence() else {
            self.offer(replicas, entry, backend, keys).await;
            if is_open_with(entry, keys) {
                self.refresh_alone(entry, backend, keys).await;
            }
            return;
        };
        let (spot, now) = (replicas.spot_of(entry), self.clock.now());
        match replicas.tend(entry, &spot, fence, now, now.since(entry.used()), backend).await {
            Ok(Tend::Yours) => self.refresh_in_turn(replicas, entry, backend, keys, (&spot, fence)).await,
            // What comes of it is heard at the next look.
            Ok(Tend::Theirs(_)) => {}
            Ok(Tend::Rest(ages)) => entry.learn(self.clock.now(), &ages),
            Ok(Tend::Newer(found)) => self.replace(replicas, entry, backend, keys, *found),
            Ok(Tend::Gone) => {
                self.drop_copy(entry, backend, keys, Cause::Elsewhere);
            }
            Ok(Tend::Unknown) => {
                if while_open_with(entry, keys, |entry| entry.shelving.keep_apart(0)) {
                    self.offer(replicas, entry, backend, keys).await;
                }
            }
            // As one alone would do.
            Err(_) => {
                replicas.pause(now);
                self.refresh_alone(entry, backend, keys).await;
            }
        }
    }

    async fn refresh_in_turn(
        &self,
        replicas: &Replicas,
        entry: &Arc<Entry>,
        backend: &Arc<Guarded>,
        keys: &SessionKeys,
        (spot, fence): (&Spot, Fence),
    ) {
        let liveness = backend.check(keys).await;
        let renewed = match &liveness {
            Ok(Liveness::Alive) => None,
            Ok(Liveness::Renewed(keys)) => Some(keys.clone()),
            Ok(Liveness::Dead) => {
                let _ = replicas.shelf.take(spot, fence).await;
                self.settle_refresh(entry, backend, keys, liveness);
                return;
            }
            Err(_) => {
                // Where the store cannot be told, the turn ends by itself.
                let _ = replicas.shelf.hand_back(spot, fence).await;
                return;
            }
        };
        let held = self.settle_refresh(entry, backend, keys, liveness);
        // Also where something has begun here meanwhile: it may be waiting for just this.
        let confirmed = replicas.confirm(entry, backend, spot, fence, renewed.as_ref()).await;
        if let Some(keys) = held {
            while_open_with(entry, &keys, |entry| confirmed.note(entry));
        }
    }

    /// Gives up a copy of keys that others may have. Says whether these were the keys.
    fn drop_copy(&self, entry: &Arc<Entry>, backend: &Guarded, keys: &SessionKeys, cause: Cause) -> bool {
        self.drop_copy_unless(entry, backend, keys, cause, |_| false)
    }

    fn drop_copy_unless(
        &self,
        entry: &Arc<Entry>,
        backend: &Guarded,
        keys: &SessionKeys,
        cause: Cause,
        is_wanted: impl FnOnce(&Entry) -> bool,
    ) -> bool {
        {
            let mut state = entry.state.lock();
            // Whoever is given keys is so under this lock.
            if !matches!(&*state, State::Open(current) if current == keys) || is_wanted(entry) {
                return false;
            }
            *state = State::Ended;
        }
        self.remove(entry);
        self.forget(backend, cause);
        true
    }

    /// Ends a session that only we hold, since its portal session was ended elsewhere.
    fn end_copy(&self, entry: &Arc<Entry>, backend: &Arc<Guarded>, keys: &SessionKeys) {
        if self.drop_copy(entry, backend, keys, Cause::Logout) {
            self.log_out(backend, keys.clone(), Cause::Logout);
        }
    }

    /// Uses another replica's keys in the place of these.
    fn replace(
        &self,
        replicas: &Replicas,
        entry: &Arc<Entry>,
        backend: &Arc<Guarded>,
        keys: &SessionKeys,
        found: Shelved,
    ) {
        let Shelved { spot, fence, record, ages } = found;
        let (now, theirs) = (self.clock.now(), record.keys);
        if replicas.is_outdated(backend, entry.login(), now.minus(ages.opened)) {
            self.take_out(spot, fence, backend, theirs, Cause::Logout);
            return;
        }
        let mut state = entry.state.lock();
        if !matches!(&*state, State::Open(current) if current == keys) {
            return;
        }
        // After the store has lost things, somebody else may have offered the very same keys.
        if entry.shelving.fence().is_none() && theirs != *keys {
            self.give_way(replicas, entry, backend, keys.clone());
        }
        let used = entry.used();
        entry.date(now, &ages);
        entry.touch(used.max(entry.used()));
        entry.shelving.put(fence, replicas.losses());
        entry.shelving.are_own(entry.shelving.is_own() && theirs == *keys);
        self.note_end(entry, backend, &theirs);
        *state = State::Open(theirs);
    }

    /// Offers keys that are not on the shelf, unless somebody else's are there.
    async fn offer(&self, replicas: &Replicas, entry: &Arc<Entry>, backend: &Arc<Guarded>, keys: &SessionKeys) {
        let (spot, now) = (replicas.spot_of(entry), self.clock.now());
        if !replicas.may_ask(now) {
            return;
        }
        let fence = match replicas.shelf.claim(&spot, entry.shelving.latest(), OFFER).await {
            Ok(Claim::Yours(fence)) => fence,
            Ok(Claim::Here(found)) => return self.replace(replicas, entry, backend, keys, *found),
            Ok(Claim::Theirs(_)) => return,
            Ok(Claim::Revoked) => return self.end_copy(entry, backend, keys),
            Err(_) => return replicas.pause(now),
        };
        let (losses, record) = (replicas.losses(), replicas.record_of(entry, keys));
        let life = replicas.life(Some(now.since(entry.opened())), backend);
        let mut ages = entry.ages(now);
        if entry.shelving.latest() > 0 {
            // Others may have had them and used them since, and what they told is lost.
            ages.used = Duration::ZERO;
        }
        match replicas.shelf.put_back(&spot, fence, &record, ages, life).await {
            Ok(Commit::Kept) => {
                if while_open_with(entry, keys, |entry| entry.shelving.put(fence, losses)) {
                    return;
                }
                // They have ended here meanwhile, and were logged out.
                let _ = replicas.shelf.take(&spot, fence).await;
            }
            Ok(Commit::Revoked) => self.end_copy(entry, backend, keys),
            Ok(Commit::Superseded) => {}
            Err(_) => {
                while_open_with(entry, keys, |entry| entry.shelving.keep_apart(fence));
                replicas.pause(now);
            }
        }
    }

    /// Ends a session whose time has come, unless somebody else uses it. Says whether that is done in the background.
    pub(super) fn clear(self: &Arc<Self>, entry: &Arc<Entry>, backend: &Arc<Guarded>, cause: Cause) -> bool {
        if self.replicas.get().is_none() {
            return false;
        }
        let (Some(keys), now) = (open_keys(entry), self.clock.now()) else { return false };
        let Some(fence) = entry.shelving.fence() else {
            // Others may have them, and use them. Once they are on the shelf again, that is known.
            let asks_first = entry.shelving.latest() > 0 && now.since(entry.end(backend.limits())) < LONGEST_KEPT;
            if asks_first {
                self.schedule(entry, now.plus(AGAIN));
                self.offer_soon(entry, backend);
            }
            return asks_first;
        };
        self.schedule(entry, now.plus(AGAIN));
        let Some(clearing) = Refreshing::begin(entry) else { return true };
        let (store, at) = (Arc::clone(self), Arc::clone(backend));
        self.chores.submit(backend.id(), async move {
            if let Some(replicas) = store.replicas.get() {
                store.clear_for_all(replicas, &clearing.0, &at, (&keys, fence), cause).await;
            }
        });
        true
    }

    async fn clear_for_all(
        &self,
        replicas: &Replicas,
        entry: &Arc<Entry>,
        backend: &Arc<Guarded>,
        (keys, fence): (&SessionKeys, Fence),
        cause: Cause,
    ) {
        let (spot, now, limits) = (replicas.spot_of(entry), self.clock.now(), backend.limits());
        let last = entry.used();
        let used = now.since(last);
        // Others tell of their uses once in an interval, or a moment later.
        let idle = limits.idle_timeout.max(limits.keep_alive_interval.mul_f64(2.2) + LATE);
        // Their clock may have begun a moment after ours.
        let oldest = limits.max_age.saturating_sub(Duration::from_secs(2));
        match replicas.shelf.take_idle(&spot, fence, used, idle, oldest).await {
            Ok(Taken::Ours(taken)) => {
                let came_back = |entry: &Entry| cause == Cause::Idle && entry.used() > last;
                let theirs = taken.record.keys;
                if !self.drop_copy_unless(entry, backend, keys, cause, came_back) && is_open_with(entry, keys) {
                    // Somebody was given them while we asked.
                    while_open_with(entry, keys, |entry| entry.shelving.keep_apart(fence));
                    self.offer(replicas, entry, backend, keys).await;
                } else if cause == Cause::Age {
                    // It is old at other replicas, too, but not to the second.
                    self.end_later(replicas, Outgoing::new(entry, backend, theirs, now.plus(LATE), cause));
                } else {
                    self.log_out(backend, theirs, cause);
                }
            }
            // Nobody used it later than we did: it is only a while until that is certain.
            Ok(Taken::InUse(ages)) if cause == Cause::Idle && ages.used + Duration::from_secs(1) >= used => {}
            Ok(Taken::InUse(ages)) => {
                // Whoever uses it may have said the same, and if not, somebody looks after it then.
                let due = limits.idle_timeout.saturating_sub(ages.used) + limits.keep_alive_interval / 2;
                let _ = replicas.shelf.due_in(&spot, due).await;
                self.drop_copy(entry, backend, keys, cause);
            }
            // Somebody else may have put them there again, and use them: that is found out under their fence.
            Ok(Taken::Gone) if entry.shelving.may_be_lost(replicas.losses()) => {
                if while_open_with(entry, keys, |entry| entry.shelving.keep_apart(0)) {
                    self.offer(replicas, entry, backend, keys).await;
                }
            }
            Ok(Taken::Gone) => {
                self.drop_copy(entry, backend, keys, cause);
            }
            Err(_) if used < limits.idle_timeout + LONGEST_KEPT => replicas.pause(now),
            // Whoever looks after it next finds it.
            Err(_) => {
                self.drop_copy(entry, backend, keys, cause);
            }
        }
    }

    /// Notes when these keys end by themselves.
    pub(super) fn note_end(&self, entry: &Entry, backend: &Guarded, keys: &SessionKeys) {
        let left = backend.keys_end(keys).map(|end| Duration::from_secs(end.saturating_sub(self.clock.unix())));
        entry.end_in(self.clock.now(), left);
    }

    /// The keys that are held from now on, or were till now, if the answer was about those.
    fn settle_refresh(
        &self,
        entry: &Arc<Entry>,
        backend: &Guarded,
        checked: &SessionKeys,
        liveness: Result<Liveness, Outage>,
    ) -> Option<SessionKeys> {
        let mut held = checked.clone();
        let mut state = entry.state.lock();
        // Somebody ended or replaced the session meanwhile; the answer is about keys of the past.
        if !matches!(&*state, State::Open(current) if current == checked) {
            return None;
        }
        match liveness {
            Ok(Liveness::Alive) => entry.confirm(self.clock.now()),
            Ok(Liveness::Renewed(keys)) => {
                self.note_end(entry, backend, &keys);
                held = keys;
                *state = State::Open(held.clone());
                entry.confirm(self.clock.now());
            }
            Ok(Liveness::Dead) => {
                *state = State::Ended;
                drop(state);
                self.remove(entry);
                self.forget(backend, Cause::Dead);
            }
            Err(_) => {}
        }
        Some(held)
    }

    /// Looks after what an entry has, or has not, on the shelf. `due` is what time asks of it now.
    pub(super) fn look_after(self: &Arc<Self>, entry: &Arc<Entry>, backend: &Arc<Guarded>, now: Moment, due: &Due) {
        let Some(replicas) = self.replicas.get() else { return };
        if !matches!(&*entry.state.lock(), State::Open(_)) {
            return;
        }
        if entry.shelving.fence().is_none() {
            if matches!(due, Due::Later(_)) && replicas.may_ask(now) {
                self.offer_soon(entry, backend);
            }
            return;
        }
        let limits = backend.limits();
        let (promise, at) = match due {
            // Whoever finds that it is upon them says so.
            Due::Refresh { .. } => return,
            _ if entry.is_in_use() => (Promise::Refresh, entry.refresh_due(limits)),
            _ => (Promise::Idle, entry.end(limits)),
        };
        // Whatever goes on as before is told of once.
        if entry.shelving.promise(promise) {
            replicas.promise(entry, at.plus(limits.keep_alive_interval / 2));
        }
    }

    fn offer_soon(self: &Arc<Self>, entry: &Arc<Entry>, backend: &Arc<Guarded>) {
        let Some(keys) = open_keys(entry) else { return };
        let Some(offering) = Refreshing::begin(entry) else { return };
        let (store, at) = (Arc::clone(self), Arc::clone(backend));
        self.chores.submit(backend.id(), async move {
            if let Some(replicas) = store.replicas.get() {
                store.offer(replicas, &offering.0, &at, &keys).await;
            }
        });
    }
}

/// Notes something of these keys, if they are still held. Says whether they are.
fn while_open_with(entry: &Entry, keys: &SessionKeys, note: impl FnOnce(&Entry)) -> bool {
    let state = entry.state.lock();
    let is_open = matches!(&*state, State::Open(current) if current == keys);
    if is_open {
        note(entry);
    }
    is_open
}

fn open_keys(entry: &Entry) -> Option<SessionKeys> {
    match &*entry.state.lock() {
        State::Open(keys) => Some(keys.clone()),
        _ => None,
    }
}

fn is_open_with(entry: &Entry, keys: &SessionKeys) -> bool {
    matches!(&*entry.state.lock(), State::Open(current) if current == keys)
}

/// A keep-alive under way; there is at most one for an entry, however it ends.
struct Refreshing(Arc<Entry>);

impl Refreshing {
    fn begin(entry: &Arc<Entry>) -> Option<Self> {
        let first = !entry.refreshing.swap(true, Ordering::Relaxed);
        first.then(|| Self(Arc::clone(entry)))
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.refreshing.store(false, Ordering::Relaxed);
    }
}
