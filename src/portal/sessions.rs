use std::any::{Any, TypeId};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use dashmap::{DashMap, Entry};
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use smallvec::SmallVec;

use super::Whose;
use super::notes::Notes;
use super::sealed::{Seal, Sealed};
use crate::domain::{Identity, Moment, Person, Secret, SessionHandle, UnixSeconds, decode_hex};
use crate::store::Store;
use crate::wire::Errands;

mod fetched;
mod owed;
mod record;
mod replicas;
mod seals;
mod shared;

pub use fetched::Turn;
pub(super) use shared::Shared;

/// The portal sessions that Keyward itself keeps, for portals whose cookie says nothing of itself.
///
/// What a browser shows is kept only as a keyed hash: whoever reads this memory cannot sign in with it.
/// Nothing is given up for want of room; a session that does not fit is refused. Where replicas share a store,
/// every session stands there before its browser has the cookie, and this memory holds copies: looking one up
/// asks nobody, and `replicas` says how they get here and go.
pub struct Sessions {
    held: DashMap<Name, Place>,
    by_memo: DashMap<Name, Vec<Name>>,
    by_end: Mutex<BTreeSet<(UnixSeconds, Name)>>,
    limit: AtomicUsize,
    hash: Hmac<Sha256>,
    seal: Seal,
    notes: Notes,
    pub(super) shared: OnceLock<Shared>,
    at_the_end: OnceLock<AtTheEnd>,
    keepsakes: Mutex<HashMap<(String, TypeId), Weak<dyn Any + Send + Sync>>>,
}

/// Something that is known again by this alone, at every replica: half a keyed hash.
pub type Mark = [u8; 16];

/// Ends what was opened from the session of this portal and id, which would have ended by itself then.
type AtTheEnd = Box<dyn Fn(&str, &str, UnixSeconds) + Send + Sync>;

/// One of them.
pub struct HeldSession {
    /// Whose it is.
    pub identity: Identity<'static>,
    /// When it ends by itself.
    pub expires: UnixSeconds,
    /// The password that came with it.
    pub password: Option<Secret>,
    /// What the house calls it, where that is not the id here: what a browser shows may stand for one session
    /// after another. Also a memo, so that it is found by it.
    pub known_as: Option<Box<str>>,
    /// By what else the portal's side may call it. Sessions can be found by each.
    pub memos: SmallVec<[String; 1]>,
    /// Until when nobody has to be asked whether it still is one; for ever where nobody can be.
    pub fresh_until: Moment,
    /// What its kind alone may know of it.
    pub sealed: Option<Sealed>,
    /// Until when that is good for something.
    pub good_until: Moment,
    /// Until when there may be another in its place.
    pub renewable_until: Moment,
    /// Which writing of the session this is in the store; 0 where it does not stand there.
    pub(super) version: AtomicU64,
    /// Until when it stands there.
    pub(super) stands_until: AtomicU64,
}

impl HeldSession {
    /// One that nobody has to be asked about again, and of which there is nothing more to say.
    #[must_use]
    pub fn new(identity: Identity<'static>, expires: UnixSeconds, password: Option<Secret>) -> Self {
        Self {
            identity,
            expires,
            password,
            known_as: None,
            memos: SmallVec::new(),
            fresh_until: Moment::NEVER,
            sealed: None,
            good_until: Moment::NEVER,
            renewable_until: Moment::NEVER,
            version: AtomicU64::new(0),
            stands_until: AtomicU64::new(0),
        }
    }
}

impl HeldSession {
    fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    fn stands_as(&self, version: u64, until: UnixSeconds) {
        self.version.store(version, Ordering::Relaxed);
        self.stands_until.store(until, Ordering::Relaxed);
    }
}

/// A session, whose it is among the portals, and what its memos are filed under.
struct Place {
    portal: Box<str>,
    session: Arc<HeldSession>,
    memos: SmallVec<[Name; 1]>,
    /// When it was last looked up, as far as that matters.
    used: AtomicU64,
}

impl fmt::Debug for HeldSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HeldSession(…)")
    }
}

/// What a session is kept under: half a keyed hash of the portal's name and the session's id.
type Name = [u8; 16];

/// There are as many sessions as `[limits] sessions` allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no more sessions can be kept; raise [limits] sessions")]
pub struct NoRoom;

impl Sessions {
    /// At most `limit` of them.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        let key: [u8; 64] = rand::random();
        let (held, by_memo, by_end, seal) = (DashMap::new(), DashMap::new(), Mutex::default(), Seal::new());
        // HMAC takes a key of every length.
        let hash = Hmac::new(&key.into());
        Arc::new(Self {
            held,
            by_memo,
            by_end,
            limit: AtomicUsize::new(limit),
            hash,
            seal,
            notes: Notes::default(),
            shared: OnceLock::new(),
            at_the_end: OnceLock::new(),
            keepsakes: Mutex::default(),
        })
    }

    /// Says who ends what was opened from a session.
    pub fn at_the_end(&self, end: impl Fn(&str, &str, UnixSeconds) + Send + Sync + 'static) {
        // A second call changes nothing.
        let _ = self.at_the_end.set(Box::new(end));
    }

    /// What is shared with other replicas, if there are any.
    pub(super) fn store(&self) -> Option<&Arc<Store>> {
        self.shared.get().map(|shared| &shared.store)
    }

    /// Takes another limit. Sessions above it stay until they end.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The id under which a session is known in the house, from what the browser shows for it.
    #[must_use]
    pub fn id_of(&self, portal: &str, shown: &str) -> String {
        hex(&self.name(portal, shown))
    }

    /// Keeps a session in this process alone, in the place of an earlier one for which the browser shows the same.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn keep_here(&self, portal: &str, shown: &str, session: HeldSession) -> Result<Kept, NoRoom> {
        let name = self.name(portal, shown);
        let earlier = self.insert(name, self.place(portal, Arc::new(session)), false)?;
        Ok(earlier.map_or(Kept::New, Kept::Replaced))
    }

    fn place(&self, portal: &str, session: Arc<HeldSession>) -> Place {
        let memos = session.memos.iter().map(|memo| self.name(portal, memo)).collect();
        // One that has just come is not the one that nobody has used for long.
        let used = self.shared.get().map_or(0, Shared::unix);
        Place { portal: portal.into(), session, memos, used: AtomicU64::new(used) }
    }

    /// Puts one into memory, and gives back what it takes the place of. `anyway`: whether or not there is room,
    /// and not in the place of what the store has got since.
    fn insert(&self, name: Name, new: Place, anyway: bool) -> Result<Option<Arc<HeldSession>>, NoRoom> {
        let (expires, memos) = (new.session.expires, new.memos.clone());
        // The session is locked until its end is noted, or a sign-out in between would leave the note behind.
        match self.held.entry(name) {
            Entry::Occupied(mut held) => {
                let (here, there) = (held.get().session.version(), new.session.version());
                if anyway && there != 0 && here > there {
                    return Ok(None);
                }
                let earlier = held.insert(new);
                self.unfile(&earlier, &name);
                self.file(&memos, name);
                let mut by_end = self.by_end.lock();
                by_end.remove(&(earlier.session.expires, name));
                by_end.insert((expires, name));
                Ok(Some(earlier.session))
            }
            Entry::Vacant(place) => {
                // The ends are counted, not the map: its length asks every shard.
                let mut by_end = self.by_end.lock();
                if !anyway && by_end.len() >= self.limit.load(Ordering::Relaxed) {
                    return Err(NoRoom);
                }
                place.insert(new);
                by_end.insert((expires, name));
                self.file(&memos, name);
                Ok(None)
            }
        }
    }

    /// Takes one out of memory, if it is as `so`.
    fn remove(&self, name: &Name, so: impl FnOnce(&Place) -> bool) -> Option<Place> {
        let Entry::Occupied(held) = self.held.entry(*name) else { return None };
        if !so(held.get()) {
            return None;
        }
        self.by_end.lock().remove(&(held.get().session.expires, *name));
        self.unfile(held.get(), name);
        Some(held.remove())
    }

    /// Puts another session in the place of this one, of the same person and known by the same, unless it has
    /// ended or was replaced meanwhile. Says whether it did. Other replicas hear nothing of it.
    pub fn renew_here(&self, id: &str, earlier: &Arc<HeldSession>, renewed: HeldSession) -> Option<Arc<HeldSession>> {
        let name = name_of(id)?;
        let Entry::Occupied(mut held) = self.held.entry(name) else { return None };
        let place = held.get_mut();
        if !Arc::ptr_eq(&place.session, earlier) || place.session.identity.user() != renewed.identity.user() {
            return None;
        }
        let mut by_end = self.by_end.lock();
        by_end.remove(&(place.session.expires, name));
        by_end.insert((renewed.expires, name));
        drop(by_end);
        let renewed = HeldSession { memos: place.session.memos.clone(), ..renewed };
        renewed.stands_as(place.session.version(), place.session.stands_until.load(Ordering::Relaxed));
        place.session = Arc::new(renewed);
        Some(Arc::clone(&place.session))
    }

    /// The session of this id has ended by itself, earlier than was thought: what was opened from it is closed
    /// soon, and nothing keeps its portal from having one of the same name again.
    pub fn lapse(&self, id: &str, now: UnixSeconds) {
        let Some(name) = name_of(id) else { return };
        let Entry::Occupied(mut held) = self.held.entry(name) else { return };
        let place = held.get_mut();
        let session = &place.session;
        let lapsed = HeldSession {
            expires: now.min(session.expires),
            known_as: session.known_as.clone(),
            memos: session.memos.clone(),
            ..HeldSession::new(session.identity.clone(), now, None)
        };
        let mut by_end = self.by_end.lock();
        by_end.remove(&(session.expires, name));
        by_end.insert((lapsed.expires, name));
        drop(by_end);
        self.tell_of_end(&name, place);
        place.session = Arc::new(lapsed);
    }

    /// What portals must not forget for a while.
    pub(super) const fn notes(&self) -> &Notes {
        &self.notes
    }

    /// What a portal's kind remembers through reloads, made where there is nothing yet. It goes with the last who
    /// has it: a reload makes the new portals before it lets the old ones go.
    pub fn keepsake<T: Any + Send + Sync>(&self, portal: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let mut keepsakes = self.keepsakes.lock();
        keepsakes.retain(|_, kept| kept.strong_count() > 0);
        let key = (portal.to_owned(), TypeId::of::<T>());
        if let Some(kept) = keepsakes.get(&key).and_then(Weak::upgrade).and_then(|kept| kept.downcast::<T>().ok()) {
            return kept;
        }
        let made = Arc::new(make());
        let known: Arc<dyn Any + Send + Sync> = made.clone();
        keepsakes.insert(key, Arc::downgrade(&known));
        made
    }

    /// Something that is to be known again and not to be kept. No mark is ever the name of a session.
    #[must_use]
    pub fn mark(&self, portal: &str, parts: &[&str]) -> Mark {
        if let Some(store) = self.store() {
            let parts: Vec<&[u8]> = [portal].iter().chain(parts).map(|part| part.as_bytes()).collect();
            return *store.place("mark", &parts).as_bytes();
        }
        let mut hash = self.hash.clone();
        // No name is so long.
        hash.update(&u64::MAX.to_be_bytes());
        for part in [portal].iter().chain(parts) {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut mark = Mark::default();
        mark.copy_from_slice(&hash.finalize().into_bytes()[..16]);
        mark
    }

    /// The key of all names and marks: the same at every replica, where there are several.
    fn hash(&self) -> &Hmac<Sha256> {
        self.shared.get().map_or(&self.hash, Shared::hash)
    }

    /// The session of this id, if it has not ended.
    #[must_use]
    pub fn of_id(&self, id: &str, now: UnixSeconds) -> Option<Arc<HeldSession>> {
        let held = self.held.get(&name_of(id)?)?;
        (held.session.expires > now).then(|| Arc::clone(&held.session))
    }

    /// The session for which the browser shows this, if it has not ended, and its id.
    #[must_use]
    pub fn find(&self, portal: &str, shown: &str, now: UnixSeconds) -> Option<(String, Arc<HeldSession>)> {
        let name = self.name(portal, shown);
        let held = self.held.get(&name).map(|held| {
            // Nothing is given up where nobody else has it.
            if self.shared.get().is_some() && held.used.load(Ordering::Relaxed) < now {
                held.used.store(now, Ordering::Relaxed);
            }
            Arc::clone(&held.session)
        })?;
        (held.expires > now).then(|| (hex(&name), held))
    }

    /// Whose the session of this id is. One that is not here may be in the store.
    #[must_use]
    pub fn whose(&self, id: &str, now: UnixSeconds) -> Whose {
        match self.of_id(id, now) {
            Some(held) => Whose::Of(held.identity.clone()),
            None if self.is_shared() => Whose::Unknown,
            None => Whose::Nobody,
        }
    }

    /// Forgets the session of this id for a reason of the portal's own, and has everything end that was
    /// opened from it.
    pub fn end_with_all(&self, portal: &str, id: &str) {
        if let Some(ended) = self.end(portal, id)
            && let Some(end) = self.at_the_end.get()
        {
            end(portal, ended.known_as.as_deref().unwrap_or(id), ended.expires);
        }
    }

    /// Has everything end that was opened from this session, which has ended by itself, and does not wait for
    /// [`Self::next_ended`]. Nothing where another has taken its place.
    pub(super) fn clear_away(&self, portal: &str, id: &str, ended: &Arc<HeldSession>) {
        let Some(name) = name_of(id) else { return };
        if self.remove(&name, |place| Arc::ptr_eq(&place.session, ended)).is_some()
            && let Some(end) = self.at_the_end.get()
        {
            end(portal, ended.known_as.as_deref().unwrap_or(id), ended.expires);
        }
    }

    /// Forgets the session of this id, and gives it back if it was there. Whoever calls ends what was opened
    /// from it. Other replicas hear of it soon.
    pub fn end(&self, portal: &str, id: &str) -> Option<Arc<HeldSession>> {
        let name = name_of(id)?;
        let ended = self.remove(&name, |_| true);
        match &ended {
            Some(place) => self.tell_of_end(&name, place),
            None => self.tell_of_end_elsewhere(portal, &name),
        }
        ended.map(|place| place.session)
    }

    /// Forgets every session of a portal that has this memo, wherever it is kept, and has everything end that was
    /// opened from it. Those that are here at once, the others soon.
    pub(super) fn end_all_called(self: &Arc<Self>, errands: &Errands, portal: &str, memo: &str) {
        for id in self.ids_with_memo(portal, memo) {
            self.end_with_all(portal, &id);
        }
        if self.is_shared() {
            let (sessions, portal, memo) = (Arc::clone(self), portal.to_owned(), memo.to_owned());
            errands.spawn(async move {
                for id in sessions.called(&portal, &memo).await.ids {
                    sessions.end_with_all(&portal, &id);
                }
            });
        }
    }

    /// The ids of a portal's sessions here that have this memo.
    #[must_use]
    pub fn ids_with_memo(&self, portal: &str, memo: &str) -> Vec<String> {
        let filed = self.by_memo.get(&self.name(portal, memo));
        filed.map_or_else(Vec::new, |names| names.iter().map(hex).collect())
    }

    fn file(&self, memos: &[Name], name: Name) {
        for memo in memos {
            self.by_memo.entry(*memo).or_default().push(name);
        }
    }

    fn unfile(&self, place: &Place, name: &Name) {
        for memo in &place.memos {
            self.by_memo.remove_if_mut(memo, |_, names| {
                names.retain(|other| other != name);
                names.is_empty()
            });
        }
    }

    /// Forgets one that has ended by itself, by a clock that does not jump, and says whose it was. Call it until
    /// there is none.
    pub fn next_ended(&self, now: UnixSeconds) -> Option<Person> {
        loop {
            let (end, name) = {
                let mut by_end = self.by_end.lock();
                by_end.first().filter(|(end, _)| *end <= now)?;
                by_end.pop_first()?
            };
            if self.looks_before_it_ends(name, end) {
                continue;
            }
            // It may have been kept anew meanwhile.
            if let Some((_, ended)) = self.held.remove_if(&name, |_, held| held.session.expires == end) {
                self.unfile(&ended, &name);
                let id = ended.session.known_as.as_deref().map_or_else(|| hex(&name), str::to_owned);
                let session = SessionHandle { portal: ended.portal.into(), id };
                return Some(Person { session, identity: ended.session.identity.clone(), expires: end });
            }
        }
    }

    fn name(&self, portal: &str, shown: &str) -> Name {
        let mut hash = self.hash().clone();
        // The length first, so that no two pairs run together into the same bytes.
        hash.update(&(portal.len() as u64).to_be_bytes());
        hash.update(portal.as_bytes());
        hash.update(shown.as_bytes());
        let mut name = Name::default();
        name.copy_from_slice(&hash.finalize().into_bytes()[..16]);
        name
    }
}

fn name_of(id: &str) -> Option<Name> {
    Name::try_from(decode_hex(id)?).ok()
}

fn hex(name: &Name) -> String {
    format!("{:032x}", u128::from_be_bytes(*name))
}

/// What became of a session that was to be kept.
#[derive(Debug)]
pub enum Kept {
    /// It is new.
    New,
    /// There was this one.
    Replaced(Arc<HeldSession>),
}

#[cfg(test)]
mod tests;
