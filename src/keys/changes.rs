//! What a change of somebody's account means for what is held of them.

use std::sync::Arc;

use super::entry::Entry;
use super::sign_out::{SignOut, SignOutBy};
use super::store::{Cause, KeyStore};
use super::turns::Turn;
use crate::backend::{BackendId, Guarded};
use crate::domain::{Moment, Secret};

impl KeyStore {
    /// Waits until nobody signs this person in at this back-end, and keeps it so until the turn is dropped.
    pub async fn turn(&self, backend: &Guarded, login: &str) -> Turn<'_> {
        self.turns.wait(backend.id(), login).await
    }

    /// Ends all sessions of this name at this back-end, whatever portal sessions they belong to. Those go
    /// on, and sign in anew. Names are compared without regard to case, as mail servers often do.
    pub async fn end_at(self: &Arc<Self>, backend: &Guarded, login: &str) {
        let told = self.tell_account_end(backend, login);
        let ended = self.end_opened_before(backend.id(), login.to_owned(), Moment::NEVER);
        tokio::join!(told, ended);
    }

    /// The same here, and only those that were opened before then.
    pub(super) async fn end_opened_before(self: &Arc<Self>, backend: BackendId, login: String, before: Moment) {
        let store = Arc::clone(self);
        // All sessions are looked at, which takes a tenth of a second or so for a million: too long for a thread
        // that answers people. Whether it was done or has panicked, there is nothing left to do here.
        let _ = self.runtime.spawn_blocking(move || store.end_all_at(backend, &login, before)).await;
    }

    fn end_all_at(&self, backend: BackendId, login: &str, before: Moment) {
        let is_of_account = |entry: &Entry| entry.backend == backend && entry.login().eq_ignore_ascii_case(login);
        // Found first and taken out then: looking at everybody holds nobody up who only reads.
        let theirs = self.sessions.all(|entry| is_of_account(entry) && entry.opened() < before);
        if let Some(replicas) = self.replicas.get() {
            self.end_outgoing(replicas, is_of_account);
        }
        let sign_out = Arc::new(SignOut::unasked(SignOutBy::Account, None, Some(login)));
        let mut ended = 0;
        for entry in theirs {
            self.remove(&entry);
            if let Some(backend) = self.backends.load().get(&entry.backend) {
                ended += usize::from(self.close_for(&entry, backend, Cause::Logout, Some(&sign_out)));
            }
        }
        if ended > 0 {
            sign_out.report(ended);
        }
    }

    /// This password is the right one now, whatever the back-end said of it before.
    pub fn forget_refusal(&self, backend: &Guarded, login: &str, password: &Secret) {
        let fingerprint = self.refusals.fingerprint(backend.id(), login, Some(password));
        self.refusals.forget(&fingerprint);
        // Another replica may have been refused.
        if self.replicas.get().is_some() {
            self.in_background(async move |store| store.say(&fingerprint, None).await);
        }
        self.remember_worked(backend, login, fingerprint);
    }
}
