//! What replicas share of their keys: a record for each back-end session, and the lease of whoever logs in.
//!
//! The shelf knows records, leases, turns and ends as they stand in the store, one script for each step; it does
//! not know who wants keys, nor how they are got.
//!
//! All back-end sessions of a portal session are fields of one hash, so that its end is one step; `lua/entry.lua`
//! says what is in a field. A record is sealed for its [`Spot`] and [`Fence`]: put elsewhere, or put back later, it
//! does not open, and what does not open is not there. Fences are times of the server in microseconds, and more
//! than the last in any case: they grow where the server's clock is set back, and where the server has lost all.
//! All else that is timed is timed by the server, too. A call that failed may have been done; each says what comes
//! of doing it again.

mod orphans;
mod record;
mod said;
mod scripts;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::backend::Refusal;
use crate::domain::UnixSeconds;
use crate::store::{Answer, Asking, Event, Place, Script, Store, StoreOutage, Waiting, millis};

pub(super) use record::{Holding, Record};

/// A number that only ever grows: whoever got a later one knows better. Zero is none.
pub(super) type Fence = u64;

/// Where a record stands: all of one portal session stand together, each under its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    /// The portal session's place.
    pub session: Place,
    /// Which of its back-end sessions: a keyed hash of back-end, user, login and what it is bound to.
    pub entry: Place,
}

/// How old things are, by the store's own clock, which all replicas share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ages {
    /// Since the login, and no shorter than that.
    pub opened: Duration,
    /// Since the back-end last confirmed the keys.
    pub confirmed: Duration,
    /// Since somebody last asked for them, as far as replicas have told.
    pub used: Duration,
}

/// A record as it was found.
pub(super) struct Shelved {
    pub spot: Spot,
    pub fence: Fence,
    pub record: Record,
    pub ages: Ages,
}

/// What became of asking for keys.
pub(super) enum Claim {
    /// Here they are: somebody has logged in.
    Here(Box<Shelved>),
    /// Nobody has, and nobody else will before the lease ends: log in, and [`Shelf::commit`] with this.
    Yours(Fence),
    /// Somebody is logging in. Wait for [`Shelf::told`], no longer than this, and claim again.
    Theirs(Duration),
    /// The portal session was ended.
    Revoked,
}

/// What became of keys that were got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// They are the ones for everybody.
    Kept,
    /// The lease had ended, and somebody else has another: they are nobody's.
    Superseded,
    /// The portal session was ended meanwhile.
    Revoked,
}

/// What is to be done with a session that is due.
pub(super) enum Tend {
    /// Refresh it: it is in use, and nobody else does for as long as the turn was asked for. [`Shelf::confirm`] then,
    /// or [`Shelf::hand_back`].
    Yours,
    /// Somebody else is refreshing or replacing it, and has so much time left. Whoever must know what comes of it
    /// waits for [`Shelf::told`], no longer than this, and asks again.
    Theirs(Duration),
    /// Nothing: nobody uses it, or somebody has just refreshed it.
    Rest(Ages),
    /// There are newer keys.
    Newer(Box<Shelved>),
    /// Nobody may use it any more: it was taken out, or its portal session was ended.
    Gone,
    /// The store has never heard of it, or has lost it: it was emptied, or another server took over that had not
    /// heard of it yet. Nobody was signed out. [Claim](Shelf::claim) with its fence and [put it back](Shelf::put_back); where there
    /// are newer keys by then, nobody but who holds these ends them.
    Unknown,
}

/// What became of ending a session.
pub(super) enum Taken {
    /// It was taken out by us, and we tell the back-end.
    Ours(Box<Shelved>),
    /// It is in use elsewhere; this long ago.
    InUse(Ages),
    /// Somebody else has taken it out, or it never was there.
    Gone,
}

/// What a back-end said of a password, as other replicas are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub what: Word,
    /// For how long still.
    pub left: Duration,
}

/// What it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// No.
    Refused(Refusal),
    /// The account is locked, so that it is to be left alone.
    Locked,
    /// What was not understood, and may have been a no.
    Unclear,
}

/// The records of all replicas.
pub(super) struct Shelf {
    store: Arc<Store>,
    waiting: Arc<Waiting>,
    claims: Asking,
    takes: Asking,
    /// How many records did not open.
    unopened: AtomicU64,
}

impl Shelf {
    pub(super) fn new(store: Arc<Store>) -> Self {
        let (claims, takes) = (Asking::default(), Asking::default());
        Self { store, waiting: Arc::default(), claims, takes, unopened: AtomicU64::new(0) }
    }

    /// Whether people are to be signed in while the store cannot be asked.
    pub(super) fn goes_on_without(&self) -> bool {
        self.store.goes_on_without()
    }

    /// Where the back-end session of this holder stands.
    pub(super) fn spot(&self, portal: &str, session: &str, backend: [u8; 8], holding: &Holding) -> Spot {
        let Holding { user, login, user_agent, address, accept_language } = holding;
        let address = address.map(|address| address.to_string().into_bytes());
        let mut parts = vec![portal.as_bytes(), session.as_bytes(), &backend, user.as_bytes(), login.as_bytes()];
        for bound in [user_agent, &address, accept_language] {
            // An empty header is not the same as one that does not matter.
            parts.push(if bound.is_some() { b"bound" } else { b"" });
            parts.push(bound.as_deref().unwrap_or_default());
        }
        Spot { session: self.session(portal, session), entry: self.store.place("entry", &parts) }
    }

    /// Asks for keys newer than these (zero: any), and for the right to log in for `lease` where there are none.
    /// Asked again after a call that failed or was dropped, it does not wait for the lease that may have been given.
    pub(super) async fn claim(&self, spot: &Spot, than: Fence, lease: Duration) -> Result<Claim, StoreOutage> {
        let mut asked = self.claims.begin(spot.entry);
        let mut than = than;
        loop {
            let arguments: [&[u8]; 4] = [spot.entry.as_bytes(), &number(than), &turn_span(lease), &asked.name()];
            let answer = asked.hear(self.store.run(&scripts::CLAIM, &spot.session, &arguments)).await?;
            return Ok(match answer.word(0) {
                "here" => match self.shelved(spot, &answer, 1) {
                    Some(shelved) if shelved.fence > than => Claim::Here(Box::new(shelved)),
                    _ => match answer.number(1).filter(|fence| *fence > than) {
                        // It does not open, so it is to be replaced, whatever its fence.
                        Some(fence) => {
                            than = fence;
                            continue;
                        }
                        None => return Err(strange()),
                    },
                },
                "yours" => Claim::Yours(answer.number(1).filter(|fence| *fence > than).ok_or_else(strange)?),
                "theirs" => Claim::Theirs(Duration::from_millis(answer.number(1).ok_or_else(strange)?)),
                "revoked" => Claim::Revoked,
                _ => return Err(strange()),
            });
        }
    }

    /// Waits until what others do at this spot is settled, or may be; whoever waits looks again then. Begin to wait
    /// before the question that is answered with [`Claim::Theirs`] or [`Tend::Theirs`].
    pub(super) fn told(&self, spot: &Spot) -> impl Future<Output = ()> + Send + use<> {
        self.waiting.at(spot.entry)
    }

    /// Wakes whoever waits at this place, that of a [`Spot::entry`].
    pub(super) fn wake(&self, place: &Place) {
        self.waiting.wake(place);
    }

    /// Puts what was got under the lease of this fence onto the shelf, for so long, and tells who waits. Done again,
    /// it says the same, as long as nobody has taken them out meanwhile.
    pub(super) async fn commit(
        &self,
        spot: &Spot,
        fence: Fence,
        record: &Record,
        life: Duration,
    ) -> Result<Commit, StoreOutage> {
        self.put_back(spot, fence, record, Ages::default(), life).await
    }

    /// The same with keys that are not new, because the store had lost them or could not be asked: they do not become
    /// younger by it.
    pub(super) async fn put_back(
        &self,
        spot: &Spot,
        fence: Fence,
        record: &Record,
        ages: Ages,
        life: Duration,
    ) -> Result<Commit, StoreOutage> {
        let sealed = self.store.seal(&spot.entry, fence, &record.to_bytes());
        let [opened, confirmed, used] = [ages.opened, ages.confirmed, ages.used].map(span);
        let arguments: [&[u8]; 7] =
            [spot.entry.as_bytes(), &number(fence), &sealed, &span(life), &opened, &confirmed, &used];
        let answer = self.store.run(&scripts::COMMIT, &spot.session, &arguments).await?;
        let commit = match answer.word(0) {
            "kept" => Commit::Kept,
            "superseded" => Commit::Superseded,
            "revoked" => Commit::Revoked,
            _ => return Err(strange()),
        };
        self.settled(&spot.entry, answer.number(1)).await;
        Ok(commit)
    }

    /// Gives the lease of this fence back without keys, and tells who waits. Nothing happens where somebody else has
    /// another by now, or the keys are there.
    pub(super) async fn give_up(&self, spot: &Spot, fence: Fence) -> Result<(), StoreOutage> {
        let arguments: [&[u8]; 2] = [spot.entry.as_bytes(), &number(fence)];
        let answer = self.store.run(&scripts::GIVE_UP, &spot.session, &arguments).await?;
        self.settled(&spot.entry, answer.number(0)).await;
        Ok(())
    }

    /// Tells when keys of this fence were last used, and asks whether it is upon us to refresh them: one replica is
    /// told so when they were confirmed an `interval` ago, or nearly (keep-alives are not made on the dot), and were
    /// used since, and no other for as long as `turn`. Asked again after a call that failed, it may say that somebody
    /// has the turn.
    ///
    /// Keys that were not used here since they were got or confirmed are told to be used [`Duration::MAX`] ago: by
    /// the server's clock they were got a moment earlier than by ours, and that moment is no use of them.
    pub(super) async fn tend(
        &self,
        spot: &Spot,
        fence: Fence,
        used: Duration,
        interval: Duration,
        turn: Duration,
    ) -> Result<Tend, StoreOutage> {
        let [used, interval, turn] = [span(used), span(interval), turn_span(turn)];
        let arguments: [&[u8]; 5] = [spot.entry.as_bytes(), &number(fence), &used, &interval, &turn];
        let answer = self.store.run(&scripts::TEND, &spot.session, &arguments).await?;
        Ok(match answer.word(0) {
            "yours" => Tend::Yours,
            "theirs" => Tend::Theirs(Duration::from_millis(answer.number(1).ok_or_else(strange)?)),
            "rest" => Tend::Rest(ages(&answer, 1)),
            // One that does not open is not there, so ours are the ones to go on with, and to be put there again.
            "newer" => self.shelved(spot, &answer, 1).map_or(Tend::Unknown, |newer| Tend::Newer(Box::new(newer))),
            "gone" => Tend::Gone,
            "unknown" => Tend::Unknown,
            _ => return Err(strange()),
        })
    }

    /// The back-end has confirmed the keys of this fence; `renewed` are what it gave in their place. Tells who waits,
    /// and says the fence that counts from now on, if the record is still there. Done again with `renewed`, it finds
    /// the record gone: [claim](Shelf::claim) it then.
    pub(super) async fn confirm(
        &self,
        spot: &Spot,
        fence: Fence,
        renewed: Option<&Record>,
        life: Duration,
    ) -> Result<Option<Fence>, StoreOutage> {
        let sealed = renewed.map(|record| self.store.seal(&spot.entry, fence.saturating_add(1), &record.to_bytes()));
        let sealed = sealed.unwrap_or_default();
        let arguments: [&[u8]; 4] = [spot.entry.as_bytes(), &number(fence), &span(life), &sealed];
        let answer = self.store.run(&scripts::CONFIRM, &spot.session, &arguments).await?;
        match answer.word(0) {
            "kept" => {
                self.settled(&spot.entry, answer.number(2)).await;
                answer.number(1).map(Some).ok_or_else(strange)
            }
            "gone" => Ok(None),
            _ => Err(strange()),
        }
    }

    /// Ends a turn that came to nothing: the back-end could not be asked. Whoever waits is told, and may ask it next;
    /// where nobody does, the turn lasts as long as it was asked for, so that the back-end is left alone.
    pub(super) async fn hand_back(&self, spot: &Spot, fence: Fence) -> Result<(), StoreOutage> {
        let arguments: [&[u8]; 2] = [spot.entry.as_bytes(), &number(fence)];
        let answer = self.store.run(&scripts::HAND_BACK, &spot.session, &arguments).await?;
        self.settled(&spot.entry, answer.number(0)).await;
        Ok(())
    }

    /// Takes the keys of this fence out, whoever uses them: they are dead, or are to be given up. Tells who waits. A
    /// call that failed or was dropped may have taken them out: for five minutes, asking again gets them nevertheless.
    pub(super) async fn take(&self, spot: &Spot, fence: Fence) -> Result<Taken, StoreOutage> {
        self.taken(spot, fence, &scripts::TAKE, &[]).await
    }

    /// The same, unless they were used anywhere within `idle` and are younger than `oldest`.
    pub(super) async fn take_idle(
        &self,
        spot: &Spot,
        fence: Fence,
        used: Duration,
        idle: Duration,
        oldest: Duration,
    ) -> Result<Taken, StoreOutage> {
        let [used, idle, oldest] = [span(used), span(idle), span(oldest)];
        self.taken(spot, fence, &scripts::TAKE_IDLE, &[&used, &idle, &oldest]).await
    }

    /// Ends a portal session: takes all its records out, and has no new ones come until then. Of all who do so, one
    /// gets each record; done again after a call that failed or was dropped, it still gets those, for five minutes. The
    /// longest end counts.
    pub(super) async fn end(
        &self,
        portal: &str,
        session: &str,
        until: UnixSeconds,
    ) -> Result<Vec<Shelved>, StoreOutage> {
        let place = self.session(portal, session);
        // The scripts' numbers are whole up to here.
        let until = until.saturating_mul(1000).min(1 << 53);
        let mut asked = self.takes.begin(place);
        let arguments: [&[u8]; 2] = [&number(until), &asked.name()];
        let answer = asked.hear(self.store.run(&scripts::END, &place, &arguments)).await?;
        for (entry, waited) in listed(&answer) {
            self.settled(&entry, waited).await;
        }
        Ok(self.all(place, &answer))
    }

    /// All records of a portal session.
    pub(super) async fn of_session(&self, portal: &str, session: &str) -> Result<Vec<Shelved>, StoreOutage> {
        let place = self.session(portal, session);
        let answer = self.store.run(&scripts::OF_SESSION, &place, &[]).await?;
        Ok(self.all(place, &answer))
    }

    fn session(&self, portal: &str, session: &str) -> Place {
        self.store.place("session", &[portal.as_bytes(), session.as_bytes()])
    }

    /// What happened at this place is settled: those who wait here look again, and those elsewhere if there are any.
    async fn settled(&self, entry: &Place, waited: Option<u64>) {
        self.waiting.wake(entry);
        if waited == Some(1) {
            // Whoever does not hear it has been told how long to wait.
            drop(self.store.tell(Event::Settled { place: *entry.as_bytes() }).await);
        }
    }

    async fn taken(&self, spot: &Spot, fence: Fence, script: &Script, terms: &[&[u8]]) -> Result<Taken, StoreOutage> {
        let mut asked = self.takes.begin(spot.entry);
        let (name, fence) = (asked.name(), number(fence));
        let arguments = [&[spot.entry.as_bytes().as_slice(), &fence, &name], terms].concat();
        let answer = asked.hear(self.store.run(script, &spot.session, &arguments)).await?;
        Ok(match answer.word(0) {
            "ours" => {
                self.settled(&spot.entry, answer.number(6)).await;
                self.shelved(spot, &answer, 1).map_or(Taken::Gone, |taken| Taken::Ours(Box::new(taken)))
            }
            "in use" => Taken::InUse(ages(&answer, 1)),
            "gone" => Taken::Gone,
            _ => return Err(strange()),
        })
    }

    /// The record at this spot, whatever became of it.
    pub(super) async fn find(&self, spot: &Spot) -> Result<Option<Shelved>, StoreOutage> {
        let answer = self.store.run(&scripts::FIND, &spot.session, &[spot.entry.as_bytes()]).await?;
        Ok(if answer.word(0) == "here" { self.shelved(spot, &answer, 1) } else { None })
    }

    fn all(&self, session: Place, answer: &Answer) -> Vec<Shelved> {
        let entries = listed(answer).enumerate();
        entries.filter_map(|(at, (entry, _))| self.shelved(&Spot { session, entry }, answer, at * LISTED + 2)).collect()
    }

    /// The record whose fence, ages and sealed text begin here, if there is one and it opens.
    fn shelved(&self, spot: &Spot, answer: &Answer, at: usize) -> Option<Shelved> {
        let sealed = answer.bytes(at + 4).filter(|sealed| !sealed.is_empty())?;
        let fence = answer.number(at)?;
        let opened = self.store.unseal(&spot.entry, fence, sealed);
        let Some(record) = opened.and_then(|bytes| Record::from_bytes(&bytes)) else {
            let unopened = self.unopened.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(unopened, "what the store has for a back-end session does not open; it is not used");
            return None;
        };
        Some(Shelved { spot: *spot, fence, record, ages: ages(answer, at + 1) })
    }
}

/// How many items of an answer are about one entry of a list.
const LISTED: usize = 7;

/// The entries of a list, and whether somebody waits at each.
fn listed(answer: &Answer) -> impl Iterator<Item = (Place, Option<u64>)> {
    let entries = (0..answer.len() / LISTED).map(|index| index * LISTED);
    entries.filter_map(|at| Some((Place::from_bytes(answer.bytes(at)?.try_into().ok()?), answer.number(at + 1))))
}

fn ages(answer: &Answer, at: usize) -> Ages {
    let age = |at| Duration::from_millis(answer.number(at).unwrap_or_default());
    // The answer was on its way for a while. Where an account ends, nothing may seem to have been opened later than it was.
    Ages { opened: age(at) + answer.took(), confirmed: age(at + 1), used: age(at + 2) }
}

/// A duration as scripts take it. A year is as good as forever, and their numbers hold it.
fn span(duration: Duration) -> Vec<u8> {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    millis(duration.min(YEAR))
}

/// The duration of a lease or a turn, as scripts take it: those that take longer are not believed.
fn turn_span(duration: Duration) -> Vec<u8> {
    const LONGEST: Duration = Duration::from_secs(600);
    millis(duration.min(LONGEST))
}

fn number(number: u64) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// No script answers so.
fn strange() -> StoreOutage {
    StoreOutage::Unable("something strange".to_owned())
}
