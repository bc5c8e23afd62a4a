//! Keys where several replicas share them: found on the shelf, or got by one login for all of them, under a lease.
//!
//! What a back-end says of a person is told to all: that a password is wrong, that the account is locked, or what was
//! not understood and may have been either. Turns, what worked and back-offs stay each replica's own: two replicas may
//! sign one person in at once for two sessions, and each finds out for itself that a back-end is down, with one login
//! after the other for a session, and `max_logins` of its own.

use std::sync::Arc;
use std::time::Duration;

use super::entry::State;
use super::login::{Checked, Task, Work};
use super::outcome::Obtained;
use super::replicas::Replicas;
use super::shelf::{Claim, Commit, Fence, Shelved, Spot, Tend, Word};
use super::shelving::Promise;
use super::store::{Cause, KeyStore};
use crate::backend::{Liveness, Outage};
use crate::domain::{CredentialSource, SessionKeys};

/// What a lease lasts longer than its login: until it has begun, and until what came of it is on the shelf.
const MARGIN: Duration = Duration::from_secs(5);

/// What to do next for whoever waits.
enum Next {
    Done(Obtained),
    /// Somebody else's keys.
    Use(Box<Shelved>),
    /// Keys that are to be checked first.
    Check(SessionKeys),
    /// Keys that are newer than these.
    Get(Fence),
}

impl Task {
    pub(super) async fn run_for_all(&mut self, replicas: &Replicas, work: Work) -> Obtained {
        let mut next = match work {
            Work::Login | Work::Renew(_) => Next::Get(self.entry.shelving.latest()),
            Work::Check(keys) => Next::Check(keys),
        };
        loop {
            next = match next {
                Next::Done(obtained) => return obtained,
                Next::Use(found) => self.take_over(replicas, *found),
                Next::Check(keys) => self.check_for_all(replicas, &keys).await,
                Next::Get(than) => self.get_for_all(replicas, than).await,
            };
        }
    }

    /// How long a login may take, whichever of the passwords it is that works.
    fn lease(&self) -> Duration {
        let passwords = match self.backend.credentials() {
            CredentialSource::Derived => self.backend.derivation().len().max(1),
            _ => 1,
        };
        self.backend.limits().login_timeout.saturating_mul(u32::try_from(passwords).unwrap_or(u32::MAX)) + MARGIN
    }

    async fn get_for_all(&mut self, replicas: &Replicas, than: Fence) -> Next {
        match self.try_to_get(replicas, than).await {
            Ok(next) => next,
            Err(obtained) => Next::Done(self.give_up(obtained)),
        }
    }

    async fn try_to_get(&mut self, replicas: &Replicas, than: Fence) -> Result<Next, Obtained> {
        let (store, backend, spot) =
            (Arc::clone(&self.store), Arc::clone(&self.backend), replicas.spot_of(&self.entry));
        let (began, lease) = (store.clock.now(), self.lease());
        let (mut turn, mut place, mut queues) = (None, None, false);
        loop {
            if turn.is_none() {
                turn = Some(self.turn(&store).await?);
            }
            if queues && place.is_none() {
                place = self.place(&backend).await?;
            }
            let told = replicas.shelf.told(&spot);
            match replicas.shelf.claim(&spot, than, lease).await {
                Ok(Claim::Here(found)) => return Ok(Next::Use(found)),
                Ok(Claim::Revoked) => return Ok(Next::Done(self.was_revoked())),
                Ok(Claim::Theirs(left)) => {
                    // Nobody waits for us meanwhile.
                    (turn, place, queues) = (None, None, false);
                    if store.clock.now().since(began) > lease * 2 {
                        return Err(Obtained::Busy);
                    }
                    // Whether it is settled or they took too long: whoever asks now knows.
                    let _ = tokio::time::timeout(left, told).await;
                }
                Ok(Claim::Yours(fence)) => {
                    let lease = Lease::new(&store, spot, fence);
                    place = place.or_else(|| backend.free_login_place());
                    if place.is_none() && !queues {
                        // Whoever has a place may sign them in while we wait for one.
                        lease.give_back(replicas).await;
                        queues = true;
                        continue;
                    }
                    self.hear_refusals(replicas).await;
                    match self.try_passwords(place.as_ref()).await {
                        Ok(keys) => match self.commit(replicas, lease, keys).await {
                            Some(obtained) => return Ok(Next::Done(obtained)),
                            None => (turn, place, queues) = (None, None, false),
                        },
                        Err(obtained) => {
                            lease.give_back(replicas).await;
                            return Err(obtained);
                        }
                    }
                }
                Err(_) if replicas.shelf.goes_on_without() => {
                    if place.is_none() {
                        place = self.place(&backend).await?;
                    }
                    let keys = self.try_passwords(place.as_ref()).await?;
                    return Ok(Next::Done(self.use_apart(keys)));
                }
                Err(outage) => return Err(Obtained::NoStore(outage)),
            }
        }
    }

    /// Notes what other replicas were told of the passwords that would be tried.
    async fn hear_refusals(&self, replicas: &Replicas) {
        let Ok(candidates) = self.store.candidates(&self.backend, &self.applicant.login, &self.applicant.password)
        else {
            return;
        };
        for candidate in candidates {
            if let Ok(Some(said)) = replicas.shelf.said(&candidate.fingerprint).await {
                let heard = match said.what {
                    Word::Refused(refusal) => Obtained::Refused(refusal),
                    Word::Locked => Obtained::Unavailable(Outage::Locked { retry_after: Some(said.left) }),
                    Word::Unclear => Obtained::Unavailable(Outage::Protocol("another replica says so".to_owned())),
                };
                self.store.refusals.remember(candidate.fingerprint, self.store.clock.now(), said.left, heard);
            }
        }
    }

    /// Puts what was got onto the shelf. Nothing where somebody else has got other keys meanwhile.
    async fn commit(&mut self, replicas: &Replicas, lease: Lease, keys: SessionKeys) -> Option<Obtained> {
        if self.has_ended() {
            lease.give_back(replicas).await;
            self.throw_away(keys);
            return Some(self.give_way());
        }
        self.entry.shelving.expire_at(self.applicant.person.expires);
        let (spot, fence, losses) = (lease.spot, lease.fence, replicas.losses());
        let record = replicas.record_of(&self.entry, &keys);
        // Said before anybody sees the keys: whoever dies before the first look leaves them to another.
        let (committed, is_due) = tokio::join!(
            replicas.shelf.commit(&spot, fence, &record, replicas.life(None, &self.backend)),
            replicas.shelf.due_in(&spot, Replicas::next_refresh(&self.backend))
        );
        lease.ends();
        match committed {
            Ok(Commit::Kept) => {
                self.opened();
                self.entry.shelving.put(fence, losses);
                if is_due.is_ok() {
                    self.entry.shelving.promise(Promise::Refresh);
                }
                Some(self.keep(keys))
            }
            // It may be there or not: they are offered again.
            Err(_) => {
                self.opened();
                self.entry.shelving.keep_apart(fence);
                Some(self.keep(keys))
            }
            Ok(Commit::Superseded) => {
                self.backend.metrics().leases_lost.inc();
                self.throw_away(keys);
                None
            }
            Ok(Commit::Revoked) => {
                self.throw_away(keys);
                Some(self.was_revoked())
            }
        }
    }

    /// Keys that nobody has seen.
    fn throw_away(&self, keys: SessionKeys) {
        self.store.log_out(&self.backend, keys, Cause::Late);
    }

    /// Goes on with keys that are this replica's alone.
    fn use_apart(&mut self, keys: SessionKeys) -> Obtained {
        self.opened();
        self.entry.shelving.expire_at(self.applicant.person.expires);
        self.entry.shelving.keep_apart(0);
        self.keep(keys)
    }

    /// Goes on with keys that another replica has got.
    fn take_over(&mut self, replicas: &Replicas, found: Shelved) -> Next {
        let Shelved { spot, fence, record, ages } = found;
        let (now, keys) = (self.store.clock.now(), record.keys);
        let is_for_us = self.entry.holds(self.backend.id(), &record.holding);
        if !is_for_us || replicas.is_outdated(&self.backend, self.entry.login(), now.minus(ages.opened)) {
            self.store.take_out(spot, fence, &self.backend, keys, Cause::Logout);
            return Next::Get(fence);
        }
        let held = self.let_go();
        let is_own = self.entry.shelving.is_own() && held.as_ref() == Some(&keys);
        match held {
            // After the store has lost things, somebody else may have offered the very same keys.
            Some(held) if self.entry.shelving.fence().is_none() && held != keys => {
                self.store.forget(&self.backend, Cause::Dead);
                self.store.give_way(replicas, &self.entry, &self.backend, held);
            }
            Some(_) => self.store.forget(&self.backend, Cause::Elsewhere),
            None => {}
        }
        self.entry.shelving.put(fence, replicas.losses());
        self.entry.shelving.are_own(is_own);
        self.entry.shelving.expire_at(record.expires);
        self.entry.date(now, &ages);
        // Asked before this use counts, since nobody's keep-alive may be about to come.
        let wants_check = self.entry.wants_check(now, &self.backend);
        self.entry.touch(now);
        self.backend.metrics().keys.inc();
        self.found_on_shelf = true;
        if wants_check {
            self.held = Some(keys.clone());
            return Next::Check(keys);
        }
        Next::Done(self.keep(keys))
    }

    /// Has overdue keys checked, by us or by whoever is just doing so.
    async fn check_for_all(&mut self, replicas: &Replicas, keys: &SessionKeys) -> Next {
        let (store, backend) = (Arc::clone(&self.store), Arc::clone(&self.backend));
        let Some(fence) = self.entry.shelving.fence() else {
            return self.check_apart(keys).await;
        };
        let (spot, began) = (replicas.spot_of(&self.entry), store.clock.now());
        loop {
            let told = replicas.shelf.told(&spot);
            let tended = replicas.tend(&self.entry, &spot, fence, store.clock.now(), Duration::ZERO, &backend).await;
            let now = store.clock.now();
            match tended {
                Ok(Tend::Yours) => return self.check_in_turn(replicas, &spot, fence, keys).await,
                Ok(Tend::Theirs(_)) if now.since(began) > Replicas::turn(&backend) * 2 => {
                    // Not knowing is no reason to take keys away.
                    self.entry.excuse(now, backend.limits());
                    return Next::Done(self.keep(keys.clone()));
                }
                Ok(Tend::Theirs(left)) => {
                    // Whether it is settled or they took too long: whoever asks now knows.
                    let _ = tokio::time::timeout(left, told).await;
                }
                Ok(Tend::Rest(ages)) => {
                    self.entry.learn(now, &ages);
                    self.entry.touch(now);
                    return Next::Done(self.keep(keys.clone()));
                }
                Ok(Tend::Newer(found)) => return Next::Use(found),
                Ok(Tend::Unknown) => {
                    self.entry.shelving.keep_apart(fence);
                    return self.check_apart(keys).await;
                }
                Ok(Tend::Gone) => {
                    self.let_go();
                    store.forget(&self.backend, Cause::Elsewhere);
                    return Next::Get(fence);
                }
                Err(_) => return self.check_apart(keys).await,
            }
        }
    }

    /// Checks keys where nobody else can be asked.
    async fn check_apart(&mut self, keys: &SessionKeys) -> Next {
        match self.check(keys).await {
            Checked::Dead => self.was_dead(),
            Checked::Alive | Checked::Unknown => Next::Done(self.keep(keys.clone())),
            Checked::Renewed(keys) => {
                self.entry.shelving.keep_apart(0);
                Next::Done(self.keep(keys))
            }
        }
    }

    /// Checks keys for everybody.
    async fn check_in_turn(&mut self, replicas: &Replicas, spot: &Spot, fence: Fence, keys: &SessionKeys) -> Next {
        match self.check(keys).await {
            Checked::Dead => {
                self.let_go();
                // Whoever finds them there until they are replaced finds that out, too.
                let _ = replicas.shelf.take(spot, fence).await;
                self.was_dead()
            }
            Checked::Alive => {
                replicas.confirm(&self.entry, &self.backend, spot, fence, None).await.note(&self.entry);
                Next::Done(self.keep(keys.clone()))
            }
            Checked::Renewed(keys) => {
                replicas.confirm(&self.entry, &self.backend, spot, fence, Some(&keys)).await.note(&self.entry);
                Next::Done(self.keep(keys))
            }
            Checked::Unknown => {
                // Where the store cannot be told, the turn ends by itself.
                let _ = replicas.shelf.hand_back(spot, fence).await;
                Next::Done(self.keep(keys.clone()))
            }
        }
    }

    fn was_dead(&mut self) -> Next {
        self.let_go();
        self.store.forget(&self.backend, Cause::Dead);
        Next::Get(self.entry.shelving.latest())
    }

    /// The portal session was ended elsewhere. That is not noted here: whoever ended it tells until when.
    fn was_revoked(&mut self) -> Obtained {
        *self.entry.state.lock() = State::Ended;
        let _ = self.give_way();
        Obtained::Revoked
    }
}

/// The right to sign in for everybody. Given back where nothing came of it, also when its task is thrown away.
struct Lease {
    store: Arc<KeyStore>,
    spot: Spot,
    fence: Fence,
    is_over: bool,
}

impl Lease {
    fn new(store: &Arc<KeyStore>, spot: Spot, fence: Fence) -> Self {
        Self { store: Arc::clone(store), spot, fence, is_over: false }
    }

    /// There is nothing more to give back.
    fn ends(mut self) {
        self.is_over = true;
    }

    async fn give_back(self, replicas: &Replicas) {
        // Where the store cannot be told, the lease ends by itself.
        let _ = replicas.shelf.give_up(&self.spot, self.fence).await;
        self.ends();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (spot, fence) = (self.spot, self.fence);
        self.store.in_background(async move |store| {
            if let Some(replicas) = store.replicas.get() {
                let _ = replicas.shelf.give_up(&spot, fence).await;
            }
        });
    }
}

impl From<Liveness> for Checked {
    fn from(liveness: Liveness) -> Self {
        match liveness {
            Liveness::Alive => Self::Alive,
            Liveness::Renewed(keys) => Self::Renewed(keys),
            Liveness::Dead => Self::Dead,
        }
    }
}
