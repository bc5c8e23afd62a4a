use std::sync::Arc;

use dashmap::DashMap;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::backend::BackendId;

/// Most chores of one back-end that wait or run. Each takes some hundred bytes.
const MOST_WAITING: u32 = 10_000;

/// Keep-alives and logouts in the background. Each back-end has its own bound, so that a dead one
/// fills nobody's memory and delays nobody else; how many run at once is the back-end's own limit.
pub(super) struct Chores {
    runtime: Handle,
    places: DashMap<BackendId, Arc<Semaphore>>,
}

impl Chores {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, places: DashMap::new() }
    }

    /// Begins a chore, or says that there are too many.
    pub(super) fn submit(&self, backend: BackendId, chore: impl Future<Output = ()> + Send + 'static) -> bool {
        let places =
            Arc::clone(&self.places.entry(backend).or_insert_with(|| Arc::new(Semaphore::new(MOST_WAITING as usize))));
        let Ok(place) = places.try_acquire_owned() else { return false };
        self.runtime.spawn(async move {
            chore.await;
            drop(place);
        });
        true
    }

    /// Waits until none is left.
    pub(super) async fn finish(&self) {
        let places: Vec<_> = self.places.iter().map(|held| Arc::clone(held.value())).collect();
        for places in places {
            // An error would mean that the semaphore was closed, which nobody does.
            drop(places.acquire_many(MOST_WAITING).await);
        }
    }
}
