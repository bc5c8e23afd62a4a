use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::watch;

use super::Place;

/// Whoever waits here for what others do, until they hear [`Event::Settled`](super::Event::Settled) of it. Nothing is left of those who have stopped.
#[derive(Default)]
pub struct Waiting(DashMap<Place, watch::Sender<()>>);

impl Waiting {
    /// Waits from now on, not from when the future is first looked at.
    pub fn at(self: &Arc<Self>, place: Place) -> impl Future<Output = ()> + Send + use<> {
        let receiver = self.0.entry(place).or_default().subscribe();
        let mut waiter = Waiter { waiting: Arc::clone(self), place, receiver: Some(receiver) };
        async move {
            if let Some(receiver) = &mut waiter.receiver {
                // Nothing is ever sent: whoever wakes drops the sender, which is the error.
                let _ = receiver.changed().await;
            }
        }
    }

    /// Wakes whoever waits at this place.
    pub fn wake(&self, place: &Place) {
        self.0.remove(place);
    }

    /// Wakes everybody, since something may have been missed.
    pub fn wake_all(&self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

struct Waiter {
    waiting: Arc<Waiting>,
    place: Place,
    receiver: Option<watch::Receiver<()>>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.receiver = None;
        self.waiting.0.remove_if(&self.place, |_, sender| sender.receiver_count() == 0);
    }
}
