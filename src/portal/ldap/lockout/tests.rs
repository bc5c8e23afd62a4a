use futures_util::future::join_all;

use super::*;
use crate::domain::{Clock, ManualClock};
use crate::store::scratch::Scratch;

const TERMS: Terms = Terms {
    attempts: 3,
    per_address: 20,
    per_user: 10,
    wait: Duration::from_secs(10),
    longest_wait: Duration::from_secs(80),
    forgotten_after: Duration::from_secs(3600),
};

/// Somebody who tries passwords as time goes by: at one lock alone, or in turn at those of replicas.
struct Stage {
    locks: Vec<Lockout>,
    server: Option<Scratch>,
    now: Moment,
    guesses: u32,
    tries: usize,
}

fn place(address: &str) -> Place {
    Place { address: address.parse().unwrap(), by: "form", device_of: None, device: None }
}

fn device(address: &str, user: &str) -> Place {
    Place { device_of: Some(user.to_owned()), device: Some(format!("device of {user}")), ..place(address) }
}

impl Stage {
    fn alone() -> Self {
        let now = Moment::from_millis(5_000_000);
        let locks = vec![Lockout::new("p", &Sessions::new(0))];
        Self { locks, server: None, now, guesses: 0, tries: 0 }
    }

    async fn replicas(when_down: &str) -> Self {
        let server = Scratch::start().await;
        let lock = |()| {
            let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
            let sessions = Sessions::new(0);
            sessions.share(&server.store_when_down(when_down, clock));
            Lockout::new("p", &sessions)
        };
        let locks = [(); 3].map(lock).into();
        Self { locks, server: Some(server), ..Self::alone() }
    }

    /// Both: what holds of one holds of the other.
    async fn both() -> [Self; 2] {
        [Self::alone(), Self::replicas("refuse").await]
    }

    /// The store has a clock of its own, so all that stands there gets older instead.
    fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.counters_get_older(i64::try_from(seconds).unwrap());
    }

    fn counters_get_older(&self, seconds: i64) {
        if let Some(server) = &self.server {
            let key = |suffix: &str| {
                let keys = server.say(&["KEYS", &format!("*:{suffix}")]);
                keys.lines().next().unwrap_or("none").to_owned()
            };
            let [counts, ages] = ["counts", "ages"].map(key);
            let millis = (seconds * 1000).to_string();
            let said = server.say(&["EVAL", include_str!("older.lua"), "2", &counts, &ages, &millis]);
            assert_eq!(said.trim(), "1");
        }
    }

    fn mark(&self, parts: &[&str]) -> Mark {
        self.locks[0].mark(parts)
    }

    async fn admit(&mut self, name: &str, guess: Mark, place: &Place) -> (usize, Result<Try, u64>) {
        self.tries += 1;
        let at = self.tries % self.locks.len();
        let tried = self.locks[at].admit(&TERMS, name, guess, place, self.now).await;
        // Real time goes by as well, at the store.
        (at, tried.map_err(|wait| u64::try_from(wait.as_millis().div_ceil(10_000) * 10).unwrap()))
    }

    /// Tries a wrong password that nobody tried before. The wait in seconds, or nothing where it was tried.
    async fn wrong(&mut self, name: &str, place: &Place) -> Option<u64> {
        self.guesses += 1;
        let guess = self.guesses;
        self.wrong_again(guess, name, place).await
    }

    async fn wrong_again(&mut self, guess: u32, name: &str, place: &Place) -> Option<u64> {
        let guess = self.mark(&["guess", &guess.to_string()]);
        match self.admit(name, guess, place).await {
            (at, Ok(tried)) => {
                self.locks[at].wrong(&tried, self.now).await;
                None
            }
            (_, Err(wait)) => Some(wait),
        }
    }

    /// Tries the right password.
    async fn right(&mut self, name: &str, user: &str, place: &Place) -> Option<u64> {
        let guess = self.mark(&["right", user]);
        match self.admit(name, guess, place).await {
            (at, Ok(tried)) => {
                self.locks[at].right(tried, name, user, place, self.now).await;
                None
            }
            (_, Err(wait)) => Some(wait),
        }
    }
}

#[tokio::test]
async fn after_some_wrong_passwords_there_are_waits_that_double_up_to_a_bound_and_are_forgotten() {
    let home = place("192.0.2.1");
    for mut stage in Stage::both().await {
        for wrong in 0..3 {
            assert_eq!(stage.wrong("ana", &home).await, None, "{wrong}");
        }
        for expected in [10, 20, 40, 80, 80, 80] {
            assert_eq!(stage.wrong("ana", &home).await, Some(expected));
            assert_eq!(stage.right("ana", "ana", &home).await, Some(expected), "nobody is asked, so nothing is told");
            stage.wait(expected);
            assert_eq!(stage.wrong("ana", &home).await, None, "{expected}");
        }
        assert_eq!(stage.wrong("ben", &home).await, None, "others are not held up");
        stage.wait(3601);
        for wrong in 0..3 {
            assert_eq!(stage.wrong("ana", &home).await, None, "{wrong}");
        }
        assert_eq!(stage.wrong("ana", &home).await, Some(10));
    }
}

#[tokio::test]
async fn a_server_whose_clock_is_behind_has_nobody_wait_longer_than_the_longest() {
    let (home, mut stage) = (place("192.0.2.1"), Stage::replicas("refuse").await);
    for _ in 0..3 {
        stage.wrong("ana", &home).await;
    }
    assert_eq!(stage.wrong("ana", &home).await, Some(10));
    stage.counters_get_older(-7200);
    assert_eq!(stage.wrong("ana", &home).await, Some(80));
}

#[tokio::test]
async fn a_right_password_ends_what_was_counted_of_the_name_from_there() {
    let places = [place("192.0.2.1"), device("192.0.2.1", "ana")];
    for mut stage in Stage::both().await {
        for round in 0..50 {
            let from = &places[round % 2];
            assert_eq!(stage.wrong("ana", from).await, None);
            assert_eq!(stage.wrong("ana", from).await, None);
            assert_eq!(stage.right("ana", "ana", from).await, None);
            // Else all that one network gets wrong in an hour adds up.
            stage.wait(3601);
        }
    }
}

#[tokio::test]
async fn the_same_wrong_password_again_is_no_new_guess() {
    let home = place("192.0.2.1");
    for mut stage in Stage::both().await {
        for _ in 0..1000 {
            assert_eq!(stage.wrong_again(7, "ana", &home).await, None, "a telephone that does not know better");
        }
        assert_eq!(stage.wrong("ana", &home).await, None);
    }
}

#[tokio::test]
async fn a_strangers_guesses_make_the_stranger_wait_and_nobody_who_was_there_before() {
    let home = place("192.0.2.1");
    for mut stage in Stage::both().await {
        assert_eq!(stage.right("ana", "ana", &home).await, None);
        let mut held_up = 0;
        for stranger in 0..200 {
            // From as many addresses as it takes.
            held_up += u32::from(stage.wrong("ana", &place(&format!("198.51.100.{stranger}"))).await.is_some());
        }
        assert!(held_up > 180, "they are counted together: {held_up}");
        assert_eq!(stage.right("ana", "ana", &home).await, None, "from where she signed in before");
        assert_eq!(
            stage.right("ana", "ana", &device("203.0.113.9", "ana")).await,
            None,
            "with a browser she used before"
        );
        assert_eq!(stage.wrong("ana", &device("203.0.113.10", "ben")).await, Some(10), "but with no other person's");
        let first_time = stage.right("ana", "ana", &place("203.0.113.11")).await;
        assert!(first_time.is_some_and(|wait| wait <= 60), "a stranger waits, and not for ever: {first_time:?}");
    }
}

#[tokio::test]
async fn a_network_from_which_much_is_guessed_waits_but_for_who_was_there_before() {
    let office = place("2001:db8:1:2::3");
    for mut stage in Stage::both().await {
        assert_eq!(stage.right("ana", "ana", &office).await, None);
        let mut tried = 0;
        for n in 0..100 {
            let from = place(&format!("2001:db8:1:2:{n:x}::1"));
            tried += u32::from(stage.wrong(&format!("nobody-{n}"), &from).await.is_none());
        }
        assert_eq!(tried, 20, "one customer has many addresses in IPv6, and all are one");
        assert_eq!(stage.right("ana", "ana", &office).await, None);
        assert_eq!(stage.right("ben", "ben", &device("2001:db8:1:2::4", "ben")).await, None);
        assert!(stage.wrong("cleo", &office).await.is_some());
        assert_eq!(stage.wrong("cleo", &place("2001:db8:1:3::3")).await, None, "the neighbours are others");
    }
}

#[tokio::test]
async fn spellings_that_the_directory_said_to_be_one_are_counted_as_one() {
    let (home, away) = (place("192.0.2.1"), place("198.51.100.1"));
    for mut stage in Stage::both().await {
        assert_eq!(stage.right("ana@example.test", "ana", &home).await, None);
        assert_eq!(stage.wrong("ana@example.test", &away).await, None);
        assert_eq!(stage.wrong("ana", &away).await, None);
        assert_eq!(stage.wrong("ana@example.test", &away).await, None);
        assert_eq!(stage.wrong("ana", &away).await, Some(10));
        assert_eq!(stage.wrong("ana@example.test", &away).await, Some(10));
    }
}

#[tokio::test]
async fn who_asks_often_at_once_gets_not_ahead_of_the_counter_and_an_outage_counts_for_nothing() {
    let home = place("192.0.2.1");
    for mut stage in Stage::both().await {
        let guesses: Vec<Mark> = (0..100).map(|guess| stage.mark(&["at once", &guess.to_string()])).collect();
        let all = guesses.into_iter().enumerate().map(|(at, guess)| {
            let at = at % stage.locks.len();
            let admitted = stage.locks[at].admit(&TERMS, "ana", guess, &home, stage.now);
            async move { admitted.await.ok().map(|tried| (at, tried)) }
        });
        let under_way: Vec<(usize, Try)> = join_all(all).await.into_iter().flatten().collect();
        assert_eq!(under_way.len(), 3);
        for (at, tried) in under_way.iter().rev() {
            stage.locks[*at].unknown(tried, stage.now).await;
        }
        for wrong in 0..3 {
            assert_eq!(stage.wrong("ana", &home).await, None, "{wrong}");
        }
        assert_eq!(stage.wrong("ana", &home).await, Some(10));
    }
}

#[tokio::test]
async fn memory_has_a_bound_and_a_flood_of_names_frees_nobody_from_waiting() {
    for mut stage in Stage::both().await {
        for lock in &mut stage.locks {
            lock.most = 300;
            let mut memory = lock.memory.lock();
            (memory.counts, memory.tried) = (Bounded::new(300), Bounded::new(300));
        }
        let guesser = place("192.0.2.1");
        for _ in 0..4 {
            stage.wrong("ana", &guesser).await;
        }
        for n in 0..2000_u32 {
            stage.wrong(&format!("name-{n}"), &place(&format!("198.51.{}.{}", n / 250, n % 250))).await;
        }
        for lock in &stage.locks {
            assert!(lock.memory.lock().counts.len() <= 300);
        }
        if let Some(server) = &stage.server {
            let many = |command, suffix: &str| {
                let key = server.say(&["KEYS", &format!("*:{suffix}")]);
                server.say(&[command, key.trim()]).trim().parse::<u32>().unwrap()
            };
            assert_eq!((many("HLEN", "counts"), many("ZCARD", "ages"), many("ZCARD", "tried")), (300, 300, 300));
        }
        assert!(stage.wrong("ana", &guesser).await.is_some());
    }
}

#[tokio::test]
async fn replicas_agree_on_whose_a_spelling_is_and_where_somebody_was_before() {
    let (home, away) = (place("192.0.2.1"), place("198.51.100.1"));
    let mut stage = Stage::replicas("refuse").await;
    assert_eq!(stage.right("ana@example.test", "ana", &home).await, None);
    for n in 0..20 {
        stage.wrong("ana", &place(&format!("203.0.113.{n}"))).await;
    }
    for _ in 0..3 {
        assert_eq!(stage.right("ana@example.test", "ana", &home).await, None, "each of them knows her there");
    }
    assert!(stage.right("ana@example.test", "ana", &away).await.is_some());
    // The spelling is somebody else's now.
    assert_eq!(stage.right("ana@example.test", "ben", &home).await, None);
    assert_eq!(stage.right("ana@example.test", "ben", &away).await, None);
    let everything = stage.server.as_ref().unwrap().everything();
    assert!(everything.contains(":known") && everything.contains(":names"), "{everything}");
    for readable in ["ana", "ben", "192.0.2.1", "198.51.100.1", "example"] {
        assert!(!everything.contains(readable), "{readable} in {everything}");
    }
}

#[tokio::test]
async fn while_the_store_cannot_be_asked_each_replica_goes_on_with_what_it_has_counted_itself() {
    for when_down in ["refuse", "login"] {
        let home = place("192.0.2.1");
        let mut stage = Stage::replicas(when_down).await;
        assert_eq!(stage.right("ana", "ana", &home).await, None);
        for _ in 0..2 {
            assert_eq!(stage.wrong("ben", &home).await, None);
        }
        let (at, under_way) = stage.admit("cleo", stage.mark(&["at once"]), &home).await;
        stage.server.as_ref().unwrap().stop();
        stage.server = None;
        stage.locks[at].wrong(&under_way.ok().unwrap(), stage.now).await;
        // Nobody is locked out, and nobody has more than one replica's guesses at each of three.
        let mut tried = 0;
        for _ in 0..100 {
            tried += u32::from(stage.wrong("ben", &home).await.is_none());
        }
        assert_eq!(tried, 7, "three times three, and two were counted before");
        assert!(stage.right("ben", "ben", &home).await.is_some());
        assert_eq!(stage.right("ana", "ana", &home).await, None);
        stage.wait(10);
        assert_eq!(stage.right("ben", "ben", &home).await, None, "nobody is locked out for good");
    }
}

#[tokio::test]
async fn of_many_guesses_at_all_replicas_at_once_no_more_are_tried_than_at_one() {
    let stage = Stage::replicas("refuse").await;
    let (marks, now) = (Arc::new(Stage::alone()), stage.now);
    let locks: Vec<Arc<Lockout>> = stage.locks.into_iter().map(Arc::new).collect();
    let all = (0..300_usize).map(|guess| {
        let (lock, guess) = (Arc::clone(&locks[guess % 3]), marks.mark(&["guess", &guess.to_string()]));
        tokio::spawn(async move {
            let home = place("192.0.2.1");
            match lock.admit(&TERMS, "ana", guess, &home, now).await {
                Ok(tried) => {
                    lock.wrong(&tried, now).await;
                    1
                }
                Err(_) => 0,
            }
        })
    });
    let tried: u32 = join_all(all).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(tried, 3);
    drop(stage.server);
}
