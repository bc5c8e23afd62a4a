//! What takes time: logins, checks, renewals, keep-alives. Each runs once for everybody who waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::entry::{Entry, State, Wanted};
use super::store::{Cause, KeyStore, Obtained, SessionName};
use crate::backend::{Attempt, Guarded, Liveness, Login, Outage};
use crate::domain::{Client, Secret, SessionKeys};
use crate::portal::{NoPassword, PortalSession};

/// How long a locked account is left alone where the back-end does not say.
const LOCKED_FOR: Duration = Duration::from_secs(60);

/// How long a person is not signed in again after an answer that was not understood: it may be about
/// them alone, and their browser asks for forty things at once.
const PUZZLED_FOR: Duration = Duration::from_secs(15);

/// A request for keys that may need a login.
pub struct Order<'a> {
    /// The portal's name.
    pub portal: &'a str,
    /// Whose session.
    pub session: &'a PortalSession<'a>,
    /// Where.
    pub backend: &'a Arc<Guarded>,
    /// The name there.
    pub login: &'a str,
    /// For which browser.
    pub client: &'a Client<'a>,
    /// Opens the password. Called only when a login needs it.
    pub password: &'a (dyn Fn() -> Result<Option<Secret>, NoPassword> + Sync),
    /// The back-end treated the keys that are held as a stranger's, so they are to be replaced.
    pub renew: bool,
}

/// What an entry needs.
enum Work {
    Login,
    /// The keys are overdue: ask first whether they still open anything.
    Check(Arc<SessionKeys>),
}

enum Begun {
    Done(Obtained),
    Wait(watch::Receiver<Option<Obtained>>),
}

impl KeyStore {
    /// Gets keys: held ones, those of a login under way, or those of a new login. Waits at most the
    /// back-end's `login_timeout`; what was begun goes on for the next request.
    pub async fn obtain(self: &Arc<Self>, order: Order<'_>) -> Obtained {
        let mut receiver = match self.begin(&order) {
            Begun::Done(obtained) => return obtained,
            Begun::Wait(receiver) => receiver,
        };
        let settled = receiver.wait_for(Option::is_some);
        match tokio::time::timeout(order.backend.limits().login_timeout, settled).await {
            Ok(Ok(obtained)) => obtained.clone().unwrap_or(Obtained::Busy),
            // The task is gone without a word: it panicked.
            Ok(Err(_)) => Obtained::Unavailable(Outage::Protocol("the login broke off".to_owned())),
            Err(_) if order.backend.is_full() => Obtained::Busy,
            Err(_) => Obtained::Unavailable(Outage::TimedOut),
        }
    }

    fn begin(self: &Arc<Self>, order: &Order<'_>) -> Begun {
        let name = SessionName::new(order.portal, order.session.id());
        let wanted = Wanted::new(order.session, order.backend, order.login, order.client);
        loop {
            let entry = match self.entry(&name, &wanted) {
                Ok(entry) => entry,
                Err(obtained) => return Begun::Done(obtained),
            };
            if let Some(begun) = self.begin_at(&entry, order) {
                return begun;
            }
            // It ended between our finding it and our looking into it.
            self.remove(&entry);
        }
    }

    /// Joins or begins what the entry needs; `None` where it has ended.
    fn begin_at(self: &Arc<Self>, entry: &Arc<Entry>, order: &Order<'_>) -> Option<Begun> {
        let now = self.clock.now();
        let (metrics, limits) = (order.backend.metrics(), order.backend.limits());
        let mut state = entry.state.lock();
        let work = match &*state {
            State::Ended => return None,
            State::Busy(receiver) => {
                metrics.joined.inc();
                return Some(Begun::Wait(receiver.clone()));
            }
            State::Vacant => Work::Login,
            State::Open(_) if order.renew && entry.may_renew(now, limits.keep_alive_interval) => Work::Login,
            State::Open(keys) if !order.renew && entry.is_overdue(now, limits) => Work::Check(Arc::clone(keys)),
            State::Open(keys) => {
                entry.touch(now);
                metrics.hit.inc();
                return Some(Begun::Done(Obtained::Keys(Arc::clone(keys))));
            }
        };
        let attempt = self.prepare(order);
        if let (Work::Login, Err(obtained)) = (&work, &attempt) {
            let obtained = obtained.clone();
            let keys = std::mem::replace(&mut *state, State::Ended);
            drop(state);
            self.give_up(entry, order.backend, keys);
            return Some(Begun::Done(obtained));
        }
        metrics.miss.inc();
        let (sender, receiver) = watch::channel(None);
        let before = std::mem::replace(&mut *state, State::Busy(receiver.clone()));
        drop(state);
        if let (Work::Login, State::Open(keys)) = (&work, before) {
            entry.begin_renewal(now);
            self.forget(order.backend, Cause::Dead);
            self.log_out(order.backend, keys, Cause::Dead);
        }
        let task =
            Task { store: Arc::clone(self), entry: Arc::clone(entry), backend: Arc::clone(order.backend), sender };
        self.runtime.spawn(task.run(work, attempt));
        Some(Begun::Wait(receiver))
    }

    /// What a login would send, unless it is known that it would be in vain.
    fn prepare(&self, order: &Order<'_>) -> Result<Attempt, Obtained> {
        let password = (order.password)().map_err(Obtained::NoPassword)?;
        let fingerprint = self.refusals.fingerprint(order.backend.id(), order.login, password.as_ref());
        if let Some(said) = self.refusals.find(&fingerprint, self.clock.now()) {
            order.backend.metrics().refused.inc();
            return Err(said);
        }
        Ok(Attempt { login: order.login.to_owned(), password, client: order.client.clone().into_owned() })
    }

    fn give_up(&self, entry: &Arc<Entry>, backend: &Arc<Guarded>, state: State) {
        self.remove(entry);
        if let State::Open(keys) = state {
            self.forget(backend, Cause::Dead);
            self.log_out(backend, keys, Cause::Dead);
        }
    }

    /// Refreshes a session in the background. Its keys go on being used meanwhile.
    pub(super) fn refresh(self: &Arc<Self>, entry: &Arc<Entry>, backend: &Arc<Guarded>) {
        let State::Open(keys) = &*entry.state.lock() else { return };
        if entry.refreshing.swap(true, Ordering::Relaxed) {
            return;
        }
        let (store, at) = (Arc::clone(self), Arc::clone(backend));
        let (entry_, keys) = (Arc::clone(entry), Arc::clone(keys));
        let refresh = async move {
            let liveness = at.check(&keys).await;
            store.settle_refresh(&entry_, &at, &keys, liveness);
        };
        if !self.chores.submit(backend.id(), refresh) {
            entry.refreshing.store(false, Ordering::Relaxed);
        }
    }

    fn settle_refresh(
        &self,
        entry: &Arc<Entry>,
        backend: &Guarded,
        checked: &Arc<SessionKeys>,
        liveness: Result<Liveness, Outage>,
    ) {
        entry.refreshing.store(false, Ordering::Relaxed);
        let mut state = entry.state.lock();
        // Somebody ended or replaced the session meanwhile; the answer is about keys of the past.
        if !matches!(&*state, State::Open(current) if Arc::ptr_eq(current, checked)) {
            return;
        }
        match liveness {
            Ok(Liveness::Alive) => entry.confirm(self.clock.now()),
            Ok(Liveness::Renewed(keys)) => {
                *state = State::Open(Arc::new(keys));
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
    }
}

/// One login or check under way. Whatever happens to it, its entry does not stay busy: dropping it
/// settles the entry.
struct Task {
    store: Arc<KeyStore>,
    entry: Arc<Entry>,
    backend: Arc<Guarded>,
    sender: watch::Sender<Option<Obtained>>,
}

impl Task {
    async fn run(self, work: Work, attempt: Result<Attempt, Obtained>) {
        let obtained = match work {
            Work::Login => self.log_in(attempt).await,
            Work::Check(keys) => match self.check(&keys).await {
                Some(keys) => self.keep(keys),
                None => {
                    self.store.forget(&self.backend, Cause::Dead);
                    self.log_in(attempt).await
                }
            },
        };
        self.sender.send_replace(Some(obtained));
    }

    /// The keys to go on with, unless the session is dead.
    async fn check(&self, keys: &Arc<SessionKeys>) -> Option<Arc<SessionKeys>> {
        let limits = self.backend.limits();
        // Half of what a request may wait, so that a login has time if the session is dead.
        let checked = tokio::time::timeout(limits.login_timeout / 2, self.backend.check(keys)).await;
        let now = self.store.clock.now();
        match checked {
            Ok(Ok(Liveness::Dead)) => None,
            Ok(Ok(Liveness::Renewed(keys))) => {
                self.entry.confirm(now);
                Some(Arc::new(keys))
            }
            Ok(Ok(Liveness::Alive)) => {
                self.entry.confirm(now);
                Some(Arc::clone(keys))
            }
            // Not knowing is no reason to take keys away.
            Ok(Err(_)) | Err(_) => {
                self.entry.excuse(now, limits);
                Some(Arc::clone(keys))
            }
        }
    }

    async fn log_in(&self, attempt: Result<Attempt, Obtained>) -> Obtained {
        let attempt = match attempt {
            Ok(attempt) => attempt,
            Err(obtained) => return self.fail(obtained),
        };
        let store = &self.store;
        let _turn = store.turns.wait(self.backend.id(), &attempt.login).await;
        let fingerprint = store.refusals.fingerprint(self.backend.id(), &attempt.login, attempt.password.as_ref());
        if matches!(&*self.entry.state.lock(), State::Ended) {
            return store.why_ended(&self.entry);
        }
        // While we waited for our turn, the same password may have been refused.
        if let Some(said) = store.refusals.find(&fingerprint, store.clock.now()) {
            return self.fail(said);
        }
        let outcome = self.backend.login(&attempt).await;
        match outcome {
            Ok(Login::Opened(keys)) => {
                self.entry.open(store.clock.now());
                self.backend.metrics().keys.inc();
                self.keep(Arc::new(keys))
            }
            Ok(Login::Refused(refusal)) => {
                let until = store.clock.now().plus(self.backend.limits().refused_for);
                store.refusals.remember(fingerprint, until, Obtained::Refused(refusal));
                self.fail(Obtained::Refused(refusal))
            }
            Err(outage) => {
                let about_this_person = match &outage {
                    Outage::Locked { retry_after } => Some(retry_after.unwrap_or(LOCKED_FOR)),
                    Outage::Protocol(_) => Some(PUZZLED_FOR),
                    _ => None,
                };
                if let Some(pause) = about_this_person {
                    let until = store.clock.now().plus(pause);
                    store.refusals.remember(fingerprint, until, Obtained::Unavailable(outage.clone()));
                }
                self.fail(Obtained::Unavailable(outage))
            }
        }
    }

    /// Puts the keys into the entry, unless it was ended meanwhile, or its back-end is no longer
    /// configured: then nobody may have them, and the back-end is told.
    fn keep(&self, keys: Arc<SessionKeys>) -> Obtained {
        let mut state = self.entry.state.lock();
        if matches!(&*state, State::Ended) || !self.store.knows(&self.backend) {
            *state = State::Ended;
            drop(state);
            self.store.remove(&self.entry);
            self.store.forget(&self.backend, Cause::Late);
            self.store.log_out(&self.backend, keys, Cause::Late);
            return self.store.why_ended(&self.entry);
        }
        *state = State::Open(Arc::clone(&keys));
        Obtained::Keys(keys)
    }

    fn fail(&self, obtained: Obtained) -> Obtained {
        let ended_before = matches!(std::mem::replace(&mut *self.entry.state.lock(), State::Ended), State::Ended);
        self.store.remove(&self.entry);
        if ended_before { self.store.why_ended(&self.entry) } else { obtained }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let unsettled = {
            let mut state = self.entry.state.lock();
            let unsettled = matches!(&*state, State::Busy(_));
            if unsettled {
                *state = State::Ended;
            }
            unsettled
        };
        if unsettled {
            self.store.remove(&self.entry);
        }
    }
}
