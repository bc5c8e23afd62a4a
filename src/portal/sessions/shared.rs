//! What the store has of portal sessions.
//!
//! Each stands at a place of its own, with a number that grows with every writing of it, so that an older one never
//! takes the place of a newer one. One that was ended leaves a stone there for as long as it would have lasted:
//! whoever still has a copy cannot put it back. A memo's place has the names of all sessions that have it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use dashmap::DashMap;
use hmac::{Hmac, KeyInit};
use parking_lot::Mutex;
use sha2::Sha256;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::super::flights::Flights;
use super::{Name, Sessions};
use crate::domain::{Moment, UnixSeconds};
use crate::store::{Answer, Place, Script, Store, StoreOutage, millis};
use crate::wire::Errands;

/// Most sessions that are asked for at once.
const MOST_FETCHES: usize = 4096;
/// Most ends of sessions that are not known here that the store is told of later, where it cannot be told now.
const MOST_ENDS: usize = 100_000;
/// What the store was told is told again to a server that takes over: so much, if it was told within so long.
const RECENT: (usize, Duration) = (10_000, Duration::from_secs(30));
/// How far apart the first numbers of two sessions of one name are that begin in different seconds.
const NUMBERS_A_SECOND: u64 = 2 * STEP;
/// How far apart they are at least. Between two of them is more room than a session is ever renewed.
pub(super) const STEP: u64 = 1 << 19;
/// Longest life of anything in the store: ten years.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Takes the place of what has a smaller number, or, where the last argument says so, of no session at all. Answers
/// whether it did, and what is or was there.
static PUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        &["s"],
        "local time = redis.call('TIME') \
         local now = time[1] * 1000 + math.floor(time[2] / 1000) \
         local held = redis.call('HMGET', KEYS[1], 'n', 'v', 't') \
         local age = string.format('%.0f', math.max(0, now - tonumber(held[3] or now))) \
         local stays = held[1] and (tonumber(held[1]) >= tonumber(ARGV[1]) or ARGV[4] == '1' and held[2] ~= '') \
         if stays then return {0, held[1], held[2], age} end \
         redis.call('HSET', KEYS[1], 'n', ARGV[1], 'v', ARGV[2], 't', string.format('%.0f', now)) \
         redis.call('PEXPIRE', KEYS[1], ARGV[3]) \
         return {1, held[1], held[2], age}",
    )
});
static GET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        &["s"],
        "local time = redis.call('TIME') \
         local now = time[1] * 1000 + math.floor(time[2] / 1000) \
         local held = redis.call('HMGET', KEYS[1], 'n', 'v', 't') \
         return {0, held[1], held[2], string.format('%.0f', math.max(0, now - tonumber(held[3] or now)))}",
    )
});
/// Puts a stone in the place of what has no greater number. It stays as long as that would have, which may have been
/// renewed since.
static END: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        &["s"],
        "local number = tonumber(redis.call('HGET', KEYS[1], 'n') or 0) \
         if number > tonumber(ARGV[1]) then return {0} end \
         if number == 0 then \
           if ARGV[2] == '0' then return {0} end \
           number = tonumber(ARGV[1]) \
         end \
         redis.call('HDEL', KEYS[1], '') \
         redis.call('HSET', KEYS[1], 'n', string.format('%.0f', number + 1), 'v', '', 't', '0') \
         if tonumber(ARGV[2]) > redis.call('PTTL', KEYS[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end \
         return {1}",
    )
});
static FILE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        &["m"],
        "local time = redis.call('TIME') \
         local now = time[1] * 1000 + math.floor(time[2] / 1000) \
         redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now)) \
         redis.call('ZADD', KEYS[1], 'GT', string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1]) \
         if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end \
         return {1}",
    )
});
static FILED: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        &["m"],
        "local time = redis.call('TIME') \
         local now = time[1] * 1000 + math.floor(time[2] / 1000) \
         return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')",
    )
});
static UNFILE: LazyLock<Script> =
    LazyLock::new(|| Script::new(&["m"], "return {redis.call('ZREM', KEYS[1], ARGV[1])}"));

/// A number that no session has.
pub(super) const PAST_ALL: u64 = (1 << 53) - 2;

/// What stands at a session's place.
pub(super) enum Standing {
    /// Nothing.
    Nothing,
    /// A session was there and was ended.
    Ended,
    /// A session, as it was written so long ago.
    Session { version: u64, bytes: Vec<u8>, age: Duration },
    /// Something that none of our keys opens.
    Closed,
}

/// What became of a writing.
pub(super) enum Put {
    /// It stands there, in the place of this.
    Done(Standing),
    /// What stands there has this number, which is no smaller.
    Older(u64, Standing),
}

/// What came of asking for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// It is in memory now.
    Here,
    /// There is none, or none any more.
    Nowhere,
    /// Nobody can tell.
    Unclear,
}

/// What the store is to be told.
#[derive(Clone)]
pub(super) enum Due {
    /// The session as memory has it then, which is newer. One that was never there has this number: whoever came
    /// under its name since has a greater one.
    Write { number: u64 },
    /// The same, of which nobody need hear.
    Prolong,
    /// The session as it may stand there already: the store had it, and may have lost it.
    PutBack,
    /// That it was ended.
    End { version: u64, until: Option<UnixSeconds>, memos: SmallVec<[Name; 1]> },
}

#[derive(Clone)]
pub(super) struct Debt {
    pub portal: Box<str>,
    pub due: Due,
    /// Tells one debt of a name from the next.
    number: u64,
}

/// What the store was told a moment ago, as it is to be told again.
struct Recent {
    at: Moment,
    name: Name,
    portal: Box<str>,
    due: Due,
}

/// What a replica has beside its memory.
pub struct Shared {
    pub store: Arc<Store>,
    pub me: Weak<Sessions>,
    pub(super) fetches: Flights<Name, Fetched>,
    hash: Hmac<Sha256>,
    /// What is on its way here. Whatever is heard of it meanwhile takes it out.
    pub(super) on_the_way: Mutex<HashSet<Name>>,
    owed: Mutex<BTreeMap<Name, Debt>>,
    /// What a server that takes over may not have heard.
    recent: Mutex<VecDeque<Recent>>,
    debts: AtomicU64,
    pub(super) owing: Notify,
    /// Who waits until something is heard of a session.
    pub(super) waiting: DashMap<Name, Arc<Notify>>,
    /// Until then, what is not in the store may be on its way back there.
    lost_until: AtomicU64,
    /// Whether we have some to put back ourselves.
    is_putting_back: AtomicBool,
}

/// A session that is on its way from the store, or there and back. Nobody waits for it any more when this is dropped.
pub(super) struct OnTheWay<'a> {
    shared: &'a Shared,
    name: Name,
}

impl OnTheWay<'_> {
    /// Whether nothing was heard of it meanwhile.
    pub(super) fn ends_unheard_of(self) -> bool {
        self.shared.on_the_way.lock().remove(&self.name)
    }
}

impl Drop for OnTheWay<'_> {
    fn drop(&mut self) {
        self.shared.heard_of(&self.name);
    }
}

impl Shared {
    /// Needs the runtime in which questions are to run.
    pub(super) fn new(store: &Arc<Store>, me: Weak<Sessions>) -> Self {
        let errands = Errands::new();
        errands.run_on(tokio::runtime::Handle::current());
        Self {
            store: Arc::clone(store),
            me,
            fetches: Flights::new(errands, MOST_FETCHES),
            // HMAC takes a key of every length.
            hash: Hmac::new(&store.name_key("portal sessions").into()),
            on_the_way: Mutex::default(),
            owed: Mutex::default(),
            recent: Mutex::default(),
            debts: AtomicU64::new(0),
            owing: Notify::new(),
            waiting: DashMap::new(),
            lost_until: AtomicU64::new(0),
            is_putting_back: AtomicBool::new(false),
        }
    }

    pub(super) const fn hash(&self) -> &Hmac<Sha256> {
        &self.hash
    }

    pub(super) fn now(&self) -> Moment {
        self.store.clock().now()
    }

    pub(super) fn unix(&self) -> UnixSeconds {
        self.store.clock().unix()
    }

    /// The number of a session that begins now: by the store's clock, which is the same for all, if it is known.
    pub(super) fn first_version(&self) -> u64 {
        let within = rand::random::<u64>() % STEP;
        let now = self.store.server_now().map_or_else(|| self.unix(), |millis| millis / 1000);
        (now.saturating_mul(NUMBERS_A_SECOND).saturating_add(within)).min(PAST_ALL / 2)
    }

    /// The number of one that the store does not have yet, though it may have been told.
    pub(super) fn number_of_new(&self, name: &Name) -> u64 {
        match self.owes(name) {
            Some(Due::Write { number }) => number,
            _ => self.first_version(),
        }
    }

    fn place(&self, portal: &str, name: &Name) -> Place {
        self.store.place("portal session", &[portal.as_bytes(), name])
    }

    fn memo_place(&self, memo: &Name) -> Place {
        self.store.place("portal memo", &[memo])
    }

    fn life(&self, until: UnixSeconds) -> Vec<u8> {
        millis(Duration::from_secs(until.saturating_sub(self.unix())).min(LONGEST_LIFE))
    }

    /// What stands there.
    pub(super) async fn get(&self, portal: &str, name: &Name) -> Result<Standing, StoreOutage> {
        let place = self.place(portal, name);
        let answer = self.store.run(&GET, &place, &[]).await?;
        Ok(self.standing(&place, &answer))
    }

    /// Writes a session, unless what stands there is as new. File its memos first: whatever stands in the store is to
    /// be found by them. `first`: not in the place of any other session.
    pub(super) async fn put(
        &self,
        portal: &str,
        name: &Name,
        version: u64,
        bytes: &[u8],
        (until, first): (UnixSeconds, bool),
    ) -> Result<Put, StoreOutage> {
        let place = self.place(portal, name);
        let sealed = self.store.seal(&place, version, bytes);
        let number = version.to_string();
        let first: &[u8] = if first { b"1" } else { b"0" };
        let arguments = [number.as_bytes(), &sealed, &self.life(until), first];
        let answer = self.store.run(&PUT, &place, &arguments).await?;
        let standing = self.standing(&place, &answer);
        Ok(match answer.number(0) {
            Some(1) => Put::Done(standing),
            _ => Put::Older(answer.number(1).unwrap_or(0), standing),
        })
    }

    /// Puts a stone there; `until` is when the session would have ended, where that is known.
    pub(super) async fn end(
        &self,
        portal: &str,
        name: &Name,
        version: u64,
        until: Option<UnixSeconds>,
    ) -> Result<(), StoreOutage> {
        let life = until.map_or_else(|| b"0".to_vec(), |until| self.life(until));
        let number = version.to_string();
        self.store.run(&END, &self.place(portal, name), &[number.as_bytes(), &life]).await.map(drop)
    }

    pub(super) async fn file(&self, memos: &[Name], name: &Name, until: UnixSeconds) -> Result<(), StoreOutage> {
        let life = self.life(until);
        for memo in memos {
            self.store.run(&FILE, &self.memo_place(memo), &[name, &life]).await?;
        }
        Ok(())
    }

    pub(super) async fn unfile(&self, memos: &[Name], name: &Name) -> Result<(), StoreOutage> {
        for memo in memos {
            self.store.run(&UNFILE, &self.memo_place(memo), &[name]).await?;
        }
        Ok(())
    }

    /// The names of all that are filed under a memo.
    pub(super) async fn filed(&self, memo: &Name) -> Result<Vec<Name>, StoreOutage> {
        let answer = self.store.run(&FILED, &self.memo_place(memo), &[]).await?;
        let names = (0..answer.len()).filter_map(|index| Name::try_from(answer.bytes(index)?).ok());
        Ok(names.collect())
    }

    fn standing(&self, place: &Place, answer: &Answer) -> Standing {
        let (Some(version), Some(sealed)) = (answer.number(1), answer.bytes(2)) else { return Standing::Nothing };
        if sealed.is_empty() {
            return Standing::Ended;
        }
        match self.store.unseal(place, version, sealed) {
            Some(bytes) => {
                Standing::Session { version, bytes, age: Duration::from_millis(answer.number(3).unwrap_or(0)) }
            }
            None => Standing::Closed,
        }
    }

    /// It is asked for, or written. What comes of it counts if it is still unheard of by then.
    pub(super) fn set_out(&self, name: Name) -> OnTheWay<'_> {
        self.on_the_way.lock().insert(name);
        OnTheWay { shared: self, name }
    }

    /// Something was heard of it.
    pub(super) fn heard_of(&self, name: &Name) {
        self.on_the_way.lock().remove(name);
    }

    /// Remembers what the store is to be told of this session, in the place of what it was to be told before.
    pub(super) fn owe(&self, portal: &str, name: Name, due: Due) {
        let number = self.debts.fetch_add(1, Ordering::Relaxed);
        let mut owed = self.owed.lock();
        let is_known = !matches!(due, Due::End { until: None, .. });
        if is_known || owed.len() < MOST_ENDS {
            owed.insert(name, Debt { portal: portal.into(), due, number });
        }
        drop(owed);
        self.owing.notify_one();
    }

    /// The store has just been told of this session.
    pub(super) fn told(&self, portal: &str, name: &Name, due: Due) {
        let mut recent = self.recent.lock();
        recent.push_back(Recent { at: self.now(), name: *name, portal: portal.into(), due });
        self.forget_old(&mut recent);
    }

    fn forget_old(&self, recent: &mut VecDeque<Recent>) {
        let (now, (most, life)) = (self.now(), RECENT);
        while recent.len() > most || recent.front().is_some_and(|told| now.since(told.at) > life) {
            recent.pop_front();
        }
    }

    /// Another server may have taken over, which had not everything yet.
    pub(super) fn tell_recent_again(&self) {
        let mut recent = self.recent.lock();
        self.forget_old(&mut recent);
        // What was told last of one counts.
        for told in recent.iter().rev().filter(|told| self.owes(&told.name).is_none()) {
            self.owe(&told.portal, told.name, told.due.clone());
        }
    }

    /// There is nothing more to be told of this session.
    pub(super) fn forgive(&self, name: &Name) {
        self.owed.lock().remove(name);
    }

    pub(super) fn owes(&self, name: &Name) -> Option<Due> {
        self.owed.lock().get(name).map(|debt| debt.due.clone())
    }

    pub(super) fn untold(&self) -> usize {
        self.owed.lock().len()
    }

    /// Some of what is owed, after this name.
    pub(super) fn debts(&self, after: Option<Name>, most: usize) -> Vec<(Name, Debt)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let owed = self.owed.lock();
        let range = (after.map_or(Unbounded, Excluded), Unbounded);
        owed.range(range).take(most).map(|(name, debt)| (*name, debt.clone())).collect()
    }

    /// This was told, unless there is something newer to tell.
    pub(super) fn settled(&self, name: &Name, debt: &Debt) {
        let mut owed = self.owed.lock();
        if owed.get(name).is_some_and(|now| now.number == debt.number) {
            owed.remove(name);
        }
    }

    /// The store has lost something, and is owed what we have of it.
    pub(super) fn begin_recovery(&self) {
        self.is_putting_back.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_putting_back(&self) -> bool {
        self.is_putting_back.load(Ordering::Relaxed)
    }

    /// All that we had of it is there again. Others may have more, and need until then.
    pub(super) fn end_recovery(&self, until: Moment) {
        self.lost_until.fetch_max(until.as_millis(), Ordering::Relaxed);
        self.is_putting_back.store(false, Ordering::Relaxed);
    }

    /// Whether what is not in the store may be on its way back there.
    pub(super) fn is_recovering(&self) -> bool {
        self.is_putting_back() || self.now().as_millis() < self.lost_until.load(Ordering::Relaxed)
    }
}
