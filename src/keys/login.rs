//! What takes time and somebody waits for: logins, checks, renewals. Each runs once for everybody who waits.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryFutureExt;
use tokio::sync::watch;
use tokio::time::timeout;

use super::candidates::Candidate;
use super::entry::{Entry, Progress, State, Wanted};
use super::order::{Applicant, Order};
use super::outcome::Obtained;
use super::refusals::Fingerprint;
use super::shelf::{Said, Word};
use super::store::{Cause, KeyStore};
use super::turns::Turn;
use super::waiting::Waiting;
use crate::backend::{Guarded, Login, LoginPlace, Outage, Refusal};
use crate::domain::SessionKeys;

/// How long a locked account is left alone where the back-end does not say.
const LOCKED_FOR: Duration = Duration::from_secs(60);

/// How long a person is not signed in again after an answer that was not understood: it may be about
/// them alone, and their browser asks for forty things at once. It may also have been a refusal, so the
/// same password waits twice as long each time, up to `refused_for`.
const PUZZLED_FOR: Duration = Duration::from_secs(15);

/// What an entry needs.
pub(super) enum Work {
    Login,
    /// The keys are overdue: ask first whether they still open anything.
    Check(SessionKeys),
    /// The keys open nothing any more, says the web server: get others.
    Renew(SessionKeys),
}

enum Begun {
    Done(Obtained),
    Wait(Waiting),
}

impl KeyStore {
    /// Gets keys: held ones, those of a login under way, or those of a new login. Waits at most the
    /// back-end's `login_timeout`; what was begun goes on for the next request.
    ///
    /// What asks the back-end is never broken off. What only waits to do so, for a place or for another login of
    /// the same person, makes way for others once nobody waits for it any more and nobody was told to come back.
    pub async fn obtain(self: &Arc<Self>, order: Order<'_>) -> Obtained {
        let mut waiting = match self.begin(&order) {
            Begun::Done(obtained) => return obtained,
            Begun::Wait(waiting) => waiting,
        };
        let settled = timeout(
            order.backend.limits().login_timeout,
            waiting.progress.wait_for(Progress::is_done).map_ok(|progress| progress.obtained.clone()),
        );
        let obtained = match settled.await {
            Ok(Ok(obtained)) => obtained.unwrap_or(Obtained::Busy),
            // The task is gone without a word: it panicked.
            Ok(Err(_)) => Obtained::Unavailable(Outage::Protocol("the login broke off".to_owned())),
            Err(_) => {
                waiting.keep_place();
                match waiting.progress.borrow().checked.clone().filter(|_| waiting.entry.is_busy()) {
                    Some(keys) => Obtained::Keys(keys),
                    None if order.backend.is_full() => Obtained::Busy,
                    None => Obtained::Unavailable(Outage::TimedOut),
                }
            }
        };
        if let Some(why) = obtained.outage() {
            tracing::debug!(backend = order.backend.name(), %why, "no keys at the moment");
        }
        obtained
    }

    fn begin(self: &Arc<Self>, order: &Order<'_>) -> Begun {
        let (portal, session) = (order.portal, order.session.id());
        let wanted = Wanted::new(order.session, order.backend, order.login, Some(order.client));
        let applicant = Applicant {
            login: order.login.to_owned(),
            client: order.client.clone().into_owned(),
            password: Arc::clone(&order.password),
            person: Arc::new(order.session.person(order.portal)),
            roles: order.backend.roles(order.session.identity()).map(str::to_owned).collect(),
        };
        loop {
            // Nothing is held while another is made.
            let found = self.sessions.get(portal, session).find(&wanted);
            let entry = match found {
                Some(Ok(entry)) => entry,
                Some(Err(obtained)) => return Begun::Done(obtained),
                // A login that would be in vain is not worth an entry: somebody with a wrong password
                // asks for forty things at a time.
                None => {
                    match self.prepare(order.backend, &applicant).and_then(|_| self.entry(portal, session, &wanted)) {
                        Ok(entry) => entry,
                        Err(obtained) => return Begun::Done(obtained),
                    }
                }
            };
            if let Some(begun) = self.begin_at(&entry, order, &applicant) {
                return begun;
            }
            // It ended between our finding it and our looking into it.
            self.remove(&entry);
        }
    }

    /// Joins or begins what the entry needs; `None` where it has ended.
    fn begin_at(self: &Arc<Self>, entry: &Arc<Entry>, order: &Order<'_>, applicant: &Applicant) -> Option<Begun> {
        let now = self.clock.now();
        let (metrics, limits) = (order.backend.metrics(), order.backend.limits());
        let mut state = entry.state.lock();
        let work = match &*state {
            State::Ended => return None,
            State::Busy(sender) => {
                metrics.joined.inc();
                return Some(Begun::Wait(Waiting::new(entry, sender)));
            }
            State::Vacant => Work::Login,
            State::Open(keys) if order.renew && entry.may_renew(now, limits.keep_alive_interval) => {
                entry.begin_renewal(now);
                Work::Renew(keys.clone())
            }
            State::Open(keys) if entry.is_ending(now) => Work::Renew(keys.clone()),
            State::Open(keys) if !order.renew && entry.wants_check(now, order.backend) => Work::Check(keys.clone()),
            State::Open(keys) => {
                entry.touch(now);
                metrics.hit.inc();
                return Some(Begun::Done(Obtained::Keys(keys.clone())));
            }
        };
        // Where there are other replicas, one of them may have what is wanted.
        if self.replicas.get().is_none() {
            metrics.miss.inc();
        }
        let checked = if let Work::Check(keys) = &work { Some(keys.clone()) } else { None };
        let sender = Arc::new(watch::Sender::new(Progress { checked, ..Progress::default() }));
        let waiting = Waiting::new(entry, &sender);
        *state = State::Busy(Arc::clone(&sender));
        drop(state);
        let task = Task {
            store: Arc::clone(self),
            entry: Arc::clone(entry),
            backend: Arc::clone(order.backend),
            applicant: applicant.clone(),
            held: match &work {
                Work::Login => None,
                Work::Check(keys) | Work::Renew(keys) => Some(keys.clone()),
            },
            found_on_shelf: false,
            sender,
        };
        self.runtime.spawn(task.run(work));
        Some(Begun::Wait(waiting))
    }

    /// The passwords that a login would try, in this order, less those known to be in vain.
    fn prepare(&self, backend: &Guarded, applicant: &Applicant) -> Result<Vec<Candidate>, Obtained> {
        let all = self.candidates(backend, &applicant.login, &applicant.password)?;
        let mut said = None;
        let mut left = Vec::with_capacity(all.len());
        for candidate in all {
            match self.refusals.find(&candidate.fingerprint, self.clock.now()) {
                None => left.push(candidate),
                Some(refused @ Obtained::Refused(_)) => said = Some(refused),
                // The account is left alone for a while, whatever the password.
                Some(other) => {
                    left.clear();
                    said = Some(other);
                    break;
                }
            }
        }
        match said {
            Some(said) if left.is_empty() => {
                backend.metrics().refused.inc();
                Err(said)
            }
            _ => Ok(left),
        }
    }
}

/// One login, check or renewal under way. Whatever happens to it, its entry does not stay busy:
/// dropping it settles the entry.
pub(super) struct Task {
    pub(super) store: Arc<KeyStore>,
    pub(super) entry: Arc<Entry>,
    pub(super) backend: Arc<Guarded>,
    pub(super) applicant: Applicant,
    /// The keys that were there before, as long as they are worth keeping.
    pub(super) held: Option<SessionKeys>,
    /// Another replica had what was wanted.
    pub(super) found_on_shelf: bool,
    pub(super) sender: Arc<watch::Sender<Progress>>,
}

/// What a check found out.
pub(super) enum Checked {
    Alive,
    /// They live on as these.
    Renewed(SessionKeys),
    Dead,
    /// The back-end could not be asked.
    Unknown,
}

impl Task {
    async fn run(mut self, work: Work) {
        let store = Arc::clone(&self.store);
        let obtained = match store.replicas.get() {
            None => self.run_alone(work).await,
            Some(replicas) => {
                let obtained = self.run_for_all(replicas, work).await;
                let metrics = self.backend.metrics();
                (if self.found_on_shelf { &metrics.shared } else { &metrics.miss }).inc();
                obtained
            }
        };
        self.sender.send_modify(|progress| progress.obtained = Some(obtained));
    }

    async fn run_alone(&mut self, work: Work) -> Obtained {
        if let Work::Check(keys) = work {
            match self.check(&keys).await {
                Checked::Alive | Checked::Unknown => return self.keep(keys),
                Checked::Renewed(keys) => return self.keep(keys),
                Checked::Dead => {
                    self.let_go();
                    self.store.forget(&self.backend, Cause::Dead);
                }
            }
        }
        match self.log_in().await {
            Ok(keys) => {
                self.opened();
                self.keep(keys)
            }
            Err(obtained) => self.give_up(obtained),
        }
    }

    async fn log_in(&self) -> Result<SessionKeys, Obtained> {
        let _turn = self.turn(&self.store).await?;
        let place = self.place(&self.backend).await?;
        self.try_passwords(place.as_ref()).await
    }

    /// Waits until nobody else signs this person in.
    pub(super) async fn turn<'a>(&self, store: &'a KeyStore) -> Result<Turn<'a>, Obtained> {
        self.unless_forsaken(store.turns.wait(self.backend.id(), &self.applicant.login)).await
    }

    /// Waits for a place, in order of arrival, where a login would ask the back-end. Only after the turn: two logins of
    /// one person would otherwise wait for each other.
    pub(super) async fn place<'a>(&self, backend: &'a Guarded) -> Result<Option<LoginPlace<'a>>, Obtained> {
        if !self.would_ask()? {
            return Ok(None);
        }
        self.unless_forsaken(backend.login_place()).await.map(Some)
    }

    /// Whether a login would ask the back-end. No password is kept for who waits: it is opened again.
    fn would_ask(&self) -> Result<bool, Obtained> {
        let first = self.store.prepare(&self.backend, &self.applicant)?.into_iter().next();
        Ok(first.is_some_and(|first| self.backend.would_ask(&self.applicant.attempt(first.password))))
    }

    pub(super) async fn check(&self, keys: &SessionKeys) -> Checked {
        // Longer than the check's own deadline, which tells the back-end's failure from a queue: only
        // then does everybody else know of it. A queue alone must not cost people their turn.
        let patience = self.backend.check_timeout().mul_f64(1.5);
        let checked = timeout(patience, self.backend.check(keys)).await;
        let now = self.store.clock.now();
        self.entry.touch(now);
        let Ok(Ok(liveness)) = checked else {
            // Not knowing is no reason to take keys away.
            self.entry.excuse(now, self.backend.limits());
            return Checked::Unknown;
        };
        let checked = Checked::from(liveness);
        if !matches!(checked, Checked::Dead) {
            self.entry.confirm(now);
        }
        checked
    }

    /// Opens a session with one of the passwords that are not known to be in vain.
    pub(super) async fn try_passwords(&self, place: Option<&LoginPlace<'_>>) -> Result<SessionKeys, Obtained> {
        let store = &self.store;
        // Other replicas may have been asked since our turn came.
        if self.is_forsaken() {
            return Err(Obtained::Busy);
        }
        // Also because the same password may have been refused while we waited for our turn.
        let candidates = store.prepare(&self.backend, &self.applicant)?;
        let mut obtained = Obtained::Busy;
        for candidate in candidates {
            let Candidate { password, fingerprint } = candidate;
            let attempt = self.applicant.attempt(password);
            let outcome = match place {
                Some(place) => self.backend.login_at(place, &attempt).await,
                None => self.backend.login(&attempt).await,
            };
            match outcome {
                Ok(Login::Opened(keys)) => {
                    store.forget_refused(fingerprint);
                    store.remember_worked(&self.backend, &self.applicant.login, fingerprint);
                    return Ok(keys);
                }
                Ok(Login::Refused(refusal)) => {
                    let (now, pause) = (store.clock.now(), self.backend.limits().refused_for);
                    obtained = Obtained::Refused(refusal);
                    store.refusals.remember(fingerprint, now, pause, obtained.clone());
                    store.say(&fingerprint, Some(Said { what: Word::Refused(refusal), left: pause })).await;
                    if refusal != Refusal::Credentials {
                        break;
                    }
                }
                Err(outage) => {
                    let pause = self.pause_after(&outage, &fingerprint);
                    obtained = Obtained::Unavailable(outage);
                    if let Some((what, pause)) = pause {
                        store.refusals.remember(fingerprint, store.clock.now(), pause, obtained.clone());
                        store.say(&fingerprint, Some(Said { what, left: pause })).await;
                    }
                    break;
                }
            }
        }
        Err(obtained)
    }

    /// New keys were got, in the place of those that were held.
    pub(super) fn opened(&mut self) {
        self.drop_held();
        self.entry.shelving.are_own(true);
        self.entry.open(self.store.clock.now());
        self.backend.metrics().keys.inc();
    }

    /// There will be no new keys.
    pub(super) fn give_up(&mut self, obtained: Obtained) -> Obtained {
        if self.has_ended() { self.give_way() } else { self.fail(obtained) }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(&*self.entry.state.lock(), State::Ended)
    }

    /// The entry was ended meanwhile: nobody may have what was held.
    pub(super) fn give_way(&mut self) -> Obtained {
        self.part_with_held();
        self.store.remove(&self.entry);
        self.store.why_ended(&self.entry)
    }

    /// How long this person is left alone, at every replica, after an outage that is about them alone, or may be.
    fn pause_after(&self, outage: &Outage, fingerprint: &Fingerprint) -> Option<(Word, Duration)> {
        let (what, pause) = match outage {
            Outage::Locked { retry_after } => (Word::Locked, retry_after.unwrap_or(LOCKED_FOR)),
            Outage::Protocol(_) => {
                let last = self.store.refusals.last_pause(fingerprint);
                (Word::Unclear, last.map_or(PUZZLED_FOR, |last| last.saturating_mul(2)))
            }
            _ => return None,
        };
        // A back-end may ask for a day.
        Some((what, pause.min(self.backend.limits().refused_for.max(LOCKED_FOR))))
    }

    /// Puts the keys into the entry, unless it was ended meanwhile, or its back-end is no longer
    /// configured: then nobody may have them, and the back-end is told.
    pub(super) fn keep(&mut self, keys: SessionKeys) -> Obtained {
        self.held = None;
        let mut state = self.entry.state.lock();
        if matches!(&*state, State::Ended) || !self.store.knows(&self.backend) {
            *state = State::Ended;
            drop(state);
            self.store.remove(&self.entry);
            self.store.forget(&self.backend, Cause::Late);
            self.store.part_with(&self.entry, &self.backend, keys, Cause::Late, None);
            return self.store.why_ended(&self.entry);
        }
        self.store.note_end(&self.entry, &self.backend, &keys);
        *state = State::Open(keys.clone());
        Obtained::Keys(keys)
    }

    /// No new keys. The old ones go on being used where the back-end could not be asked: not knowing
    /// is no reason to take them away. Where it said no, they go, too.
    pub(super) fn fail(&mut self, obtained: Obtained) -> Obtained {
        if !matches!(obtained, Obtained::Refused(_))
            && let Some(keys) = self.held.take()
        {
            return self.keep(keys);
        }
        self.part_with_held();
        let ended_before = matches!(std::mem::replace(&mut *self.entry.state.lock(), State::Ended), State::Ended);
        self.store.remove(&self.entry);
        if ended_before { self.store.why_ended(&self.entry) } else { obtained }
    }

    /// The keys that were held are not good any more: nobody is given them while others are got.
    pub(super) fn let_go(&mut self) -> Option<SessionKeys> {
        self.sender.send_modify(|progress| progress.checked = None);
        self.held.take()
    }

    /// Ends the session of keys that were replaced.
    fn drop_held(&mut self) {
        if let Some(keys) = self.held.take() {
            self.store.forget(&self.backend, Cause::Dead);
            self.store.log_out(&self.backend, keys, Cause::Dead);
        }
    }

    /// Ends the session of keys that are of no more use.
    fn part_with_held(&mut self) {
        if let Some(keys) = self.held.take() {
            self.store.forget(&self.backend, Cause::Dead);
            self.store.part_with(&self.entry, &self.backend, keys, Cause::Dead, None);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // Once the outcome was told, the entry may be busy with what others have begun since.
        if self.entry.is_busy() && !self.sender.borrow().is_done() {
            self.fail(Obtained::Busy);
        }
    }
}
