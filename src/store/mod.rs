//! What several replicas have in common: a store on Valkey or Redis, `[store] kind = "redis"`.
//!
//! One replica needs none of this: its memory is all there is. Where there are several, memory stays in front,
//! and the store is asked only where memory knows nothing. What stands in it can be read by nobody else: a
//! [`Place`] is a keyed hash of what stands there, and every value is sealed for its place and version.
//!
//! [`Store`] is what other rooms use: values for a time, [`Script`]s that the server runs as one step, and
//! [`Event`]s that every replica hears. `link` is the connection, `journal` brings the events,
//! `names` and `ring` keep secrets, `plan` reads the settings. What is kept, and what it means, is the matter
//! of the rooms that keep it.

mod asking;
mod event;
mod journal;
mod link;
mod names;
mod outage;
mod plan;
mod ring;
mod script;
mod waiting;

#[cfg(test)]
pub(crate) mod scratch;

pub use asking::{Asked, Asking};
pub use event::Event;
pub use journal::{HEARD_AGAIN_WITHIN, HEARD_WITHIN};
pub use names::Place;
pub use outage::StoreOutage;
pub use plan::{StorePlan, WhenDown};
pub use script::{Answer, Script};
pub use waiting::Waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::domain::Clock;
use crate::observe::Metrics;
use journal::Journal;
use link::Link;
use names::Names;
use ring::Ring;

/// The shared store, as long as the process lives. Every call fails within `[store] timeout`, and at once while
/// the store is known to be down; dropping a call is no failure of anybody's.
pub struct Store {
    link: Link,
    names: Names,
    ring: ArcSwap<Ring>,
    journal: Journal,
    when_down: ArcSwap<WhenDown>,
    was_ready: AtomicBool,
    clock: Arc<dyn Clock>,
}

impl Store {
    /// Looks for the store from now on, and waits for nothing. Needs the runtime in which that is to go on.
    #[must_use]
    pub fn new(plan: StorePlan, clock: Arc<dyn Clock>, metrics: &Metrics) -> Arc<Self> {
        let StorePlan { terms, access, names, ring, when_down } = plan;
        let house = names.place("house", &[]);
        Arc::new(Self {
            link: Link::new(terms, access, metrics.store()),
            names,
            ring: ArcSwap::from_pointee(ring),
            journal: Journal::new(house),
            when_down: ArcSwap::from_pointee(when_down),
            was_ready: AtomicBool::new(false),
            clock,
        })
    }

    /// By which it tells time.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Takes up what may change while running: the keys, who we are at the store and whom we trust there, and what
    /// happens without it.
    pub fn configure(&self, plan: StorePlan) {
        self.link.configure(plan.access);
        self.ring.store(Arc::new(plan.ring));
        self.journal.ring_changed();
        self.when_down.store(Arc::new(plan.when_down));
    }

    /// Whether this is the same store, whatever the keys are by now.
    #[must_use]
    pub fn is_as_planned(&self, plan: &StorePlan) -> bool {
        self.link.is_as_planned(&plan.terms) && self.names.are(&plan.names)
    }

    /// Whether people are to be signed in while the store cannot be asked.
    #[must_use]
    pub fn goes_on_without(&self) -> bool {
        **self.when_down.load() == WhenDown::Login
    }

    /// Whether requests may come: everything was heard that stands in the store, or it is away and need not be there.
    /// Once they may it stays so: neither an outage nor its end takes a replica out of service, because it would take
    /// all of them at once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        if self.is_caught_up() || self.goes_on_without() && self.link.is_away() {
            self.was_ready.store(true, Ordering::Relaxed);
        }
        self.was_ready.load(Ordering::Relaxed)
    }

    /// Counts connections. After each new one the server may be another one, which lacks what was written last.
    #[must_use]
    pub fn connections(&self) -> watch::Receiver<u64> {
        self.link.changes()
    }

    /// Where a thing of this kind stands that these parts name. The same at every replica, and no two things
    /// share a place.
    #[must_use]
    pub fn place(&self, kind: &str, parts: &[&[u8]]) -> Place {
        self.names.place(kind, parts)
    }

    /// A key for keyed hashes of one purpose, the same at every replica and through every rotation.
    #[must_use]
    pub fn name_key(&self, purpose: &str) -> [u8; 64] {
        self.names.key(purpose)
    }

    /// Seals a text with the first key of the ring, so that it opens at this place and version alone.
    #[must_use]
    pub fn seal(&self, place: &Place, version: u64, text: &[u8]) -> Vec<u8> {
        self.ring.load().seal(&bound(place, version), text)
    }

    /// Opens what was sealed for this place and version, with whichever key it was sealed. `None` where it was
    /// sealed for another, or changed, or by nobody of ours.
    #[must_use]
    pub fn unseal(&self, place: &Place, version: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        self.ring.load().open(&bound(place, version), sealed)
    }

    /// Seals a text for whoever shows it again, such as a browser; `purpose` says what it is bound to.
    #[must_use]
    pub fn seal_for(&self, purpose: &[u8], text: &[u8]) -> Vec<u8> {
        self.ring.load().seal_many(purpose, text)
    }

    /// Opens what was sealed so, by any replica.
    #[must_use]
    pub fn unseal_for(&self, purpose: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.ring.load().open_salted(purpose, sealed)
    }

    /// Keeps a text at this place for so long, in the place of what was there.
    ///
    /// # Errors
    /// The store could not be asked; it may have been kept nevertheless.
    pub async fn put(&self, place: &Place, text: &[u8], life: Duration) -> Result<(), StoreOutage> {
        let sealed = self.seal(place, 0, text);
        self.run(&script::PUT, place, &[&sealed, &millis(life)]).await.map(drop)
    }

    /// The same where nothing is there yet. Of all replicas that do so at once, one is told that it was the one.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn put_new(&self, place: &Place, text: &[u8], life: Duration) -> Result<bool, StoreOutage> {
        let sealed = self.seal(place, 0, text);
        Ok(self.run(&script::PUT_NEW, place, &[&sealed, &millis(life)]).await?.number(0) == Some(1))
    }

    /// What is kept at this place. What does not open is not there.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn get(&self, place: &Place) -> Result<Option<Vec<u8>>, StoreOutage> {
        let answer = self.run(&script::GET, place, &[]).await?;
        Ok(answer.bytes(0).and_then(|sealed| self.unseal(place, 0, sealed)))
    }

    /// Takes what is kept at this place: of all who do so, one has it.
    ///
    /// # Errors
    /// The store could not be asked; it may be gone nevertheless.
    pub async fn take(&self, place: &Place) -> Result<Option<Vec<u8>>, StoreOutage> {
        let answer = self.run(&script::TAKE, place, &[]).await?;
        Ok(answer.bytes(0).and_then(|sealed| self.unseal(place, 0, sealed)))
    }

    /// Runs a script of several steps as one, on keys of this place.
    ///
    /// # Errors
    /// The store could not be asked; it may have run nevertheless.
    pub async fn run(&self, script: &Script, place: &Place, arguments: &[&[u8]]) -> Result<Answer, StoreOutage> {
        self.link.run(script, place, arguments).await
    }

    /// Has every other replica hear of something, and those that start later, too, as long as it stands. Where the
    /// store cannot be asked it is told when it can, and this says so.
    ///
    /// # Errors
    /// Others do not know yet.
    pub async fn tell(&self, event: Event) -> Result<(), StoreOutage> {
        self.journal.tell(self, event).await
    }

    /// Seals a text so that the same one looks the same wherever it is sealed, and is kept once in a set.
    fn seal_same(&self, place: &Place, version: u64, text: &[u8]) -> Vec<u8> {
        self.ring.load().seal_same(&self.names.key("same nonces"), &bound(place, version), text)
    }

    /// Opens what was sealed so.
    fn unseal_same(&self, place: &Place, version: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        self.ring.load().open_salted(&bound(place, version), sealed)
    }

    /// Has this called for whatever another replica tells, and for [`Event::Listening`] and [`Event::Lost`]. It is called in order, does not
    /// wait, and bears to be told the same thing again. What is told here is not heard here.
    pub fn listen(&self, hear: impl Fn(&Event) + Send + Sync + 'static) {
        self.journal.listen(Box::new(hear));
    }

    /// Hears what other replicas tell, and tells what waits, for ever. Call it once.
    pub async fn run_journal(&self, metrics: &Metrics) {
        self.journal.run(self, metrics.journal()).await;
    }

    /// Whether all that stands was heard at least once since the start. A store that is lost later changes nothing:
    /// what was heard is known, and nobody gains by a replica that is taken away.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.journal.is_caught_up()
    }

    /// The time by the store's clock, in milliseconds since 1970, as well as it can be told from here; `None` before
    /// the first contact. All replicas agree on it to within a round trip, whatever their own clocks show.
    #[must_use]
    pub fn server_now(&self) -> Option<u64> {
        self.journal.server_now(self.clock.now())
    }

    /// How many events are not with the store yet.
    #[must_use]
    pub fn untold(&self) -> usize {
        self.journal.untold()
    }
}

/// What a value is sealed for.
fn bound(place: &Place, version: u64) -> Vec<u8> {
    [place.as_bytes().as_slice(), &version.to_be_bytes()].concat()
}

/// A duration as scripts take it: in whole milliseconds, never none.
pub(crate) fn millis(duration: Duration) -> Vec<u8> {
    duration.as_millis().max(1).to_string().into_bytes()
}
