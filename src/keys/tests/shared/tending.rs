//! Who keeps what alive, and who clears it away.

use std::sync::atomic::AtomicU64;

use super::*;

/// Asks all the time until told to stop.
async fn keep_using(replicas: &[Replica], who: &Who, is_enough: impl Fn() -> bool) {
    for _ in 0..1200 {
        if is_enough() {
            return;
        }
        for replica in replicas {
            key(&replica.ask(who).await);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never enough")
}

#[tokio::test]
async fn the_back_end_sees_one_keep_alive_in_an_interval_and_not_one_for_each_replica() {
    let house = House::in_haste(Script::default()).await;
    let replicas = house.replicas().await;
    let checks = || house.script.checks.load(SeqCst);
    let intervals = AtomicU64::new(0);
    let clock = SystemClock::new();
    let start = clock.now();
    keep_using(&replicas, &ANA, || {
        intervals.store(u64::try_from(clock.now().since(start).as_millis() / 850).unwrap(), SeqCst);
        checks() >= 4
    })
    .await;
    // Between two there is nearly a whole interval, so a slower machine makes no more of them.
    assert!(u64::try_from(checks()).unwrap() <= intervals.load(SeqCst) + 1);
    assert_eq!(house.logins(), 1);
}

/// The model in `benches/README.md` is made of these.
#[tokio::test]
async fn a_keep_alive_is_one_question_for_each_replica_and_one_more_for_who_makes_it() {
    const PEOPLE: usize = 200;
    let house = House::new(Script::default()).await;
    let replicas = house.replicas().await;
    for replica in &replicas {
        replica.seek_nothing().await;
    }
    let people = (0..PEOPLE).map(|number| Who { sid: format!("sid-{number:020}").leak(), ..ANA });
    let before = house.scripts();
    for who in people.clone() {
        key(&replicas[0].ask(&who).await);
    }
    // What was said of the password, the lease, the record, and when it is due.
    assert_eq!(house.scripts() - before, 4 * PEOPLE);
    for who in people {
        key(&replicas[1].ask(&who).await);
        key(&replicas[2].ask(&who).await);
    }
    house.age(SECONDS(300));
    let before = house.scripts();
    for replica in &replicas {
        let now = replica.keys.clock.now();
        replica.age(SECONDS(300));
        let all: Vec<_> = replica.keys.sessions.all(|_| true);
        for entry in &all {
            entry.touch(now);
            replica.keys.refresh(entry, &replica.backend);
        }
        until("all have looked", || all.iter().all(|entry| !entry.refreshing.load(SeqCst))).await;
        until("it is said when they are due", || replica.shared().promises.lock().is_empty()).await;
    }
    replicas[0].keys.finish_chores().await;
    let (scripts, questions) = (house.scripts() - before, (3 + 1) * PEOPLE);
    assert_eq!(house.checks(), PEOPLE);
    // What is due is said once a second, in sixteen parts.
    assert!(scripts > questions && scripts <= questions + PEOPLE / 2, "{scripts}");
}

#[tokio::test]
async fn keys_that_rotate_are_everybodys() {
    let house = House::in_haste(Script { renews: true, ..Script::default() }).await;
    let replicas = house.replicas().await;
    keep_using(&replicas, &ANA, || house.script.checks.load(SeqCst) >= 2).await;
    let newest = format!("ana-1{}", "+".repeat(house.script.checks.load(SeqCst)));
    assert!(newest.len() > 6);
    for replica in &replicas {
        let mut seen = String::new();
        for _ in 0..1000 {
            seen = key(&replica.ask(&ANA).await);
            if seen.len() >= newest.len() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(seen.len() >= newest.len(), "{seen}");
    }
    assert_eq!(house.logins(), 1);
    assert!(house.logouts().is_empty());
}

#[tokio::test]
async fn whoever_dies_leaves_nothing_behind_that_is_not_cleared_away_once() {
    let mut house = House::in_haste(Script::default()).await;
    house.limits.idle_timeout = SECONDS(3);
    let [dying, other, third] = house.replicas().await;
    key(&dying.ask(&ANA).await);
    until("somebody is told when it is due", || house.server.say(&["KEYS", "*:due"]).contains("due")).await;
    dying.kill();
    until("it is ended", || !house.logouts().is_empty()).await;
    for replica in [&other, &third] {
        until("nobody holds it", || replica.keys.is_empty()).await;
        replica.keys.finish_chores().await;
    }
    assert_eq!(house.logouts(), ["key=ana-1"]);
}

#[tokio::test]
async fn a_session_that_is_used_at_one_replica_is_not_ended_by_another() {
    let mut house = House::in_haste(Script::default()).await;
    house.limits.idle_timeout = SECONDS(3);
    let [used, left, third] = house.replicas().await;
    for replica in [&used, &left, &third] {
        key(&replica.ask(&ANA).await);
    }
    let both_gone = || left.keys.is_empty() && third.keys.is_empty();
    keep_using(std::slice::from_ref(&used), &ANA, both_gone).await;
    assert!(house.logouts().is_empty());
    assert_eq!(key(&left.ask(&ANA).await), "ana-1");
    assert_eq!(house.logins(), 1);
    until("when nobody uses it, it is ended", || house.logouts() == ["key=ana-1"]).await;
}

#[tokio::test]
async fn a_dead_session_is_taken_from_all() {
    let house = House::in_haste(Script::default()).await;
    let replicas = house.replicas().await;
    keep_using(&replicas, &ANA, || house.script.checks.load(SeqCst) >= 1).await;
    *house.script.dead.lock().unwrap() = true;
    until("it is found out everywhere", || {
        for replica in &replicas {
            let _ = replica.keys.touch_here("portal", ANA.sid);
        }
        replicas.iter().all(|replica| replica.keys.is_empty())
    })
    .await;
    let found = |cause| format!("keyward_evictions_total{{backend=\"mail\",cause=\"{cause}\"}} 1");
    let count = |cause| replicas.iter().filter(|replica| replica.counted(&found(cause))).count();
    assert_eq!((count("dead"), count("elsewhere")), (1, 2));
    assert!(house.logouts().is_empty(), "there is nothing to end");
}

#[tokio::test]
async fn the_portals_touch_reaches_what_another_replica_holds() {
    let house = House::new(Script::default()).await;
    let [holds, asked, _third] = house.replicas().await;
    key(&holds.ask(&ANA).await);
    let session = ANA.session();
    assert_eq!(asked.keys.open_at("portal", &session).await, ["mail"]);
    assert_eq!(asked.keys.touch("portal", ANA.sid).await, 1);
    assert_eq!((asked.keys.len(), asked.keys.touch("portal", BEN.sid).await), (1, 0));
    assert_eq!(key(&asked.ask(&ANA).await), "ana-1");
    assert!(asked.counted(r#"keyward_key_lookups_total{backend="mail",result="hit"} 1"#));
}
