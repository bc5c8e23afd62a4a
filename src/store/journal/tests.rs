use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::SEALED;
use crate::domain::{Clock, ManualClock, SystemClock};
use crate::observe::Metrics;
use crate::store::scratch::Scratch;
use crate::store::{Event, Store, StoreOutage};

/// A replica that hears, until it is dropped.
struct Replica {
    store: Arc<Store>,
    heard: Arc<Mutex<Vec<Event>>>,
    metrics: Arc<Metrics>,
    running: JoinHandle<()>,
}

impl Replica {
    fn start(server: &Scratch) -> Self {
        Self::start_with(server, Arc::new(SystemClock::new()), |_| {})
    }

    fn start_with(server: &Scratch, clock: Arc<dyn Clock>, hear: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        let (store, metrics, heard) = (server.store(clock), Arc::new(Metrics::new()), Arc::<Mutex<Vec<_>>>::default());
        let (hearing, noting) = (Arc::clone(&store), Arc::clone(&heard));
        store.listen(move |event| {
            if *event != Event::Listening {
                noting.lock().push(event.clone());
                hear(event);
            }
        });
        let counting = Arc::clone(&metrics);
        let running = tokio::spawn(async move { hearing.run_journal(&counting).await });
        Self { store, heard, metrics, running }
    }

    async fn caught_up(self) -> Self {
        until(|| self.store.is_caught_up()).await;
        self
    }

    async fn tell(&self, event: &Event) {
        self.store.tell(event.clone()).await.unwrap();
    }

    fn heard(&self) -> Vec<Event> {
        self.heard.lock().clone()
    }

    async fn hears(&self, events: &[Event]) {
        until(|| self.heard.lock().len() >= events.len()).await;
        assert_eq!(self.heard(), events);
    }

    fn counted(&self, outcome: &str) -> u64 {
        let journal = self.metrics.journal();
        match outcome {
            "told" => journal.told,
            "heard" => journal.heard,
            "skipped" => journal.skipped,
            _ => journal.lost,
        }
        .get()
    }

    fn key(&self, suffix: &str) -> String {
        self.store.place("house", &[]).key("keyward", suffix)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Waits until something is so that is bound to be.
async fn until(so: impl Fn() -> bool) {
    for _ in 0..6000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never was");
}

fn ended(session: &str) -> Event {
    let until = SystemClock::new().unix() + 3600;
    Event::SessionEnded { portal: "p".to_owned(), session: session.to_owned(), until, asked: 1 }
}

fn changed(id: usize) -> Event {
    Event::SessionChanged { portal: "p".to_owned(), id: id.to_string() }
}

fn how_many(server: &Scratch, replica: &Replica) -> (String, String) {
    let stream = server.say(&["XLEN", &replica.key("journal")]);
    let standing = server.say(&["ZCARD", &replica.key("standing")]);
    (stream.trim().to_owned(), standing.trim().to_owned())
}

#[tokio::test]
async fn what_one_replica_tells_all_others_hear_in_order_and_measure() {
    let server = Scratch::start().await;
    let [one, two, three] = [(); 3].map(|()| Replica::start(&server));
    let [one, two, three] = [one.caught_up().await, two.caught_up().await, three.caught_up().await];
    let account = Event::AccountEnded { backend: 7, login: "ana".to_owned(), at: 5, until: u64::MAX };
    let events = [changed(1), ended("a"), Event::Settled { place: [9; 16] }, account, changed(2)];
    for event in &events {
        one.tell(event).await;
    }
    two.hears(&events).await;
    three.hears(&events).await;
    assert_eq!(one.heard(), []);
    assert_eq!((one.counted("told"), two.counted("heard"), two.counted("lost")), (5, 5, 0));
    let seconds = |replica: &Replica| replica.metrics.revocation_seconds().get_sample_count();
    assert_eq!((seconds(&one), seconds(&two)), (0, 1));
    let all = server.everything();
    assert!(!all.contains("ana") && !all.contains("Ended") && all.contains("standing"), "{all}");
    let now = one.store.server_now().unwrap();
    let truth = SystemClock::new().unix() * 1000;
    assert!(now.abs_diff(truth) < 60_000, "{now} {truth}");
}

#[tokio::test]
async fn a_sign_out_is_timed_by_the_clock_of_the_store() {
    let server = Scratch::start().await;
    let hours_behind = Arc::new(ManualClock::at(SystemClock::new().unix() - 20_000));
    let [one, two] = [Replica::start_with(&server, hours_behind, |_| {}), Replica::start(&server)];
    let two = two.caught_up().await;
    let begun = two.store.server_now().unwrap();
    let Event::SessionEnded { portal, session, until: end, .. } = ended("a") else { unreachable!() };
    one.tell(&Event::SessionEnded { portal, session, until: end, asked: 0 }).await;
    until(|| !two.heard().is_empty()).await;
    let now = two.store.server_now().unwrap();
    assert!(
        matches!(two.heard()[..], [Event::SessionEnded { asked, .. }] if asked + 2000 > begun && asked < now + 2000)
    );
}

#[tokio::test]
async fn who_starts_later_hears_what_stands_and_nothing_else() {
    let server = Scratch::start().await;
    let one = Replica::start(&server).caught_up().await;
    let Event::SessionEnded { portal, session, .. } = ended("old") else { unreachable!() };
    let over = Event::SessionEnded { portal, session, until: SystemClock::new().unix() - 4000, asked: 1 };
    let endless = Event::AccountEnded { backend: 7, login: "ben".to_owned(), at: 5, until: u64::MAX };
    let noted = Event::Noted { name: "p\nsid:s".to_owned(), time: 5, until: u64::MAX - 1 };
    for event in [&ended("a"), &over, &changed(1), &endless, &noted] {
        one.tell(event).await;
    }
    let years_ahead = Arc::new(ManualClock::at(SystemClock::new().unix() + 900_000_000));
    let late = Replica::start_with(&server, years_ahead, |_| {});
    assert!(!late.store.is_caught_up());
    let late = late.caught_up().await;
    let mut heard = late.heard();
    heard.sort_by_key(|event| event.stands_until());
    assert!(matches!(&heard[0], Event::SessionEnded { session, .. } if session == "a"));
    assert_eq!(heard[1..], [noted, endless]);
    assert_eq!(late.metrics.revocation_seconds().get_sample_count(), 0, "that was before its time");
    one.tell(&ended("b")).await;
    assert_eq!(how_many(&server, &one).1, "5", "three that stand, a new one, and the mark");
}

#[tokio::test]
async fn telling_again_changes_nothing() {
    let server = Scratch::start().await;
    let [one, two] = [Replica::start(&server), Replica::start(&server)];
    let (one, two) = (one.caught_up().await, two.caught_up().await);
    let event = ended("a");
    for replica in [&one, &one, &two, &two] {
        replica.tell(&event).await;
    }
    one.tell(&changed(1)).await;
    two.hears(&[event, changed(1)]).await;
    assert_eq!(one.heard(), []);
    assert_eq!(how_many(&server, &one), ("2".to_owned(), "2".to_owned()));
}

#[tokio::test]
async fn what_is_told_while_the_store_is_down_is_told_when_it_is_back() {
    let mut server = Scratch::start().await;
    let [one, two] = [Replica::start(&server), Replica::start(&server)];
    let (one, two) = (one.caught_up().await, two.caught_up().await);
    let before = ended("before");
    one.tell(&before).await;
    two.hears(std::slice::from_ref(&before)).await;
    server.stop();
    let events = [changed(1), ended("a"), changed(2)];
    for event in &events {
        one.store.tell(event.clone()).await.unwrap_err();
    }
    assert_eq!(one.store.untold(), 3);
    server.start_again().await;
    until(|| events.iter().all(|event| two.heard().contains(event))).await;
    let heard = two.heard();
    // What stands may be heard earlier: the server had lost all, so that all that stands was read once more.
    let first = [&events[0], &events[2]].map(|event| heard.iter().position(|other| other == event));
    assert!(first.is_sorted(), "{heard:?}");
    assert_eq!(one.store.untold(), 0);
    let late = Replica::start(&server);
    until(|| late.heard().contains(&before) && late.heard().contains(&events[1])).await;
}

#[tokio::test]
async fn a_full_server_takes_what_is_told() {
    let server = Scratch::start().await;
    let [one, two] = [Replica::start(&server), Replica::start(&server)];
    let (one, two) = (one.caught_up().await, two.caught_up().await);
    server.say(&["CONFIG", "SET", "maxmemory", "1"]);
    let place = one.store.place("test", &[]);
    let full = Err(StoreOutage::Unable("OOM".to_owned()));
    assert_eq!(one.store.put(&place, b"", Duration::from_secs(9)).await, full);
    one.tell(&ended("a")).await;
    one.tell(&changed(1)).await;
    two.hears(&[ended("a"), changed(1)]).await;
}

#[tokio::test]
async fn a_store_that_is_down_at_the_start_is_caught_up_with_later() {
    let mut server = Scratch::start().await;
    server.stop();
    let one = Replica::start(&server);
    one.store.tell(ended("a")).await.unwrap_err();
    assert_eq!((one.store.server_now(), one.store.is_caught_up()), (None, false));
    server.start_again().await;
    let one = one.caught_up().await;
    until(|| one.store.untold() == 0).await;
    let late = Replica::start(&server).caught_up().await;
    until(|| late.heard().len() == 1).await;
}

#[tokio::test]
async fn what_is_not_understood_is_skipped_and_stops_nobody() {
    let server = Scratch::start().await;
    let [one, two] = [Replica::start(&server), Replica::start(&server)];
    let (one, two) = (one.caught_up().await, two.caught_up().await);
    let house = one.store.place("house", &[]);
    let write = |text: &[u8], stands| {
        let letters = vec![(rand::random(), stands, text.to_vec())];
        let store = Arc::clone(&one.store);
        async move { store.journal.write(&store, letters).await.unwrap() }
    };
    write(br#"{"SessionPaused":{"portal":"p"}}"#, Some(u64::MAX)).await;
    write(br#"{"SessionChanged":{"portal":"p"}}"#, None).await;
    write(b"\xff\0", None).await;
    write(br#""Lost""#, None).await;
    write(br#"{"SessionChanged":{"portal":"p","id":"1","why":"later"}}"#, None).await;
    let stream = two.key("journal");
    server.say(&["XADD", &stream, "*", "any", "thing"]);
    server.say(&["ZADD", &two.key("standing"), "99999999999", "something that is nothing of ours"]);
    one.tell(&changed(2)).await;
    let other = Store::new(
        server.plan("refuse", &["another another another another 32"]),
        Arc::new(SystemClock::new()),
        &Metrics::new(),
    );
    other.tell(ended("foreign")).await.unwrap();
    assert_eq!(other.place("house", &[]), house);
    one.tell(&changed(3)).await;
    two.hears(&[changed(1), changed(2), changed(3)]).await;
    assert_eq!((two.counted("skipped"), two.counted("lost")), (6, 0));
    let late = Replica::start(&server).caught_up().await;
    assert_eq!((late.heard(), late.counted("skipped")), (Vec::new(), 3));
}

#[tokio::test]
async fn what_was_told_once_and_is_written_again_by_somebody_does_no_harm() {
    let server = Scratch::start().await;
    let [one, two] = [Replica::start(&server), Replica::start(&server)];
    let (one, two) = (one.caught_up().await, two.caught_up().await);
    let over = Event::SessionEnded { portal: "p".to_owned(), session: "a".to_owned(), until: 5, asked: 1 };
    let house = one.store.place("house", &[]);
    let sealed = |event: &Event| one.store.seal_same(&house, SEALED, &serde_json::to_vec(event).unwrap());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let again = ended("b");
    one.tell(&again).await;
    for sealed in [sealed(&over), sealed(&again), one.store.seal(&house, 0, b"{}")] {
        let script = format!(
            "redis.call('XADD', KEYS[1], '*', 'o', 'x', 'p', 'x', 'm', 'y', 'e', '{0}') \
             redis.call('ZADD', KEYS[2], 99999999999, '{0}')",
            hex(&sealed)
        );
        let said = server.say(&["EVAL", &script, "2", &two.key("journal"), &two.key("standing")]);
        assert!(!said.contains("ERR"), "{said}");
    }
    one.tell(&changed(1)).await;
    until(|| two.heard().contains(&changed(1)) && two.heard().contains(&Event::Lost)).await;
    let mut heard: Vec<_> = two.heard().into_iter().filter(|event| *event != Event::Lost).collect();
    heard.dedup();
    assert_eq!(heard, [again, changed(1)]);
}

#[tokio::test]
async fn a_listener_that_panics_does_not_end_all_hearing() {
    let server = Scratch::start().await;
    let panics = |event: &Event| assert_ne!(*event, changed(1));
    let one = Replica::start_with(&server, Arc::new(SystemClock::new()), panics).caught_up().await;
    let two = Replica::start(&server).caught_up().await;
    two.tell(&changed(1)).await;
    two.tell(&changed(2)).await;
    one.hears(&[changed(1), changed(2)]).await;
}

#[tokio::test]
async fn who_goes_away_while_telling_has_told_all_the_same() {
    let server = Scratch::start().await;
    let [one, two] = [Replica::start(&server), Replica::start(&server)];
    let (one, two) = (one.caught_up().await, two.caught_up().await);
    for id in 0..20 {
        let store = Arc::clone(&one.store);
        let told = tokio::spawn(async move { store.tell(changed(id)).await });
        for _ in 0..id {
            tokio::task::yield_now().await;
        }
        told.abort();
        // Whatever has not begun was not asked for.
        if told.await.is_err_and(|error| error.is_cancelled()) && id == 0 {
            one.tell(&changed(id)).await;
        }
    }
    until(|| (0..20).all(|id| two.heard().contains(&changed(id)))).await;
}

#[tokio::test]
async fn an_event_that_does_not_open_is_heard_when_its_key_has_come() {
    let server = Scratch::start().await;
    let [old, new] = ["old old old old old old old 32!!!", "new new new new new new new 32!!!"];
    let plan = |keys: &[&str]| server.plan("refuse", keys);
    let (one, two) = (Replica::start(&server).caught_up().await, Replica::start(&server).caught_up().await);
    two.store.configure(plan(&[old]));
    one.store.configure(plan(&[new, old]));
    let event = ended("a");
    one.tell(&event).await;
    until(|| two.counted("skipped") == 1).await;
    two.store.configure(plan(&[new, old]));
    two.hears(&[event]).await;
}

#[tokio::test]
async fn whoever_starts_while_others_never_stop_telling_catches_up() {
    let server = Scratch::start().await;
    let busy: Vec<_> = (0..4).map(|_| Replica::start(&server)).collect();
    let telling = |replica: &Replica| {
        let store = Arc::clone(&replica.store);
        tokio::spawn(async move {
            for id in 0.. {
                drop(store.tell(changed(id)).await);
            }
        })
    };
    let telling: Vec<_> = busy.iter().flat_map(|replica| [(); 4].map(|()| telling(replica))).collect();
    until(|| busy[0].heard().len() > 100).await;
    let late = Replica::start(&server).caught_up().await;
    telling.iter().for_each(JoinHandle::abort);
    drop(late);
}

#[tokio::test]
async fn of_very_many_events_in_a_burst_none_is_lost() {
    const MANY: usize = 4000;
    let server = Scratch::start().await;
    let [one, two] = [Replica::start(&server), Replica::start(&server)];
    let (one, two) = (one.caught_up().await, two.caught_up().await);
    let tell = |id: usize| {
        let store = Arc::clone(&one.store);
        tokio::spawn(async move { store.tell(ended(&id.to_string())).await })
    };
    let tasks: Vec<_> = (0..MANY).map(tell).collect();
    for task in tasks {
        drop(task.await);
    }
    until(|| two.heard.lock().len() >= MANY).await;
    assert_eq!((two.heard().len(), two.counted("lost")), (MANY, 0));
    until(|| one.store.untold() == 0).await;
    let late = Replica::start(&server).caught_up().await;
    assert_eq!(late.heard().len(), MANY);
}

mod losses;
