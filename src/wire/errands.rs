use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::domain::Outage;

/// Most errands that wait or run. Each takes some hundred bytes.
const MOST: u32 = 10_000;
/// Most of them that are under way to a server at once.
const MOST_AT_ONCE: usize = 32;
/// Longest time for one try.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses between tries. Together they outlast a restart of the other side.
const PAUSES: [u64; 7] = [1, 2, 5, 15, 60, 180, 300];

/// Calls to other servers for which nobody waits, and which are to arrive all the same: each is tried
/// again for some minutes. They outlive the request that began them, and a reload.
///
/// Sign-outs at back-ends have a queue of their own, in `keys`. There each back-end has its own bounds, since
/// one that is down may be owed as many as there are sessions, and whoever signed out is told how each ended.
/// Portals are few, and what they are owed comes one for one with people who come and go.
pub struct Errands {
    runtime: OnceLock<Handle>,
    places: Arc<Semaphore>,
    under_way: Arc<Semaphore>,
    closing: watch::Sender<bool>,
}

/// One try. `Ok` is the end of it, whatever the other side said.
pub type Try = Box<dyn Fn() -> BoxFuture<'static, Result<(), Outage>> + Send + Sync>;

impl Errands {
    /// For a process that is not running yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            runtime: OnceLock::new(),
            places: Arc::new(Semaphore::new(MOST as usize)),
            under_way: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            closing: watch::Sender::new(false),
        })
    }

    /// Says where they run: not on a listener's own threads, which end before the process does.
    pub fn run_on(&self, runtime: Handle) {
        // A second call changes nothing.
        let _ = self.runtime.set(runtime);
    }

    /// Does something that outlives the request that began it, once.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        match self.runtime.get() {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        };
    }

    /// Begins one. `portal` and `what` stand in the log.
    pub fn begin(&self, portal: &str, what: &'static str, one_try: Try) {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let (Ok(place), Some(runtime)) = (place, self.runtime.get()) else {
            tracing::warn!(portal, what, "too many calls are waiting; one is given up");
            return;
        };
        let (portal, under_way, closing) = (portal.to_owned(), Arc::clone(&self.under_way), self.closing.subscribe());
        runtime.spawn(async move {
            if let Err(outage) = persist(&one_try, &under_way, closing).await {
                tracing::warn!(portal, what, %outage, "a call did not arrive and is given up");
            }
            drop(place);
        });
    }

    /// Waits until all have arrived, or were tried once more. For the end of the process.
    pub async fn finish(&self) {
        self.closing.send_replace(true);
        // An error would mean that the semaphore was closed, which nobody does.
        drop(self.places.acquire_many(MOST).await);
    }
}

async fn persist(one_try: &Try, under_way: &Semaphore, mut closing: watch::Receiver<bool>) -> Result<(), Outage> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let last = *closing.borrow();
        let place = under_way.acquire().await;
        let outcome = tokio::time::timeout(TRY_TIMEOUT, one_try()).await.unwrap_or(Err(Outage::TimedOut));
        drop(place);
        let Err(outage) = outcome else { return Ok(()) };
        let Some(pause) = pauses.next().filter(|_| !last) else { return Err(outage) };
        // Either way it is tried again.
        let _ = tokio::time::timeout(Duration::from_secs(pause), closing.wait_for(|closing| *closing)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// An errand that fails so often before it arrives, and how often it was tried.
    fn begin(errands: &Errands, failures: usize) -> Arc<AtomicUsize> {
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tries);
        let one_try: Try = Box::new(move || {
            let tried = counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move { if tried < failures { Err(Outage::TimedOut) } else { Ok(()) } })
        });
        errands.begin("portal", "test", one_try);
        tries
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_again_until_it_arrives_or_all_hope_is_gone() {
        let errands = Errands::new();
        errands.run_on(Handle::current());
        let counts = [0, 3, 1000].map(|failures| begin(&errands, failures));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(counts.map(|count| count.load(Ordering::SeqCst)), [1, 4, PAUSES.len() + 1]);
        assert_eq!(errands.places.available_permits(), MOST as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_of_the_process_each_has_one_more_try_at_once() {
        let errands = Errands::new();
        errands.run_on(Handle::current());
        let hopeless = begin(&errands, 1000);
        tokio::time::sleep(Duration::from_secs(20)).await;
        let before = hopeless.load(Ordering::SeqCst);
        let start = tokio::time::Instant::now();
        errands.finish().await;
        assert_eq!((hopeless.load(Ordering::SeqCst), start.elapsed()), (before + 1, Duration::ZERO));
    }
}
