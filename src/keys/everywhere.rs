//! How what ends here ends at all replicas. Whoever takes a record off the shelf is the one who logs its session out.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::entry::Entry;
use super::replicas::{AccountEnd, LINGER, Replicas, Unsaid};
use super::shelf::{Fence, Shelved, Spot, Taken};
use super::sign_out::SignOut;
use super::store::{Cause, KeyStore};
use crate::backend::{Guarded, OpenedBeside};
use crate::domain::{SessionKeys, UnixSeconds};
use crate::store::{Event, StoreOutage};

/// A sign-out that has been done here. The store is being told, and with it all other replicas.
#[must_use = "whoever asked is answered when the others have been told"]
pub struct Told(pub(super) Option<JoinHandle<()>>);

impl Told {
    /// Waits until the store knows, or cannot be told at the moment. It is told whether or not somebody waits.
    pub async fn wait(self) {
        if let Some(telling) = self.0 {
            // A panic was counted and logged.
            let _ = telling.await;
        }
    }
}

/// What was held of a session that was ended, and is on the shelf.
pub(super) type Held = (Arc<Entry>, Arc<Guarded>, SessionKeys);

/// A portal session that was ended here, on its way to the others.
pub(super) struct Ending {
    pub(super) portal: String,
    pub(super) session: String,
    pub(super) until: UnixSeconds,
    /// What was held of it here and is on the shelf.
    pub(super) held: Vec<Held>,
    pub(super) sign_out: Option<Arc<SignOut>>,
    /// Whether the others must be told, who cannot find out by themselves.
    pub(super) tell: bool,
}

impl KeyStore {
    /// Ends the session of keys that were given up here, unless they are on the shelf and somebody else has taken
    /// them out: whoever does is the one to end it.
    pub(super) fn part_with(
        &self,
        entry: &Entry,
        backend: &Arc<Guarded>,
        keys: SessionKeys,
        cause: Cause,
        sign_out: Option<&Arc<SignOut>>,
    ) {
        let shelved = self.replicas.get().and_then(|replicas| Some((replicas.spot_of(entry), entry.shelving.fence()?)));
        match shelved {
            None => self.log_out_for(backend, keys, cause, sign_out),
            // Others may be using it, and whoever looks after it next finds it.
            Some(_) if cause == Cause::Capacity => {}
            Some((spot, fence)) => self.take_out_for(spot, fence, backend, keys, cause, sign_out),
        }
    }

    /// Takes a record off the shelf, and ends its session if it was us who did.
    pub(super) fn take_out(&self, spot: Spot, fence: Fence, backend: &Arc<Guarded>, keys: SessionKeys, cause: Cause) {
        self.take_out_for(spot, fence, backend, keys, cause, None);
    }

    fn take_out_for(
        &self,
        spot: Spot,
        fence: Fence,
        backend: &Arc<Guarded>,
        keys: SessionKeys,
        cause: Cause,
        sign_out: Option<&Arc<SignOut>>,
    ) {
        let (backend, sign_out) = (Arc::clone(backend), sign_out.cloned());
        self.in_background(async move |store| {
            let Some(replicas) = store.replicas.get() else { return };
            match replicas.shelf.take(&spot, fence).await {
                Ok(Taken::Ours(taken)) => {
                    store.log_out_for(&backend, taken.record.keys, cause, sign_out.as_ref());
                }
                Ok(Taken::Gone | Taken::InUse(_)) => {}
                // Nobody is to use it, and that much can be done.
                Err(_) => {
                    store.log_out_for(&backend, keys, cause, sign_out.as_ref());
                    replicas.tell_later(Unsaid::Record(spot, fence));
                }
            }
        });
    }

    /// Takes all records of a portal session out, whoever holds them, and logs out what we have taken.
    pub(super) fn end_for_all(&self, ending: Ending) -> Told {
        Told(self.in_background(async move |store| {
            let Some(replicas) = store.replicas.get() else { return };
            let Ending { portal, session, until, held, sign_out, tell } = ending;
            let tell = async {
                if tell {
                    let event =
                        Event::SessionEnded { portal: portal.clone(), session: session.clone(), until, asked: 0 };
                    // Where it cannot be told now, it is told later.
                    let _ = replicas.store.tell(event).await;
                }
            };
            let (ended, ()) = tokio::join!(store.end_on_shelf(replicas, &portal, &session, until), tell);
            let mut done = HashSet::new();
            let is_known = ended.is_ok();
            for taken in ended.unwrap_or_default() {
                done.insert((taken.spot.entry, taken.fence));
                if let Some(backend) = store.backend_of(&taken.record) {
                    store.log_out_for(&backend, taken.record.keys, Cause::Logout, sign_out.as_ref());
                }
            }
            for (entry, backend, keys) in held {
                let (spot, fence) = (replicas.spot_of(&entry), entry.shelving.latest());
                // What was not there was taken out by somebody else, if the store has kept what it had.
                let is_ours = !is_known || entry.shelving.may_be_lost(replicas.losses());
                if is_ours && done.insert((spot.entry, fence)) {
                    store.log_out_for(&backend, keys, Cause::Logout, sign_out.as_ref());
                }
            }
            if !is_known {
                replicas.tell_later(Unsaid::Session { portal, session, until, done });
            }
        }))
    }

    /// Takes out all records of a portal session that has ended. Where it has ended by itself no new ones are kept
    /// out: a new ticket of that name is none of it.
    async fn end_on_shelf(
        &self,
        replicas: &Replicas,
        portal: &str,
        session: &str,
        until: UnixSeconds,
    ) -> Result<Vec<Shelved>, StoreOutage> {
        if until > self.clock.unix() {
            return replicas.shelf.end(portal, session, until).await;
        }
        let mut taken = Vec::new();
        for found in replicas.shelf.of_session(portal, session).await? {
            if let Ok(Taken::Ours(ours)) = replicas.shelf.take(&found.spot, found.fence).await {
                taken.push(*ours);
            }
        }
        Ok(taken)
    }

    /// Tells the store what it could not be told before.
    pub(super) async fn tell_unsaid(&self, replicas: &Replicas) {
        let mut unsaid = std::mem::take(&mut *replicas.unsaid.lock()).into_iter();
        while let Some(one) = unsaid.next() {
            let told = match &one {
                Unsaid::Record(spot, fence) => replicas.shelf.take(spot, *fence).await.map(|_| Vec::new()),
                Unsaid::Session { portal, session, until, .. } => {
                    self.end_on_shelf(replicas, portal, session, *until).await
                }
                Unsaid::Beside(backend, session) => {
                    let OpenedBeside { keys, is_all } = backend.opened_beside(session).await;
                    for keys in keys {
                        self.log_out(backend, keys, Cause::Logout);
                    }
                    if is_all { Ok(Vec::new()) } else { Err(StoreOutage::Down) }
                }
            };
            match (told, one) {
                (Ok(taken), Unsaid::Session { done, .. }) => {
                    for taken in taken.into_iter().filter(|one| !done.contains(&(one.spot.entry, one.fence))) {
                        if let Some(backend) = self.backend_of(&taken.record) {
                            self.log_out(&backend, taken.record.keys, Cause::Logout);
                        }
                    }
                }
                (Ok(_), Unsaid::Record(..) | Unsaid::Beside(..)) => {}
                (Err(_), one) => {
                    replicas.pause(self.clock.now());
                    let mut later = replicas.unsaid.lock();
                    later.push(one);
                    later.extend(unsaid);
                    return;
                }
            }
        }
    }

    /// Ends what others hold of a portal session, and is not this user's, whose it is now.
    pub(super) fn leave_only_elsewhere(&self, portal: &str, session: &str, user: &str) {
        if self.replicas.get().is_none() {
            return;
        }
        let (portal, session, user) = (portal.to_owned(), session.to_owned(), user.to_owned());
        self.in_background(async move |store| {
            let Some(replicas) = store.replicas.get() else { return };
            for found in replicas.shelf.of_session(&portal, &session).await.unwrap_or_default() {
                if let Some(backend) = store.backend_of(&found.record).filter(|_| found.record.holding.user != user) {
                    store.take_out(found.spot, found.fence, &backend, found.record.keys, Cause::Logout);
                }
            }
        });
    }

    /// Tells the others that all sessions of an account that were opened until now have ended.
    pub(super) async fn tell_account_end(&self, backend: &Guarded, login: &str) {
        let Some(replicas) = self.replicas.get() else { return };
        let unix = self.clock.unix();
        let until = unix.saturating_add((backend.limits().max_age + LINGER).as_secs());
        replicas.note_account_end(backend.id(), login, AccountEnd { at: self.clock.now(), until }, unix);
        let backend = u64::from_be_bytes(backend.id().to_bytes());
        // Where it cannot be told now, it is told later.
        let _ = replicas.store.tell(Event::AccountEnded { backend, login: login.to_owned(), at: 0, until }).await;
    }

    pub(super) fn hear_account_end(&self, backend: u64, login: &str, at: u64, until: UnixSeconds) {
        let known = self.backends.load();
        let Some(backend) = known.values().find(|known| known.id().to_bytes() == backend.to_be_bytes()).cloned() else {
            return;
        };
        let login = login.to_owned();
        self.in_background(async move |store| {
            let Some(replicas) = store.replicas.get() else { return };
            // Where the store has not been heard yet, our own clock is near enough.
            let time = replicas.store.server_now().unwrap_or(store.clock.unix().saturating_mul(1000));
            let at = store.clock.now().minus(Duration::from_millis(time.saturating_sub(at)));
            replicas.note_account_end(backend.id(), &login, AccountEnd { at, until }, store.clock.unix());
            store.end_opened_before(backend.id(), login, at).await;
        });
    }
}
