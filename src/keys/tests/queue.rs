//! More people than places: in order of arrival, and nobody's place is kept for those who have gone.

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;
use crate::backend::LoginPlace;

const ROOM: usize = 20_000;
const MOMENT: Duration = Duration::from_millis(100);

impl World {
    /// Where one is signed in at a time, and the back-end says when.
    fn with_one_place() -> Arc<Self> {
        Self::with_one_place_and(Script { gate: Some(Semaphore::new(0)), ..Script::default() }, SECONDS(100))
    }

    /// Where one is signed in at a time, and nobody waits for longer than this.
    fn with_one_place_and(script: Script, patience: Duration) -> Arc<Self> {
        let world = Self::with_limit(script, ROOM);
        let limits = BackendLimits { max_logins: 1, login_timeout: patience, ..limits() };
        let backend = guarded_with(limits, "mail", &world.script, &world.metrics, world.clock.clone());
        world.store.configure(ROOM, &[Arc::clone(&backend)]);
        Arc::new(Self { backend, ..world })
    }

    /// The same while somebody else has the place for as long as it takes. People are told to come back after ten
    /// seconds.
    async fn with_no_place(then: impl AsyncFnOnce(Arc<Self>, LoginPlace<'_>)) {
        let world = Self::with_one_place_and(Script::default(), SECONDS(10));
        let backend = Arc::clone(&world.backend);
        then(world, backend.login_place().await).await;
    }

    /// Asks and goes on waiting.
    async fn begin(self: &Arc<Self>, who: Who) -> JoinHandle<Obtained> {
        let world = Arc::clone(self);
        let asked = tokio::spawn(async move { world.ask(&who).await });
        self.settle().await;
        asked
    }

    /// Asks, and hangs up a second later.
    async fn come_and_go(&self, who: &Who) {
        assert!(timeout(SECONDS(1), self.ask(who)).await.is_err());
        self.settle().await;
    }

    /// Asks, and is told to come back.
    async fn come_in_vain(&self, who: &Who) {
        assert!(matches!(self.ask(who).await, Obtained::Busy));
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
async fn whoever_hangs_up_is_passed_over_when_their_turn_comes() {
    World::with_no_place(async |world, place| {
        world.come_and_go(&ANA).await;
        let next = world.begin(BEN).await;
        assert_eq!(world.store.len(), 2);
        drop(place);
        assert_eq!(key(&next.await.unwrap()), "ben-1", "without a moment's wait");
        world.settle().await;
        assert_eq!((world.logins(), world.store.len()), (1, 1));
        // She begins anew.
        assert_eq!(key(&world.ask(&ANA).await), "ana-2");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_hangs_up_and_does_not_ask_again_leaves_nothing() {
    World::with_no_place(async |world, _place| {
        world.come_and_go(&ANA).await;
        world.wait(SECONDS(2) - MOMENT).await;
        assert_eq!(world.store.len(), 1);
        world.wait(MOMENT).await;
        assert!(world.store.is_empty() && !world.store.turns.are_taken());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_loads_a_page_anew_is_where_they_were() {
    World::with_no_place(async |world, place| {
        world.come_and_go(&ANA).await;
        let later = world.begin(BEN).await;
        // However often.
        for _ in 0..3 {
            world.wait(SECONDS(1)).await;
            world.come_and_go(&ANA).await;
        }
        let anew = world.begin(ANA).await;
        drop(place);
        assert_eq!(key(&anew.await.unwrap()), "ana-1");
        assert_eq!(key(&later.await.unwrap()), "ben-2");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_was_told_to_come_back_is_signed_in_when_their_turn_comes() {
    World::with_no_place(async |world, place| {
        world.come_in_vain(&ANA).await;
        let later = world.begin(BEN).await;
        world.wait(SECONDS(10) - MOMENT).await;
        drop(place);
        assert_eq!(key(&later.await.unwrap()), "ben-2");
        assert_eq!((key(&world.ask(&ANA).await).as_str(), world.logins()), ("ana-1", 2), "signed in meanwhile");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_back_in_time_again_and_again_is_where_they_were() {
    World::with_no_place(async |world, place| {
        world.come_in_vain(&ANA).await;
        for _ in 0..4 {
            world.wait(SECONDS(9)).await;
            world.come_in_vain(&ANA).await;
        }
        let later = world.begin(BEN).await;
        drop(place);
        world.settle().await;
        assert_eq!((key(&world.ask(&ANA).await).as_str(), world.logins()), ("ana-1", 2));
        assert_eq!(key(&later.await.unwrap()), "ben-2");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_was_told_to_come_back_and_does_not_loses_their_place() {
    World::with_no_place(async |world, place| {
        world.come_in_vain(&ANA).await;
        world.wait(SECONDS(10)).await;
        assert!(world.store.is_empty() && !world.store.turns.are_taken());
        drop(place);
        assert_eq!(key(&world.ask(&BEN).await), "ben-1");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_who_hangs_up_costs_no_other_of_the_same_person_their_place() {
    // One is told to come back, and another hangs up after that.
    World::with_no_place(async |world, place| {
        let (told, gone) = (world.begin(ANA).await, world.begin(ANA).await);
        world.wait(SECONDS(5)).await;
        gone.abort();
        assert!(matches!(told.await, Ok(Obtained::Busy)));
        world.come_and_go(&ANA).await;
        world.wait(SECONDS(8)).await;
        drop(place);
        world.settle().await;
        assert_eq!((key(&world.ask(&ANA).await).as_str(), world.logins()), ("ana-1", 1));
    })
    .await;
    // One hangs up, and another waits on.
    World::with_no_place(async |world, place| {
        let (first, other) = (world.begin(ANA).await, world.begin(ANA).await);
        first.abort();
        let later = world.begin(BEN).await;
        world.wait(SECONDS(5)).await;
        drop(place);
        assert_eq!(key(&other.await.unwrap()), "ana-1");
        assert_eq!(key(&later.await.unwrap()), "ben-2");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn to_come_back_and_hang_up_gains_no_time() {
    World::with_no_place(async |world, place| {
        world.come_in_vain(&ANA).await;
        for _ in 0..8 {
            world.come_and_go(&ANA).await;
        }
        world.wait(SECONDS(1)).await;
        world.come_and_go(&ANA).await;
        let next = world.begin(BEN).await;
        drop(place);
        assert_eq!(key(&next.await.unwrap()), "ben-1");
        world.settle().await;
        assert_eq!((world.logins(), world.store.len()), (1, 1));
    })
    .await;
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
    world.wait(SECONDS(2)).await;
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
    assert!(timeout(SECONDS(1), world.ask_for(&ANA, true)).await.is_err());
    world.wait(SECONDS(2)).await;
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
    let all = join_all(people.iter().map(|who| timeout(SECONDS(1), world.ask(who))));
    assert!(all.await.iter().all(Result::is_err));
    assert_eq!((tasks(), world.store.len()), (before + 10_000, 10_001));
    world.wait(SECONDS(2)).await;
    assert_eq!((tasks(), world.store.len(), world.store.sessions.len()), (before, 1, 1));
    // Nobody stands between her and the next.
    let next = world.begin(BEN).await;
    world.open(2);
    assert_eq!(key(&first.await.unwrap()), "ana-1");
    assert_eq!(key(&next.await.unwrap()), "ben-2");
    assert_eq!(world.logins(), 2);
    assert!(!world.store.turns.are_taken());
}

#[tokio::test(start_paused = true)]
async fn five_thousand_who_hang_up_at_once_hold_up_nobody() {
    World::with_no_place(async |world, place| {
        let people: Vec<Who> = (0..5_000).map(person).collect();
        let all = join_all(people.iter().map(|who| timeout(SECONDS(1), world.ask(who))));
        assert!(all.await.iter().all(Result::is_err));
        let next = world.begin(BEN).await;
        drop(place);
        let since = Instant::now();
        assert_eq!(key(&next.await.unwrap()), "ben-1");
        world.settle().await;
        assert_eq!((since.elapsed(), world.logins(), world.store.len()), (Duration::ZERO, 1, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_signs_out_while_they_queue_is_passed_over() {
    World::with_no_place(async |world, place| {
        let asked = world.begin(ANA).await;
        let next = world.begin(BEN).await;
        world.store.revoke("portal", ANA.sid, 2_000_000);
        drop(place);
        assert_eq!(key(&next.await.unwrap()), "ben-1");
        assert!(matches!(asked.await, Ok(Obtained::Revoked)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_login_that_breaks_off_leaves_its_place_to_the_next() {
    World::with_no_place(async |world, place| {
        let broken = world.begin(Who { password: "panic", ..ANA }).await;
        let next = world.begin(BEN).await;
        drop(place);
        assert!(matches!(broken.await, Ok(Obtained::Unavailable(Outage::Protocol(_)))));
        assert_eq!(key(&next.await.unwrap()), "ben-2");
    })
    .await;
}
