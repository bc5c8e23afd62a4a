//! How sessions end: at once here, and at the back-ends as soon as they hear of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;

use super::chores::Settled;
use super::entry::{Entry, State};
use super::everywhere::{Ending, Held, Told};
use super::replicas::Unsaid;
use super::sessions::Entries;
use super::sign_out::{Fate, SignOut, SignOutBy};
use super::store::{Cause, KeyStore};
use crate::backend::{Guarded, OpenedBeside};
use crate::domain::{Person, SessionHandle, SessionKeys, UnixSeconds};

/// Who is to hear of the end of a portal session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spread {
    /// Nobody else: it was heard from them.
    Here,
    /// The store alone: the others find out by themselves.
    ToStore,
    /// Every replica.
    ToAll,
}

impl KeyStore {
    /// Ends a portal session here: its back-end sessions are logged out, a login under way will be
    /// thrown away, and the session is refused until `until`, when it would have ended by itself.
    pub fn revoke(&self, portal: &str, session: &str, until: UnixSeconds) {
        let _told_in_the_background = self.end_session(portal, session, until, None, Spread::ToAll);
    }

    /// The same for this replica alone, since the others know: what is on the shelf, somebody else logs out.
    pub(super) fn end_here(&self, portal: &str, session: &str, until: UnixSeconds) {
        let _nobody_is_told = self.end_session(portal, session, until, None, Spread::Here);
    }

    /// The same for somebody who signs out, and says how many open back-end sessions they had. `sign_out`
    /// learns when nothing is given out any more, and what becomes of each. A login or a check that is
    /// under way is not among them: it ends its session by itself when it finds out. Where there are other replicas,
    /// whoever asked is answered when they have been told.
    pub fn sign_out(&self, portal: &str, session: &str, until: UnixSeconds, sign_out: &Arc<SignOut>) -> (usize, Told) {
        self.end_session(portal, session, until, Some(sign_out), Spread::ToAll)
    }

    /// Ends what is left of a portal session that has ended by itself. Others end when nobody uses them any
    /// more, since only a portal session that is kept here is known to have ended when nobody shows it.
    pub fn expire(&self, person: &Person) {
        let SessionHandle { portal, id } = &person.session;
        let sign_out = SignOut::unasked(SignOutBy::Expiry, Some(portal), Some(person.identity.user()));
        let sign_out = Arc::new(sign_out);
        let (ended, _) = self.end_session(portal, id, person.expires, Some(&sign_out), Spread::ToStore);
        if ended > 0 {
            sign_out.report(ended);
        }
    }

    fn end_session(
        &self,
        portal: &str,
        session: &str,
        until: UnixSeconds,
        sign_out: Option<&Arc<SignOut>>,
        spread: Spread,
    ) -> (usize, Told) {
        // One that has ended by itself is refused anyhow, and a new ticket of that name is none of it.
        let left = until.saturating_sub(self.clock.unix());
        let (entries, noted) = {
            let mut held = self.sessions.change(portal, session);
            (held.take(|_| true), (left > 0).then(|| held.revoke(until)).flatten())
        };
        if let Some(sign_out) = sign_out {
            sign_out.refused_from_now(entries.first().map(|entry| entry.user()));
        }
        // Noted once, however often somebody signs out.
        if let Some(name) = noted {
            self.revocations.add(name, until, self.clock.now().plus(Duration::from_secs(left)));
        }
        let (ended, held) = match self.replicas.get() {
            None => (self.end_all(entries, sign_out), Vec::new()),
            Some(_) => self.end_apart(entries, sign_out),
        };
        if let Some(replicas) = self.replicas.get() {
            self.end_outgoing(replicas, |entry| entry.name() == (portal, session));
        }
        let beside = self.end_beside_for(portal, session, sign_out);
        let told = match spread {
            Spread::Here => Told(None),
            Spread::ToStore | Spread::ToAll if self.replicas.get().is_none() => Told(None),
            Spread::ToStore | Spread::ToAll => self.end_for_all(Ending {
                portal: portal.to_owned(),
                session: session.to_owned(),
                until,
                held,
                sign_out: sign_out.cloned(),
                tell: spread == Spread::ToAll,
            }),
        };
        (ended + beside, told)
    }

    /// Ends sessions that were taken out of the map, but leaves those on the shelf to whoever takes them out there.
    fn end_apart(&self, entries: Entries, sign_out: Option<&Arc<SignOut>>) -> (usize, Vec<Held>) {
        self.count.fetch_sub(entries.len(), Ordering::Relaxed);
        let (mut ended, mut shelved) = (0, Vec::new());
        for entry in entries {
            let Some(backend) = self.backends.load().get(&entry.backend).cloned() else { continue };
            let state = std::mem::replace(&mut *entry.state.lock(), State::Ended);
            let State::Open(keys) = state else { continue };
            self.forget(&backend, Cause::Logout);
            ended += 1;
            match entry.shelving.fence() {
                Some(_) => shelved.push((entry, backend, keys)),
                None => self.log_out_for(&backend, keys, Cause::Logout, sign_out),
            }
        }
        (ended, shelved)
    }

    /// Ends what a portal session opened at back-ends without keys that are held here.
    pub fn end_beside(&self, portal: &str, session: &str) {
        self.end_beside_for(portal, session, None);
    }

    /// Says how many there were, as far as that is known at once: of what replicas share it is not.
    fn end_beside_for(&self, portal: &str, session: &str, sign_out: Option<&Arc<SignOut>>) -> usize {
        let session = SessionHandle { portal: portal.to_owned(), id: session.to_owned() };
        let mut ended = 0;
        for backend in self.backends.load().values() {
            let (at, of) = (Arc::clone(backend), session.clone());
            let mut opened = Box::pin(async move { at.opened_beside(&of).await });
            if let Some(beside) = (&mut opened).now_or_never() {
                ended += self.log_out_beside(backend, &session, beside, sign_out);
                continue;
            }
            let (backend, session, sign_out) = (Arc::clone(backend), session.clone(), sign_out.cloned());
            self.in_background(async move |store| {
                let beside = opened.await;
                store.log_out_beside(&backend, &session, beside, sign_out.as_ref());
            });
        }
        ended
    }

    fn log_out_beside(
        &self,
        backend: &Arc<Guarded>,
        session: &SessionHandle,
        beside: OpenedBeside,
        sign_out: Option<&Arc<SignOut>>,
    ) -> usize {
        let OpenedBeside { keys, is_all } = beside;
        if let (false, Some(replicas)) = (is_all, self.replicas.get()) {
            replicas.tell_later(Unsaid::Beside(Arc::clone(backend), session.clone()));
        }
        let count = keys.len();
        for keys in keys {
            self.log_out_for(backend, keys, Cause::Logout, sign_out);
        }
        count
    }

    /// Ends sessions that were taken out of the map, and says how many of them were open.
    fn end_all(&self, entries: Entries, sign_out: Option<&Arc<SignOut>>) -> usize {
        self.count.fetch_sub(entries.len(), Ordering::Relaxed);
        let backends = self.backends.load();
        let end = |entry: &Arc<Entry>| {
            let backend = backends.get(&entry.backend)?;
            self.close_for(entry, backend, Cause::Logout, sign_out).then_some(())
        };
        entries.iter().filter_map(end).count()
    }

    /// Ends all back-end sessions of a portal session but those of this user, whose it is now. A login
    /// under way will be thrown away.
    pub fn leave_only(&self, portal: &str, session: &str, user: &str) {
        let others = self.sessions.change(portal, session).take(|entry| entry.user() != user);
        self.end_all(others, None);
        self.leave_only_elsewhere(portal, session, user);
    }

    /// Marks an entry that was taken out, and logs its session out.
    pub(super) fn close(&self, entry: &Entry, backend: &Arc<Guarded>, cause: Cause) {
        self.close_for(entry, backend, cause, None);
    }

    /// Whether there was a session to log out.
    pub(super) fn close_for(
        &self,
        entry: &Entry,
        backend: &Arc<Guarded>,
        cause: Cause,
        sign_out: Option<&Arc<SignOut>>,
    ) -> bool {
        let state = std::mem::replace(&mut *entry.state.lock(), State::Ended);
        let State::Open(keys) = state else { return false };
        self.forget(backend, cause);
        self.part_with(entry, backend, keys, cause, sign_out);
        true
    }

    /// Counts a session that is no longer held.
    pub(super) fn forget(&self, backend: &Guarded, cause: Cause) {
        let metrics = backend.metrics();
        metrics.keys.dec();
        match cause {
            Cause::Idle => metrics.evicted_idle.inc(),
            Cause::Age => metrics.evicted_age.inc(),
            Cause::Capacity => metrics.evicted_capacity.inc(),
            Cause::Logout => metrics.evicted_logout.inc(),
            Cause::Dead => metrics.evicted_dead.inc(),
            Cause::Elsewhere => metrics.evicted_elsewhere.inc(),
            Cause::Late => {}
        }
    }

    /// Ends a session at the back-end, in the background, and goes on trying while it does not answer.
    pub(super) fn log_out(&self, backend: &Arc<Guarded>, keys: SessionKeys, cause: Cause) {
        self.log_out_for(backend, keys, cause, None);
    }

    pub(super) fn log_out_for(
        &self,
        backend: &Arc<Guarded>,
        keys: SessionKeys,
        cause: Cause,
        sign_out: Option<&Arc<SignOut>>,
    ) {
        let cause = cause.as_str();
        if !backend.ends_sessions() {
            backend.metrics().count_logout(cause, "left");
            if let Some(sign_out) = sign_out {
                sign_out.settled(Fate::Left);
            }
            return;
        }
        backend.metrics().logouts_waiting.inc();
        let at = Arc::clone(backend);
        let errand = move || {
            let (at, keys) = (Arc::clone(&at), keys.clone());
            async move { at.logout(&keys, cause).await }
        };
        let (from, sign_out) = (Arc::clone(backend), sign_out.cloned());
        self.chores.insist(backend.id(), errand, move |settled| {
            from.metrics().logouts_waiting.dec();
            let backend = from.name();
            match &settled {
                Settled::Heard => {}
                Settled::GivenUp(Some(outage)) => {
                    tracing::warn!(backend, cause, %outage, "could not sign out at the back-end");
                }
                Settled::GivenUp(None) => {
                    tracing::warn!(backend, cause, "could not sign out at the back-end before the process ended");
                }
                Settled::NoRoom => {
                    tracing::warn!(backend, cause, "too many logouts are waiting; one session is left to expire");
                }
            }
            let fate = if matches!(settled, Settled::Heard) { Fate::Heard } else { Fate::GivenUp };
            if matches!(fate, Fate::GivenUp) {
                from.metrics().count_logout(cause, "given_up");
            }
            if let Some(sign_out) = sign_out {
                sign_out.settled(fate);
            }
        });
    }
}
