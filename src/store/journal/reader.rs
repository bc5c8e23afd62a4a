use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::line::{Entry, Line};
use super::outbox::Mark;
use super::standing::{Stands, has_ended};
use super::{Journal, SKEW};
use crate::observe::JournalMetrics;
use crate::store::{Event, Store, StoreOutage};

/// How long the server is waited for that has nothing to tell. What it has lost meanwhile is found out then.
pub(super) const WAIT: Duration = Duration::from_secs(3);
/// How long until the first try to hear others again; then twice as long, up to [`PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long at most between two tries to hear others again, or to tell them, and at least between two readings of all that stands.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// Entries of the stream, or standing events, that are asked for at once. The server and all tasks of ours get
/// their turn in between.
const PAGE: usize = 250;

/// Why something in the journal says nothing to us.
#[derive(Clone, Copy)]
pub(super) enum Flaw {
    /// It was sealed with a key that is not in our ring, or by nobody of ours.
    Closed,
    /// It is of a kind that this version does not know.
    Unknown,
    /// It is no entry that any version writes.
    Malformed,
}

/// Brings what other replicas tell, in its order.
///
/// Every entry names the one before it. So it is noticed at the very next entry, or at the next look where none
/// comes, that something is missing: since the stream was trimmed beyond where we stood, since another server has
/// taken over that had not everything, or since the store was emptied or put back. Then all that stands is read.
pub(super) struct Reader<'a> {
    pub store: &'a Store,
    pub journal: &'a Journal,
    pub metrics: &'a JournalMetrics,
    /// The entry that was read last: its id and its mark.
    at: Option<(String, Vec<u8>)>,
    /// Whether all that stands is to be read, and not before when.
    owes: Option<Instant>,
    /// Until when it is not read again: whoever has the store lose something all the time gets half of our time.
    rests: Instant,
    /// Whether there may be changes of which we do not hear.
    has_lost: bool,
    /// How often the connection has failed since it last worked.
    failures: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(store: &'a Store, journal: &'a Journal, metrics: &'a JournalMetrics) -> Self {
        Self {
            store,
            journal,
            metrics,
            at: None,
            owes: Some(Instant::now()),
            rests: Instant::now(),
            has_lost: false,
            failures: 0,
        }
    }

    /// Reads for ever.
    pub(super) async fn read(&mut self) {
        loop {
            let Err(outage) = self.attend().await;
            self.failures += 1;
            if self.failures == 2 {
                tracing::warn!(%outage, "other replicas cannot be heard");
            }
            let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(8)).min(PAUSE);
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        }
    }

    /// Reads as long as one connection lasts.
    async fn attend(&mut self) -> Result<Infallible, StoreOutage> {
        let line = Line { link: &self.store.link, house: &self.journal.house };
        let mut changes = self.store.link.changes();
        changes.mark_unchanged();
        self.look(line, true).await?;
        if std::mem::take(&mut self.failures) > 1 {
            tracing::info!("other replicas are heard again");
        }
        loop {
            self.settle(line).await?;
            let until = Instant::now() + WAIT;
            while Instant::now() < until && self.owes.is_none_or(|since| since > Instant::now()) {
                let wait = self.wait();
                if !self.next(line, Some(wait)).await? {
                    break;
                }
            }
            let is_new_connection = changes.has_changed().unwrap_or(true);
            changes.mark_unchanged();
            self.look(line, is_new_connection).await?;
        }
    }

    fn wait(&self) -> Duration {
        self.owes.map_or(WAIT, |since| since.saturating_duration_since(Instant::now()).min(WAIT))
    }

    /// Looks where the journal is by now, and what time.
    async fn look(&mut self, line: Line<'_>, is_new_connection: bool) -> Result<(), StoreOutage> {
        let answered = self.journal.outbox.answered();
        let asked = self.store.clock.now();
        let look = line.look().await?;
        if look.is_replica && !is_new_connection {
            line.leave_replica().await?;
        }
        if is_new_connection {
            self.journal.outbox.reconnected(self.store.clock.now());
        }
        self.journal.server.saw(look.time, asked, self.store.clock.now(), is_new_connection);
        self.compare_clocks(look.time / 1000);
        while self.journal.standing.lock().drop_ended(look.time / 1000, 1000) {}
        match &self.at {
            None => {
                self.at = Some((look.newest, look.mark));
                self.hear(&Event::Listening);
            }
            Some((_, mark)) if *mark == look.mark => self.journal.outbox.missed(&answered),
            Some(_) => {
                if !self.next(line, None).await? {
                    // It is not where we stand, and nothing follows: it is younger, or it was emptied.
                    self.at = Some((look.newest, look.mark));
                    self.lose();
                }
            }
        }
        if self.journal.take_reread() {
            self.owe();
        }
        Ok(())
    }

    /// Something was not heard.
    fn lose(&mut self) {
        self.has_lost = true;
        self.metrics.lost.inc();
        self.journal.outbox.lost(self.store.clock.now());
        self.owe();
    }

    fn owe(&mut self) {
        self.owes.get_or_insert_with(|| self.rests.max(Instant::now()));
    }

    /// Reads all that stands, if that is owed.
    async fn settle(&mut self, line: Line<'_>) -> Result<(), StoreOutage> {
        let begun = Instant::now();
        if self.owes.is_none_or(|since| since > begun) {
            return Ok(());
        }
        self.owes = None;
        if let Err(outage) = self.read_standing(line).await {
            self.owes = Some(begun);
            return Err(outage);
        }
        self.rests = Instant::now() + begun.elapsed().max(PAUSE);
        self.owes = self.owes.map(|_| self.rests);
        if self.journal.is_caught_up.swap(true, Ordering::Relaxed) {
            self.journal.standing.lock().tell_again();
        }
        if std::mem::take(&mut self.has_lost) {
            self.hear(&Event::Lost);
        }
        self.journal.outbox.wake.notify_one();
        Ok(())
    }

    async fn read_standing(&mut self, line: Line<'_>) -> Result<(), StoreOutage> {
        self.journal.standing.lock().begin_round();
        let mut after = (Vec::new(), String::new());
        loop {
            let page = line.standing(&after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.clone();
            // Not until there is nothing more: while others tell there is always another mark of the last entry.
            let is_last = page.len() < PAGE;
            for (sealed, _) in page {
                // The mark of the last entry stands there, too.
                if sealed.len() > size_of::<Mark>() {
                    self.take(&sealed, self.journal.is_caught_up());
                }
            }
            // Whoever signs out now does not wait for those who did yesterday.
            self.next(line, None).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Takes what follows where we stand; says whether there was anything.
    async fn next(&mut self, line: Line<'_>, wait: Option<Duration>) -> Result<bool, StoreOutage> {
        let Some((at, _)) = &self.at else { return Ok(false) };
        let entries = line.follow(at, PAGE, wait).await?;
        let is_any = !entries.is_empty();
        for entry in entries {
            self.take_entry(entry);
        }
        Ok(is_any)
    }

    fn take_entry(&mut self, (id, fields): Entry) {
        let Some((at, last)) = &mut self.at else { return };
        *at = id;
        let field = |name: &[u8]| fields.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].as_slice());
        let (Some(origin), Some(before), Some(mark), Some(sealed)) =
            (field(b"o"), field(b"p"), field(b"m"), field(b"e"))
        else {
            return self.skip(Flaw::Malformed);
        };
        let is_next = last == before;
        *last = mark.to_vec();
        if !is_next {
            self.lose();
        }
        if origin == self.journal.origin {
            self.journal.outbox.read_back(mark, self.store.clock.now());
        } else {
            self.take(sealed, true);
        }
    }

    /// Hears what another replica has told; `is_news` where it may have been told a moment ago.
    fn take(&self, sealed: &[u8], is_news: bool) {
        let Some(text) = self.store.unseal_same(&self.journal.house, super::SEALED, sealed) else {
            return self.skip(Flaw::Closed);
        };
        let Ok(event) = serde_json::from_slice::<Event>(&text) else { return self.skip(Flaw::Unknown) };
        let stands: Option<Stands> = event.stands_until().map(|until| (until, text.into_boxed_slice()));
        let now = self.journal.server_now(self.store.clock.now());
        if let Some(stands) = &stands {
            // Somebody may have put it there again. And what we have heard, or told, is known in every room.
            let is_over = now.is_some_and(|now| has_ended(stands.0, now / 1000));
            if is_over || self.journal.standing.lock().saw(stands) {
                return;
            }
        }
        if !self.hear(&event) {
            return;
        }
        self.metrics.heard.inc();
        let now = self.journal.server_now(self.store.clock.now());
        if let (Event::SessionEnded { asked: asked @ 1.., .. }, Some(now), true) = (&event, now, is_news) {
            self.metrics.revocation_seconds.observe(Duration::from_millis(now.saturating_sub(*asked)).as_secs_f64());
        }
        if let Some(stands) = stands {
            self.journal.remember(stands);
        }
    }

    /// A listener that panics must not be the end of all hearing. The panic is counted and logged.
    fn hear(&self, event: &Event) -> bool {
        let Some(hear) = self.journal.hear.get() else { return true };
        std::panic::catch_unwind(AssertUnwindSafe(|| hear(event))).is_ok()
    }

    fn skip(&self, flaw: Flaw) {
        self.metrics.skipped.inc();
        if !self.journal.is_first(flaw) {
            return;
        }
        match flaw {
            Flaw::Closed => {
                tracing::warn!("an event of another replica is sealed with a key that is not in [[store.key]]")
            }
            Flaw::Unknown => tracing::info!("an event of another version of Keyward is skipped"),
            Flaw::Malformed => tracing::warn!("something in the store's journal was not written by Keyward"),
        }
    }

    fn compare_clocks(&self, server: u64) {
        let here = self.store.clock.unix();
        if here.abs_diff(server) > SKEW && !self.journal.has_skew.swap(true, Ordering::Relaxed) {
            tracing::warn!(here, store = server, "this machine's clock and the store's are far apart");
        }
    }
}
