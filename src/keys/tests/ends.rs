//! Ending sessions: sign-out, reload, the end of the process.

use super::*;

#[tokio::test]
async fn a_login_that_ends_after_the_sign_out_is_thrown_away_and_logged_out() {
    let world = World::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() });
    let (obtained, ()) = tokio::join!(world.ask(&ANA), async {
        world.settle().await;
        world.store.revoke("portal", ANA.sid, 2_000_000);
        world.script.gate.as_ref().unwrap().add_permits(1);
    });
    assert!(matches!(obtained, Obtained::Revoked));
    world.settle().await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    assert!(matches!(world.ask(&ANA).await, Obtained::Revoked));
    assert!(world.store.is_empty());
    assert!(world.counted(r#"keyward_keys{backend="mail"} 0"#));
}

#[tokio::test]
async fn a_sign_out_ends_all_sessions_at_once_and_is_forgotten_when_the_ticket_has_ended() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.ask(&BEN).await;
    world.store.revoke("portal", ANA.sid, 1_000_060);
    world.pass(SECONDS(61)).await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    assert_eq!(key(&world.ask(&BEN).await), "ben-2");
    assert_eq!(key(&world.ask(&ANA).await), "ana-3");
}

#[tokio::test]
async fn another_ticket_of_a_signed_out_session_is_refused_until_its_own_end() {
    let world = World::new(Script::default());
    // Ana's ticket ends later than the one that was shown at the sign-out.
    world.store.revoke("portal", ANA.sid, 1_000_060);
    assert!(matches!(world.ask(&ANA).await, Obtained::Revoked));
    world.pass(SECONDS(61)).await;
    assert!(matches!(world.ask(&ANA).await, Obtained::Revoked));
}

#[tokio::test]
async fn a_wall_clock_that_jumps_ahead_and_back_revives_nobody() {
    let world = World::new(Script::default());
    world.store.revoke("portal", ANA.sid, 2_000_000);
    world.clock.set_unix(3_000_000);
    world.pass(SECONDS(2)).await;
    world.clock.set_unix(1_000_000);
    assert!(matches!(world.ask(&ANA).await, Obtained::Revoked));
}

#[tokio::test]
async fn at_the_end_of_the_process_logouts_are_waited_for() {
    let world = World::new(Script::default());
    for n in 0..50 {
        world.ask(&Who { sid: format!("sid-{n:020}").leak(), ..ANA }).await;
    }
    for n in 0..50 {
        world.store.revoke("portal", &format!("sid-{n:020}"), 2_000_000);
    }
    world.store.finish_chores().await;
    assert_eq!(world.script.logouts.lock().unwrap().len(), 50);
}

#[tokio::test]
async fn sessions_of_a_back_end_that_was_removed_are_ended_and_those_of_another_stay() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    let changed = guarded("mail", &world.script, &world.metrics, &world.clock);
    world.store.configure(1000, &[Arc::clone(&changed)]);
    assert_eq!(key(&world.ask(&ANA).await), "ana-1", "the same back-end with other limits");
    let other = guarded("other", &world.script, &world.metrics, &world.clock);
    world.store.configure(1000, &[other]);
    world.settle().await;
    assert!(world.store.is_empty());
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
}

#[tokio::test]
async fn a_login_whose_back_end_was_removed_meanwhile_is_given_up_and_is_no_sign_out() {
    let world = World::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() });
    let (obtained, ()) = tokio::join!(world.ask(&ANA), async {
        world.settle().await;
        world.store.configure(1000, &[]);
        world.script.gate.as_ref().unwrap().add_permits(1);
    });
    assert!(matches!(obtained, Obtained::Busy), "{obtained:?}");
    world.settle().await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
}

#[tokio::test]
async fn a_request_that_still_has_the_old_configuration_leaves_no_session_behind() {
    let world = World::new(Script::default());
    world.store.configure(1000, &[]);
    assert!(matches!(world.ask(&ANA).await, Obtained::Busy));
    world.settle().await;
    assert!(world.store.is_empty());
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    assert!(world.counted(r#"keyward_keys{backend="mail"} 0"#));
}

#[tokio::test]
async fn a_sign_out_with_a_ticket_that_has_expired_ends_its_keys_and_refuses_no_new_ticket() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.store.revoke("portal", ANA.sid, 999_999);
    world.settle().await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    // The portal has signed her in again at once, under the same name of the session.
    assert_eq!(key(&world.ask(&ANA).await), "ana-2");
}

#[tokio::test]
async fn a_session_that_is_somebody_elses_now_keeps_nothing_of_the_first() {
    let world = World::new(Script { gate: Some(Semaphore::new(2)), ..Script::default() });
    let ben = Who { sid: ANA.sid, ..BEN };
    world.ask(&ANA).await;
    world.ask(&ben).await;
    world.store.leave_only("another-portal", ANA.sid, "ben");
    world.store.leave_only("portal", "sid-of-nobody-00001", "ben");
    assert_eq!(world.store.len(), 2);
    world.store.leave_only("portal", ANA.sid, "ben");
    world.settle().await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    assert_eq!((key(&world.ask(&ben).await), world.store.len()), ("ben-2".to_owned(), 1));
    world.store.leave_only("portal", ANA.sid, "cleo");
    assert!(world.store.is_empty() && world.counted(r#"keyward_keys{backend="mail"} 0"#));
}

#[tokio::test]
async fn a_login_of_the_one_before_is_thrown_away_and_logged_out() {
    let world = World::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() });
    let (obtained, ()) = tokio::join!(world.ask(&ANA), async {
        world.settle().await;
        world.store.leave_only("portal", ANA.sid, "ben");
        world.script.gate.as_ref().unwrap().add_permits(1);
    });
    assert!(matches!(obtained, Obtained::Busy), "nobody signed out: {obtained:?}");
    world.settle().await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    assert!(world.store.is_empty());
}
