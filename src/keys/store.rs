use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::candidates::Worked;
use super::chores::Chores;
use super::entry::{Due, Entry, State, Wanted};
use super::outcome::{Found, Obtained};
use super::refusals::Refusals;
use super::replicas::Replicas;
use super::revocations::Revocations;
use super::sessions::{Entries, Sessions};
use super::turns::Turns;
use super::wheel::Wheel;
use crate::backend::{BackendId, Guarded};
use crate::domain::{Client, Clock, Moment, UnixSeconds};
use crate::portal::PortalSession;

/// Most back-end sessions of one portal session. Where a back-end ties sessions to the browser's
/// address, a roaming telephone would otherwise collect them.
const MOST_PER_SESSION: usize = 16;
/// How many entries are looked at to find one that nobody misses.
const EVICTION_SAMPLE: usize = 8;
/// How often such a sample is taken before everybody counts as busy.
const EVICTION_TRIES: usize = 4;
/// Due entries handled before other tasks get their turn.
const BATCH: usize = 512;

/// Why a back-end session is no longer held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Idle,
    Age,
    Capacity,
    Logout,
    Dead,
    /// Its login ended after its portal session had.
    Late,
    /// Another replica has ended or replaced it.
    Elsewhere,
}

impl Cause {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Age => "age",
            Self::Capacity => "capacity",
            Self::Logout => "logout",
            Self::Dead => "dead",
            Self::Late => "late",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// All back-end sessions, sharded by portal session.
pub struct KeyStore {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) runtime: Handle,
    pub(super) sessions: Sessions,
    pub(super) count: AtomicUsize,
    limit: AtomicUsize,
    pub(super) backends: ArcSwap<HashMap<BackendId, Arc<Guarded>>>,
    pub(super) refusals: Refusals,
    pub(super) worked: Worked,
    pub(super) turns: Turns,
    pub(super) revocations: Revocations,
    wheel: Wheel,
    pub(super) chores: Chores,
    /// The other replicas, where there are several.
    pub(super) replicas: OnceLock<Replicas>,
    /// For what it begins in the background.
    pub(super) me: Weak<Self>,
}

impl KeyStore {
    /// An empty store that holds at most `limit` back-end sessions. Logins and chores run on `runtime`.
    #[must_use]
    pub fn new(limit: usize, clock: Arc<dyn Clock>, runtime: Handle) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            sessions: Sessions::new(),
            count: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            backends: ArcSwap::default(),
            refusals: Refusals::new(),
            worked: Worked::default(),
            turns: Turns::default(),
            revocations: Revocations::default(),
            wheel: Wheel::new(clock.now()),
            chores: Chores::new(runtime.clone()),
            replicas: OnceLock::new(),
            me: Weak::clone(me),
            clock,
            runtime,
        })
    }

    /// Takes the back-ends of a new configuration. Sessions at back-ends that are gone are ended;
    /// those of a back-end whose limits changed go on.
    pub fn configure(&self, limit: usize, backends: &[Arc<Guarded>]) {
        let new: HashMap<_, _> = backends.iter().map(|backend| (backend.id(), Arc::clone(backend))).collect();
        let old = self.backends.swap(Arc::new(new));
        self.limit.store(limit, Ordering::Relaxed);
        let kept = self.backends.load();
        let gone: Vec<_> = old.iter().filter(|(id, _)| !kept.contains_key(*id)).collect();
        if gone.is_empty() {
            return;
        }
        for entry in self.sessions.take_all(|entry| !kept.contains_key(&entry.backend)) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            if let Some((_, backend)) = gone.iter().find(|(id, _)| **id == entry.backend) {
                self.close(&entry, backend, Cause::Logout);
            }
        }
    }

    /// The back-ends of the present configuration.
    #[must_use]
    pub fn backends(&self) -> Vec<Arc<Guarded>> {
        self.backends.load().values().cloned().collect()
    }

    /// The keys of this session at this back-end, if they can be used at once. This is the hot path;
    /// `client` is asked only where the back-end ties sessions to the browser.
    #[must_use]
    pub fn find<'c>(
        &self,
        portal: &str,
        session: &PortalSession<'_>,
        backend: &Guarded,
        login: &str,
        client: impl FnOnce() -> Client<'c>,
    ) -> Found {
        let held = self.sessions.get(portal, session.id());
        if let Some(until) = held.revoked() {
            drop(held);
            self.revoke_longer(portal, session, until);
            return Found::Revoked;
        }
        let client = backend.binding().any().then(client);
        let wanted = Wanted::new(session, backend, login, client.as_ref());
        let Some(entry) = held.entries().find(|entry| entry.is(&wanted)) else { return Found::Nothing };
        let now = self.clock.now();
        // Before the lock, behind which nothing else is fetched from memory at the same time.
        if entry.wants_check(now, backend) || entry.is_ending(now) {
            return Found::Nothing;
        }
        let State::Open(keys) = &*entry.state.lock() else { return Found::Nothing };
        entry.touch(now);
        backend.metrics().hit.inc();
        Found::Keys(keys.clone())
    }

    /// Whether the session of this id was ended here, and would not have ended by itself.
    #[must_use]
    pub fn is_ended(&self, portal: &str, session: &str) -> bool {
        self.sessions.get(portal, session).revoked().is_some()
    }

    /// Whether the session was ended here.
    #[must_use]
    pub fn is_revoked(&self, portal: &str, session: &PortalSession<'_>) -> bool {
        let until = self.sessions.get(portal, session.id()).revoked();
        if let Some(until) = until {
            self.revoke_longer(portal, session, until);
        }
        until.is_some()
    }

    /// A portal may have made several tickets of one session, and one of those that were not shown at
    /// the sign-out may live longer: it is refused until its own end.
    fn revoke_longer(&self, portal: &str, session: &PortalSession<'_>, until: UnixSeconds) {
        if session.expires() > until {
            self.revoke(portal, session.id(), session.expires());
        }
    }

    /// What to tell those who waited for an entry that was ended under them. Only a sign-out is one;
    /// an entry that made room, or whose back-end is gone, can be had again.
    pub(super) fn why_ended(&self, entry: &Entry) -> Obtained {
        let (portal, session) = entry.name();
        if self.is_ended(portal, session) { Obtained::Revoked } else { Obtained::Busy }
    }

    /// Whether this back-end is configured. Requests under way may still have an older configuration.
    pub(super) fn knows(&self, backend: &Guarded) -> bool {
        self.backends.load().contains_key(&backend.id())
    }

    /// The names of the back-ends at which this session is signed in, as far as this replica holds it.
    pub(super) fn open_here(&self, portal: &str, session: &PortalSession<'_>) -> Vec<String> {
        let held = self.sessions.get(portal, session.id());
        let backends = self.backends.load();
        let open = held.entries().filter(|entry| matches!(&*entry.state.lock(), State::Open(_)));
        open.filter_map(|entry| Some(backends.get(&entry.backend)?.name().to_owned())).collect()
    }

    /// Counts as a use of what this replica holds, and says how many back-end sessions that are.
    pub(super) fn touch_here(&self, portal: &str, session: &str) -> usize {
        let (held, now) = (self.sessions.get(portal, session), self.clock.now());
        held.entries().inspect(|entry| entry.touch(now)).count()
    }

    /// Waits for keep-alives and logouts that were begun. For the end of the process.
    pub async fn finish_chores(&self) {
        if let Some(replicas) = self.replicas.get() {
            self.end_outgoing(replicas, |_| true);
            self.keep_promises(replicas).await;
        }
        self.chores.finish().await;
    }

    /// Back-end sessions held or being opened.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Does what time asks for: keep-alives, expiry, forgetting. Call it about once a second.
    pub async fn tick(self: &Arc<Self>) {
        let now = self.clock.now();
        let mut handled = 0;
        while let Some(slot) = self.wheel.due(now) {
            for entry in slot.iter().filter_map(std::sync::Weak::upgrade) {
                self.attend(&entry, now);
                handled += 1;
                if handled % BATCH == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        self.tend_shelf(now);
        self.refusals.forget_old(now);
        while let Some(name) = self.revocations.ended(self.clock.unix(), now) {
            let (portal, session) = name.parts();
            self.sessions.change(portal, session).forget_revoked(self.clock.unix());
        }
    }

    fn attend(self: &Arc<Self>, entry: &Arc<Entry>, now: Moment) {
        let backends = self.backends.load();
        let Some(backend) = backends.get(&entry.backend) else { return };
        if matches!(&*entry.state.lock(), State::Ended) {
            return;
        }
        let due = entry.due(now, backend.limits());
        self.look_after(entry, backend, now, &due);
        match due {
            Due::Later(moment) => self.wheel.schedule(entry, moment),
            Due::Refresh { next_look } => {
                self.refresh(entry, backend);
                self.wheel.schedule(entry, next_look);
            }
            Due::Idle => self.evict(entry, backend, Cause::Idle),
            Due::Aged => self.evict(entry, backend, Cause::Age),
        }
    }

    /// Takes an entry out and ends its session at the back-end. A busy one is left alone: somebody
    /// waits for it, so it is not idle; whatever it becomes is looked at again.
    fn evict(self: &Arc<Self>, entry: &Arc<Entry>, backend: &Arc<Guarded>, cause: Cause) {
        if self.clear(entry, backend, cause) {
            return;
        }
        if entry.is_busy() {
            self.wheel.schedule(entry, self.clock.now().plus(Duration::from_secs(10)));
        } else {
            self.remove(entry);
            self.close(entry, backend, cause);
        }
    }

    /// Where in its window the keep-alive of the next entry lies.
    pub(super) fn next_jitter(&self) -> u16 {
        self.wheel.next_jitter()
    }

    /// Has an entry looked at then.
    pub(super) fn schedule(&self, entry: &Arc<Entry>, at: Moment) {
        self.wheel.schedule(entry, at);
    }

    /// Takes in an open entry that another replica has opened, unless one that `is_it` is here, the session was ended,
    /// or there is no room. Says whether it is here now, and is new.
    pub(super) fn take_in(&self, entry: Entry, is_it: impl Fn(&Entry) -> bool) -> Option<bool> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let taken = self.make_room().then(|| {
            let entry = Arc::new(entry);
            let (portal, session) = entry.name();
            let mut held = self.sessions.change(portal, session);
            if held.revoked().is_some() || held.entries().count() == MOST_PER_SESSION {
                return None;
            }
            if held.entries().any(|other| is_it(other)) {
                return Some(None);
            }
            held.add(Arc::clone(&entry));
            drop(held);
            Some(Some(entry))
        });
        match taken.flatten() {
            Some(Some(entry)) => {
                self.wheel.schedule(&entry, self.clock.now());
                Some(true)
            }
            other => {
                self.count.fetch_sub(1, Ordering::Relaxed);
                other.map(|_| false)
            }
        }
    }

    /// Takes the entry out of its session.
    pub(super) fn remove(&self, entry: &Arc<Entry>) {
        let (portal, session) = entry.name();
        let taken = self.sessions.change(portal, session).take(|other| Arc::ptr_eq(other, entry));
        self.count.fetch_sub(taken.len(), Ordering::Relaxed);
    }

    /// The entry that is wanted, made if there is none.
    pub(super) fn entry(&self, portal: &str, session: &str, wanted: &Wanted<'_>) -> Result<Arc<Entry>, Obtained> {
        // The place is taken before anybody can see the entry: once it was seen, somebody may have
        // begun a login at it, and its session would be lost if it were taken out again.
        self.count.fetch_add(1, Ordering::Relaxed);
        if !self.make_room() {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(Obtained::Busy);
        }
        let (entry, surplus) = {
            let mut held = self.sessions.change(portal, session);
            if let Some(found) = held.find(wanted) {
                self.count.fetch_sub(1, Ordering::Relaxed);
                return found;
            }
            let entry = Arc::new(Entry::new(portal, session, wanted, self.clock.now(), self.next_jitter()));
            let is_full = held.entries().count() == MOST_PER_SESSION;
            let surplus = if is_full { held.take_idlest() } else { Entries::new() };
            held.add(Arc::clone(&entry));
            (entry, surplus)
        };
        for surplus in surplus {
            self.count.fetch_sub(1, Ordering::Relaxed);
            if let Some(backend) = self.backends.load().get(&surplus.backend) {
                self.close(&surplus, backend, Cause::Capacity);
            }
        }
        self.wheel.schedule(&entry, self.clock.now().plus(wanted.first_look));
        Ok(entry)
    }

    /// Gives up sessions until the limit is kept: of a few at random the one that was used longest ago.
    fn make_room(&self) -> bool {
        while self.len() > self.limit.load(Ordering::Relaxed) {
            let open = |entry: &Arc<Entry>| matches!(&*entry.state.lock(), State::Open(_));
            let oldest_of_some = |_| {
                let sample = self.wheel.sample(EVICTION_SAMPLE).into_iter();
                sample.filter(open).min_by_key(|entry| entry.used())
            };
            let Some(oldest) = (0..EVICTION_TRIES).find_map(oldest_of_some) else { return false };
            self.remove(&oldest);
            if let Some(backend) = self.backends.load().get(&oldest.backend) {
                self.close(&oldest, backend, Cause::Capacity);
            }
        }
        true
    }
}
