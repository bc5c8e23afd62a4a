//! How sessions get into the store, and what is heard of them. Without a store all of this is memory alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::shared::{Due, OnTheWay, Put, STEP, Shared, Standing};
use super::{HeldSession, Kept, Name, Place, Sessions, hex, name_of, record};
use crate::portal::NotKept;
use crate::portal::notes::ended_session;
use crate::store::{Event, Store, StoreOutage};

/// How often something is tried that only a change at the same instant can thwart.
const TRIES: usize = 4;
/// What the store is owed is told at least so often.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// Of so many copies the one goes that was used least recently.
const CANDIDATES: usize = 16;

impl Sessions {
    /// Shares what is kept with other replicas, from before the first request. Needs the runtime in which its tasks
    /// are to run.
    pub fn share(self: &Arc<Self>, store: &Arc<Store>) {
        let me = Arc::downgrade(self);
        if self.shared.set(Shared::new(store, me.clone())).is_err() {
            return;
        }
        let (mut connections, listener) = (store.connections(), me.clone());
        tokio::spawn(async move {
            while connections.changed().await.is_ok() {
                let Some(sessions) = listener.upgrade() else { return };
                sessions.shared.get().into_iter().for_each(Shared::tell_recent_again);
            }
        });
        tokio::spawn(async move {
            while let Some(sessions) = me.upgrade() {
                sessions.tell_what_is_owed().await;
                sessions.put_notes_back().await;
                drop(sessions);
                let owing = async {
                    let Some(sessions) = me.upgrade() else { return };
                    if let Some(shared) = sessions.shared.get() {
                        shared.owing.notified().await;
                    }
                };
                // What could not be told is told again without being asked.
                let _ = tokio::time::timeout(TELL_AGAIN, owing).await;
            }
        });
    }

    /// Whether replicas share what is kept.
    pub(in crate::portal) fn is_shared(&self) -> bool {
        self.shared.get().is_some()
    }

    /// Another replica says something.
    pub fn hear(&self, event: &Event) {
        self.notes().hear(event);
        let Some(shared) = self.shared.get() else { return };
        match event {
            Event::Listening => self.forget_copies(shared),
            Event::Lost => self.put_back(),
            _ => {}
        }
        // Whoever noted it may not have found it in the store.
        if let Event::Noted { name, .. } = event
            && let Some((portal, memo)) = ended_session(name)
        {
            for id in self.ids_with_memo(portal, memo) {
                self.end_with_all(portal, &id);
            }
        }
        // Whoever ended it did not know how long it lasts, and it is not to come back when that is forgotten.
        if let Event::SessionEnded { portal, session, until, .. } = event
            && self.of_id(session, *until).is_some()
        {
            self.end_with_all(portal, session);
        }
        if let Event::SessionChanged { id, .. } = event
            && let Some(name) = name_of(id)
        {
            shared.heard_of(&name);
            // What the store has not heard of yet is newer, or is told that it is not.
            if matches!(shared.owes(&name), None | Some(Due::PutBack | Due::Prolong)) {
                self.remove(&name, |place| place.session.version() != 0);
            }
            if let Some(waiting) = shared.waiting.get(&name) {
                waiting.notify_waiters();
            }
        }
    }

    /// Whatever the store has is read again when somebody comes with it.
    fn forget_copies(&self, shared: &Shared) {
        shared.on_the_way.lock().clear();
        let copies: Vec<Name> = self.held.iter().map(|place| *place.key()).collect();
        for name in copies {
            if shared.owes(&name).is_none() {
                self.remove(&name, |place| place.session.version() != 0);
            }
        }
    }

    /// The store has lost some of what it had: whatever is here is put back.
    fn put_back(&self) {
        let Some(shared) = self.shared.get() else { return };
        shared.begin_recovery();
        for place in &self.held {
            if place.session.version() != 0 && shared.owes(place.key()).is_none() {
                shared.owe(&place.portal, *place.key(), Due::PutBack);
            }
        }
        // Also where there is nothing to be put back: others may have something.
        shared.owing.notify_one();
    }

    /// Keeps a session, in the place of an earlier one for which the browser shows the same. Where there is a store
    /// it stands there when this returns, so that every replica has it.
    ///
    /// # Errors
    /// [`NotKept::NoRoom`] without a store, [`NotKept::Outage`] where it cannot be asked and nobody is to be signed in
    /// without it.
    pub async fn keep(&self, portal: &str, shown: &str, session: HeldSession) -> Result<Kept, NotKept> {
        let Some(shared) = self.shared.get() else { return Ok(self.keep_here(portal, shown, session)?) };
        let name = self.name(portal, shown);
        let new = self.place(portal, Arc::new(session));
        let (on_the_way, mut version) = (shared.set_out(name), self.number_for(shared, &name));
        let before = match self.write_new(shared, &name, &new, (&mut version, false)).await {
            Ok(Put::Done(before)) => self.read(shared, &name, before),
            Ok(Put::Older(..)) => None,
            Err(outage) if shared.store.goes_on_without() => {
                tracing::warn!(portal, %outage, "a session is kept by this replica alone until the store can be asked");
                // It may have been written.
                shared.owe(portal, name, Due::Write { number: version + 1 });
                None
            }
            Err(outage) => {
                tracing::warn!(portal, %outage, "a session cannot be kept; the store cannot be asked");
                return Err(NotKept::Outage);
            }
        };
        let here = self.take_in_unless_heard_of(on_the_way, name, new);
        let Some(earlier) = before.or(here) else { return Ok(Kept::New) };
        self.tell_of_change(shared, portal, &name).await;
        Ok(Kept::Replaced(earlier))
    }

    /// Keeps a session where there is none for which the browser shows the same. Says whether there was none; else
    /// the other is here.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub(in crate::portal) async fn keep_first(
        &self,
        portal: &str,
        shown: &str,
        session: HeldSession,
    ) -> Result<bool, NotKept> {
        let Some(shared) = self.shared.get() else {
            return Ok(self.keep_here(portal, shown, session).map(|_| true)?);
        };
        let name = self.name(portal, shown);
        let new = self.place(portal, Arc::new(session));
        let (on_the_way, mut version) = (shared.set_out(name), self.number_for(shared, &name));
        match self.write_new(shared, &name, &new, (&mut version, true)).await {
            Ok(Put::Older(_, theirs)) => {
                self.take_theirs(shared, portal, &name, theirs);
                return Ok(false);
            }
            Ok(Put::Done(_)) => {}
            Err(_) if shared.store.goes_on_without() => shared.owe(portal, name, Due::Write { number: version + 1 }),
            Err(_) => return Err(NotKept::Outage),
        }
        self.take_in_unless_heard_of(on_the_way, name, new);
        Ok(true)
    }

    /// The number of a session that is to take the place of the one that is here.
    fn number_for(&self, shared: &Shared, name: &Name) -> u64 {
        let here = self.held.get(name).map_or(0, |held| held.session.version());
        shared.first_version().max(here + STEP)
    }

    /// Writes a session that takes the place of every other, or, where it must be the first, of none. `version` is the
    /// number that it is to have, and then the one under which it may have been written last.
    async fn write_new(
        &self,
        shared: &Shared,
        name: &Name,
        new: &Place,
        (version, first): (&mut u64, bool),
    ) -> Result<Put, StoreOutage> {
        let (session, portal) = (&new.session, &*new.portal);
        shared.file(&new.memos, name, session.expires).await?;
        let bytes = self.written(shared, name, session);
        for _ in 0..TRIES {
            match shared.put(portal, name, *version, &bytes, (session.expires, first)).await? {
                Put::Done(before) => {
                    session.stands_as(*version, session.expires);
                    shared.told(portal, name, Due::PutBack);
                    shared.forgive(name);
                    return Ok(Put::Done(before));
                }
                Put::Older(newer, theirs @ Standing::Session { .. }) if first => {
                    return Ok(Put::Older(newer, theirs));
                }
                Put::Older(newer, _) => *version = newer + STEP,
            }
        }
        Err(StoreOutage::Down)
    }

    /// Puts another session in the place of this one, of the same person and known by the same, unless it has
    /// ended or was replaced meanwhile; then it is the one that is there by now. In an outage of the store this
    /// replica goes on with it, and others hear of it later.
    pub async fn renew(
        &self,
        portal: &str,
        id: &str,
        earlier: &Arc<HeldSession>,
        renewed: HeldSession,
    ) -> Option<Arc<HeldSession>> {
        let Some(shared) = self.shared.get() else { return self.renew_here(id, earlier, renewed) };
        let name = name_of(id)?;
        if matches!(shared.owes(&name), Some(Due::End { .. })) || earlier.identity.user() != renewed.identity.user() {
            return None;
        }
        let on_the_way = shared.set_out(name);
        let version = match earlier.version() {
            0 => shared.number_of_new(&name),
            version => version + 1,
        };
        let renewed = HeldSession { memos: earlier.memos.clone(), ..renewed };
        renewed.stands_as(version, renewed.expires);
        let new = self.place(portal, Arc::new(renewed));
        let session = Arc::clone(&new.session);
        let bytes = self.written(shared, &name, &session);
        match shared.put(portal, &name, version, &bytes, (session.expires, false)).await {
            Ok(Put::Done(_)) => {
                shared.told(portal, &name, Due::PutBack);
                self.take_in_unless_heard_of(on_the_way, name, new);
                if session.expires > earlier.expires {
                    let _ = shared.file(&self.place(portal, Arc::clone(&session)).memos, &name, session.expires).await;
                }
                self.tell_of_change(shared, portal, &name).await;
                Some(session)
            }
            Ok(Put::Older(_, standing)) => self.take_theirs(shared, portal, &name, standing),
            Err(outage) => {
                tracing::warn!(portal, %outage, "a renewed session is known to this replica alone for now");
                session.stands_as(earlier.version(), earlier.stands_until.load(Ordering::Relaxed));
                // Not where it was ended meanwhile.
                self.held.get(&name)?;
                self.take_in(name, new);
                shared.owe(portal, name, Due::Write { number: version });
                Some(session)
            }
        }
    }

    /// The same at once, and others hear of it soon.
    pub(in crate::portal) fn renew_and_tell(
        &self,
        portal: &str,
        id: &str,
        earlier: &Arc<HeldSession>,
        renewed: HeldSession,
    ) -> Option<Arc<HeldSession>> {
        self.renew_and_owe(portal, id, earlier, renewed, |shared, name, _| {
            Some(Due::Write { number: shared.number_of_new(name) })
        })
    }

    /// The same of one that each replica renews for itself: the store is told only where it would forget the session
    /// much too early.
    pub(in crate::portal) fn renew_quietly(
        &self,
        portal: &str,
        id: &str,
        earlier: &Arc<HeldSession>,
        renewed: HeldSession,
    ) -> Option<Arc<HeldSession>> {
        self.renew_and_owe(portal, id, earlier, renewed, |shared, name, renewed| {
            let left = renewed.expires.saturating_sub(shared.unix());
            let missing = renewed.expires.saturating_sub(renewed.stands_until.load(Ordering::Relaxed));
            (missing > left / 4 && shared.owes(name).is_none()).then_some(Due::Prolong)
        })
    }

    /// Renews one here, and owes the store what follows from it.
    fn renew_and_owe(
        &self,
        portal: &str,
        id: &str,
        earlier: &Arc<HeldSession>,
        renewed: HeldSession,
        due: impl FnOnce(&Shared, &Name, &HeldSession) -> Option<Due>,
    ) -> Option<Arc<HeldSession>> {
        let renewed = self.renew_here(id, earlier, renewed)?;
        if let (Some(shared), Some(name)) = (self.shared.get(), name_of(id))
            && let Some(due) = due(shared, &name, &renewed)
        {
            shared.owe(portal, name, due);
        }
        Some(renewed)
    }

    /// What another replica has written counts.
    pub(super) fn take_theirs(
        &self,
        shared: &Shared,
        portal: &str,
        name: &Name,
        standing: Standing,
    ) -> Option<Arc<HeldSession>> {
        if matches!(standing, Standing::Ended) {
            self.remove(name, |_| true);
        }
        let theirs = self.read(shared, name, standing)?;
        self.take_in(*name, self.place(portal, Arc::clone(&theirs)));
        Some(theirs)
    }

    /// Puts one into memory, where a copy makes room for it. What is newer stays.
    pub(super) fn take_in(&self, name: Name, new: Place) -> Option<Arc<HeldSession>> {
        if self.by_end.lock().len() >= self.limit.load(Ordering::Relaxed) && !self.held.contains_key(&name) {
            self.make_room();
        }
        // Whoever is signed in is let in, whatever else is kept here.
        self.insert(name, new, true).ok().flatten()
    }

    /// The same of one that was on its way. If anything was heard of it meanwhile, whoever wants it asks the store.
    pub(super) fn take_in_unless_heard_of(
        &self,
        on_the_way: OnTheWay<'_>,
        name: Name,
        new: Place,
    ) -> Option<Arc<HeldSession>> {
        let session = Arc::clone(&new.session);
        let earlier = self.take_in(name, new);
        // Whoever hears of it from now on finds the copy.
        if !on_the_way.ends_unheard_of() {
            self.remove(&name, |place| Arc::ptr_eq(&place.session, &session) && session.version() != 0);
        }
        earlier
    }

    /// Forgets the copy that was used least recently, of some that lie anywhere.
    fn make_room(&self) {
        let candidates: Vec<Name> = {
            let by_end = self.by_end.lock();
            let (Some((first, _)), Some((last, _))) = (by_end.first(), by_end.last()) else { return };
            let from = first + rand::random::<u64>() % (last - first).max(1);
            let around = by_end.range((from, Name::default())..).chain(by_end.iter());
            around.take(CANDIDATES).map(|(_, name)| *name).collect()
        };
        let is_copy = |name: &Name, place: &Place| {
            place.session.version() != 0 && self.shared.get().is_some_and(|shared| shared.owes(name).is_none())
        };
        let used = candidates.iter().filter_map(|name| {
            let place = self.held.get(name)?;
            is_copy(name, &place).then(|| (place.used.load(Ordering::Relaxed), name))
        });
        if let Some((_, name)) = used.min() {
            self.remove(name, |place| is_copy(name, place));
        }
    }

    pub(super) fn written(&self, shared: &Shared, name: &Name, session: &HeldSession) -> Vec<u8> {
        let opened = session.sealed.as_ref().and_then(|sealed| self.unseal(&hex(name), sealed));
        record::write(session, opened.as_deref(), shared.now())
    }

    pub(super) fn read(&self, shared: &Shared, name: &Name, standing: Standing) -> Option<Arc<HeldSession>> {
        let Standing::Session { version, bytes, age } = standing else { return None };
        let (mut session, opened) = record::read(&bytes, age, shared.now())?;
        session.sealed = opened.and_then(|opened| self.seal(&hex(name), &opened));
        session.stands_as(version, session.expires);
        Some(Arc::new(session))
    }

    pub(super) async fn tell_of_change(&self, shared: &Shared, portal: &str, name: &Name) {
        // Where others do not hear of it now, the store tells them when it can.
        let _ = shared.store.tell(Event::SessionChanged { portal: portal.to_owned(), id: hex(name) }).await;
    }
}
