//! A session ends when nobody is given its keys any more, and not before.

use super::*;

/// Two replicas that have keys which the store has lost, and a third that has signed in since. The first has noticed.
async fn overtaken() -> (House, [Replica; 3]) {
    let house = House::new(Script::default()).await;
    let [first, second, third] = house.replicas().await;
    for replica in [&first, &second] {
        assert_eq!(key(&replica.ask(&ANA).await), "ana-1");
    }
    house.server.say(&["FLUSHALL"]);
    assert_eq!(key(&third.ask(&ANA).await), "ana-2");
    first.refresh().await;
    assert_eq!(key(&first.ask(&ANA).await), "ana-2");
    (house, [first, second, third])
}

#[tokio::test]
async fn keys_that_gave_way_at_one_replica_are_good_as_long_as_another_gives_them() {
    let (house, [first, second, third]) = overtaken().await;
    assert_eq!(key(&second.ask(&ANA).await), "ana-1");
    assert!(house.logouts().is_empty(), "they are still given");
    second.refresh().await;
    for replica in [&first, &second, &third] {
        assert_eq!(key(&replica.ask(&ANA).await), "ana-2");
    }
    first.hurry();
    until("it is ended", || house.logouts() == ["key=ana-1"]).await;
    let lost = |replica: &&Replica| replica.counted(r#"keyward_leases_lost_total{backend="mail"} 1"#);
    assert_eq!([&first, &second, &third].into_iter().filter(lost).count(), 1, "one login more, and one lost");
    assert!(lost(&&first));
}

#[tokio::test]
async fn a_sign_out_ends_what_gave_way_as_well() {
    let (house, [first, _second, _third]) = overtaken().await;
    first.keys.revoke("portal", ANA.sid, LATE);
    until("both are ended", || {
        let ended = house.logouts();
        ["key=ana-1", "key=ana-2"].iter().all(|key| ended.iter().any(|ended| ended == key))
    })
    .await;
}

#[tokio::test]
async fn a_change_of_an_account_and_the_end_of_the_process_end_what_gave_way_as_well() {
    let (house, [first, _second, _third]) = overtaken().await;
    first.keys.end_at(&first.backend, "ANA").await;
    until("it is ended", || house.logouts().contains(&"key=ana-1".to_owned())).await;
    let (house, [first, _second, _third]) = overtaken().await;
    first.keys.finish_chores().await;
    assert_eq!(house.logouts(), ["key=ana-1"]);
}

#[tokio::test]
async fn what_gave_way_and_was_put_back_by_another_does_not_end() {
    let (house, [first, second, third]) = overtaken().await;
    // What stands there now is lost as well, and the first to notice has the older keys.
    house.server.say(&["FLUSHALL"]);
    second.refresh().await;
    third.refresh().await;
    assert_eq!(key(&third.ask(&ANA).await), "ana-1");
    first.refresh().await;
    assert_eq!(key(&first.ask(&ANA).await), "ana-1");
    first.hurry();
    until("it was looked at", || first.shared().outgoing.lock().iter().all(|one| !one.is_due(first.keys.clock.now())))
        .await;
    first.keys.finish_chores().await;
    assert!(!house.logouts().contains(&"key=ana-1".to_owned()), "it is everybody's again");
}

#[tokio::test]
async fn keys_that_are_given_while_they_are_found_idle_are_not_ended() {
    let house = House::new(Script::default()).await;
    let [one, other, _third] = house.replicas().await;
    assert_eq!(key(&one.ask(&ANA).await), "ana-1");
    house.age(SECONDS(3000));
    one.age(SECONDS(3000));
    let entry = one.entry();
    entry.confirm(one.keys.clock.now());
    house.server.say(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    assert!(one.keys.clear(&entry, &one.backend, Cause::Idle));
    until("the store is asked", || entry.refreshing.load(SeqCst)).await;
    assert_eq!(key(&one.ask(&ANA).await), "ana-1");
    house.server.say(&["CLIENT", "UNPAUSE"]);
    until("it is answered", || !entry.refreshing.load(SeqCst)).await;
    assert_eq!(key(&one.ask(&ANA).await), "ana-1");
    assert_eq!(key(&other.ask(&ANA).await), "ana-1");
    one.keys.finish_chores().await;
    assert!(house.logouts().is_empty());
}

#[tokio::test]
async fn keys_that_are_too_old_end_when_other_replicas_give_them_no_longer() {
    let house = House::new(Script::default()).await;
    let [one, other, _third] = house.replicas().await;
    for replica in [&one, &other] {
        assert_eq!(key(&replica.ask(&ANA).await), "ana-1");
    }
    house.age(SECONDS(3600));
    assert!(one.keys.clear(&one.entry(), &one.backend, Cause::Age));
    until("it is taken out", || one.keys.is_empty()).await;
    // By its own clock it is not quite time.
    assert_eq!(key(&other.ask(&ANA).await), "ana-1");
    assert!(house.logouts().is_empty());
    one.hurry();
    until("it is ended", || house.logouts() == ["key=ana-1"]).await;
}

#[tokio::test]
async fn keys_that_the_store_has_lost_are_not_ended_by_one_who_uses_them_no_more() {
    let house = House::new(Script::default()).await;
    let [idle, uses, _third] = house.replicas().await;
    for replica in [&idle, &uses] {
        assert_eq!(key(&replica.ask(&ANA).await), "ana-1");
    }
    house.server.say(&["FLUSHALL"]);
    idle.age(SECONDS(1000));
    let entry = idle.entry();
    entry.shelving.keep_apart(0);
    for _ in 0..2 {
        // Once it is offered, and once it is found to be in use.
        idle.keys.clear(&entry, &idle.backend, Cause::Idle);
        until("it is done", || !entry.refreshing.load(SeqCst)).await;
    }
    until("it is left to the other", || idle.keys.is_empty()).await;
    assert_eq!(key(&uses.ask(&ANA).await), "ana-1");
    assert_eq!(key(&idle.ask(&ANA).await), "ana-1");
    idle.keys.finish_chores().await;
    assert!(house.logouts().is_empty());
}
