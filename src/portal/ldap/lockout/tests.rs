use super::*;

const TERMS: Terms = Terms {
    attempts: 3,
    per_address: 20,
    per_user: 10,
    wait: Duration::from_secs(10),
    longest_wait: Duration::from_secs(80),
    forgotten_after: Duration::from_secs(3600),
};

/// Somebody who tries passwords at a lock, as time goes by.
struct Stage {
    lockout: Lockout,
    now: Moment,
    guesses: u32,
}

fn place(address: &str) -> Place {
    Place { address: address.parse().unwrap(), by: "form", device_of: None, device: None }
}

fn device(address: &str, user: &str) -> Place {
    Place { device_of: Some(user.to_owned()), device: Some(format!("device of {user}")), ..place(address) }
}

impl Stage {
    fn new() -> Self {
        let now = Moment::from_millis(5_000_000);
        Self { lockout: Lockout::new("p", &Sessions::new(0)), now, guesses: 0 }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    /// Tries a wrong password that nobody tried before. The wait in seconds, or nothing where it was tried.
    fn wrong(&mut self, name: &str, place: &Place) -> Option<u64> {
        self.guesses += 1;
        let guess = self.guesses;
        self.wrong_again(guess, name, place)
    }

    fn wrong_again(&mut self, guess: u32, name: &str, place: &Place) -> Option<u64> {
        let guess = self.lockout.mark(&["guess", &guess.to_string()]);
        match self.lockout.admit(&TERMS, name, guess, place, self.now) {
            Ok(tried) => {
                self.lockout.wrong(&tried, self.now);
                None
            }
            Err(wait) => Some(wait.as_secs()),
        }
    }

    /// Tries the right password.
    fn right(&mut self, name: &str, user: &str, place: &Place) -> Option<u64> {
        let guess = self.lockout.mark(&["right", user]);
        match self.lockout.admit(&TERMS, name, guess, place, self.now) {
            Ok(tried) => {
                self.lockout.right(tried, name, user, place, self.now);
                None
            }
            Err(wait) => Some(wait.as_secs()),
        }
    }
}

#[test]
fn after_some_wrong_passwords_there_are_waits_that_double_up_to_a_bound_and_are_forgotten() {
    let (mut stage, home) = (Stage::new(), place("192.0.2.1"));
    for wrong in 0..3 {
        assert_eq!(stage.wrong("ana", &home), None, "{wrong}");
    }
    for expected in [10, 20, 40, 80, 80, 80] {
        assert_eq!(stage.wrong("ana", &home), Some(expected));
        assert_eq!(stage.right("ana", "ana", &home), Some(expected), "nobody is asked, so nothing is told");
        stage.wait(expected);
        assert_eq!(stage.wrong("ana", &home), None, "{expected}");
    }
    assert_eq!(stage.wrong("ben", &home), None, "others are not held up");
    stage.wait(3601);
    for wrong in 0..3 {
        assert_eq!(stage.wrong("ana", &home), None, "{wrong}");
    }
    assert_eq!(stage.wrong("ana", &home), Some(10));
}

#[test]
fn a_right_password_ends_what_was_counted_of_the_name_from_there() {
    let (mut stage, home) = (Stage::new(), place("192.0.2.1"));
    for _ in 0..50 {
        assert_eq!(stage.wrong("ana", &home), None);
        assert_eq!(stage.wrong("ana", &home), None);
        assert_eq!(stage.right("ana", "ana", &home), None);
        // Else all that one network gets wrong in an hour adds up.
        stage.wait(3601);
    }
}

#[test]
fn the_same_wrong_password_again_is_no_new_guess() {
    let (mut stage, home) = (Stage::new(), place("192.0.2.1"));
    for _ in 0..1000 {
        assert_eq!(stage.wrong_again(7, "ana", &home), None, "a telephone that does not know better");
    }
    assert_eq!(stage.wrong("ana", &home), None);
}

#[test]
fn a_strangers_guesses_make_the_stranger_wait_and_nobody_who_was_there_before() {
    let (mut stage, home) = (Stage::new(), place("192.0.2.1"));
    assert_eq!(stage.right("ana", "ana", &home), None);
    let mut held_up = 0;
    for stranger in 0..200 {
        // From as many addresses as it takes.
        held_up += u32::from(stage.wrong("ana", &place(&format!("198.51.100.{stranger}"))).is_some());
    }
    assert!(held_up > 180, "they are counted together: {held_up}");
    assert_eq!(stage.right("ana", "ana", &home), None, "from where she signed in before");
    assert_eq!(stage.right("ana", "ana", &device("203.0.113.9", "ana")), None, "with a browser she used before");
    assert_eq!(stage.wrong("ana", &device("203.0.113.10", "ben")), Some(10), "but with no other person's");
    let first_time = stage.right("ana", "ana", &place("203.0.113.11"));
    assert!(first_time.is_some_and(|wait| wait <= 60), "a stranger waits, and not for ever: {first_time:?}");
}

#[test]
fn a_network_from_which_much_is_guessed_waits_but_for_who_was_there_before() {
    let (mut stage, office) = (Stage::new(), place("2001:db8:1:2::3"));
    assert_eq!(stage.right("ana", "ana", &office), None);
    let tried = (0..100).filter(|n| {
        let from = place(&format!("2001:db8:1:2:{n:x}::1"));
        stage.wrong(&format!("nobody-{n}"), &from).is_none()
    });
    assert_eq!(tried.count(), 20, "one customer has many addresses in IPv6, and all are one");
    assert_eq!(stage.right("ana", "ana", &office), None);
    assert_eq!(stage.right("ben", "ben", &device("2001:db8:1:2::4", "ben")), None);
    assert!(stage.wrong("cleo", &office).is_some());
    assert_eq!(stage.wrong("cleo", &place("2001:db8:1:3::3")), None, "the neighbours are others");
}

#[test]
fn spellings_that_the_directory_said_to_be_one_are_counted_as_one() {
    let (mut stage, home, away) = (Stage::new(), place("192.0.2.1"), place("198.51.100.1"));
    assert_eq!(stage.right("ana@example.test", "ana", &home), None);
    assert_eq!(stage.wrong("ana@example.test", &away), None);
    assert_eq!(stage.wrong("ana", &away), None);
    assert_eq!(stage.wrong("ana@example.test", &away), None);
    assert_eq!(stage.wrong("ana", &away), Some(10));
    assert_eq!(stage.wrong("ana@example.test", &away), Some(10));
}

#[test]
fn who_asks_often_at_once_gets_not_ahead_of_the_counter_and_an_outage_counts_for_nothing() {
    let (mut stage, home) = (Stage::new(), place("192.0.2.1"));
    let admit = |stage: &Stage, guess: u32| {
        let guess = stage.lockout.mark(&["guess", &guess.to_string()]);
        stage.lockout.admit(&TERMS, "ana", guess, &home, stage.now).ok()
    };
    let under_way: Vec<Try> = (0..100).filter_map(|guess| admit(&stage, guess)).collect();
    assert_eq!(under_way.len(), 3);
    for tried in under_way.iter().rev() {
        stage.lockout.unknown(tried, stage.now);
    }
    for wrong in 0..3 {
        assert_eq!(stage.wrong("ana", &home), None, "{wrong}");
    }
    assert_eq!(stage.wrong("ana", &home), Some(10));
}

#[test]
fn memory_has_a_bound_and_a_flood_of_names_frees_nobody_from_waiting() {
    let mut stage = Stage::new();
    stage.lockout.memory.lock().counts = Bounded::new(300);
    stage.lockout.memory.lock().tried = Bounded::new(300);
    let guesser = place("192.0.2.1");
    for _ in 0..4 {
        stage.wrong("ana", &guesser);
    }
    for n in 0..2000_u32 {
        stage.wait(0);
        stage.wrong(&format!("name-{n}"), &place(&format!("198.51.{}.{}", n / 250, n % 250)));
    }
    assert!(stage.lockout.memory.lock().counts.len() <= 300);
    assert!(stage.wrong("ana", &guesser).is_some());
}
