//! Who waits for a login, and what becomes of its place in the queue when they leave.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::entry::{Entry, Progress};
use super::login::Task;
use super::outcome::Obtained;

/// How long whoever was told to come back is signed in all the same when their turn comes: longer than they are asked to
/// stay away, so that they find their place where it was, or what came of it.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// How long whoever hangs up may take to ask again and be where they were in the queue: to load a page anew is to hang up
/// first. Nobody waits for them: when their turn comes and they are not there, the next has it.
const RELOADED_WITHIN: Duration = Duration::from_secs(2);

/// Somebody who waits for what comes of an entry.
pub(super) struct Waiting {
    pub entry: Arc<Entry>,
    pub progress: watch::Receiver<Progress>,
    /// Weak, since whoever waits hears by its end that a task broke off.
    sender: Weak<watch::Sender<Progress>>,
}

impl Waiting {
    pub fn new(entry: &Arc<Entry>, sender: &Arc<watch::Sender<Progress>>) -> Self {
        Self { entry: Arc::clone(entry), progress: sender.subscribe(), sender: Arc::downgrade(sender) }
    }

    /// Whoever waits is told to come back, and finds their place where it was.
    pub fn keep_place(&self) {
        self.note(|progress| progress.kept_until = Some(Instant::now() + KEPT_FOR));
    }

    /// Notes something that is no news to anybody else who waits.
    fn note(&self, change: impl FnOnce(&mut Progress)) {
        if let Some(sender) = self.sender.upgrade() {
            sender.send_if_modified(|progress| {
                change(progress);
                false
            });
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.note(|progress| progress.left = Some(Instant::now()));
    }
}

impl Task {
    /// Waits for something, unless nobody waits for us or the entry has ended by then.
    pub(super) async fn unless_forsaken<T>(&self, something: impl Future<Output = T>) -> Result<T, Obtained> {
        let got = tokio::select! {
            biased;
            () = self.forsaken() => return Err(Obtained::Busy),
            got = something => got,
        };
        if self.is_forsaken() || self.has_ended() { Err(Obtained::Busy) } else { Ok(got) }
    }

    /// Waits until nobody waits for us, nor comes back.
    async fn forsaken(&self) {
        loop {
            self.sender.closed().await;
            let until = {
                let progress = self.sender.borrow();
                progress.kept_until.max(progress.left.map(|left| left + RELOADED_WITHIN))
            };
            match until.filter(|until| *until > Instant::now()) {
                Some(until) => sleep_until(until).await,
                None => return,
            }
        }
    }

    /// Whether nobody waits for us at this moment, nor was told to come back.
    pub(super) fn is_forsaken(&self) -> bool {
        self.sender.is_closed() && self.sender.borrow().kept_until.is_none_or(|kept| kept <= Instant::now())
    }
}
