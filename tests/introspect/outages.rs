//! When the portal is asked, how often, and what counts while it cannot be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::fakes::server::{Fault, Reply};
use crate::support::until;
use crate::world::{NOON, Who, World};

#[tokio::test]
async fn an_answer_is_believed_for_its_time_and_no_longer() {
    let world = World::new().await;
    world.script.signs_in("a", "ana");
    assert_eq!(world.known("a"), Who::Unasked);
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
    world.script.signs_out("a");
    for _ in 0..22 {
        assert_eq!(world.known("a"), Who::is("ana"));
        world.pass(1);
    }
    assert_eq!(world.script.asked(), 1);
    world.pass(8);
    assert_eq!(world.known("a"), Who::Unasked, "after 30 s");
    assert_eq!(world.who(&["a"]).await, Who::Out("no_session"));
    assert_eq!(world.clear_away(), ["ana"], "what she opened ends");
    assert_eq!(world.known("a"), Who::Out("no_session"), "a no is believed, too");
    world.script.signs_in("a", "ana");
    world.pass(1);
    assert_eq!((world.known("a"), world.script.asked()), (Who::Out("no_session"), 2));
    world.pass(1);
    assert_eq!(world.who(&["a"]).await, Who::is("ana"), "after 2 s");
}

#[tokio::test]
async fn nobody_waits_for_an_answer_that_is_asked_for_in_time() {
    let world = World::new().await;
    world.script.signs_in("a", "ana");
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
    for round in 2..6 {
        let before = world.fresh_until("a");
        world.pass(25);
        for _ in 0..50 {
            assert_eq!(world.known("a"), Who::is("ana"));
        }
        until("the answer behind", || async { world.fresh_until("a") > before }).await;
        assert_eq!(world.script.asked(), round, "one question");
    }
}

#[tokio::test]
async fn however_many_wait_the_portal_is_asked_once() {
    let world = Arc::new(World::new().await);
    world.script.signs_in("a", "ana");
    world.script.misbehave(Some(Fault::Drip(Duration::from_millis(1))));
    let all = join_all((0..1000).map(|_| world.who(&["a"]))).await;
    assert!(all.iter().all(|who| *who == Who::is("ana")));
    assert_eq!(world.script.asked(), 1);
    world.script.misbehave(None);
    world.pass(31);
    let all = join_all((0..1000).map(|_| world.who(&["a"]))).await;
    assert!(all.iter().all(|who| *who == Who::is("ana")));
    assert_eq!(world.script.asked(), 2);
    let nobody = join_all((0..1000).map(|_| world.who(&["b"]))).await;
    assert!(nobody.iter().all(|who| *who == Who::Out("no_session")));
    assert_eq!(world.script.asked(), 3);
}

#[tokio::test]
async fn while_the_portal_is_down_those_who_are_known_go_on_for_the_grace() {
    let world = World::with("timeout = \"300ms\"").await;
    world.script.signs_in("a", "ana");
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
    world.script.misbehave(Some(Fault::CloseAtOnce));
    let mut passed = 0;
    while passed < 325 {
        assert_eq!(world.who(&["a"]).await, Who::is("ana"), "after {passed} s");
        assert_eq!(world.who(&["b"]).await, Who::Unavailable, "after {passed} s");
        world.pass(5);
        passed += 5;
    }
    world.pass(6);
    assert_eq!(world.who(&["a"]).await, Who::Unavailable, "30 s and five minutes");
    assert_eq!(world.clear_away(), [] as [&str; 0], "and yet nobody is signed out");
    world.script.misbehave(None);
    world.pass(31);
    assert_eq!(world.who(&["a"]).await, Who::is("ana"), "nothing was lost");
}

#[tokio::test]
async fn a_dead_portal_is_left_alone() {
    let world = World::with("timeout = \"300ms\"\ngrace = \"1h\"").await;
    world.script.signs_in("a", "ana");
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
    world.script.misbehave(Some(Fault::CloseAtOnce));
    world.pass(31);
    let before = world.script.asked();
    for _ in 0..600 {
        assert_eq!(world.who(&["a"]).await, Who::is("ana"));
        world.pass(1);
        tokio::task::yield_now().await;
    }
    // Each question is sent a second time where the connection broke.
    let asked = world.script.asked() - before;
    assert!((4..=70).contains(&asked), "{asked} questions in ten minutes");
}

#[tokio::test]
async fn a_stranger_cannot_have_the_portal_taken_for_dead() {
    let world = World::with("timeout = \"300ms\"").await;
    world.script.signs_in("a", "ana");
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
    world.script.misbehave(Some(Fault::Hang));
    let forged: Vec<String> = (0..20).map(|number| format!("forged-{number}")).collect();
    let asked = forged.iter().map(|cookie| async { world.who(&[cookie]).await });
    assert!(join_all(asked).await.iter().all(|who| *who == Who::Unavailable));
    world.script.misbehave(None);
    world.script.signs_in("b", "ben");
    assert_eq!(world.who(&["b"]).await, Who::is("ben"), "at once");
    assert_eq!(world.known("a"), Who::is("ana"));
}

#[tokio::test]
async fn forged_cookies_push_nobody_out_and_are_forgotten() {
    let world = World::with_limit("", 3).await;
    for user in ["ana", "ben", "cleo"] {
        world.script.signs_in(user, user);
        assert_eq!(world.who(&[user]).await, Who::is(user));
    }
    for number in 0..1000 {
        let cookie = format!("forged-{number}");
        assert_eq!(world.who(&[&cookie]).await, Who::Out("no_session"));
    }
    for user in ["ana", "ben", "cleo"] {
        assert_eq!(world.known(user), Who::is(user));
    }
    // There is no room for a fourth, and nobody has to go for it.
    world.script.signs_in("dora", "dora");
    assert_eq!(world.who(&["dora"]).await, Who::Unavailable);
    let asked = world.script.asked();
    assert_eq!(world.who(&["dora"]).await, Who::Unavailable);
    assert_eq!((world.script.asked(), world.known("ana")), (asked, Who::is("ana")));
    world.script.signs_out("ana");
    world.pass(31);
    assert_eq!(world.who(&["ana"]).await, Who::Out("no_session"));
    world.clear_away();
    assert_eq!(world.who(&["dora"]).await, Who::is("dora"));
}

#[tokio::test]
async fn a_wall_clock_that_jumps_changes_no_answer() {
    let world = World::new().await;
    world.script.says("a", json!({"active": true, "username": "ana"}));
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
    let (id, ..) = world.details("a").await;
    for unix in [NOON - 900_000, NOON + 3600, 0, NOON + 7 * 3600] {
        world.clock.set_unix(unix);
        assert_eq!(world.known("a"), Who::is("ana"), "{unix}");
    }
    // Ahead of the session's end, the portal is asked, and what was opened stays.
    world.clock.set_unix(NOON + 9_000_000);
    assert_eq!(world.known("a"), Who::Unasked);
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
    world.clock.set_unix(NOON);
    assert_eq!(world.details("a").await.0, id);
    world.script.signs_out("a");
    world.pass(31);
    assert_eq!(world.who(&["a"]).await, Who::Out("no_session"), "an answer ages by another clock");
}

#[tokio::test]
async fn a_session_without_an_end_lasts_from_its_last_yes() {
    let world = World::with("session_lifetime = \"1h\"\ngrace = \"30m\"").await;
    world.script.signs_in("a", "ana");
    let mut ids = BTreeSet::new();
    for _ in 0..8 {
        let (id, _, expires, _) = world.details("a").await;
        ids.insert(id);
        assert!(expires >= NOON + 3600);
        world.pass(1200);
    }
    assert_eq!(ids.len(), 1, "one session, however long");
    world.script.always(Reply::new(500, ""));
    world.pass(3600);
    assert_eq!(world.who(&["a"]).await, Who::Unavailable);
}

#[tokio::test]
async fn changes_at_the_portal_arrive_with_the_next_answer() {
    let world = World::new().await;
    world.script.says("a", json!({"active": true, "username": "ana", "roles": ["admin"], "password": "old"}));
    let (id, roles, ..) = world.details("a").await;
    assert_eq!(roles, ["admin"]);
    world.script.says("a", json!({"active": true, "username": "ana", "password": "new"}));
    world.pass(31);
    assert_eq!(world.details("a").await, (id, vec![], NOON + 31 + 8 * 3600, Some("new".to_owned())));
}

#[tokio::test]
async fn a_reload_keeps_what_is_known() {
    let world = World::new().await;
    world.script.signs_in("a", "ana");
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
    let (id, ..) = world.details("a").await;
    let reloaded = world.reloaded("cache_for = \"1m\"");
    assert_eq!(world.who_at(&reloaded, &["a"]).await, Who::is("ana"));
    assert_eq!((world.script.asked(), world.details("a").await.0), (1, id));
}
