//! Getting keys: one login for all who wait, and what its outcome means.

use super::*;

#[tokio::test]
async fn a_herd_of_first_requests_makes_one_login_and_shares_its_keys() {
    let world = World::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() });
    let herd = join_all((0..200).map(|_| world.ask(&ANA)));
    let (all, ()) = tokio::join!(herd, async {
        world.settle().await;
        world.script.gate.as_ref().unwrap().add_permits(1);
    });
    assert!(all.iter().all(|obtained| key(obtained) == "ana-1"));
    assert_eq!(world.logins(), 1);
    assert!(world.counted(r#"keyward_key_lookups_total{backend="mail",result="miss"} 1"#));
    assert!(world.counted(r#"keyward_key_lookups_total{backend="mail",result="joined"} 199"#));
    assert!(world.counted(r#"keyward_keys{backend="mail"} 1"#));
}

#[tokio::test]
async fn bad_outcomes_are_shared_too() {
    for (password, outage) in [("wrong", None), ("right", Some(Outage::Unreachable("gone".to_owned())))] {
        let script = Script { gate: Some(Semaphore::new(0)), ..Script::default() };
        *script.outage.lock().unwrap() = outage.clone();
        let world = World::new(script);
        let who = Who { password, ..ANA };
        let herd = join_all((0..100).map(|_| world.ask(&who)));
        let (all, ()) = tokio::join!(herd, async {
            world.settle().await;
            world.script.gate.as_ref().unwrap().add_permits(100);
        });
        for obtained in all {
            assert!(matches!(
                (obtained, &outage),
                (Obtained::Refused(Refusal::Credentials), None)
                    | (Obtained::Unavailable(Outage::Unreachable(_)), Some(_))
            ));
        }
        assert_eq!(world.logins(), 1);
        assert!(world.store.is_empty());
    }
}

#[tokio::test]
async fn a_refused_password_is_tried_once_whatever_the_session_and_another_at_once() {
    let world = World::new(Script::default());
    let stale = Who { password: "wrong", ..ANA };
    let stale_elsewhere = Who { sid: "sid-of-ana-0000002", ..stale };
    for _ in 0..3 {
        assert!(matches!(world.ask(&stale).await, Obtained::Refused(_)));
        assert!(matches!(world.ask(&stale_elsewhere).await, Obtained::Refused(_)));
    }
    assert_eq!(world.logins(), 1);
    assert_eq!(key(&world.ask(&ANA).await), "ana-2");
    world.pass(SECONDS(301)).await;
    assert!(matches!(world.ask(&stale_elsewhere).await, Obtained::Refused(_)));
    assert_eq!(world.logins(), 3);
}

#[tokio::test]
async fn two_browsers_with_the_same_stale_password_at_once_make_one_try() {
    let world = World::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() });
    let sids = ["sid-of-ana-0000001", "sid-of-ana-0000002", "sid-of-ana-0000003"];
    let browsers = sids.map(|sid| Who { sid, password: "wrong", ..ANA });
    let asks = join_all(browsers.iter().map(|who| world.ask(who)));
    let (all, ()) = tokio::join!(asks, async {
        world.settle().await;
        world.script.gate.as_ref().unwrap().add_permits(3);
    });
    assert!(all.iter().all(|obtained| matches!(obtained, Obtained::Refused(_))));
    assert_eq!(world.logins(), 1);
}

#[tokio::test]
async fn nobody_gets_the_keys_of_another() {
    let world = World::new(Script::default());
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert_eq!(key(&world.ask(&BEN).await), "ben-2");
    // The portal hands Ana's session id to Ben: it is another holder all the same.
    let ben_with_anas_sid = Who { sid: ANA.sid, ..BEN };
    assert_eq!(key(&world.ask(&ben_with_anas_sid).await), "ben-3");
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert_eq!(world.store.len(), 3);
}

#[tokio::test]
async fn where_the_back_end_binds_sessions_each_browser_has_its_own() {
    let none = Binding::default();
    let (agent, host, language) =
        (Who { agent: "Browser/2", ..ANA }, Who { host: 2, ..ANA }, Who { language: "de", ..ANA });
    for (binding, same, other) in [
        (Binding { user_agent: true, ..none }, [host, language], agent),
        (Binding { address: true, ..none }, [agent, language], host),
        (Binding { accept_language: true, ..none }, [agent, host], language),
    ] {
        let world = World::new(Script { binding, ..Script::default() });
        assert_eq!(key(&world.ask(&ANA).await), "ana-1");
        assert_eq!(key(&world.ask(&other).await), "ana-2", "{binding:?}");
        for who in [ANA, same[0], same[1]] {
            assert_eq!(key(&world.ask(&who).await), "ana-1", "{binding:?}");
        }
        assert_eq!(key(&world.ask(&other).await), "ana-2", "{binding:?}");
    }
}

#[tokio::test]
async fn a_renewal_makes_one_login_for_all_and_at_most_one_in_an_interval() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    let all = join_all((0..20).map(|_| world.ask_for(&ANA, true))).await;
    assert!(all.iter().all(|obtained| key(obtained) == "ana-2"));
    assert_eq!(key(&world.ask_for(&ANA, true).await), "ana-2");
    assert_eq!(world.logins(), 2);
    world.pass(SECONDS(301)).await;
    assert_eq!(key(&world.ask_for(&ANA, true).await), "ana-3");
}

#[tokio::test]
async fn a_renewal_that_fails_takes_no_keys_away_and_one_that_is_refused_does() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    *world.script.outage.lock().unwrap() = Some(Outage::Unreachable("gone".to_owned()));
    assert_eq!(key(&world.ask_for(&ANA, true).await), "ana-1");
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert_eq!((world.logins(), world.script.logouts.lock().unwrap().len()), (2, 0));
    *world.script.outage.lock().unwrap() = None;
    world.pass(SECONDS(301)).await;
    let changed = Who { password: "wrong", ..ANA };
    assert!(matches!(world.ask_for(&changed, true).await, Obtained::Refused(_)));
    world.settle().await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    assert!(world.counted(r#"keyward_keys{backend="mail"} 0"#));
}

#[tokio::test]
async fn refused_people_who_keep_asking_take_no_place() {
    let world = World::with_limit(Script::default(), 2);
    let stale = Who { password: "wrong", ..ANA };
    world.ask(&BEN).await;
    for _ in 0..100 {
        assert!(matches!(world.ask(&stale).await, Obtained::Refused(_)));
    }
    assert_eq!(world.store.len(), 1);
    assert_eq!(key(&world.ask(&BEN).await), "ben-1");
    assert!(world.counted(r#"keyward_key_lookups_total{backend="mail",result="refused"} 99"#));
}

#[tokio::test]
async fn a_password_whose_answer_nobody_understands_is_sent_more_and_more_rarely() {
    let world = World::new(Script::default());
    let puzzle = || *world.script.outage.lock().unwrap() = Some(Outage::Protocol("odd".to_owned()));
    // As a page does that tries again by itself: it may have been a refusal in unknown words.
    let mut tried_at = Vec::new();
    puzzle();
    for second in 0..1200 {
        let before = world.logins();
        assert!(matches!(world.ask(&ANA).await, Obtained::Unavailable(Outage::Protocol(_))));
        if world.logins() > before {
            tried_at.push(second);
        }
        world.pass(SECONDS(1)).await;
    }
    assert_eq!(tried_at, [0, 15, 45, 105, 225, 465, 765, 1065], "up to refused_for");

    *world.script.outage.lock().unwrap() = None;
    world.pass(SECONDS(300)).await;
    assert!(matches!(world.ask(&ANA).await, Obtained::Keys(_)));
}

#[tokio::test]
async fn a_lock_of_unlikely_length_is_looked_at_again() {
    let world = World::new(Script::default());
    *world.script.outage.lock().unwrap() = Some(Outage::Locked { retry_after: Some(SECONDS(86_400)) });
    assert!(matches!(world.ask(&ANA).await, Obtained::Unavailable(Outage::Locked { .. })));
    *world.script.outage.lock().unwrap() = None;
    world.pass(SECONDS(299)).await;
    assert!(matches!(world.ask(&ANA).await, Obtained::Unavailable(Outage::Locked { .. })));
    world.pass(SECONDS(1)).await;
    assert!(matches!(world.ask(&ANA).await, Obtained::Keys(_)), "after refused_for");
}

#[tokio::test]
async fn a_connector_that_panics_leaves_nobody_waiting_for_ever() {
    let world = World::new(Script::default());
    let cursed = Who { password: "panic", ..ANA };
    assert!(matches!(world.ask(&cursed).await, Obtained::Unavailable(Outage::Protocol(_))));
    assert!(world.store.is_empty());
    assert_eq!(key(&world.ask(&ANA).await), "ana-2");
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_its_time_and_the_login_goes_on_for_the_next() {
    let world = World::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() });
    // The login itself has its deadline from when it began, a moment after the request.
    let waiting = tokio::time::timeout(SECONDS(3), world.ask(&ANA)).await;
    assert!(waiting.is_err(), "the user gave up");
    world.script.gate.as_ref().unwrap().add_permits(1);
    world.settle().await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert_eq!(world.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_back_end_costs_a_request_its_login_timeout_and_then_nothing() {
    let world = World::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() });
    let start = tokio::time::Instant::now();
    assert!(matches!(world.ask(&ANA).await, Obtained::Unavailable(Outage::TimedOut)));
    assert_eq!(start.elapsed().as_secs(), 10);
    world.settle().await;
    assert!(matches!(world.ask(&BEN).await, Obtained::Unavailable(Outage::BackingOff { .. })));
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_begins_the_moment_a_login_has_ended_is_left_alone_by_it() {
    let world = World::new(Script::default());
    for round in 0..3000 {
        world.clock.advance(SECONDS(301));
        let obtained = world.ask_for(&ANA, true).await;
        assert!(matches!(obtained, Obtained::Keys(_)), "round {round}: {obtained:?}");
    }
    assert_eq!(world.logins(), 3000);
}
