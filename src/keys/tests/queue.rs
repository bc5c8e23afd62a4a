//! More people than places: in order of arrival, and nobody's place is kept for those who have gone.

use super::*;

const ROOM: usize = 20_000;

impl World {
    /// Where one is signed in at a time, and the back-end says when.
    fn with_one_place() -> Arc<Self> {
        let world = Self::with_limit(Script { gate: Some(Semaphore::new(0)), ..Script::default() }, ROOM);
        let limits = BackendLimits { max_logins: 1, login_timeout: SECONDS(100), ..limits() };
        let backend = guarded_with(limits, "mail", &world.script, &world.metrics, world.clock.clone());
        world.store.configure(ROOM, &[Arc::clone(&backend)]);
        Arc::new(Self { backend, ..world })
    }

    /// Asks and goes on waiting.
    async fn begin(self: &Arc<Self>, who: Who) -> tokio::task::JoinHandle<Obtained> {
        let world = Arc::clone(self);
        let asked = tokio::spawn(async move { world.ask(&who).await });
        self.settle().await;
        asked
    }

    /// Asks, and gives up a second later.
    async fn come_and_go(&self, who: &Who) {
        self.clock.advance(SECONDS(1));
        assert!(tokio::time::timeout(SECONDS(1), self.ask(who)).await.is_err());
        self.settle().await;
    }

    async fn wait(&self, time: Duration) {
        self.clock.advance(time);
        tokio::time::sleep(time).await;
        self.settle_all().await;
    }

    fn open(&self, permits: usize) {
        self.script.gate.as_ref().unwrap().add_permits(permits);
    }
}

impl World {
    /// The same where thousands can run.
    pub(super) async fn settle_all(&self) {
        for _ in 0..30 {
            self.settle().await;
        }
    }
}

fn person(number: usize) -> Who {
    Who { sid: format!("sid-{number:020}").leak(), user: format!("user{number}").leak(), ..ANA }
}

#[tokio::test(start_paused = true)]
async fn people_are_signed_in_in_order_of_arrival() {
    let world = World::with_one_place();
    let people: Vec<Who> = (1..=50).map(person).collect();
    let all = join_all(people.iter().map(|who| world.ask(who)));
    let (all, ()) = tokio::join!(all, async {
        for number in 1..=50 {
            world.settle().await;
            assert_eq!(world.logins(), number, "one at a time");
            world.open(1);
        }
    });
    for (number, obtained) in (1..).zip(&all) {
        assert_eq!(key(obtained), format!("user{number}-{number}"));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_holds_no_place_and_the_next_has_it_at_once() {
    let world = World::with_one_place();
    let first = world.begin(person(1)).await;
    world.come_and_go(&ANA).await;
    let next = world.begin(BEN).await;
    assert_eq!(world.store.len(), 3);
    world.wait(SECONDS(10)).await;
    assert_eq!(world.store.len(), 2, "Ana's is vacant again, though it was not her turn yet");
    world.open(2);
    assert_eq!(key(&first.await.unwrap()), "user1-1");
    assert_eq!(key(&next.await.unwrap()), "ben-2");
    // She begins anew.
    world.open(1);
    assert_eq!(key(&world.ask(&ANA).await), "ana-3");
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_back_in_time_finds_their_place() {
    let world = World::with_one_place();
    let first = world.begin(person(1)).await;
    world.come_and_go(&ANA).await;
    let later = world.begin(BEN).await;
    for _ in 0..4 {
        world.wait(SECONDS(8)).await;
        world.come_and_go(&ANA).await;
    }
    world.wait(SECONDS(8)).await;
    world.open(3);
    world.settle().await;
    assert_eq!(key(&first.await.unwrap()), "user1-1");
    assert_eq!(key(&later.await.unwrap()), "ben-3");
    assert_eq!((key(&world.ask(&ANA).await).as_str(), world.logins()), ("ana-2", 3), "signed in meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_login_under_way_is_never_broken_off() {
    let world = World::with_one_place();
    world.come_and_go(&ANA).await;
    world.wait(SECONDS(90)).await;
    world.open(1);
    world.settle().await;
    assert_eq!((key(&world.ask(&ANA).await).as_str(), world.logins()), ("ana-1", 1));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_another_login_of_theirs_and_gives_up_leaves_nothing() {
    let world = World::with_one_place();
    let first = world.begin(ANA).await;
    let elsewhere = Who { sid: "sid-of-ana-0000002", ..ANA };
    world.come_and_go(&elsewhere).await;
    world.wait(SECONDS(10)).await;
    assert_eq!(world.store.len(), 1);
    world.open(1);
    assert_eq!(key(&first.await.unwrap()), "ana-1");
    assert!(!world.store.turns.are_taken());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_nobody_waits_for_leaves_the_keys_that_are_held() {
    let world = World::with_one_place();
    world.open(1);
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    let first = world.begin(BEN).await;
    assert!(tokio::time::timeout(SECONDS(1), world.ask_for(&ANA, true)).await.is_err());
    world.wait(SECONDS(10)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    world.open(1);
    assert_eq!(key(&first.await.unwrap()), "ben-2");
    world.settle().await;
    assert!(world.script.logouts.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_who_come_and_go_leave_nothing_behind() {
    let world = World::with_one_place();
    let first = world.begin(ANA).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let people: Vec<Who> = (0..10_000).map(person).collect();
    let all = join_all(people.iter().map(|who| tokio::time::timeout(SECONDS(1), world.ask(who))));
    assert!(all.await.iter().all(Result::is_err));
    assert_eq!((tasks(), world.store.len()), (before + 10_000, 10_001));
    world.wait(SECONDS(10)).await;
    assert_eq!((tasks(), world.store.len(), world.store.sessions.len()), (before, 1, 1));
    // Nobody stands between her and the next.
    let next = world.begin(BEN).await;
    world.open(2);
    assert_eq!(key(&first.await.unwrap()), "ana-1");
    assert_eq!(key(&next.await.unwrap()), "ben-2");
    assert_eq!(world.logins(), 2);
    assert!(!world.store.turns.are_taken());
}
