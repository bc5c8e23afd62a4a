use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::backend::BackendId;

type Name = (BackendId, Box<str>);

/// One login of one user at one back-end at a time, whatever the session: a second browser with the
/// same stale password must find the refusal and not try again, and Roundcube falsely refuses one of
/// two simultaneous first logins of a user (seen with 1.6.5 on SQLite). Other replicas know nothing of it: there one
/// session has one login at a time, and a refused password is told when it was refused.
#[derive(Default)]
pub(super) struct Turns {
    users: DashMap<Name, Arc<Mutex<()>>>,
}

/// The right to log this user in, or to have nobody do so. Given back when dropped.
pub struct Turn<'a> {
    turns: &'a Turns,
    name: Name,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Whether anybody is being logged in.
    #[cfg(test)]
    pub(super) fn are_taken(&self) -> bool {
        !self.users.is_empty()
    }

    pub(super) async fn wait(&self, backend: BackendId, login: &str) -> Turn<'_> {
        let name = (backend, Box::from(login));
        let mutex = Arc::clone(&self.users.entry(name.clone()).or_default());
        // Made before the wait, so that a wait that is given up leaves no name behind.
        let mut turn = Turn { turns: self, name, guard: None };
        turn.guard = Some(mutex.lock_owned().await);
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.guard.take());
        // Whoever waits holds a clone; the last one out removes the name.
        self.turns.users.remove_if(&self.name, |_, mutex| Arc::strong_count(mutex) == 1);
    }
}
