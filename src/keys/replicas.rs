//! What a replica knows of the others, and what it has still to tell them.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::entry::{Entry, State};
use super::outgoing::Outgoing;
use super::refusals::Fingerprint;
use super::shelf::{Fence, Record, Said, Shelf, Shelved, Spot, Tend};
use super::store::{Cause, KeyStore};
use crate::backend::{BackendId, Guarded};
use crate::domain::{Moment, SessionHandle, SessionKeys, UnixSeconds};
use crate::store::{Event, Place, Store, StoreOutage};

/// How long a record stays longer than its session may live, for whoever has to end that.
pub(super) const LINGER: Duration = Duration::from_secs(3600);
/// How long the store is not asked for what can wait, after it failed.
const QUIET: Duration = Duration::from_secs(2);
/// Most ends of which the store is told later. One that is forgotten is found out when its record is idle.
const MOST_UNSAID: usize = 100_000;
/// Most accounts that are remembered to have ended.
const MOST_ACCOUNTS: usize = 100_000;

/// The other replicas, as the store tells of them.
pub(super) struct Replicas {
    pub(super) shelf: Shelf,
    pub(super) store: Arc<Store>,
    /// How often the store has lost things.
    losses: AtomicU32,
    pub(super) unsaid: Mutex<Vec<Unsaid>>,
    /// By back-end and name, without regard to case.
    accounts: Mutex<HashMap<(BackendId, String), AccountEnd>>,
    /// Until when the store is not asked for what can wait, in milliseconds.
    quiet_until: AtomicU64,
    /// Which duties are being done.
    pub(super) under_way: [AtomicBool; 4],
    /// When to look for them next, in milliseconds.
    pub(super) next_search: AtomicU64,
    /// Whose record is looked at by when at the latest, which the store is to be told.
    pub(super) promises: Mutex<Vec<(Weak<Entry>, Moment)>>,
    /// Sessions whose keys gave way to others.
    pub(super) outgoing: Mutex<Vec<Outgoing>>,
}

/// Where keys stand that the back-end has confirmed.
pub(super) enum Confirmed {
    AsBefore,
    /// Under this fence, since before the store lost things for the next time.
    As(Fence, u32),
    /// Nowhere, or under this fence.
    Apart(Fence),
}

impl Confirmed {
    /// Notes that of the entry whose keys they are.
    pub(super) fn note(self, entry: &Entry) {
        match self {
            Self::AsBefore => {}
            Self::As(fence, losses) => entry.shelving.put(fence, losses),
            Self::Apart(fence) => entry.shelving.keep_apart(fence),
        }
    }
}

/// What has ended here while the store could not be told.
pub(super) enum Unsaid {
    Session {
        portal: String,
        session: String,
        until: UnixSeconds,
        /// What is logged out already.
        done: HashSet<(Place, Fence)>,
    },
    Record(Spot, Fence),
    /// What was opened beside, at this back-end.
    Beside(Arc<Guarded>, SessionHandle),
}

/// When the sessions of an account have ended at a back-end.
pub(super) struct AccountEnd {
    /// Sessions that were opened before then.
    pub(super) at: Moment,
    /// Until when there may be any.
    pub(super) until: UnixSeconds,
}

impl AccountEnd {
    fn extend(&mut self, other: Self) {
        (self.at, self.until) = (self.at.max(other.at), self.until.max(other.until));
    }
}

impl Replicas {
    pub(super) fn new(store: &Arc<Store>) -> Self {
        Self {
            shelf: Shelf::new(Arc::clone(store)),
            store: Arc::clone(store),
            losses: AtomicU32::default(),
            unsaid: Mutex::default(),
            accounts: Mutex::default(),
            quiet_until: AtomicU64::default(),
            under_way: Default::default(),
            next_search: AtomicU64::default(),
            promises: Mutex::default(),
            outgoing: Mutex::default(),
        }
    }

    /// How often the store has lost things. Asked before something is put there.
    pub(super) fn losses(&self) -> u32 {
        self.losses.load(Ordering::Relaxed)
    }

    /// The store has lost things: what is not there need not have been taken out.
    pub(super) fn have_lost(&self) {
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether what can wait may ask the store.
    pub(super) fn may_ask(&self, now: Moment) -> bool {
        now.as_millis() >= self.quiet_until.load(Ordering::Relaxed)
    }

    /// The store has just failed.
    pub(super) fn pause(&self, now: Moment) {
        self.quiet_until.store(now.plus(QUIET).as_millis(), Ordering::Relaxed);
    }

    /// Where the record of this entry stands.
    pub(super) fn spot_of(&self, entry: &Entry) -> Spot {
        let (portal, session) = entry.name();
        self.shelf.spot(portal, session, entry.backend.to_bytes(), &entry.holding())
    }

    pub(super) fn record_of(&self, entry: &Entry, keys: &SessionKeys) -> Record {
        let (portal, session) = entry.name();
        Record {
            portal: portal.to_owned(),
            session: session.to_owned(),
            expires: entry.shelving.expires(),
            backend: entry.backend.to_bytes(),
            holding: entry.holding(),
            keys: keys.clone(),
        }
    }

    /// How long the record of a session stays that is so old.
    pub(super) fn life(&self, age: Option<Duration>, backend: &Guarded) -> Duration {
        backend.limits().max_age.saturating_sub(age.unwrap_or_default()) + LINGER
    }

    /// Asks whether these keys are to be refreshed by us. `used` is how long ago they were used here.
    pub(super) async fn tend(
        &self,
        entry: &Arc<Entry>,
        spot: &Spot,
        fence: Fence,
        now: Moment,
        used: Duration,
        backend: &Guarded,
    ) -> Result<Tend, StoreOutage> {
        let interval = backend.limits().keep_alive_interval;
        let tended = self.shelf.tend(spot, fence, used, interval, Self::turn(backend)).await;
        if let Ok(Tend::Yours) = &tended {
            // Whatever comes of it. Those who have not got the turn need not say anything: should whoever has it die,
            // they find out when they look next.
            self.promise(entry, now.plus(Self::next_refresh(backend)));
        }
        tended
    }

    /// By when whoever has just refreshed a session has looked at it again.
    pub(super) fn next_refresh(backend: &Guarded) -> Duration {
        backend.limits().keep_alive_interval.mul_f64(1.6)
    }

    /// Has the store told by when somebody will have looked at a record, together with others.
    pub(super) fn promise(&self, entry: &Arc<Entry>, at: Moment) {
        self.promises.lock().push((Arc::downgrade(entry), at));
    }

    /// How long it takes at most to refresh a session: longer than a check waits for its place and its answer.
    pub(super) fn turn(backend: &Guarded) -> Duration {
        backend.check_timeout().mul_f64(1.5) + Duration::from_secs(1)
    }

    /// Tells the others that the back-end has confirmed these keys, or given others in their place.
    pub(super) async fn confirm(
        &self,
        entry: &Entry,
        backend: &Guarded,
        spot: &Spot,
        fence: Fence,
        renewed: Option<&SessionKeys>,
    ) -> Confirmed {
        let record = renewed.map(|keys| self.record_of(entry, keys));
        let losses = self.losses();
        match self.shelf.confirm(spot, fence, record.as_ref(), self.life(None, backend)).await {
            Ok(Some(now)) if now != fence => Confirmed::As(now, losses),
            Err(_) if renewed.is_some() => Confirmed::Apart(fence),
            // Where there is no record any more, that is found out at the next look.
            Ok(_) | Err(_) => Confirmed::AsBefore,
        }
    }

    /// Whether the account has ended since somebody opened a session there.
    pub(super) fn is_outdated(&self, backend: &Guarded, login: &str, opened: Moment) -> bool {
        let accounts = self.accounts.lock();
        !accounts.is_empty()
            && accounts.get(&(backend.id(), login.to_ascii_lowercase())).is_some_and(|end| opened < end.at)
    }

    pub(super) fn note_account_end(&self, backend: BackendId, login: &str, end: AccountEnd, now: UnixSeconds) {
        let mut accounts = self.accounts.lock();
        // Not at each, since whoever starts hears of many.
        if accounts.len() >= MOST_ACCOUNTS {
            accounts.retain(|_, other| other.until > now);
        }
        let (is_full, name) = (accounts.len() >= MOST_ACCOUNTS, (backend, login.to_ascii_lowercase()));
        match accounts.entry(name) {
            MapEntry::Occupied(mut same) => same.get_mut().extend(end),
            MapEntry::Vacant(vacant) if !is_full => drop(vacant.insert(end)),
            MapEntry::Vacant(_) => {}
        }
    }

    pub(super) fn tell_later(&self, unsaid: Unsaid) {
        let mut all = self.unsaid.lock();
        if all.len() < MOST_UNSAID {
            all.push(unsaid);
        }
    }

    /// Whether there is something that the store is to be told.
    pub(super) fn has_unsaid(&self) -> bool {
        !self.unsaid.lock().is_empty()
    }
}

impl KeyStore {
    /// Shares what it holds with other replicas, from before the first request.
    pub fn share(&self, store: &Arc<Store>) {
        self.refusals.share(&store.name_key("refusals"));
        // A second call changes nothing.
        let _ = self.replicas.set(Replicas::new(store));
    }

    /// Another replica says something.
    pub fn hear(&self, event: &Event) {
        let Some(replicas) = self.replicas.get() else { return };
        // First, so that who is told to end what was opened beside finds out what the back-end has heard.
        for backend in self.backends.load().values() {
            backend.hear(event);
        }
        match event {
            Event::Settled { place } => replicas.shelf.wake(&Place::from_bytes(*place)),
            Event::SessionEnded { portal, session, until, .. } => self.end_here(portal, session, *until),
            Event::AccountEnded { backend, login, at, until } => self.hear_account_end(*backend, login, *at, *until),
            Event::Lost => replicas.have_lost(),
            Event::SessionChanged { .. } | Event::Noted { .. } | Event::Listening => {}
        }
    }

    /// Does something that nobody waits for. The end of the process does.
    pub(super) fn in_background<F>(&self, work: impl FnOnce(Arc<Self>) -> F + Send + 'static) -> Option<JoinHandle<()>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let store = self.me.upgrade()?;
        Some(self.chores.keep(async move { work(store).await }))
    }

    /// Begins something at once, and sees it through though nobody waits for it any more; the end of the process does.
    /// `None` where it broke off. Nobody waits in there for what is told in the background: both have few places.
    pub async fn see_through<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let mut work = Box::pin(work);
        if let Some(done) = (&mut work).now_or_never() {
            return Some(done);
        }
        let (sender, receiver) = oneshot::channel();
        drop(self.chores.keep(async move { drop(sender.send(work.await)) }));
        receiver.await.ok()
    }

    /// Tells other replicas what a back-end said of this password.
    pub(super) async fn say(&self, password: &Fingerprint, said: Option<Said>) {
        if let Some(replicas) = self.replicas.get() {
            // Who is not told finds out by one more try.
            let _ = replicas.shelf.say(password, said).await;
        }
    }

    /// This password is good, whatever was said of it before.
    pub(super) fn forget_refused(&self, password: Fingerprint) {
        let was_refused = self.refusals.last_pause(&password).is_some();
        self.refusals.forget(&password);
        if was_refused && self.replicas.get().is_some() {
            self.in_background(async move |store| store.say(&password, None).await);
        }
    }
}

impl KeyStore {
    /// The back-end of a record, if we know it.
    pub(super) fn backend_of(&self, record: &Record) -> Option<Arc<Guarded>> {
        self.backends.load().values().find(|backend| backend.id().to_bytes() == record.backend).cloned()
    }

    /// Takes up what another replica has opened. Says whether it is held here now.
    pub(super) fn adopt(self: &Arc<Self>, replicas: &Replicas, found: Shelved) -> bool {
        let Some(backend) = self.backend_of(&found.record) else { return false };
        let Shelved { spot, fence, record, ages } = found;
        let now = self.clock.now();
        let is_outdated = replicas.is_outdated(&backend, &record.holding.login, now.minus(ages.opened));
        if is_outdated || self.is_ended(&record.portal, &record.session) {
            self.take_out(spot, fence, &backend, record.keys, Cause::Logout);
            return false;
        }
        let entry = Entry::of_record(backend.id(), &record, now, self.next_jitter());
        entry.date(now, &ages);
        entry.shelving.put(fence, replicas.losses());
        entry.shelving.expire_at(record.expires);
        let keys = record.keys;
        self.note_end(&entry, &backend, &keys);
        *entry.state.lock() = State::Open(keys);
        let held = self.take_in(entry, |other| other.holds(backend.id(), &record.holding));
        if held.is_some_and(|is_new| is_new) {
            backend.metrics().keys.inc();
        }
        held.is_some()
    }

    /// Counts as a use of all back-end sessions of a portal session, so that the keep-alive refreshes
    /// them: its person is at the portal, and the applications are to be there when they come back.
    /// Opens nothing. Returns how many there are, those whose login is under way included; none where
    /// the session is not known here or was ended. Where nothing is held here, other replicas may have something.
    pub async fn touch(self: &Arc<Self>, portal: &str, session: &str) -> usize {
        let here = self.touch_here(portal, session);
        let Some(replicas) = self.replicas.get() else { return here };
        if here > 0 || self.is_ended(portal, session) {
            return here;
        }
        for found in replicas.shelf.of_session(portal, session).await.unwrap_or_default() {
            self.adopt(replicas, found);
        }
        self.touch_here(portal, session)
    }

    /// The names of the back-ends at which this session is signed in, at whichever replica. While the store cannot
    /// be asked, at this one.
    pub async fn open_at(&self, portal: &str, session: &crate::portal::PortalSession<'_>) -> Vec<String> {
        let mut names = self.open_here(portal, session);
        if let Some(replicas) = self.replicas.get()
            && !self.is_revoked(portal, session)
        {
            let user = session.identity().user();
            let elsewhere = replicas.shelf.of_session(portal, session.id()).await.unwrap_or_default();
            let theirs = elsewhere.iter().filter(|found| found.record.holding.user == user);
            names.extend(theirs.filter_map(|found| Some(self.backend_of(&found.record)?.name().to_owned())));
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}
