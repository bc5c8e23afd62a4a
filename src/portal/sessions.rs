use std::any::{Any, TypeId};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use dashmap::{DashMap, Entry};
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use smallvec::SmallVec;

use super::notes::Notes;
use super::sealed::{Seal, Sealed};
use crate::domain::{Identity, Moment, Person, Secret, SessionHandle, UnixSeconds, decode_hex};
use crate::store::{Event, Store};

/// The portal sessions that Keyward itself keeps, for portals whose cookie says nothing of itself.
///
/// What a browser shows is kept only as a keyed hash: whoever reads this memory cannot sign in with it.
/// Nothing is given up for want of room; a session that does not fit is refused.
pub struct Sessions {
    held: DashMap<Name, Place>,
    by_memo: DashMap<Name, Vec<Name>>,
    by_end: Mutex<BTreeSet<(UnixSeconds, Name)>>,
    limit: AtomicUsize,
    hash: Hmac<Sha256>,
    seal: Seal,
    notes: Notes,
    store: OnceLock<Arc<Store>>,
    at_the_end: OnceLock<AtTheEnd>,
    keepsakes: Mutex<HashMap<(String, TypeId), Weak<dyn Any + Send + Sync>>>,
}

/// Something that is known again by this alone, within this process: half a keyed hash.
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
}

impl HeldSession {
    /// One that nobody has to be asked about again, and of which there is nothing more to say.
    #[must_use]
    pub fn new(identity: Identity<'static>, expires: UnixSeconds, password: Option<Secret>) -> Self {
        let memos = SmallVec::new();
        Self { identity, expires, password, known_as: None, memos, fresh_until: Moment::NEVER, sealed: None }
    }
}

/// A session, whose it is among the portals, and what its memos are filed under.
struct Place {
    portal: Box<str>,
    session: Arc<HeldSession>,
    memos: SmallVec<[Name; 1]>,
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
            store: OnceLock::new(),
            at_the_end: OnceLock::new(),
            keepsakes: Mutex::default(),
        })
    }

    /// Says who ends what was opened from a session.
    pub fn at_the_end(&self, end: impl Fn(&str, &str, UnixSeconds) + Send + Sync + 'static) {
        // A second call changes nothing.
        let _ = self.at_the_end.set(Box::new(end));
    }

    /// Shares what is kept with other replicas, from before the first request.
    pub fn share(&self, store: &Arc<Store>) {
        // A second call changes nothing.
        let _ = self.store.set(Arc::clone(store));
    }

    /// What is shared with other replicas, if there are any.
    pub(super) fn store(&self) -> Option<&Arc<Store>> {
        self.store.get()
    }

    /// Another replica says something.
    pub fn hear(&self, event: &Event) {
        self.notes().hear(event);
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

    /// Keeps a session, in the place of an earlier one for which the browser shows the same.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn keep(&self, portal: &str, shown: &str, session: HeldSession) -> Result<Kept, NoRoom> {
        let name = self.name(portal, shown);
        let expires = session.expires;
        let memos: SmallVec<[Name; 1]> = session.memos.iter().map(|memo| self.name(portal, memo)).collect();
        let new = Place { portal: portal.into(), session: Arc::new(session), memos: memos.clone() };
        // The session is locked until its end is noted, or a sign-out in between would leave the note behind.
        match self.held.entry(name) {
            Entry::Occupied(mut held) => {
                let earlier = held.insert(new);
                self.unfile(&earlier, &name);
                self.file(&memos, name);
                let mut by_end = self.by_end.lock();
                by_end.remove(&(earlier.session.expires, name));
                by_end.insert((expires, name));
                Ok(Kept::Replaced(earlier.session))
            }
            Entry::Vacant(place) => {
                // The ends are counted, not the map: its length asks every shard.
                let mut by_end = self.by_end.lock();
                if by_end.len() >= self.limit.load(Ordering::Relaxed) {
                    return Err(NoRoom);
                }
                place.insert(new);
                by_end.insert((expires, name));
                self.file(&memos, name);
                Ok(Kept::New)
            }
        }
    }

    /// Puts another session in the place of this one, of the same person and known by the same, unless it has
    /// ended or was replaced meanwhile. Says whether it did.
    pub fn renew(&self, id: &str, earlier: &Arc<HeldSession>, renewed: HeldSession) -> Option<Arc<HeldSession>> {
        let name = Name::try_from(decode_hex(id)?).ok()?;
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
        place.session = Arc::new(renewed);
        Some(Arc::clone(&place.session))
    }

    /// The session of this id has ended by itself, earlier than was thought: what was opened from it is closed
    /// soon, and nothing keeps its portal from having one of the same name again.
    pub fn lapse(&self, id: &str, now: UnixSeconds) {
        let Some(name) = decode_hex(id).and_then(|bytes| Name::try_from(bytes).ok()) else { return };
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

    /// Seals something for the session of this id.
    #[must_use]
    pub fn seal(&self, id: &str, text: &[u8]) -> Option<Sealed> {
        self.seal.close(id.as_bytes(), text)
    }

    /// Opens what was sealed for the session of this id.
    #[must_use]
    pub fn unseal(&self, id: &str, sealed: &Sealed) -> Option<Vec<u8>> {
        self.seal.open(id.as_bytes(), sealed)
    }

    /// The session of this id, if it has not ended.
    #[must_use]
    pub fn of_id(&self, id: &str, now: UnixSeconds) -> Option<Arc<HeldSession>> {
        let name = Name::try_from(decode_hex(id)?).ok()?;
        let held = self.held.get(&name)?;
        (held.session.expires > now).then(|| Arc::clone(&held.session))
    }

    /// The session for which the browser shows this, if it has not ended, and its id.
    #[must_use]
    pub fn find(&self, portal: &str, shown: &str, now: UnixSeconds) -> Option<(String, Arc<HeldSession>)> {
        let name = self.name(portal, shown);
        let held = self.held.get(&name).map(|held| Arc::clone(&held.session))?;
        (held.expires > now).then(|| (hex(&name), held))
    }

    /// Whose the session of this id is, if it has not ended.
    #[must_use]
    pub fn whose(&self, id: &str, now: UnixSeconds) -> Option<Identity<'static>> {
        self.of_id(id, now).map(|held| held.identity.clone())
    }

    /// Forgets the session of this id for a reason of the portal's own, and has everything end that was
    /// opened from it.
    pub fn end_with_all(&self, portal: &str, id: &str) {
        if let Some(ended) = self.end(id)
            && let Some(end) = self.at_the_end.get()
        {
            end(portal, ended.known_as.as_deref().unwrap_or(id), ended.expires);
        }
    }

    /// Forgets the session of this id, and gives it back if it was there. Whoever calls ends what was opened
    /// from it.
    pub fn end(&self, id: &str) -> Option<Arc<HeldSession>> {
        let name = Name::try_from(decode_hex(id)?).ok()?;
        let Entry::Occupied(held) = self.held.entry(name) else { return None };
        self.by_end.lock().remove(&(held.get().session.expires, name));
        self.unfile(held.get(), &name);
        Some(held.remove().session)
    }

    /// The ids of a portal's sessions that have this memo.
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
        let mut hash = self.hash.clone();
        // The length first, so that no two pairs run together into the same bytes.
        hash.update(&(portal.len() as u64).to_be_bytes());
        hash.update(portal.as_bytes());
        hash.update(shown.as_bytes());
        let mut name = Name::default();
        name.copy_from_slice(&hash.finalize().into_bytes()[..16]);
        name
    }
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
mod tests {
    use super::*;

    fn forget_ended(sessions: &Sessions, now: UnixSeconds) {
        while sessions.next_ended(now).is_some() {}
    }

    fn session(user: &str, expires: UnixSeconds) -> HeldSession {
        let identity = Identity::new(user.to_owned(), "", "", vec![]).unwrap();
        HeldSession::new(identity, expires, None)
    }

    fn user(sessions: &Sessions, portal: &str, shown: &str, now: UnixSeconds) -> Option<String> {
        sessions.find(portal, shown, now).map(|(_, held)| held.identity.user().to_owned())
    }

    #[test]
    fn a_session_is_found_at_its_own_portal_until_it_ends() {
        let sessions = Sessions::new(10);
        sessions.keep("p", "shown", session("ana", 100)).unwrap();
        for (portal, shown, now, expected) in [
            ("p", "shown", 99, Some("ana")),
            ("p", "shown", 100, None),
            ("ps", "hown", 0, None),
            ("q", "shown", 0, None),
            ("p", "", 0, None),
        ] {
            assert_eq!(user(&sessions, portal, shown, now).as_deref(), expected, "{portal} {shown} {now}");
        }
        let id = sessions.id_of("p", "shown");
        for (id, ended) in [("shown", false), (&id[1..], false), (&id, true), (&id, false)] {
            assert_eq!(sessions.end(id).is_some(), ended, "{id}");
        }
        assert!(sessions.find("p", "shown", 0).is_none());
    }

    #[test]
    fn sessions_are_found_by_their_memo_while_they_last() {
        let sessions = Sessions::new(10);
        let with = |memo: &str, expires| HeldSession {
            memos: memo.split_whitespace().map(str::to_owned).collect(),
            ..session("ana", expires)
        };
        let found = |portal: &str, memo: &str| sessions.ids_with_memo(portal, memo).len();
        sessions.keep("p", "a", with("m", 100)).unwrap();
        sessions.keep("p", "b", with("m", 200)).unwrap();
        sessions.keep("q", "c", with("m", 300)).unwrap();
        sessions.keep("p", "d", with("", 300)).unwrap();
        assert_eq!((found("p", "m"), found("q", "m"), found("p", "")), (2, 1, 0));
        forget_ended(&sessions, 100);
        assert_eq!(sessions.ids_with_memo("p", "m"), [sessions.id_of("p", "b")]);
        sessions.keep("p", "b", with("n", 200)).unwrap();
        assert_eq!((found("p", "m"), found("p", "n")), (0, 1));
        assert!(sessions.end(&sessions.id_of("p", "b")).is_some());
        assert!(sessions.end(&sessions.id_of("q", "c")).is_some());
        assert!(sessions.by_memo.is_empty());
    }

    #[test]
    fn what_a_kind_remembers_lasts_through_reloads_and_goes_with_its_portal() {
        let sessions = Sessions::new(1);
        let first = sessions.keepsake("a", || 1_u32);
        let second = sessions.keepsake("a", || 2_u32);
        drop(first);
        assert_eq!((*second, *sessions.keepsake("b", || 3_u32)), (1, 3));
        drop(second);
        assert_eq!(*sessions.keepsake("a", || 4_u32), 4);
        assert_eq!(sessions.keepsakes.lock().len(), 1);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_nobody_has_to_go() {
        let sessions = Sessions::new(2);
        sessions.keep("p", "a", session("ana", 100)).unwrap();
        sessions.keep("p", "b", session("ben", 200)).unwrap();
        assert_eq!(sessions.keep("p", "c", session("cleo", 300)).err(), Some(NoRoom));
        assert!(matches!(sessions.keep("p", "a", session("amy", 150)), Ok(Kept::Replaced(old)) if old.expires == 100));
        assert_eq!(user(&sessions, "p", "a", 0).as_deref(), Some("amy"));
        forget_ended(&sessions, 120);
        assert_eq!(user(&sessions, "p", "a", 120).as_deref(), Some("amy"));
        forget_ended(&sessions, 150);
        assert!(sessions.keep("p", "c", session("cleo", 300)).is_ok());
        assert_eq!((sessions.held.len(), sessions.by_end.lock().len()), (2, 2));
    }

    #[test]
    fn what_a_session_is_kept_under_says_nothing_of_what_the_browser_shows() {
        let shown = "what-the-browser-shows";
        let [one, two] = [Sessions::new(1), Sessions::new(1)].map(|sessions| sessions.id_of("p", shown));
        assert_ne!(one, two, "without the key of the process nobody can test guesses");
        assert_eq!(one.len(), 32, "half a hash, however long the value is");
    }

    #[test]
    fn sessions_that_come_and_go_at_once_leave_no_note_behind() {
        let sessions = Sessions::new(100);
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let sessions = &sessions;
                scope.spawn(move || {
                    for round in 0..5000 {
                        if thread % 2 == 0 {
                            sessions.keep("p", "shown", session("ana", 1000 + thread * 5000 + round)).unwrap();
                        } else {
                            sessions.end(&sessions.id_of("p", "shown"));
                        }
                    }
                });
            }
        });
        assert_eq!(sessions.held.len(), sessions.by_end.lock().len());
        forget_ended(&sessions, 1_000_000);
        assert_eq!((sessions.held.len(), sessions.by_end.lock().len()), (0, 0));
    }
}
