//! Who has guessed too often, and for how long they wait.
//!
//! Nobody is ever locked out for good, and nobody can have somebody else locked out: what is counted is a name
//! *from a place*, so that a stranger's guesses make the stranger wait. A place is the browser, where it shows that
//! the same person has signed in with it before (a "device cookie", as OWASP calls it), else its network. Beside
//! it all guesses from a network are counted, and all guesses of a name, against those who spread theirs; but
//! those two hold up nobody who comes with a known browser, or from a network from which the same person has
//! signed in before. Names that do not exist are counted like all others, and a wrong password that is tried
//! again is no new guess: what somebody's telephone repeats says nothing of anybody else.
//!
//! Where replicas share a store, its counters decide, and those of the process count beside them. While the store
//! cannot be asked these go on alone: an outage neither opens the door to guesses nor locks anybody out.

mod shared;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use self::shared::{Counted, Settled};
use super::bounded::Bounded;
use crate::domain::Moment;
use crate::portal::{Mark, Sessions};

/// Most of each that is remembered, a few dozen bytes each.
const MOST: u32 = 200_000;
/// Longest wait because of what others, elsewhere, have guessed of a name: only its first visit from somewhere can
/// meet it. While they go on, each of these waits is one for everybody who comes for the first time.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(60);

/// `[portal.lockout]`.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Wrong passwords of one name from one place.
    pub attempts: u32,
    /// Wrong passwords from one network.
    pub per_address: u32,
    /// Wrong passwords of one name from anywhere.
    pub per_user: u32,
    /// The first wait after so many; it doubles with each wrong password from then on.
    pub wait: Duration,
    pub longest_wait: Duration,
    /// Wrong passwords count no more when there was none for so long.
    pub forgotten_after: Duration,
}

/// From where somebody tries.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub address: IpAddr,
    /// By which way, for the log.
    pub by: &'static str,
    /// Who has signed in with this browser before, as the browser can prove.
    pub device_of: Option<String>,
    /// The mark of that browser.
    pub device: Option<String>,
}

impl Place {
    /// Its network: an IPv4 address, or the /64 that one customer has of IPv6.
    pub(super) fn network(&self) -> String {
        network(self.address)
    }
}

/// The part of an address that one customer cannot change at will.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// What counts guesses, through reloads.
pub(super) struct Lockout {
    portal: String,
    marks: Arc<Sessions>,
    memory: Mutex<Memory>,
    /// Most of each in the store.
    most: u32,
}

struct Memory {
    counts: Bounded<Count>,
    /// Networks from which a person has signed in.
    known: Bounded<()>,
    /// Wrong passwords that were tried.
    tried: Bounded<()>,
    /// Whose a spelling is, as the directory said.
    names: Bounded<String>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    wrong: u32,
    since: Moment,
    until: Moment,
}

/// One try that was let through, and counts as wrong until it is known to be right.
pub(super) struct Try {
    counts: Vec<(Mark, Count)>,
    name: String,
    guess: Mark,
    known: Mark,
    place: Mark,
    /// As all replicas have counted it, if they have.
    shared: Option<Counted>,
}

/// One of the counters that a try meets.
struct Counter {
    mark: Mark,
    allowed: u32,
    longest: Duration,
    /// Whether it can hold this try up, or only counts it.
    holds: bool,
}

impl Lockout {
    pub(super) fn new(portal: &str, marks: &Arc<Sessions>) -> Self {
        let most = MOST as usize;
        let memory = Memory {
            counts: Bounded::new(most),
            known: Bounded::new(most),
            tried: Bounded::new(most),
            names: Bounded::new(most),
        };
        Self { portal: portal.to_owned(), marks: Arc::clone(marks), memory: Mutex::new(memory), most: MOST }
    }

    fn mark(&self, parts: &[&str]) -> Mark {
        self.marks.mark(&self.portal, &[&["lockout"], parts].concat())
    }

    fn name(&self, name: &str) -> Mark {
        self.mark(&["name", name])
    }

    /// Whether a password may be tried now; else how long to wait. `name` is the spelling that was typed, made
    /// alike; `guess` stands for it and the password.
    pub(super) async fn admit(
        &self,
        terms: &Terms,
        name: &str,
        guess: Mark,
        place: &Place,
        now: Moment,
    ) -> Result<Try, Duration> {
        let shared = match self.marks.store() {
            Some(store) => self.admit_shared(store, terms, name, guess, place).await.ok(),
            None => None,
        };
        // Who was let in elsewhere need not wait here.
        let decides = shared.is_none();
        let shared = shared.transpose()?;
        let tried = self.admit_here(terms, name, guess, place, now, decides)?;
        Ok(Try { shared, ..tried })
    }

    /// The same by the counters of this process, which only count unless they are to decide.
    fn admit_here(
        &self,
        terms: &Terms,
        name: &str,
        guess: Mark,
        place: &Place,
        now: Moment,
        decides: bool,
    ) -> Result<Try, Duration> {
        let mut memory = self.memory.lock();
        let memory = &mut *memory;
        let name = memory.names.get(&self.name(name)).cloned().unwrap_or_else(|| name.to_owned());
        let device = place.device.as_deref().filter(|_| place.device_of.as_deref() == Some(&name));
        let network = place.network();
        let known = self.mark(&["known", &name, &network]);
        let is_known = device.is_some() || memory.known.get(&known).is_some();
        let from = match device {
            Some(device) => self.mark(&["device", &name, device]),
            None => self.mark(&["pair", &name, &network]),
        };
        let counters = [
            Counter { mark: from, allowed: terms.attempts, longest: terms.longest_wait, holds: true },
            Counter {
                mark: self.mark(&["network", &network]),
                allowed: terms.per_address,
                longest: terms.longest_wait,
                holds: !is_known,
            },
            Counter {
                mark: self.mark(&["user", &name]),
                allowed: terms.per_user,
                longest: terms.longest_wait.min(WAIT_FOR_OTHERS),
                holds: !is_known,
            },
        ];
        let count = |counter: &Counter| {
            let count = memory.counts.get(&counter.mark).copied().unwrap_or_default();
            if now.since(count.since) > terms.forgotten_after { Count::default() } else { count }
        };
        let waits = counters.iter().filter(|counter| counter.holds).map(|counter| count(counter).until.since(now));
        if let Some(wait) = waits.max().filter(|wait| decides && !wait.is_zero()) {
            return Err(wait);
        }
        let is_new = memory.tried.get(&guess).is_none();
        let counts: Vec<_> = counters.iter().map(|counter| (counter.mark, count(counter))).collect();
        for (counter, (mark, before)) in counters.iter().zip(&counts) {
            if is_new {
                let after = before.and_one(terms, counter, now);
                memory.counts.put_sparing(*mark, now, after, |count| count.wrong >= terms.attempts);
            }
        }
        let counts = if is_new { counts } else { Vec::new() };
        Ok(Try { counts, name, guess, known, place: from, shared: None })
    }

    /// The password was right, and this is whose: whatever they got wrong from here is forgotten.
    pub(super) async fn right(&self, tried: Try, typed: &str, user: &str, place: &Place, now: Moment) {
        self.right_here(&tried, typed, user, place, now);
        self.settle_shared(tried.shared.as_ref(), Settled::Right(user)).await;
    }

    fn right_here(&self, tried: &Try, typed: &str, user: &str, place: &Place, now: Moment) {
        let mut memory = self.memory.lock();
        let network = place.network();
        let known = self.mark(&["known", user, &network]);
        for mark in [known, tried.known] {
            memory.known.put(mark, now, ());
        }
        memory.take_back(tried, now);
        memory.counts.remove(&tried.place);
        memory.tried.remove(&tried.guess);
        if tried.name != user {
            // What was counted under another spelling before it was known whose it is.
            memory.counts.remove(&self.mark(&["pair", user, &network]));
        }
        memory.names.put(self.name(typed), now, user.to_owned());
    }

    /// It was wrong. What was counted stays.
    pub(super) async fn wrong(&self, tried: &Try, now: Moment) {
        self.memory.lock().tried.put(tried.guess, now, ());
        self.settle_shared(tried.shared.as_ref(), Settled::Wrong).await;
    }

    /// Nobody could say.
    pub(super) async fn unknown(&self, tried: &Try, now: Moment) {
        self.memory.lock().take_back(tried, now);
        self.settle_shared(tried.shared.as_ref(), Settled::Unknown).await;
    }
}

impl Memory {
    /// One that was counted and was none. What others have added meanwhile stays.
    fn take_back(&mut self, tried: &Try, now: Moment) {
        for (mark, before) in &tried.counts {
            let Some(count) = self.counts.get(mark).copied() else { continue };
            let wrong = count.wrong.saturating_sub(1);
            match wrong {
                0 => drop(self.counts.remove(mark)),
                _ if wrong == before.wrong => self.counts.put(*mark, now, *before),
                _ => self.counts.put(*mark, now, Count { wrong, ..count }),
            }
        }
    }
}

impl Count {
    /// One more. It makes the next one wait even while this one is under way, so that nobody gets ahead of the
    /// counter by asking often at once.
    fn and_one(self, terms: &Terms, counter: &Counter, now: Moment) -> Self {
        let wrong = self.wrong.saturating_add(1);
        let until = match wrong.checked_sub(counter.allowed) {
            Some(more) => {
                let wait = terms.wait.saturating_mul(1 << more.min(20)).min(counter.longest);
                now.plus(wait)
            }
            None => self.until,
        };
        Self { wrong, since: now, until }
    }
}

#[cfg(test)]
mod tests;
