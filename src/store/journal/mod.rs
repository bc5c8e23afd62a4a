//! What replicas tell each other: one stream for all events, and beside it a set of those that stand, which is read
//! by whoever starts later or has missed something.
//!
//! How long it takes until a sign-out at one replica is heard at another:
//! - in normal operation as long as two messages take, since readers wait at the server and nobody polls:
//!   [`HEARD_WITHIN`], and milliseconds as a rule;
//! - after a lost connection [`HEARD_AGAIN_WITHIN`] from when one can be made again. One that is dead and does not
//!   say so is given up after [`reader::WAIT`] and `[store] timeout`, and an attempt to make one that gets no answer
//!   at all after some seconds, too;
//! - after a failover, or when the store was emptied, as long from when that is over: what was lost by it is noticed by
//!   whoever knows of it within [`reader::WAIT`], and told again. Everybody who has told or heard it knows of it.
//!
//! To the latter two comes the time that it takes to read what stands, where there is much.
//!
//! A replica that cannot reach the store hears nothing meanwhile, and what it tells waits.

mod line;
mod outbox;
mod reader;
mod server_clock;
mod standing;

#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;

use super::link::LONGEST_PAUSE;
use super::{Event, Place, Store, StoreOutage};
use crate::domain::{Moment, UnixSeconds};
use crate::observe::JournalMetrics;
use line::{TELL, TIME};
use outbox::{Mark, Outbox};
use reader::{Flaw, PAUSE, Reader};
use server_clock::ServerClock;
use standing::{GRACE, Standing, Stands};

/// The version under which events are sealed at the house's place.
const SEALED: u64 = 1;
/// How long the stream is, in entries and in time. Whoever is further behind reads what stands, and is told that
/// something may be missing.
const LENGTH: (usize, Duration) = (100_000, Duration::from_secs(600));
/// Events that are told in one step, where many are to be told.
const BUNDLE: usize = 64;
/// How far a machine's clock may be from the store's before it is worth a word, in seconds.
const SKEW: u64 = 60;

/// How soon a sign-out at one replica is known at all, as long as the store answers in time.
pub const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// How soon it is where a message was lost, or there was no connection, from when the store can be asked again.
pub const HEARD_AGAIN_WITHIN: Duration = Duration::from_secs(5);

// A connection is made again, and then the reader comes back to it.
const _: () = assert!(LONGEST_PAUSE.as_millis() + PAUSE.as_millis() <= HEARD_AGAIN_WITHIN.as_millis());
// Somebody looks, may just have read all that stands, and lets others be the first to tell what is missing.
const _: () = assert!(reader::WAIT.as_millis() + PAUSE.as_millis() * 3 / 2 <= HEARD_AGAIN_WITHIN.as_millis());

/// Whoever is told.
pub(super) type Hear = Box<dyn Fn(&Event) + Send + Sync>;

/// The events of all replicas, in one order.
pub(super) struct Journal {
    house: Place,
    /// Tells our own events from those of others: random, so that after a restart we are somebody else.
    origin: [u8; 16],
    hear: OnceLock<Hear>,
    standing: Mutex<Standing>,
    outbox: Outbox,
    server: ServerClock,
    metrics: OnceLock<JournalMetrics>,
    is_caught_up: AtomicBool,
    /// Whether all that stands is to be read again, since we may understand more of it or have more to tell.
    reread: AtomicBool,
    /// What was said once.
    flaws: [AtomicBool; 3],
    has_skew: AtomicBool,
    has_forgotten: AtomicBool,
    has_dropped: AtomicBool,
}

/// Events that are being sent. Whoever drops this early, as with a request that was cancelled, leaves them to be
/// told by the next who can.
struct Sending<'a> {
    journal: &'a Journal,
    marks: Vec<Mark>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.marks.is_empty() {
            return;
        }
        for event in self.journal.outbox.failed(&self.marks) {
            self.journal.drop_event(event);
        }
    }
}

impl Journal {
    pub(super) fn new(house: Place) -> Self {
        Self {
            house,
            origin: rand::random(),
            hear: OnceLock::new(),
            standing: Mutex::default(),
            outbox: Outbox::default(),
            server: ServerClock::default(),
            metrics: OnceLock::new(),
            is_caught_up: AtomicBool::new(false),
            reread: AtomicBool::new(false),
            flaws: Default::default(),
            has_skew: AtomicBool::new(false),
            has_forgotten: AtomicBool::new(false),
            has_dropped: AtomicBool::new(false),
        }
    }

    pub(super) fn listen(&self, hear: Hear) {
        // A second call changes nothing.
        let _ = self.hear.set(hear);
    }

    pub(super) fn server_now(&self, now: Moment) -> Option<u64> {
        self.server.at(now)
    }

    pub(super) fn is_caught_up(&self) -> bool {
        self.is_caught_up.load(Ordering::Relaxed)
    }

    /// The ring has changed: what did not open may open now.
    pub(super) fn ring_changed(&self) {
        if self.flaws[Flaw::Closed as usize].swap(false, Ordering::Relaxed) {
            self.reread.store(true, Ordering::Relaxed);
        }
    }

    pub(super) async fn tell(&self, store: &Store, event: Event) -> Result<(), StoreOutage> {
        if matches!(event, Event::Listening | Event::Lost) {
            return Ok(());
        }
        let mark = self.outbox.launch(event, store.clock.now());
        self.send(store, Sending { journal: self, marks: vec![mark] }).await
    }

    /// Hears and tells for ever.
    pub(super) async fn run(&self, store: &Store, metrics: JournalMetrics) {
        let metrics = self.metrics.get_or_init(|| metrics);
        let mut reader = Reader::new(store, self, metrics);
        let hearing = async {
            loop {
                // A panic was counted and logged, and must not be the end of all hearing.
                let _ = AssertUnwindSafe(reader.read()).catch_unwind().await;
                tokio::time::sleep(PAUSE).await;
            }
        };
        let telling = async {
            loop {
                let _ = AssertUnwindSafe(self.deliver(store)).catch_unwind().await;
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::join!(hearing, telling);
    }

    pub(super) fn untold(&self) -> usize {
        self.outbox.untold()
    }

    /// Tells what waits, and what the store has lost, as soon as it can be told.
    async fn deliver(&self, store: &Store) {
        loop {
            self.outbox.wake.notified().await;
            if !self.outbox.is_waiting() && self.standing.lock().is_telling_again() {
                // Where many replicas notice a loss together, most of it is told by the first of them.
                tokio::time::sleep(PAUSE.mul_f64(rand::random_range(0.0..0.5))).await;
            }
            while self.outbox.is_waiting() || self.standing.lock().is_telling_again() {
                match self.deliver_some(store).await {
                    // A long walk over what is not missing asks nobody.
                    Ok(()) => tokio::task::yield_now().await,
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
            if self.outbox.take_overrun() {
                self.reread.store(true, Ordering::Relaxed);
            }
        }
    }

    async fn deliver_some(&self, store: &Store) -> Result<(), StoreOutage> {
        let sending = Sending { journal: self, marks: self.outbox.relaunch(BUNDLE) };
        if !sending.marks.is_empty() {
            return self.send(store, sending).await;
        }
        let missing = self.standing.lock().next_missing(BUNDLE);
        let written = missing.iter().map(|(until, text)| (rand::random(), Some(*until), text.to_vec())).collect();
        if let Err(outage) = self.write(store, written).await {
            self.standing.lock().not_told_again();
            return Err(outage);
        }
        if let Some(events @ 1..) = self.standing.lock().told_again(&missing) {
            tracing::info!(events, "told again what the store had lost");
        }
        Ok(())
    }

    async fn send(&self, store: &Store, mut sending: Sending<'_>) -> Result<(), StoreOutage> {
        let mut now = store.clock.now();
        if self.server.at(now).is_none() {
            let answer = store.run(&TIME, &self.house, &[]).await?;
            let asked = std::mem::replace(&mut now, store.clock.now());
            if let (Some(seconds), Some(micros)) = (answer.number(0), answer.number(1)) {
                self.server.saw(line::millis(seconds, micros), asked, now, false);
            }
        }
        let mut letters = Vec::with_capacity(sending.marks.len());
        for mark in &sending.marks {
            let Some(event) = self.outbox.write(mark, |told| self.server.at(told)) else { continue };
            let Ok(text) = serde_json::to_vec(&event) else { continue };
            if let Some(until) = event.stands_until() {
                self.remember((until, text.clone().into_boxed_slice()));
            }
            letters.push((*mark, event.stands_until(), text));
        }
        let marks: Vec<_> = letters.iter().map(|(mark, ..)| *mark).collect();
        let written = self.write(store, letters).await?;
        sending.marks.clear();
        let now = store.clock.now();
        for (mark, is_written) in marks.iter().zip(written) {
            self.outbox.landed(mark, is_written, now);
        }
        Ok(())
    }

    /// Writes these into the journal; says of each whether it was not there before.
    async fn write(
        &self,
        store: &Store,
        letters: Vec<(Mark, Option<UnixSeconds>, Vec<u8>)>,
    ) -> Result<Vec<bool>, StoreOutage> {
        if letters.is_empty() {
            return Ok(Vec::new());
        }
        let ends: Vec<_> =
            letters.iter().map(|(_, end, _)| end.map_or_else(String::new, |end| end.to_string())).collect();
        let sealed: Vec<_> = letters.iter().map(|(.., text)| store.seal_same(&self.house, SEALED, text)).collect();
        let (grace, length, age) = (GRACE.to_string(), LENGTH.0.to_string(), LENGTH.1.as_millis().to_string());
        let mut arguments: Vec<&[u8]> = vec![&self.origin, grace.as_bytes(), length.as_bytes(), age.as_bytes()];
        for (((mark, ..), end), sealed) in letters.iter().zip(&ends).zip(&sealed) {
            arguments.extend([mark.as_slice(), end.as_bytes(), sealed]);
        }
        let answer = store.run(&TELL, &self.house, &arguments).await?;
        let written: Vec<_> = (0..letters.len()).map(|index| answer.number(index) == Some(1)).collect();
        if let Some(metrics) = self.metrics.get() {
            metrics.told.inc_by(written.iter().filter(|is_written| **is_written).count() as u64);
        }
        Ok(written)
    }

    fn remember(&self, stands: Stands) {
        if self.standing.lock().add(stands) && !self.has_forgotten.swap(true, Ordering::Relaxed) {
            tracing::warn!("more sign-outs stand than are remembered here; those that end first are not told again");
        }
    }

    /// An event for which there is no room. What stands is found missing in the store, and told then.
    fn drop_event(&self, event: Event) {
        match (event.stands_until(), serde_json::to_vec(&event)) {
            (Some(until), Ok(text)) => self.remember((until, text.into_boxed_slice())),
            _ if self.has_dropped.swap(true, Ordering::Relaxed) => {}
            _ => tracing::warn!("too many events wait for the store; the oldest are dropped"),
        }
    }

    /// Whether all that stands is to be read again.
    fn take_reread(&self) -> bool {
        self.reread.swap(false, Ordering::Relaxed)
    }

    /// Whether such a flaw was not seen before.
    fn is_first(&self, flaw: Flaw) -> bool {
        !self.flaws[flaw as usize].swap(true, Ordering::Relaxed)
    }
}
