use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;

use super::Sessions;
use super::sessions::Shared;
use crate::domain::{Moment, Outage, UnixSeconds};
use crate::store::{Event, Place, Script, Store, StoreOutage, millis};
use crate::wire::{Errands, Try};

/// Most notes at once.
const MOST: usize = 100_000;
/// Most of them that the store is told again at once.
const AT_ONCE: usize = 32;

/// One more note. `KEYS`: where it stands, a time and nothing else. `ARGV`: the time, and its life in milliseconds.
/// The later of either stays. Says 1 where there was none.
static NOTE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        &["note"],
        "local time, life = ARGV[1], tonumber(ARGV[2]) \
         local had = redis.call('GET', KEYS[1]) \
         if had then \
           life = math.max(life, redis.call('PTTL', KEYS[1])) \
           if tonumber(had) > tonumber(time) then time = had end \
         end \
         redis.call('SET', KEYS[1], time, 'PX', string.format('%.0f', life)) \
         return {had and 0 or 1}",
    )
});
static READ: LazyLock<Script> = LazyLock::new(|| Script::new(&["note"], "return {redis.call('GET', KEYS[1])}"));

/// What must not be forgotten for a while, such as the id of a message that counts once, or a session that
/// ended before it was known here. Only what somebody known has signed is noted, so nobody else can fill it.
/// These are the notes of one process; replicas that share a store have theirs there as well.
#[derive(Default)]
pub(super) struct Notes {
    book: Mutex<Book>,
    /// What is noted of this process alone.
    apart: Mutex<Book>,
    /// Whether the store may lack some of them.
    are_owed: AtomicBool,
    heard: AtomicU64,
    lost: AtomicU64,
}

#[derive(Default)]
struct Book {
    by_name: HashMap<String, (UnixSeconds, UnixSeconds)>,
    by_end: BTreeSet<(UnixSeconds, String)>,
}

/// An end that is noted: when it was, by a clock of its kind, and until when somebody may come who must hear of it.
#[derive(Clone)]
pub(super) struct End {
    pub name: String,
    pub time: UnixSeconds,
    pub until: UnixSeconds,
}

/// Under which name the end of all is noted that have this memo at a portal.
pub(super) fn end_of(portal: &str, memo: &str) -> String {
    format!("{portal}\n{memo}")
}

/// The portal and the memo of a session whose end is noted under this name, where that is of every session that has
/// it: the provider gives the name of a session to no other.
pub(super) fn ended_session(name: &str) -> Option<(&str, &str)> {
    name.split_once('\n').filter(|(_, memo)| memo.starts_with("sid:"))
}

impl Notes {
    /// Notes a time under this name, until then. Says whether there was no such note; the later time stays.
    pub(super) fn put(&self, name: String, time: UnixSeconds, until: UnixSeconds, now: UnixSeconds) -> bool {
        self.book.lock().put(name, time, until, now)
    }

    /// The same of what concerns no other replica.
    pub(super) fn put_apart(&self, name: String, until: UnixSeconds, now: UnixSeconds) -> bool {
        self.apart.lock().put(name, now, until, now)
    }

    /// The store may lack some of what is noted.
    fn owe(&self) {
        self.are_owed.store(true, Ordering::Release);
    }

    /// Another replica has noted something, or may have.
    pub(super) fn hear(&self, event: &Event) {
        match event {
            Event::Noted { name, time, until } => {
                // By the clock of whoever noted it, it has not ended.
                self.put(name.clone(), *time, *until, 0);
                self.heard.fetch_add(1, Ordering::Release);
            }
            Event::Lost => {
                self.lost.fetch_add(1, Ordering::Release);
                self.owe();
            }
            _ => {}
        }
    }

    /// How often another replica noted something, and how often something may have been missed. Others than before
    /// are a reason to look again at what was good.
    pub(super) fn heard(&self) -> (u64, u64) {
        (self.heard.load(Ordering::Acquire), self.lost.load(Ordering::Acquire))
    }

    /// All that has not ended.
    fn ends(&self, now: UnixSeconds) -> Vec<End> {
        let book = self.book.lock();
        let standing = book.by_name.iter().filter(|(_, (_, until))| *until > now);
        standing.map(|(name, (time, until))| End { name: name.clone(), time: *time, until: *until }).collect()
    }

    /// The time under this name.
    pub(super) fn get(&self, name: &str, now: UnixSeconds) -> Option<UnixSeconds> {
        let book = self.book.lock();
        book.by_name.get(name).filter(|(_, until)| *until > now).map(|(time, _)| *time)
    }
}

impl Sessions {
    /// Notes a time under this name for all replicas, until then. Says whether nobody had: of all who do so at
    /// once, one is told. The later time stays.
    ///
    /// # Errors
    /// The store could not be asked. Nothing is noted here, so that a second try is no repetition.
    pub(super) async fn note(
        &self,
        name: String,
        time: UnixSeconds,
        until: UnixSeconds,
        now: UnixSeconds,
    ) -> Result<bool, StoreOutage> {
        let is_first = match self.store() {
            Some(store) => put_shared(store, &name, time, until.saturating_sub(now)).await?,
            None => true,
        };
        // What stands here outlives a store that is emptied.
        Ok(self.notes().put(name, time, until, now) && is_first)
    }

    /// A moment of ours by the clock that all replicas share, in milliseconds since 1970; `None` where there is no
    /// store, or nothing was seen of it yet.
    pub(super) fn store_time(&self, moment: Moment) -> Option<u64> {
        let store = self.store()?;
        let now = store.clock().now();
        let ahead = u64::try_from(moment.since(now).as_millis()).unwrap_or(0);
        let ago = u64::try_from(now.since(moment).as_millis()).unwrap_or(0);
        Some(store.server_now()?.saturating_add(ahead).saturating_sub(ago))
    }

    /// Whether people are to be signed in although the store cannot be asked.
    pub(super) fn goes_on_without(&self) -> bool {
        self.store().is_some_and(|store| store.goes_on_without())
    }

    /// Notes an end here at once, and for other replicas as soon as the store can be asked.
    pub(super) fn note_end(&self, errands: &Errands, portal: &str, end: &End, now: UnixSeconds) {
        self.notes().put(end.name.clone(), end.time, end.until, now);
        let Some(shared) = self.shared.get() else { return };
        let (telling, event) = (Arc::clone(&shared.store), end.event());
        // Where it cannot be told now it is told when it can.
        errands.spawn(async move { drop(telling.tell(event).await) });
        end.put_some_time(shared, errands, portal, now);
    }

    /// The same, and others know by then, unless the store cannot be asked.
    pub(super) async fn note_end_now(&self, errands: &Errands, portal: &str, end: &End, now: UnixSeconds) {
        self.notes().put(end.name.clone(), end.time, end.until, now);
        let Some(shared) = self.shared.get() else { return };
        if end.put(&shared.store, now).await.is_err() {
            end.put_some_time(shared, errands, portal, now);
        }
        drop(shared.store.tell(end.event()).await);
    }

    /// The latest time that any replica has noted under this name.
    ///
    /// # Errors
    /// The store could not be asked, and there is to be no sign-in without it.
    pub(super) async fn noted(&self, name: &str, now: UnixSeconds) -> Result<Option<UnixSeconds>, StoreOutage> {
        match self.noted_by_all(name, now).await {
            Err(_) if self.goes_on_without() => Ok(self.notes().get(name, now)),
            told => told,
        }
    }

    /// The same for whoever must know what others have noted.
    ///
    /// # Errors
    /// The store could not be asked.
    pub(super) async fn noted_by_all(&self, name: &str, now: UnixSeconds) -> Result<Option<UnixSeconds>, StoreOutage> {
        let here = self.notes().get(name, now);
        let Some(store) = self.store() else { return Ok(here) };
        Ok(store.run(&READ, &place(store, name), &[]).await?.number(0).max(here))
    }

    /// Puts everything that is noted here into the store, where that may lack some of it: it was emptied, or there was
    /// an outage. Whoever starts later knows of nothing else.
    pub(super) async fn put_notes_back(&self) {
        let Some(store) = self.store() else { return };
        if !self.notes().are_owed.swap(false, Ordering::AcqRel) {
            return;
        }
        let now = store.clock().unix();
        for some in self.notes().ends(now).chunks(AT_ONCE) {
            if join_all(some.iter().map(|end| end.put(store, now))).await.iter().any(Result::is_err) {
                return self.notes().owe();
            }
        }
    }
}

impl End {
    fn event(&self) -> Event {
        Event::Noted { name: self.name.clone(), time: self.time, until: self.until }
    }

    async fn put(&self, store: &Store, now: UnixSeconds) -> Result<(), StoreOutage> {
        put_shared(store, &self.name, self.time, self.until.saturating_sub(now)).await.map(drop)
    }

    fn put_some_time(&self, shared: &Shared, errands: &Errands, portal: &str, now: UnixSeconds) {
        let (store, sessions, end) = (Arc::clone(&shared.store), shared.me.clone(), self.clone());
        let one_try: Try = Box::new(move || {
            let (store, sessions, end) = (Arc::clone(&store), sessions.clone(), end.clone());
            Box::pin(async move {
                let put = end.put(&store, now).await;
                // However long it takes.
                if let (Err(_), Some(sessions)) = (&put, sessions.upgrade()) {
                    sessions.notes().owe();
                }
                put.map_err(|outage| Outage::Unreachable(outage.to_string()))
            })
        });
        errands.begin(portal, "end", one_try);
    }
}

fn place(store: &Store, name: &str) -> Place {
    store.place("note", &[name.as_bytes()])
}

/// Says whether there was no such note.
async fn put_shared(store: &Store, name: &str, time: UnixSeconds, left: u64) -> Result<bool, StoreOutage> {
    let (place, time, life) = (place(store, name), time.to_string(), millis(Duration::from_secs(left)));
    let answer = store.run(&NOTE, &place, &[time.as_bytes(), &life]).await?;
    Ok(answer.number(0) == Some(1))
}

impl Book {
    fn put(&mut self, name: String, time: UnixSeconds, until: UnixSeconds, now: UnixSeconds) -> bool {
        self.forget_ended(now);
        let earlier = self.by_name.get(&name).copied();
        let (mut latest, mut end) = (time, until);
        if let Some((time, until)) = earlier {
            (latest, end) = (latest.max(time), end.max(until));
            self.by_end.remove(&(until, name.clone()));
        } else if self.by_name.len() >= MOST {
            self.forget_first();
        }
        self.by_end.insert((end, name.clone()));
        self.by_name.insert(name, (latest, end));
        earlier.is_none()
    }

    fn forget_ended(&mut self, now: UnixSeconds) {
        while self.by_end.first().is_some_and(|(end, _)| *end <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, name)) = self.by_end.pop_first() {
            self.by_name.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Clock, ManualClock};
    use crate::store::scratch::Scratch;

    fn replica(server: &Scratch, when_down: &str) -> Arc<Sessions> {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
        let sessions = Sessions::new(0);
        sessions.share(&server.store_when_down(when_down, clock));
        sessions
    }

    fn name(name: &str) -> String {
        format!("canary\n{name}")
    }

    #[tokio::test]
    async fn what_one_replica_notes_all_know_and_the_later_time_stays() {
        let server = Scratch::start().await;
        let replicas = [(); 2].map(|()| replica(&server, "refuse"));
        let [one, other] = &replicas;
        assert_eq!(other.noted(&name("a"), 0).await, Ok(None));
        assert_eq!(one.note(name("a"), 50, 100, 0).await, Ok(true));
        assert_eq!(other.note(name("a"), 30, 60, 0).await, Ok(false), "it is there");
        for (time, latest) in [(40, 50), (70, 70)] {
            assert_eq!(other.note(name("a"), time, 60, 0).await, Ok(false));
            for replica in &replicas {
                assert_eq!(replica.noted(&name("a"), 0).await, Ok(Some(latest)));
            }
        }
        let key = server.say(&["KEYS", "*"]);
        let left: u64 = server.say(&["PTTL", key.trim()]).trim().parse().unwrap();
        assert!((60_001..=100_000).contains(&left), "the later end stays as well: {left}");
        assert!(!server.everything().contains("canary"));
    }

    #[tokio::test]
    async fn of_many_at_all_replicas_who_note_the_same_at_once_one_is_first() {
        let server = Scratch::start().await;
        let replicas = [(); 3].map(|()| replica(&server, "refuse"));
        for round in 0..50 {
            let all = (0..24).map(|number| {
                let replica = Arc::clone(&replicas[number % 3]);
                tokio::spawn(async move { usize::from(replica.note(format!("jti:{round}"), 1, 9, 0).await.unwrap()) })
            });
            let first: usize = join_all(all).await.into_iter().map(Result::unwrap).sum();
            assert_eq!(first, 1);
        }
        server.say(&["FLUSHALL"]);
        assert_eq!(replicas[0].note("jti:0".to_owned(), 1, 9, 0).await, Ok(false), "an emptied store is no new chance");
    }

    #[tokio::test]
    async fn without_the_store_a_replica_knows_its_own_notes_or_says_that_it_cannot_tell() {
        let server = Scratch::start().await;
        let (strict, lenient) = (replica(&server, "refuse"), replica(&server, "login"));
        assert_eq!(strict.note(name("a"), 5, 100, 0).await, Ok(true));
        let errands = Errands::new();
        errands.run_on(tokio::runtime::Handle::current());
        server.stop();
        assert!(strict.noted(&name("a"), 0).await.is_err() && strict.note(name("b"), 5, 100, 0).await.is_err());
        assert_eq!(lenient.noted(&name("a"), 0).await, Ok(None));
        assert!(lenient.note(name("b"), 5, 100, 0).await.is_err());
        assert_eq!(lenient.noted(&name("b"), 0).await, Ok(None), "nothing stands in the way of a second try");
        lenient.note_end_now(&errands, "p", &End { name: name("c"), time: 7, until: 100 }, 0).await;
        assert_eq!(lenient.noted(&name("c"), 0).await, Ok(Some(7)));
    }

    #[tokio::test]
    async fn an_end_that_is_noted_reaches_the_others_though_nobody_waits_for_it() {
        let server = Scratch::start().await;
        let [one, other] = [(); 2].map(|()| replica(&server, "refuse"));
        let errands = Errands::new();
        errands.run_on(tokio::runtime::Handle::current());
        one.note_end(&errands, "p", &End { name: name("a"), time: 7, until: 100 }, 0);
        assert_eq!(one.notes().get(&name("a"), 0), Some(7), "here at once");
        errands.finish().await;
        assert_eq!(other.noted(&name("a"), 0).await, Ok(Some(7)));
        assert_eq!((other.notes().get(&name("a"), 0), other.notes().heard()), (None, (0, 0)));
        other.hear(&Event::Noted { name: name("a"), time: 7, until: 100 });
        assert_eq!((other.notes().get(&name("a"), 0), other.notes().heard()), (Some(7), (1, 0)));
        other.hear(&Event::Lost);
        assert_eq!(other.notes().heard(), (1, 1));
    }

    async fn is_known(replica: &Sessions, name: &str) {
        for _ in 0..1000 {
            if replica.noted_by_all(name, 0).await.is_ok_and(|noted| noted.is_some()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} is not known");
    }

    #[tokio::test]
    async fn a_replica_that_starts_after_a_loss_or_a_long_outage_knows_what_the_others_noted() {
        let mut server = Scratch::start().await;
        let one = replica(&server, "login");
        let errands = Errands::new();
        errands.run_on(tokio::runtime::Handle::current());
        assert_eq!(one.note("jti:1".to_owned(), 5, 100, 0).await, Ok(true));
        one.note_end_now(&errands, "p", &End { name: name("a"), time: 7, until: 100 }, 0).await;
        assert!(one.notes().put_apart("jti:2".to_owned(), 100, 0));
        server.say(&["FLUSHALL"]);
        one.hear(&Event::Lost);
        let late = replica(&server, "login");
        is_known(&late, "jti:1").await;
        is_known(&late, &name("a")).await;
        assert_eq!(late.note("jti:1".to_owned(), 5, 100, 0).await, Ok(false));
        assert_eq!(late.noted_by_all("jti:2", 0).await, Ok(None), "that is of nobody else's concern");
        server.stop();
        // Whose errands are given up.
        let hopeless = Errands::new();
        hopeless.run_on(tokio::runtime::Handle::current());
        one.note_end(&hopeless, "p", &End { name: name("b"), time: 8, until: 100 }, 0);
        hopeless.finish().await;
        server.start_again().await;
        is_known(&replica(&server, "login"), &name("b")).await;
    }

    #[test]
    fn a_note_stands_until_its_end_and_is_made_once() {
        let notes = Notes::default();
        assert!(notes.put("a".to_owned(), 5, 100, 0));
        assert!(!notes.put("a".to_owned(), 3, 50, 0), "it is there");
        assert_eq!((notes.get("a", 99), notes.get("a", 100), notes.get("b", 0)), (Some(5), None, None));
        assert!(notes.put("a".to_owned(), 7, 200, 100), "it had ended");
        assert_eq!(notes.get("a", 150), Some(7));
    }

    #[test]
    fn there_is_an_end_to_notes() {
        let notes = Notes::default();
        for number in 0..MOST as u64 + 10 {
            notes.put(number.to_string(), 0, 1000 + number, 0);
        }
        assert_eq!(notes.book.lock().by_name.len(), MOST);
        assert_eq!((notes.get("0", 0), notes.get("10", 0)), (None, Some(0)), "the first to end has to go");
        notes.put("last".to_owned(), 0, u64::MAX, u64::MAX - 1);
        let book = notes.book.lock();
        assert_eq!((book.by_name.len(), book.by_end.len()), (1, 1));
    }
}
