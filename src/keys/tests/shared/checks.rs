//! One check for all replicas, and what the others do meanwhile.

use super::*;

/// Longer than any test: whoever waits for the end of a turn fails.
const NEVER: Duration = Duration::from_secs(600);

/// A house where somebody's keys are overdue at two replicas, of which the first is being asked whether they live.
async fn checking(login_timeout: Duration, other: impl Fn(&House) -> Replica) -> (House, Replica, Replica) {
    let mut house = House::new(Script { gate: Some(Semaphore::new(1)), ..Script::default() }).await;
    house.limits.login_timeout = login_timeout;
    let [checks, waits] = [house.replica(), other(&house)];
    until("the journal is read", || checks.store.is_caught_up()).await;
    for replica in [&checks, &waits] {
        replica.seek_nothing().await;
        assert_eq!(key(&replica.ask(&ANA).await), "ana-1");
    }
    house.age(SECONDS(600));
    for replica in [&checks, &waits] {
        replica.age(SECONDS(600));
    }
    (house, checks, waits)
}

/// What somebody gets who asks at the second while the first waits for the back-end.
async fn both_asked(house: &House, checks: &Replica, waits: &Replica) -> [JoinHandle<Obtained>; 2] {
    let first = checks.begin(&ANA);
    until("the back-end is asked", || house.checks() == 1).await;
    let second = waits.begin(&ANA);
    until("the other waits", || house.somebody_waits()).await;
    [first, second]
}

async fn soon(asked: JoinHandle<Obtained>) -> String {
    key(&tokio::time::timeout(SECONDS(60), asked).await.expect("an answer within a minute").unwrap())
}

fn is_settled(replica: &Replica) -> bool {
    replica.keys.sessions.all(Entry::is_busy).is_empty()
}

#[tokio::test]
async fn whoever_waits_for_anothers_check_asks_nothing_meanwhile_and_is_told() {
    let (house, checks, waits) = checking(NEVER, House::replica).await;
    until("the journal is read", || waits.store.is_caught_up()).await;
    let asked = both_asked(&house, &checks, &waits).await;
    let before = house.scripts();
    tokio::time::sleep(SECONDS(1)).await;
    let meanwhile = house.scripts() - before;
    assert!(meanwhile <= 2, "{meanwhile} questions");
    house.open(1);
    for asked in asked {
        assert_eq!(soon(asked).await, "ana-1");
    }
    assert_eq!((house.checks(), house.logins()), (1, 1));
}

#[tokio::test]
async fn whoever_waits_for_a_keep_alive_of_the_same_replica_is_told() {
    let (house, checks, _other) = checking(NEVER, House::replica).await;
    let entry = checks.entry();
    entry.touch(checks.keys.clock.now());
    checks.keys.refresh(&entry, &checks.backend);
    until("the back-end is asked", || house.checks() == 1).await;
    let asked = checks.begin(&ANA);
    until("somebody waits", || house.somebody_waits()).await;
    house.open(1);
    assert_eq!(soon(asked).await, "ana-1");
    assert_eq!((house.checks(), house.logins()), (1, 1));
}

#[tokio::test]
async fn whoever_waits_for_a_check_that_finds_keys_dead_gets_others() {
    let (house, checks, waits) = checking(NEVER, House::replica).await;
    let asked = both_asked(&house, &checks, &waits).await;
    *house.script.dead.lock().unwrap() = true;
    house.open(2);
    for asked in asked {
        assert_eq!(soon(asked).await, "ana-2");
    }
    assert_eq!((house.checks(), house.logins()), (1, 2));
}

#[tokio::test]
async fn whoever_waits_for_a_check_that_came_to_nothing_may_ask_next() {
    let (house, checks, waits) = checking(NEVER, House::replica).await;
    let asked = both_asked(&house, &checks, &waits).await;
    *house.script.outage.lock().unwrap() = Some(Outage::Unreachable("gone".to_owned()));
    house.open(2);
    for asked in asked {
        assert_eq!(soon(asked).await, "ana-1");
    }
    assert_eq!((house.checks(), house.logins()), (2, 1));
}

#[tokio::test]
async fn whoever_is_not_told_looks_once_when_the_others_time_is_over() {
    let (house, checks, deaf) = checking(SECONDS(4), |house| house.deaf_replica("refuse")).await;
    let [first, second] = both_asked(&house, &checks, &deaf).await;
    house.open(1);
    assert_eq!(soon(first).await, "ana-1");
    let before = house.scripts();
    assert_eq!(soon(second).await, "ana-1");
    until("it has looked", || is_settled(&deaf)).await;
    let looks = house.scripts() - before;
    // One of them, and a little for the one who has checked and goes on.
    assert!(looks <= 6, "{looks} questions");
    assert_eq!((house.checks(), house.logins()), (1, 1));
}

#[tokio::test]
async fn whoever_dies_over_a_check_is_replaced_by_who_waits() {
    let (house, dying, waits) = checking(SECONDS(4), House::replica).await;
    let [_lost, asked] = both_asked(&house, &dying, &waits).await;
    dying.kill();
    until("the other asks the back-end", || house.checks() == 2).await;
    house.open(2);
    assert_eq!(soon(asked).await, "ana-1");
    until("it knows", || is_settled(&waits)).await;
    assert_eq!(house.logins(), 1);
}
