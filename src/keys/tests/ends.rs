//! Ending sessions: sign-out, reload, the end of the process.

use super::*;
use crate::domain::{Identity, Person, SessionHandle};

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
async fn whoever_signs_out_over_and_over_takes_no_more_memory() {
    let world = World::new(Script::default());
    for _ in 0..1000 {
        world.store.revoke("portal", ANA.sid, 2_000_000);
        world.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(world.store.revocations.len(), 1);
    world.store.revoke("portal", ANA.sid, 2_000_001);
    world.clock.advance(SECONDS(1_000_002));
    world.store.tick().await;
    assert_eq!((world.store.revocations.len(), world.store.sessions.len()), (0, 0));
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

fn down() -> Mutex<Option<Outage>> {
    Mutex::new(Some(Outage::Unreachable("down".to_owned())))
}

impl World {
    fn hears_again(&self) {
        *self.script.deaf.lock().unwrap() = None;
    }

    fn logouts_counted(&self, outcome: &str, count: usize) -> bool {
        self.counted(&format!(r#"keyward_logouts_total{{backend="mail",cause="logout",outcome="{outcome}"}} {count}"#))
    }

    fn waiting(&self, count: usize) -> bool {
        self.counted(&format!(r#"keyward_logouts_waiting{{backend="mail"}} {count}"#))
    }
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_was_down_at_the_sign_out_is_told_once_when_it_is_up() {
    let world = World::new(Script { deaf: down(), ..Script::default() });
    world.ask(&ANA).await;
    world.store.revoke("portal", ANA.sid, 2_000_000);
    assert!(matches!(world.ask(&ANA).await, Obtained::Revoked), "here it is over at once");
    tokio::time::sleep(SECONDS(20)).await;
    assert!(world.script.logouts.lock().unwrap().is_empty() && world.waiting(1));
    world.hears_again();
    tokio::time::sleep(SECONDS(3600)).await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    assert!(world.waiting(0) && world.logouts_counted("done", 1) && world.logouts_counted("given_up", 0));
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_stays_down_is_given_up_after_some_attempts() {
    let world = World::new(Script { deaf: down(), ..Script::default() });
    world.ask(&ANA).await;
    world.store.revoke("portal", ANA.sid, 2_000_000);
    tokio::time::sleep(SECONDS(600)).await;
    assert_eq!(world.script.logout_attempts.load(SeqCst), 10);
    assert!(world.waiting(0) && world.logouts_counted("given_up", 1) && world.logouts_counted("failed", 10));
    world.hears_again();
    tokio::time::sleep(SECONDS(3600)).await;
    assert_eq!(world.script.logout_attempts.load(SeqCst), 10);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_sign_outs_of_a_back_end_that_is_down_take_a_bounded_room() {
    const PEOPLE: usize = 10_050;
    let world = World::with_limit(Script { deaf: down(), ..Script::default() }, 20_000);
    let sids: Vec<&str> = (0..PEOPLE).map(|number| &*format!("sid-{number:020}").leak()).collect();
    for sid in &sids {
        world.ask(&Who { sid, ..ANA }).await;
    }
    for sid in &sids {
        world.store.revoke("portal", sid, 2_000_000);
    }
    assert!(world.waiting(10_000) && world.logouts_counted("given_up", 50), "the rest is not waited for");
    assert!(world.store.is_empty());
    // Its other chores have places of their own.
    assert_eq!(key(&world.ask(&BEN).await), format!("ben-{}", PEOPLE + 1));
    world.pass(SECONDS(200)).await;
    world.ask(&BEN).await;
    world.pass(SECONDS(200)).await;
    assert_eq!(world.script.checks.load(SeqCst), 1);
    world.hears_again();
    tokio::time::sleep(SECONDS(600)).await;
    assert!(world.waiting(0) && world.logouts_counted("done", 10_000));
    assert_eq!(world.script.logouts.lock().unwrap().len(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_logout_that_is_tried_again_touches_no_session_that_was_opened_later() {
    let world = World::new(Script { deaf: down(), ..Script::default() });
    world.ask(&ANA).await;
    // The ticket had expired, so a new one of the same session is good at once.
    world.store.revoke("portal", ANA.sid, 999_999);
    assert_eq!(key(&world.ask(&ANA).await), "ana-2");
    world.hears_again();
    tokio::time::sleep(SECONDS(60)).await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    assert_eq!(key(&world.ask(&ANA).await), "ana-2");
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_the_process_a_logout_that_waits_is_tried_once_more_and_not_waited_for() {
    let world = World::new(Script { deaf: down(), ..Script::default() });
    world.ask(&ANA).await;
    world.ask(&BEN).await;
    world.store.revoke("portal", ANA.sid, 2_000_000);
    tokio::time::sleep(SECONDS(200)).await;
    let attempts = world.script.logout_attempts.load(SeqCst);
    let start = tokio::time::Instant::now();
    world.store.finish_chores().await;
    assert_eq!((world.script.logout_attempts.load(SeqCst), start.elapsed()), (attempts + 1, Duration::ZERO));
    assert!(world.waiting(0) && world.logouts_counted("given_up", 1));
    // Whoever comes now has one attempt.
    world.store.revoke("portal", BEN.sid, 2_000_000);
    world.store.finish_chores().await;
    assert_eq!(world.script.logout_attempts.load(SeqCst), attempts + 2);
    assert!(start.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_logout_that_panics_is_given_up_and_leaves_no_place_taken() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.script.panics.store(true, SeqCst);
    world.store.revoke("portal", ANA.sid, 2_000_000);
    world.store.finish_chores().await;
    assert!(world.waiting(0) && world.logouts_counted("given_up", 1));
}

#[tokio::test(start_paused = true)]
async fn a_sign_out_measures_until_when_it_was_good_for_something_and_says_at_how_many_back_ends() {
    let world = World::new(Script { deaf: down(), ..Script::default() });
    world.ask(&ANA).await;
    let seconds = || world.metrics.revocation_seconds();
    let sign_out = |sid| {
        let arrived = Stopwatch::start();
        let sign_out = SignOut::new(SignOutBy::Browser, "portal", None, None, arrived, seconds());
        world.store.sign_out("portal", sid, 2_000_000, &Arc::new(sign_out)).0
    };
    assert_eq!((sign_out(ANA.sid), sign_out(ANA.sid), sign_out(BEN.sid)), (1, 0, 0));
    assert_eq!(seconds().get_sample_count(), 3);
    assert!(seconds().get_sample_sum() < 1.0, "although the back-end is down");
    assert!(matches!(world.ask(&BEN).await, Obtained::Revoked));
}

#[tokio::test]
async fn a_change_of_an_account_ends_every_session_of_that_name_and_no_other() {
    let world = World::new(Script::default());
    let elsewhere = Who { sid: "sid-of-ana-0000002", ..ANA };
    for who in [&ANA, &elsewhere, &BEN] {
        key(&world.ask(who).await);
    }
    world.store.end_at(&world.backend, "ANA").await;
    world.settle().await;
    assert_eq!(world.script.logouts.lock().unwrap().len(), 2);
    assert_eq!(world.store.len(), 1);
    assert!(world.counted(r#"keyward_keys{backend="mail"} 1"#));
    key(&world.ask(&BEN).await);
    assert_eq!(world.logins(), 3);
    key(&world.ask(&ANA).await);
    assert_eq!(world.logins(), 4, "the portal session goes on, and signs in anew");
}

#[tokio::test]
async fn a_portal_session_that_ends_by_itself_is_signed_out_of_everywhere() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.ask(&BEN).await;
    let session = SessionHandle { portal: "portal".to_owned(), id: ANA.sid.to_owned() };
    let identity = Identity::new("ana", "", "", Vec::new()).unwrap();
    let ana = Person { session, identity, expires: 1_000_000 };
    world.store.expire(&ana);
    world.store.expire(&ana);
    world.settle().await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    assert_eq!(world.store.len(), 1, "ben's is still there");
    // A session of that name that is longer good is another one.
    assert_eq!(key(&world.ask(&ANA).await), "ana-3");
}
