//! What ends at one replica ends at all.

use super::*;

#[tokio::test]
async fn a_sign_out_at_one_ends_it_everywhere_and_is_told_the_back_end_once() {
    let house = House::new(Script::default()).await;
    let replicas = house.replicas().await;
    for replica in &replicas {
        assert_eq!(key(&replica.ask(&ANA).await), "ana-1");
        assert_eq!(key(&replica.ask(&BEN).await), "ben-2");
    }
    let sign_out =
        SignOut::new(SignOutBy::Api, "portal", None, None, Stopwatch::start(), Metrics::new().revocation_seconds());
    let (ended, told) = replicas[1].keys.sign_out("portal", ANA.sid, LATE, &Arc::new(sign_out));
    assert_eq!(ended, 1);
    assert!(matches!(replicas[1].ask(&ANA).await, Obtained::Revoked), "here at once");
    told.wait().await;
    for replica in &replicas {
        until("it is heard", || replica.keys.is_ended("portal", ANA.sid)).await;
        assert!(matches!(replica.ask(&ANA).await, Obtained::Revoked));
        assert_eq!(key(&replica.ask(&BEN).await), "ben-2");
        assert!(replica.counted(r#"keyward_keys{backend="mail"} 1"#));
        replica.keys.finish_chores().await;
    }
    assert_eq!(house.logouts(), ["key=ana-1"]);
    let late = house.replica();
    until("it is heard by whoever starts later", || late.keys.is_ended("portal", ANA.sid)).await;
}

#[tokio::test]
async fn a_sign_out_where_nothing_is_held_ends_what_others_hold() {
    let house = House::new(Script::default()).await;
    let [holds, asked, _third] = house.replicas().await;
    key(&holds.ask(&ANA).await);
    asked.keys.revoke("portal", ANA.sid, LATE);
    until("it is ended", || house.logouts() == ["key=ana-1"]).await;
    until("it is heard", || holds.keys.is_empty()).await;
}

#[tokio::test]
async fn a_login_elsewhere_that_ends_after_the_sign_out_is_thrown_away() {
    let house = House::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() }).await;
    let [signs_in, signs_out, _third] = house.replicas().await;
    // One that hears nothing: its sign-in finds out by itself.
    let asked = signs_in.begin(&ANA);
    until("it begins", || house.logins() == 1).await;
    signs_out.keys.revoke("portal", ANA.sid, LATE);
    until("it is heard", || signs_in.keys.is_ended("portal", ANA.sid)).await;
    house.open(1);
    assert!(matches!(asked.await.unwrap(), Obtained::Revoked));
    until("it is ended", || house.logouts() == ["key=ana-1"]).await;
    assert!(matches!(signs_in.ask(&ANA).await, Obtained::Revoked));
}

#[tokio::test]
async fn a_replica_that_heard_nothing_opens_nothing_for_who_signed_out() {
    let house = House::new(Script::default()).await;
    let [one, _other, _third] = house.replicas().await;
    one.keys.revoke("portal", ANA.sid, LATE);
    one.keys.finish_chores().await;
    let deaf = house.deaf_replica("refuse");
    assert!(matches!(deaf.ask(&ANA).await, Obtained::Revoked));
    assert_eq!(house.logins(), 0);
}

#[tokio::test]
async fn a_session_that_ended_by_itself_keeps_no_new_one_of_that_name_out() {
    let house = House::new(Script::default()).await;
    let [one, other, _third] = house.replicas().await;
    key(&one.ask(&ANA).await);
    other.keys.revoke("portal", ANA.sid, 999_999);
    until("it is ended", || house.logouts() == ["key=ana-1"]).await;
    assert_eq!(key(&other.ask(&ANA).await), "ana-2");
    assert_eq!(key(&one.renew(&ANA).await), "ana-2");
    assert_eq!(house.logins(), 2);
}

#[tokio::test]
async fn a_change_of_an_account_ends_its_sessions_at_every_replica_and_no_later_one() {
    let house = House::new(Script::default()).await;
    let replicas = house.replicas().await;
    for replica in &replicas {
        key(&replica.ask(&ANA).await);
        key(&replica.ask(&BEN).await);
    }
    replicas[0].keys.end_at(&replicas[0].backend, "ANA").await;
    until("it is ended", || house.logouts() == ["key=ana-1"]).await;
    for replica in &replicas {
        until("it is heard", || replica.keys.len() == 1).await;
    }
    for replica in &replicas {
        assert_eq!(key(&replica.ask(&ANA).await), "ana-3");
        assert_eq!(key(&replica.ask(&BEN).await), "ben-2");
    }
    let late = house.replica();
    until("it has heard all", || late.store.is_caught_up()).await;
    assert_eq!(key(&late.ask(&ANA).await), "ana-3");
    assert_eq!(house.logouts(), ["key=ana-1"]);
}

#[tokio::test]
async fn a_session_that_is_somebody_elses_now_keeps_nothing_of_the_first_anywhere() {
    let house = House::new(Script::default()).await;
    let [one, other, _third] = house.replicas().await;
    let ben = Who { sid: ANA.sid, ..BEN };
    key(&one.ask(&ANA).await);
    key(&one.ask(&ben).await);
    other.keys.leave_only("portal", ANA.sid, "ben");
    until("hers is ended", || house.logouts() == ["key=ana-1"]).await;
    assert_eq!(key(&other.ask(&ben).await), "ben-2");
}

#[tokio::test]
async fn a_full_cache_gives_up_copies_and_no_session_that_others_may_use() {
    let house = House::new(Script::default()).await;
    let [small, other, _third] = house.replicas().await;
    small.keys.configure(2, &[Arc::clone(&small.backend)]);
    for number in 0..10 {
        key(&small.ask(&Who { sid: format!("sid-{number:020}").leak(), ..ANA }).await);
    }
    assert!(small.keys.len() <= 2);
    for number in 0..10 {
        let who = Who { sid: format!("sid-{number:020}").leak(), ..ANA };
        assert_eq!(key(&other.ask(&who).await), format!("ana-{}", number + 1));
    }
    assert!(house.logouts().is_empty());
    assert_eq!(house.logins(), 10);
}

#[tokio::test]
async fn at_the_end_of_the_process_sessions_are_left_to_the_others() {
    let house = House::new(Script::default()).await;
    let [ends, stays, _third] = house.replicas().await;
    key(&ends.ask(&ANA).await);
    ends.keys.finish_chores().await;
    drop(ends);
    assert_eq!(key(&stays.ask(&ANA).await), "ana-1");
    assert!(house.logouts().is_empty());
}

#[tokio::test]
async fn what_was_opened_beside_is_asked_for_until_all_of_it_is_known() {
    let beside = |names: &[&str], is_all| {
        let keys = |name: &&str| SessionKeys::builder().cookie("key", name).unwrap().build().unwrap();
        OpenedBeside { keys: names.iter().map(keys).collect(), is_all }
    };
    let told = [beside(&["known"], false), beside(&[], false), beside(&["one", "other"], true)];
    let house = House::new(Script { beside: Mutex::new(told.into()), ..Script::default() }).await;
    let one = house.replica();
    until("the journal is read", || one.store.is_caught_up()).await;
    one.keys.revoke("portal", ANA.sid, LATE);
    until("all of it is ended", || house.logouts().len() == 3).await;
    let mut ended = house.logouts();
    ended.sort();
    assert_eq!(ended, ["key=known", "key=one", "key=other"]);
}
