//! What replicas tell each other.

use std::sync::OnceLock;

use super::{Event, Store, StoreOutage};

/// Whoever is told.
pub(super) type Hear = Box<dyn Fn(&Event) + Send + Sync>;

/// The events of all replicas, in one order.
#[derive(Default)]
pub(super) struct Journal {
    hear: OnceLock<Hear>,
}

impl Journal {
    pub(super) fn listen(&self, hear: Hear) {
        // A second call changes nothing.
        let _ = self.hear.set(hear);
    }

    #[expect(clippy::unused_async, reason = "not built yet")]
    pub(super) async fn tell(&self, _store: &Store, _event: Event) -> Result<(), StoreOutage> {
        Err(StoreOutage::Down)
    }
}
