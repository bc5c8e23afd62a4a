use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use dashmap::{DashMap, Entry};
use tokio::sync::watch;

use crate::wire::Errands;

/// Questions under way to somebody else's server: however many want an answer, it is asked once, and the
/// question goes on when nobody waits for it any more.
pub(super) struct Flights<K, T> {
    under_way: Arc<DashMap<K, watch::Receiver<Option<T>>>>,
    errands: Arc<Errands>,
    most: usize,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static, T: Clone + Send + Sync + 'static> Flights<K, T> {
    /// At most `most` at once.
    pub(super) fn new(errands: Arc<Errands>, most: usize) -> Self {
        Self { under_way: Arc::default(), errands, most }
    }

    /// Whether the question of this key is under way.
    pub(super) fn is_under_way(&self, key: &K) -> bool {
        self.under_way.contains_key(key)
    }

    /// The answer to the question of this key: of the one under way, or of this one. `None` where there are
    /// too many under way, or the question broke off.
    pub(super) async fn join<F>(&self, key: K, question: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let is_full = self.under_way.len() >= self.most;
        let mut receiver = match self.under_way.entry(key.clone()) {
            Entry::Occupied(held) => held.get().clone(),
            Entry::Vacant(_) if is_full => return None,
            Entry::Vacant(place) => {
                let (sender, receiver) = watch::channel(None);
                place.insert(receiver.clone());
                let landing = Landing { under_way: Arc::clone(&self.under_way), key };
                let question = question();
                self.errands.spawn(async move {
                    let answer = question.await;
                    // First out of the map, so that whoever comes later asks anew.
                    drop(landing);
                    sender.send_replace(Some(answer));
                });
                receiver
            }
        };
        let answer = receiver.wait_for(Option::is_some).await.ok()?;
        answer.clone()
    }
}

/// Takes the question out of the map, whether it was answered or broke off.
struct Landing<K: Eq + Hash, T> {
    under_way: Arc<DashMap<K, watch::Receiver<Option<T>>>>,
    key: K,
}

impl<K: Eq + Hash, T> Drop for Landing<K, T> {
    fn drop(&mut self) {
        self.under_way.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_the_same_have_it_asked_once() {
        let flights = Flights::new(Errands::new(), 2);
        let asked = Arc::new(AtomicUsize::new(0));
        let question = |key: u8| {
            let asked = Arc::clone(&asked);
            flights.join(key, move || async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                asked.fetch_add(1, Ordering::SeqCst) + 1
            })
        };
        let answers = join_all((0..100).map(|_| question(1))).await;
        assert!(answers.iter().all(|answer| *answer == Some(1)));
        assert_eq!(question(1).await, Some(2), "an answer is for those who waited for it");
        let (one, two, three) = tokio::join!(question(1), question(2), question(3));
        assert_eq!((one.is_some(), two.is_some(), three), (true, true, None), "there is an end to it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_goes_on_when_nobody_waits_and_one_that_breaks_off_is_over() {
        let flights: Flights<u8, ()> = Flights::new(Errands::new(), 2);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let waiting = flights.join(1, move || async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let _ = sender.send(());
        });
        assert!(tokio::time::timeout(Duration::from_secs(1), waiting).await.is_err());
        assert!(receiver.await.is_ok());
        assert_eq!(flights.join(2, || async { panic!("on purpose") }).await, None);
        assert!(flights.under_way.is_empty());
    }
}
