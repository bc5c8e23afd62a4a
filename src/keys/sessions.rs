//! What is held of which portal session: its entries, or the word that it has ended.

use std::hash::BuildHasher;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use smallvec::SmallVec;

use super::entry::{Entry, Wanted};
use super::outcome::Obtained;
use crate::domain::UnixSeconds;

/// So many that the one of them that grows holds its own up for less than a millisecond, with a million sessions.
const SHARDS: usize = 256;

/// Nearly always one.
pub(super) type Entries = SmallVec<[Arc<Entry>; 1]>;

/// All portal sessions, sharded. An entry knows whose it is, so it takes eight bytes here, and is found by borrowed
/// names.
///
/// The hasher is keyed and quick. It would be no match for somebody who sees hashes and names sessions as they like;
/// hashes leave nobody's hands here, and portals make the names, which are genuine before they are looked for.
pub(super) struct Sessions {
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
}

#[derive(Default)]
pub(super) struct Shard {
    entries: HashTable<Arc<Entry>>,
    /// Portal sessions that were ended, and when they would have ended by themselves. They have no entries.
    revoked: HashTable<(SessionName, UnixSeconds)>,
}

/// A portal session's name, where it is kept: the portal's name, a zero byte, the portal's `sid`. No
/// portal's name holds a zero byte, so no two sessions share a name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionName(Arc<str>);

impl SessionName {
    pub(super) fn new(portal: &str, session: &str) -> Self {
        Self([portal, session].join("\0").into())
    }

    /// The portal and the session.
    pub(super) fn parts(&self) -> (&str, &str) {
        self.0.split_once('\0').unwrap_or_default()
    }
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect(), hasher: RandomState::default() }
    }

    /// What is held of a portal session. Nobody changes it meanwhile.
    pub(super) fn get<'a>(&'a self, portal: &'a str, session: &'a str) -> Held<'a, RwLockReadGuard<'a, Shard>> {
        let hash = self.hash((portal, session));
        Held { shard: self.shard(hash).read(), hasher: &self.hasher, hash, name: (portal, session) }
    }

    /// The same for whoever changes it. Nobody else sees it meanwhile.
    pub(super) fn change<'a>(&'a self, portal: &'a str, session: &'a str) -> Held<'a, RwLockWriteGuard<'a, Shard>> {
        let hash = self.hash((portal, session));
        Held { shard: self.shard(hash).write(), hasher: &self.hasher, hash, name: (portal, session) }
    }

    /// All entries of which this is so, whatever their session. Holds nobody up who only reads.
    pub(super) fn all(&self, is_so: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            found.extend(shard.read().entries.iter().filter(|entry| is_so(entry)).cloned());
        }
        found
    }

    /// Takes them out.
    pub(super) fn take_all(&self, is_so: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            taken.extend(shard.write().entries.extract_if(|entry| is_so(entry)));
        }
        taken
    }

    /// How many entries there are, and sessions that were ended.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let len = |shard: &RwLock<Shard>| shard.read().entries.len() + shard.read().revoked.len();
        self.shards.iter().map(len).sum()
    }

    fn hash(&self, name: (&str, &str)) -> u64 {
        self.hasher.hash_one(name)
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // The table itself looks at the highest seven bits, and at the lowest.
        let index = (hash >> 32) as usize % SHARDS;
        &self.shards[index]
    }
}

/// What is held of one portal session.
pub(super) struct Held<'a, S> {
    shard: S,
    hasher: &'a RandomState,
    hash: u64,
    name: (&'a str, &'a str),
}

impl<S: Deref<Target = Shard>> Held<'_, S> {
    /// When the portal session ends by itself, where it was ended before.
    pub(super) fn revoked(&self) -> Option<UnixSeconds> {
        let found = self.shard.revoked.find(self.hash, |(name, _)| name.parts() == self.name);
        found.map(|(_, until)| *until)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.shard.entries.iter_hash(self.hash).filter(|entry| entry.is_named(self.name))
    }

    /// The entry that is wanted, if it is here; no entry is, once the session was ended.
    pub(super) fn find(&self, wanted: &Wanted<'_>) -> Option<Result<Arc<Entry>, Obtained>> {
        if self.revoked().is_some() {
            return Some(Err(Obtained::Revoked));
        }
        self.entries().find(|entry| entry.is(wanted)).map(|entry| Ok(Arc::clone(entry)))
    }
}

impl<S: DerefMut<Target = Shard>> Held<'_, S> {
    /// Adds an entry of this session.
    pub(super) fn add(&mut self, entry: Arc<Entry>) {
        self.shard.entries.insert_unique(self.hash, entry, |other| self.hasher.hash_one(other.name()));
    }

    /// Takes out the entries of this session that are meant.
    pub(super) fn take(&mut self, is_it: impl Fn(&Arc<Entry>) -> bool) -> Entries {
        let mut taken = Entries::new();
        let name = self.name;
        let is_one = |entry: &Arc<Entry>| entry.is_named(name) && is_it(entry);
        while let Ok(found) = self.shard.entries.find_entry(self.hash, is_one) {
            taken.push(found.remove().0);
        }
        taken
    }

    /// Takes out the entry that was used longest ago, one that nobody waits for if there is one.
    pub(super) fn take_idlest(&mut self) -> Entries {
        let idlest = self.entries().min_by_key(|entry| (entry.is_busy(), entry.used())).cloned();
        idlest.map(|idlest| self.take(|entry| Arc::ptr_eq(entry, &idlest))).unwrap_or_default()
    }

    /// Notes that the session was ended, and would have ended by itself then. Says whether that is news.
    pub(super) fn revoke(&mut self, until: UnixSeconds) -> Option<SessionName> {
        let (hash, name) = (self.hash, self.name);
        if let Some((_, before)) = self.shard.revoked.find_mut(hash, |(other, _)| other.parts() == name) {
            let is_later = until > *before;
            *before = until.max(*before);
            return is_later.then(|| SessionName::new(name.0, name.1));
        }
        let noted = SessionName::new(name.0, name.1);
        let hasher = self.hasher;
        self.shard.revoked.insert_unique(hash, (noted.clone(), until), |(other, _)| hasher.hash_one(other.parts()));
        Some(noted)
    }

    /// Forgets that the session was ended, if it has ended by itself until now.
    pub(super) fn forget_revoked(&mut self, now: UnixSeconds) {
        let name = self.name;
        let is_over = |(other, until): &(SessionName, UnixSeconds)| other.parts() == name && *until <= now;
        if let Ok(found) = self.shard.revoked.find_entry(self.hash, is_over) {
            found.remove();
        }
    }
}
