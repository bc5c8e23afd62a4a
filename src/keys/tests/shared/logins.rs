//! One login for all replicas.

use super::*;

#[tokio::test]
async fn three_replicas_asked_by_a_hundred_each_make_one_login() {
    let house = House::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() }).await;
    let replicas = house.replicas().await;
    let herd: Vec<_> = replicas.iter().flat_map(|replica| (0..100).map(|_| replica.begin(&ANA))).collect();
    until("one begins", || house.logins() == 1).await;
    house.open(1);
    for asked in herd {
        assert_eq!(key(&asked.await.unwrap()), "ana-1");
    }
    assert_eq!(house.logins(), 1);
    let found = |replica: &&Replica| replica.counted(r#"keyward_key_lookups_total{backend="mail",result="shared"} 1"#);
    assert_eq!(replicas.iter().filter(found).count(), 2);
    assert!(replicas.iter().all(|replica| replica.counted(r#"keyward_keys{backend="mail"} 1"#)));
}

#[tokio::test]
async fn a_refused_password_is_tried_once_whichever_replica_is_asked() {
    let house = House::new(Script::default()).await;
    let replicas = house.replicas().await;
    let stale = Who { password: "wrong", ..ANA };
    let stale_elsewhere = Who { sid: "sid-of-ana-0000002", ..stale };
    for replica in &replicas {
        for who in [&stale, &stale_elsewhere] {
            assert!(matches!(replica.ask(who).await, Obtained::Refused(Refusal::Credentials)));
        }
    }
    assert_eq!(house.logins(), 1);
    assert_eq!(key(&replicas[1].ask(&ANA).await), "ana-2", "another password is tried at once");
}

#[tokio::test]
async fn an_account_that_is_locked_or_may_be_is_left_alone_by_all_until_its_password_is_good() {
    for outage in [Outage::Locked { retry_after: Some(SECONDS(1)) }, Outage::Protocol("what?".to_owned())] {
        let house = House::new(Script::default()).await;
        let replicas = house.replicas().await;
        *house.script.outage.lock().unwrap() = Some(outage.clone());
        let elsewhere = Who { sid: "sid-of-ana-0000002", ..ANA };
        for replica in &replicas {
            for who in [&ANA, &elsewhere] {
                let obtained = replica.ask(who).await;
                let is_it = |said: &Outage| std::mem::discriminant(said) == std::mem::discriminant(&outage);
                assert!(matches!(&obtained, Obtained::Unavailable(said) if is_it(said)), "{obtained:?}");
            }
        }
        assert_eq!(house.logins(), 1);
        *house.script.outage.lock().unwrap() = None;
        assert_eq!(replicas[1].insist(&ANA).await, "ana-2");
        assert_eq!(replicas[2].insist(&elsewhere).await, "ana-3");
    }
}

#[tokio::test]
async fn whoever_dies_over_a_login_is_replaced() {
    let house = House::in_haste(Script { gate: Some(Semaphore::new(0)), ..Script::default() }).await;
    let [dying, other, _third] = house.replicas().await;
    let _lost = dying.begin(&ANA);
    until("it begins", || house.logins() == 1).await;
    dying.kill();
    house.open(10);
    assert_eq!(other.insist(&ANA).await, "ana-2");
    assert_eq!(house.logins(), 2);
}

#[tokio::test]
async fn a_login_that_breaks_off_gives_its_lease_back_at_once() {
    let house = House::new(Script::default()).await;
    let [one, other, _third] = house.replicas().await;
    let broken = Who { password: "panic", ..ANA };
    assert!(!matches!(one.ask(&broken).await, Obtained::Keys(_)));
    // Within the patience of one request, which is shorter than the lease.
    assert_eq!(key(&other.ask(&ANA).await), "ana-2");
}

#[tokio::test]
async fn whoever_is_overtaken_throws_away_what_it_got_and_uses_what_is_there() {
    let house = House::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() }).await;
    let [slow, fast, _third] = house.replicas().await;
    let overtaken = slow.begin(&ANA);
    until("it begins", || house.logins() == 1).await;
    house.server.say(&["FLUSHALL"]);
    let overtaking = fast.begin(&ANA);
    until("the other begins, too", || house.logins() == 2).await;
    house.open(2);
    let (overtaken, overtaking) = (key(&overtaken.await.unwrap()), key(&overtaking.await.unwrap()));
    assert_eq!((overtaken.as_str(), overtaking.as_str()), ("ana-2", "ana-2"));
    until("the other session is ended", || house.logouts() == ["key=ana-1"]).await;
    assert!(slow.counted(r#"keyward_leases_lost_total{backend="mail"} 1"#));
    assert!(slow.counted(r#"keyward_keys{backend="mail"} 1"#));
}

#[tokio::test]
async fn keys_that_open_nothing_are_renewed_once_for_all() {
    let house = House::new(Script::default()).await;
    let replicas = house.replicas().await;
    for replica in &replicas {
        assert_eq!(key(&replica.ask(&ANA).await), "ana-1");
    }
    for replica in &replicas {
        assert_eq!(key(&replica.renew(&ANA).await), "ana-2");
    }
    assert_eq!(house.logins(), 2);
    until("the first is ended", || house.logouts() == ["key=ana-1"]).await;
}

#[tokio::test]
async fn nobody_gets_the_keys_of_another_from_the_store() {
    let binding = Binding { user_agent: true, ..Binding::default() };
    let house = House::new(Script { binding, ..Script::default() }).await;
    let [one, other, _third] = house.replicas().await;
    assert_eq!(key(&one.ask(&ANA).await), "ana-1");
    let ben_with_anas_sid = Who { sid: ANA.sid, ..BEN };
    assert_eq!(key(&other.ask(&ben_with_anas_sid).await), "ben-2");
    assert_eq!(key(&other.ask(&Who { agent: "Browser/2", ..ANA }).await), "ana-3");
    assert_eq!(key(&other.ask(&ANA).await), "ana-1");
    assert_eq!(key(&one.ask(&Who { agent: "Browser/2", ..ANA }).await), "ana-3");
}

#[tokio::test]
async fn whoever_waits_long_for_a_place_keeps_nobody_from_signing_in() {
    let mut house = House::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() }).await;
    house.limits.max_logins = 1;
    house.limits.login_timeout = SECONDS(60);
    let [crowded, other, _third] = house.replicas().await;
    let anas = crowded.begin(&ANA);
    until("the place is taken", || house.logins() == 1).await;
    let here = crowded.begin(&BEN);
    until("he waits there", || crowded.backend.is_full() && crowded.keys.len() == 2).await;
    let there = other.begin(&BEN);
    until("he is signed in where there is a place", || house.logins() == 2).await;
    house.open(3);
    assert_eq!(key(&anas.await.unwrap()), "ana-1");
    let bens = [here, there].map(|asked| async { key(&asked.await.unwrap()) });
    assert_eq!(join_all(bens).await, ["ben-2", "ben-2"]);
    assert_eq!(house.logins(), 2);
    assert!(house.logouts().is_empty());
}

#[tokio::test]
async fn two_sessions_of_one_person_do_not_wait_for_each_other_where_there_is_one_place() {
    const BEN_ELSEWHERE: Who = Who { sid: "sid-of-ben-0000002", ..BEN };
    let mut house = House::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() }).await;
    house.limits.max_logins = 1;
    house.limits.login_timeout = SECONDS(60);
    let [crowded, _other, _third] = house.replicas().await;
    let anas = crowded.begin(&ANA);
    until("the place is taken", || house.logins() == 1).await;
    let bens = [crowded.begin(&BEN), crowded.begin(&BEN_ELSEWHERE)];
    until("they wait", || crowded.keys.len() == 3).await;
    house.open(3);
    assert_eq!(key(&anas.await.unwrap()), "ana-1");
    for one in bens {
        assert!(key(&one.await.unwrap()).starts_with("ben-"));
    }
    assert_eq!(house.logins(), 3);
}

#[tokio::test]
async fn keys_that_are_dead_when_they_are_found_are_replaced_before_anybody_sees_them() {
    let house = House::in_haste(Script::default()).await;
    let [one, other, _third] = house.replicas().await;
    key(&one.ask(&ANA).await);
    *house.script.dead.lock().unwrap() = true;
    // Nobody uses them, so nobody finds out until they are overdue.
    tokio::time::sleep(SECONDS(2)).await;
    assert_eq!(key(&other.ask(&ANA).await), "ana-2");
    assert_eq!(house.logins(), 2);
    *house.script.dead.lock().unwrap() = false;
    assert_eq!(one.insist(&ANA).await, "ana-2");
}

#[tokio::test]
async fn whoever_hangs_up_while_the_store_is_asked_is_not_signed_in() {
    let house = House::new(Script::default()).await;
    let [one, other, _third] = house.replicas().await;
    // Longer than this takes.
    house.server.say(&["CLIENT", "PAUSE", "4000", "WRITE"]);
    let asked = one.begin(&ANA);
    until("she waits", || one.keys.len() == 1).await;
    asked.abort();
    assert!(asked.await.is_err());
    house.server.say(&["CLIENT", "UNPAUSE"]);
    until("she is forgotten", || one.keys.is_empty()).await;
    assert_eq!(house.logins(), 0);
    // Nothing of her keeps her from signing in elsewhere.
    assert_eq!(key(&other.ask(&ANA).await), "ana-1");
}
