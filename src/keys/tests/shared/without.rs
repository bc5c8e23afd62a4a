//! The store is allowed to fail.

use super::*;

#[tokio::test]
async fn while_the_store_is_down_what_is_held_is_served_and_nobody_is_signed_in() {
    let house = House::in_haste(Script::default()).await;
    let [one, _other, _third] = house.replicas().await;
    key(&one.ask(&ANA).await);
    house.stop().await;
    let checked = house.script.checks.load(SeqCst);
    for _ in 0..100 {
        assert_eq!(key(&one.ask(&ANA).await), "ana-1");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until("it is kept alive", || {
        let _ = one.keys.touch_here("portal", ANA.sid);
        house.script.checks.load(SeqCst) > checked
    })
    .await;
    let refused = one.ask(&BEN).await;
    assert!(matches!(refused, Obtained::NoStore(_)), "{refused:?}");
    assert_eq!(refused.into_keys().unwrap_err().reason, crate::domain::Reason::BackendUnavailable);
    assert_eq!(house.logins(), 1);
}

#[tokio::test]
async fn a_store_that_hangs_longer_than_people_wait_takes_no_keys_away() {
    let house = House::in_haste(Script::default()).await;
    let [one, _other, _third] = house.replicas().await;
    key(&one.ask(&ANA).await);
    house.server.say(&["CLIENT", "PAUSE", "60000", "ALL"]);
    // Overdue: nobody has confirmed them for longer than the interval, and nobody used them meanwhile.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(key(&one.ask(&ANA).await), "ana-1");
    one.keys.revoke("portal", ANA.sid, LATE);
    assert!(matches!(one.ask(&ANA).await, Obtained::Revoked), "but a sign-out does");
}

#[tokio::test]
async fn where_people_are_signed_in_without_it_they_agree_again_afterwards() {
    let mut house = House::in_haste(Script::default()).await;
    let [one, other] = [(); 2].map(|()| house.replica_when_down("login"));
    house.stop().await;
    let mut keys = vec![key(&one.ask(&ANA).await), key(&other.ask(&ANA).await)];
    keys.sort();
    assert_eq!(keys, ["ana-1", "ana-2"]);
    house.server.start_again().await;
    let mut agreed = String::new();
    for _ in 0..1000 {
        let (here, there) = (key(&one.ask(&ANA).await), key(&other.ask(&ANA).await));
        if here == there {
            agreed = here;
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let given_up = if agreed == "ana-1" { "key=ana-2" } else { "key=ana-1" };
    until("the other one is ended", || house.logouts() == [given_up]).await;
    let late = house.replica();
    assert_eq!(key(&late.ask(&ANA).await), agreed);
    assert_eq!(house.logins(), 2);
}

#[tokio::test]
async fn a_sign_out_while_it_is_down_is_told_when_it_is_back() {
    let mut house = House::in_haste(Script::default()).await;
    let [one, other, _third] = house.replicas().await;
    for replica in [&one, &other] {
        key(&replica.ask(&ANA).await);
    }
    house.server.say(&["SAVE"]);
    house.stop().await;
    let sign_out =
        SignOut::new(SignOutBy::Api, "portal", None, None, Stopwatch::start(), Metrics::new().revocation_seconds());
    let (_, told) = one.keys.sign_out("portal", ANA.sid, LATE, &Arc::new(sign_out));
    told.wait().await;
    assert!(matches!(one.ask(&ANA).await, Obtained::Revoked));
    until("the back-end is told", || house.logouts() == ["key=ana-1"]).await;
    house.server.start_again().await;
    until("the other hears of it", || other.keys.is_ended("portal", ANA.sid)).await;
    let late = house.replica();
    until("the store knows", || late.keys.is_ended("portal", ANA.sid)).await;
    assert!(matches!(late.ask(&ANA).await, Obtained::Revoked));
    assert_eq!(house.logouts(), ["key=ana-1"]);
}

#[tokio::test]
async fn what_the_store_has_lost_is_put_back_and_costs_nobody_a_login() {
    let house = House::in_haste(Script::default()).await;
    let replicas = house.replicas().await;
    for replica in &replicas {
        assert_eq!(key(&replica.ask(&ANA).await), "ana-1");
    }
    house.server.say(&["FLUSHALL"]);
    let late = house.replica();
    let mut tries = 0;
    let shelf = || async { late.keys.replicas.get().unwrap().shelf.of_session("portal", ANA.sid).await.unwrap().len() };
    while shelf().await == 0 {
        for replica in &replicas {
            assert_eq!(key(&replica.ask(&ANA).await), "ana-1");
        }
        tries += 1;
        assert!(tries < 1000, "it is never put back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(key(&late.ask(&ANA).await), "ana-1");
    for replica in &replicas {
        assert_eq!(key(&replica.ask(&ANA).await), "ana-1");
    }
    assert_eq!(house.logins(), 1);
    assert!(house.logouts().is_empty());
}

#[tokio::test]
async fn a_sign_out_after_everything_was_lost_is_still_told_the_back_end() {
    let house = House::new(Script::default()).await;
    let [one, other, _third] = house.replicas().await;
    for replica in [&one, &other] {
        key(&replica.ask(&ANA).await);
    }
    // Something that is missed afterwards.
    other.keys.revoke("portal", BEN.sid, LATE);
    until("it is heard", || one.keys.is_ended("portal", BEN.sid)).await;
    house.server.say(&["FLUSHALL"]);
    until("it is noticed", || one.keys.replicas.get().unwrap().losses() > 0).await;
    one.keys.revoke("portal", ANA.sid, LATE);
    until("the back-end is told", || house.logouts() == ["key=ana-1"]).await;
    until("the other hears of it", || other.keys.is_ended("portal", ANA.sid)).await;
}

#[tokio::test]
async fn a_session_whose_time_has_come_while_it_is_down_is_ended_when_it_is_back() {
    let mut house = House::in_haste(Script::default()).await;
    house.limits.idle_timeout = SECONDS(2);
    let [one, _other, _third] = house.replicas().await;
    key(&one.ask(&ANA).await);
    house.server.say(&["SAVE"]);
    house.stop().await;
    tokio::time::sleep(SECONDS(3)).await;
    assert!(house.logouts().is_empty(), "somebody else may be using it");
    house.server.start_again().await;
    until("it is ended", || house.logouts() == ["key=ana-1"]).await;
}

#[tokio::test]
async fn what_was_given_up_while_it_is_down_is_not_there_afterwards() {
    let mut house = House::in_haste(Script::default()).await;
    let [one, other, _third] = house.replicas().await;
    key(&one.ask(&ANA).await);
    house.server.say(&["SAVE"]);
    house.stop().await;
    one.keys.end_at(&one.backend, "ana").await;
    until("the back-end is told", || house.logouts() == ["key=ana-1"]).await;
    house.server.start_again().await;
    let mut tries = 0;
    let shelf = async || other.keys.replicas.get().unwrap().shelf.of_session("portal", ANA.sid).await;
    while !shelf().await.is_ok_and(|records| records.is_empty()) {
        tries += 1;
        assert!(tries < 1000, "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(other.insist(&ANA).await, "ana-2");
    assert_eq!(house.logouts(), ["key=ana-1"]);
}
