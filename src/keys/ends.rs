//! How sessions end: at once here, and at the back-ends as soon as they hear of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smallvec::SmallVec;

use super::chores::Settled;
use super::entry::{Entry, State};
use super::sign_out::{Fate, SignOut, SignOutBy};
use super::store::{Cause, KeyStore, SessionName};
use crate::backend::Guarded;
use crate::domain::{Person, SessionHandle, SessionKeys, UnixSeconds};

impl KeyStore {
    /// Ends a portal session here: its back-end sessions are logged out, a login under way will be
    /// thrown away, and the session is refused until `until`, when it would have ended by itself.
    pub fn revoke(&self, portal: &str, session: &str, until: UnixSeconds) {
        self.end_session(portal, session, until, None);
    }

    /// The same for somebody who signs out, and says how many open back-end sessions they had. `sign_out`
    /// learns when nothing is given out any more, and what becomes of each. A login or a check that is
    /// under way is not among them: it ends its session by itself when it finds out.
    pub fn sign_out(&self, portal: &str, session: &str, until: UnixSeconds, sign_out: &Arc<SignOut>) -> usize {
        self.end_session(portal, session, until, Some(sign_out))
    }

    /// Ends what is left of a portal session that has ended by itself. Others end when nobody uses them any
    /// more, since only a portal session that is kept here is known to have ended when nobody shows it.
    pub fn expire(&self, person: &Person) {
        let SessionHandle { portal, id } = &person.session;
        let sign_out = SignOut::unasked(SignOutBy::Expiry, Some(portal), Some(person.identity.user()));
        let sign_out = Arc::new(sign_out);
        let ended = self.end_session(portal, id, person.expires, Some(&sign_out));
        if ended > 0 {
            sign_out.report(ended);
        }
    }

    fn end_session(&self, portal: &str, session: &str, until: UnixSeconds, sign_out: Option<&Arc<SignOut>>) -> usize {
        let name: Arc<[u8]> = SessionName::new(portal, session).as_slice().into();
        // One that has ended by itself is refused anyhow, and a new ticket of that name is none of it.
        let left = until.saturating_sub(self.clock.unix());
        let (entries, lasts_longer) = {
            let mut held = self.sessions.entry(Arc::clone(&name)).or_default();
            let before = held.revoked;
            held.revoked = before.max((left > 0).then_some(until));
            (std::mem::take(&mut held.entries), held.revoked > before)
        };
        if let Some(sign_out) = sign_out {
            sign_out.refused_from_now(entries.first().map(|entry| entry.user()));
        }
        // Noted once, however often somebody signs out.
        if lasts_longer {
            self.revocations.add(name, until, self.clock.now().plus(Duration::from_secs(left)));
        } else if left == 0 {
            self.sessions.remove_if(&name, |_, held| held.entries.is_empty() && held.revoked.is_none());
        }
        self.end_all(entries, sign_out) + self.end_beside_for(portal, session, sign_out)
    }

    /// Ends what a portal session opened at back-ends without keys that are held here.
    pub fn end_beside(&self, portal: &str, session: &str) {
        self.end_beside_for(portal, session, None);
    }

    /// Says how many there were.
    fn end_beside_for(&self, portal: &str, session: &str, sign_out: Option<&Arc<SignOut>>) -> usize {
        let session = SessionHandle { portal: portal.to_owned(), id: session.to_owned() };
        let mut ended = 0;
        for backend in self.backends.load().values() {
            for keys in backend.opened_beside(&session) {
                self.log_out_for(backend, Arc::new(keys), Cause::Logout, sign_out);
                ended += 1;
            }
        }
        ended
    }

    /// Ends sessions that were taken out of the map, and says how many of them were open.
    fn end_all(&self, entries: SmallVec<[Arc<Entry>; 1]>, sign_out: Option<&Arc<SignOut>>) -> usize {
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
        let name = SessionName::new(portal, session);
        let mut others: SmallVec<[Arc<Entry>; 1]> = SmallVec::new();
        self.sessions.remove_if_mut(name.as_slice(), |_, held| {
            let (own, gone) = held.entries.drain(..).partition(|entry: &Arc<Entry>| entry.is_of(user));
            (held.entries, others) = (own, gone);
            held.entries.is_empty() && held.revoked.is_none()
        });
        self.end_all(others, None);
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
        self.log_out_for(backend, keys, cause, sign_out);
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
            Cause::Late => {}
        }
    }

    /// Ends a session at the back-end, in the background, and goes on trying while it does not answer.
    pub(super) fn log_out(&self, backend: &Arc<Guarded>, keys: Arc<SessionKeys>, cause: Cause) {
        self.log_out_for(backend, keys, cause, None);
    }

    fn log_out_for(
        &self,
        backend: &Arc<Guarded>,
        keys: Arc<SessionKeys>,
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
            let (at, keys) = (Arc::clone(&at), Arc::clone(&keys));
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
