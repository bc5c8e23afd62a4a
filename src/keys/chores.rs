use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::backend::{BackendId, Outage};

/// Most chores of one back-end that wait or run, and as many errands. Each takes some hundred bytes, and
/// holds keys that the store held before.
const MOST_WAITING: u32 = 10_000;
/// Most attempts at one errand.
const MOST_ATTEMPTS: u32 = 10;
/// The pause after the first attempt. It doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest life of an errand, waiting for its turn included.
const LONGEST_ERRAND: Duration = Duration::from_secs(10 * 60);

/// What is done in the background: keep-alives, which may fail, and errands, which are tried again.
/// Each back-end has its own bounds, so that a dead one fills nobody's memory and delays nobody else;
/// how many run at once is the back-end's own limit.
pub(super) struct Chores {
    runtime: Handle,
    places: Places,
    /// Apart from the others, so that errands to a back-end that was down do not keep its sessions from
    /// being kept alive when it is up again.
    errands: Places,
    /// What is told other replicas.
    kept: Arc<Semaphore>,
    /// The process ends: nothing is worth waiting for.
    closing: watch::Sender<bool>,
}

/// How an errand ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The other side has heard of it.
    Heard,
    /// It has not, and why at last; nothing where the process ended under it.
    GivenUp(Option<Outage>),
    /// Too many were waiting.
    NoRoom,
}

impl Chores {
    pub(super) fn new(runtime: Handle) -> Self {
        let (places, errands) = (Places::default(), Places::default());
        let kept = Arc::new(Semaphore::new(MOST_WAITING as usize));
        Self { runtime, places, errands, kept, closing: watch::Sender::new(false) }
    }

    /// Begins a chore, or says that there are too many.
    pub(super) fn submit(&self, backend: BackendId, chore: impl Future<Output = ()> + Send + 'static) -> bool {
        let Some(place) = self.places.take(backend) else { return false };
        self.runtime.spawn(async move {
            chore.await;
            drop(place);
        });
        true
    }

    /// Begins what must be done, whoever waits for it. Where there are too many, it waits for its turn.
    pub(super) fn keep(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let place = Arc::clone(&self.kept).try_acquire_owned();
        let places = Arc::clone(&self.kept);
        self.runtime.spawn(async move {
            let place = match place {
                Ok(place) => Some(place),
                Err(_) => places.acquire_owned().await.ok(),
            };
            work.await;
            drop(place);
        })
    }

    /// Begins an errand, of which each call is one attempt, and says later how it ended, whatever happens.
    pub(super) fn insist<F>(
        &self,
        backend: BackendId,
        attempt: impl Fn() -> F + Send + 'static,
        settled: impl FnOnce(Settled) + Send + 'static,
    ) where
        F: Future<Output = Result<(), Outage>> + Send,
    {
        let report = Report(Some(settled));
        let Some(place) = self.errands.take(backend) else { return report.settle(Settled::NoRoom) };
        let closing = self.closing.subscribe();
        self.runtime.spawn(async move {
            let ended = timeout(LONGEST_ERRAND, persist(attempt, closing)).await;
            report.settle(match ended.unwrap_or(Err(Outage::TimedOut)) {
                Ok(()) => Settled::Heard,
                Err(outage) => Settled::GivenUp(Some(outage)),
            });
            drop(place);
        });
    }

    /// Waits until none is left. Errands that wait for another attempt make it at once, and it is their
    /// last.
    pub(super) async fn finish(&self) {
        self.closing.send_replace(true);
        // First, since it may become an errand. An error would mean that the semaphore was closed, which nobody does.
        drop(self.kept.acquire_many(MOST_WAITING).await);
        self.places.all_free().await;
        self.errands.all_free().await;
    }
}

async fn persist<F>(attempt: impl Fn() -> F, mut closing: watch::Receiver<bool>) -> Result<(), Outage>
where
    F: Future<Output = Result<(), Outage>>,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..MOST_ATTEMPTS {
        let last = *closing.borrow();
        let outcome = attempt().await;
        if outcome.is_ok() || last {
            return outcome;
        }
        // Not all at the same moment, when a back-end is back that many wait for.
        let jittered = pause.mul_f64(rand::random_range(0.75..1.25));
        if let Ok(Err(_)) = timeout(jittered, closing.wait_for(|closing| *closing)).await {
            // Whoever could say so is gone, and so is the store.
            return outcome;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    attempt().await
}

/// Says how an errand ended, also where its task is thrown away.
struct Report<S: FnOnce(Settled)>(Option<S>);

impl<S: FnOnce(Settled)> Report<S> {
    fn settle(mut self, settled: Settled) {
        if let Some(say) = self.0.take() {
            say(settled);
        }
    }
}

impl<S: FnOnce(Settled)> Drop for Report<S> {
    fn drop(&mut self) {
        if let Some(say) = self.0.take() {
            say(Settled::GivenUp(None));
        }
    }
}

/// A bounded number of places for each back-end.
#[derive(Default)]
struct Places(DashMap<BackendId, Arc<Semaphore>>);

impl Places {
    fn take(&self, backend: BackendId) -> Option<OwnedSemaphorePermit> {
        let places = self.0.entry(backend).or_insert_with(|| Arc::new(Semaphore::new(MOST_WAITING as usize)));
        Arc::clone(&places).try_acquire_owned().ok()
    }

    async fn all_free(&self) {
        let all: Vec<_> = self.0.iter().map(|held| Arc::clone(held.value())).collect();
        for places in all {
            // An error would mean that the semaphore was closed, which nobody does.
            drop(places.acquire_many(MOST_WAITING).await);
        }
    }
}
