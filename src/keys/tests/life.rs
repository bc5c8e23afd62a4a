//! Holding keys: kept alive while used, checked before use, ended in time.

use super::*;

#[tokio::test]
async fn what_is_in_use_is_kept_alive_and_what_is_not_expires_and_is_logged_out() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.ask(&BEN).await;
    for _ in 0..30 {
        world.pass(SECONDS(30)).await;
        assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    }
    world.pass(SECONDS(2)).await;
    assert_eq!(world.logins(), 2);
    assert!((2..=3).contains(&world.script.checks.load(SeqCst)), "every five minutes for Ana, never for Ben");
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ben-2"]);
    assert!(world.counted(r#"keyward_evictions_total{backend="mail",cause="idle"} 1"#));
    world.pass(SECONDS(3600 - 900 + 2)).await;
    assert!(world.store.is_empty());
}

#[tokio::test]
async fn a_session_in_use_ends_at_its_greatest_age() {
    let world = World::new(Script::default());
    for _ in 0..121 {
        world.ask(&ANA).await;
        world.pass(SECONDS(30)).await;
    }
    assert!(world.counted(r#"keyward_evictions_total{backend="mail",cause="age"} 1"#));
    assert_eq!(world.script.logouts.lock().unwrap()[0], "key=ana-1");
}

#[tokio::test]
async fn overdue_keys_are_checked_once_before_use() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.pass(SECONDS(400)).await;
    assert_eq!(world.script.checks.load(SeqCst), 0);
    let all = join_all((0..50).map(|_| world.ask(&ANA))).await;
    assert!(all.iter().all(|obtained| key(obtained) == "ana-1"));
    assert_eq!((world.script.checks.load(SeqCst), world.logins()), (1, 1));
}

#[tokio::test]
async fn overdue_keys_that_are_dead_are_replaced_before_anybody_sees_a_login_page() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    *world.script.dead.lock().unwrap() = true;
    world.pass(SECONDS(400)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-2");
    assert!(world.counted(r#"keyward_evictions_total{backend="mail",cause="dead"} 1"#));
    assert!(world.counted(r#"keyward_keys{backend="mail"} 1"#));
}

#[tokio::test]
async fn an_outage_takes_no_keys_away() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    *world.script.outage.lock().unwrap() = Some(Outage::TimedOut);
    world.pass(SECONDS(400)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    // And it is not asked again at every request.
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert_eq!(world.script.checks.load(SeqCst), 1);
}

#[tokio::test]
async fn keys_that_rotate_are_kept_as_they_come() {
    let world = World::new(Script { renews: true, ..Script::default() });
    world.ask(&ANA).await;
    world.pass(SECONDS(400)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-1+");
    assert_eq!(key(&world.ask(&ANA).await), "ana-1+");
}

#[tokio::test]
async fn whoever_comes_back_and_is_checked_is_no_longer_idle() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.pass(SECONDS(890)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    world.pass(SECONDS(60)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert!(world.script.logouts.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_hangs_delays_nobody_whose_keys_are_held() {
    let world = World::new(Script { gate: Some(Semaphore::new(2)), ..Script::default() });
    let people = [ANA, BEN];
    for who in &people {
        world.ask(who).await;
    }
    // From now on nothing is answered. Both go on clicking for a quarter of an hour.
    for _ in 0..90 {
        world.clock.advance(SECONDS(10));
        world.store.tick().await;
        tokio::time::sleep(SECONDS(10)).await;
        for who in &people {
            let asked = tokio::time::Instant::now();
            assert!(key(&world.ask(who).await).starts_with(who.user));
            assert!(asked.elapsed().is_zero(), "waited {:?}", asked.elapsed());
        }
    }
    assert!(world.script.checks.load(SeqCst) > 2, "it was asked whether it works again");
}

#[tokio::test]
async fn a_check_that_panics_takes_no_keys_away_and_keep_alives_go_on() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.script.panics.store(true, SeqCst);
    world.pass(SECONDS(400)).await;
    assert!(matches!(world.ask(&ANA).await, Obtained::Unavailable(_)));
    world.script.panics.store(false, SeqCst);
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert!(world.counted(r#"keyward_keys{backend="mail"} 1"#));
    for _ in 0..30 {
        world.ask(&ANA).await;
        world.pass(SECONDS(30)).await;
    }
    assert!(world.script.checks.load(SeqCst) >= 3);
}

#[tokio::test(start_paused = true)]
async fn of_those_who_come_back_to_a_back_end_that_hangs_one_waits_and_the_others_do_not() {
    let world = World::new(Script { gate: Some(Semaphore::new(2)), ..Script::default() });
    world.ask(&ANA).await;
    world.ask(&BEN).await;
    // Nobody clicked, so no keep-alive has found out before them.
    world.clock.advance(SECONDS(400));
    let start = tokio::time::Instant::now();
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert_eq!(start.elapsed().as_secs(), 5);
    let start = tokio::time::Instant::now();
    assert_eq!(key(&world.ask(&BEN).await), "ben-2");
    assert!(start.elapsed().is_zero(), "waited {:?}", start.elapsed());
}

#[tokio::test]
async fn a_touch_counts_as_use_and_so_the_session_is_refreshed_at_the_back_end() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.ask(&BEN).await;
    for _ in 0..30 {
        world.pass(SECONDS(60)).await;
        assert_eq!(world.store.touch("portal", ANA.sid).await, 1);
    }
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ben-2"], "whom nobody touched");
    assert!((4..=6).contains(&world.script.checks.load(SeqCst)), "every five minutes of thirty");
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert_eq!(world.logins(), 2);
}

#[tokio::test]
async fn a_touch_opens_nothing_and_revives_nothing() {
    let world = World::new(Script::default());
    assert_eq!(world.store.touch("portal", ANA.sid).await, 0);
    world.ask(&ANA).await;
    assert_eq!(world.store.touch("another-portal", ANA.sid).await, 0);
    assert_eq!(world.store.touch("portal", "sid-of-nobody").await, 0);
    world.store.revoke("portal", ANA.sid, 2_000_000);
    assert_eq!(world.store.touch("portal", ANA.sid).await, 0);
    assert!(world.store.is_empty());
    assert_eq!(world.logins(), 1);
}

#[tokio::test]
async fn keys_that_end_by_themselves_are_replaced_a_moment_before() {
    let world = World::new(Script::default());
    let ends_in = |seconds: u64| *world.script.ends.lock().unwrap() = Some(1_000_000 + seconds);
    ends_in(60);
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    world.pass(SECONDS(49)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    world.pass(SECONDS(1)).await;
    ends_in(120);
    let all = join_all((0..50).map(|_| world.ask(&ANA))).await;
    assert!(all.iter().all(|obtained| key(obtained) == "ana-2"));
    world.settle().await;
    assert_eq!((world.logins(), world.script.logouts.lock().unwrap().as_slice()), (2, &["key=ana-1".to_owned()][..]));
    world.pass(SECONDS(59)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-2");
    world.pass(SECONDS(1)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-3");
}

#[tokio::test]
async fn without_newer_ones_keys_that_end_cost_a_login_every_five_seconds_and_no_more() {
    let world = World::new(Script::default());
    *world.script.ends.lock().unwrap() = Some(1_000_000);
    for _ in 0..20 {
        world.ask(&ANA).await;
        world.ask(&ANA).await;
        world.pass(SECONDS(1)).await;
    }
    assert_eq!(world.logins(), 4);
}

#[tokio::test]
async fn keys_about_to_end_are_used_while_others_cannot_be_got_and_gone_when_they_are_refused() {
    let world = World::new(Script::default());
    *world.script.ends.lock().unwrap() = Some(1_000_030);
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    world.pass(SECONDS(20)).await;
    *world.script.outage.lock().unwrap() = Some(Outage::TimedOut);
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    *world.script.outage.lock().unwrap() = None;
    // The pause after the outage is over by then.
    world.pass(SECONDS(5)).await;
    let refused = world.ask(&Who { password: "wrong", ..ANA }).await;
    assert!(matches!(refused, Obtained::Refused(Refusal::Credentials)), "{refused:?}");
    // Another one is tried at once.
    assert_eq!(key(&world.ask(&ANA).await), "ana-4");
}
