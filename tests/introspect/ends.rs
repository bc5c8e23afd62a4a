//! How sessions end: at the portal, here, and by the portal's word.

use std::time::Duration;

use keyward::domain::Reason;
use keyward::handover::NotOpened;
use serde_json::json;

use crate::fakes::server::{Fault, Reply};
use crate::script::Script;
use crate::support::until;
use crate::world::{Who, World};

#[tokio::test]
async fn whoever_signs_out_here_stays_out_while_the_portal_vouches() {
    let world = World::new().await;
    world.script.signs_in("a", "ana");
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
    world.sign_out("a");
    for _ in 0..40 {
        assert_eq!(world.who(&["a"]).await, Who::Out("revoked"));
        world.pass(20 * 60);
        world.clear_away();
    }
    // Also while the portal is down, and after that.
    world.script.always(Reply::new(500, ""));
    assert_ne!(world.who(&["a"]).await, Who::is("ana"));
    world.script.misbehave(None);
    world.pass(60);
    assert_eq!(world.who(&["a"]).await, Who::Out("revoked"));
}

#[tokio::test]
async fn a_portal_may_give_the_same_cookie_to_the_next_who_signs_in() {
    let world = World::new().await;
    world.script.signs_in("a", "ana");
    let (first, ..) = world.details("a").await;
    // At the portal alone.
    world.script.signs_out("a");
    world.pass(31);
    assert_eq!(world.who(&["a"]).await, Who::Out("no_session"));
    world.pass(3);
    world.script.signs_in("a", "ben");
    let (second, ..) = world.details("a").await;
    assert_ne!(first, second);
    // Here and at the portal.
    world.sign_out("a");
    world.script.signs_out("a");
    world.pass(31);
    assert_eq!(world.who(&["a"]).await, Who::Out("no_session"));
    world.pass(3);
    world.script.signs_in("a", "ben");
    let (third, ..) = world.details("a").await;
    assert_ne!(second, third, "nobody is refused for ever");
    assert!(world.keys.is_ended("p", &second) && !world.keys.is_ended("p", &third));
}

#[tokio::test]
async fn somebody_else_behind_the_same_cookie_gets_another_session() {
    for (first, second) in [
        (json!({"active": true, "username": "ana"}), json!({"active": true, "username": "ben"})),
        (
            json!({"active": true, "username": "ana", "sid": "one"}),
            json!({"active": true, "username": "ana", "sid": "two"}),
        ),
    ] {
        let world = World::new().await;
        world.script.says("a", first);
        let (ana, ..) = world.details("a").await;
        world.script.says("a", second.clone());
        world.pass(31);
        let (ben, ..) = world.details("a").await;
        assert_ne!(ana, ben, "{second}");
        assert_eq!(world.clear_away(), [] as [&str; 0], "it was ended before the next began");
    }
}

#[tokio::test]
async fn whoever_signed_out_is_not_in_the_way_of_the_next() {
    let world = World::new().await;
    world.script.signs_in("a", "ana");
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
    world.sign_out("a");
    world.script.signs_in("a", "ben");
    world.pass(31);
    assert_eq!(world.who(&["a"]).await, Who::is("ben"));
}

#[tokio::test]
async fn a_sign_out_by_somebody_of_whom_nothing_is_known_counts() {
    let world = World::new().await;
    world.script.signs_in("a", "ana");
    world.sign_out("a");
    assert_eq!(world.script.asked(), 0, "nobody is asked about what anybody can make up");
    assert_eq!(world.who(&["a"]).await, Who::Out("revoked"));
    assert_eq!(world.who(&["a"]).await, Who::Out("revoked"));
    world.script.signs_out("a");
    world.pass(31);
    assert_eq!(world.who(&["a"]).await, Who::Out("no_session"));
    world.script.signs_in("a", "ana");
    world.pass(3);
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
}

#[tokio::test]
async fn the_portals_side_ends_a_session_by_its_own_name_or_by_the_cookie() {
    for name in ["portal-sid-1", "a"] {
        let world = World::new().await;
        world.script.says("a", json!({"active": true, "username": "ana", "sid": "portal-sid-1"}));
        world.script.says("b", json!({"active": true, "username": "ben", "sid": "portal-sid-2"}));
        let (ana, ..) = world.details("a").await;
        assert_eq!(world.who(&["b"]).await, Who::is("ben"));
        assert_eq!(world.portal.called(name).await.ids, [ana]);
        world.call_off("nobodys");
        assert_eq!(world.who(&["a"]).await, Who::is("ana"));
        world.script.signs_out("a");
        world.call_off(name);
        assert_eq!(world.known("a"), Who::Out("revoked"), "{name}: at once");
        assert_eq!(world.who(&["b"]).await, Who::is("ben"));
        world.pass(31);
        assert_eq!(world.who(&["a"]).await, Who::Out("no_session"));
        // PHP gives the same id again.
        world.script.says("a", json!({"active": true, "username": "ana", "sid": "portal-sid-1"}));
        world.pass(3);
        assert_eq!(world.who(&["a"]).await, Who::is("ana"), "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_was_under_way_at_the_end_revives_nobody() {
    for name in ["portal-sid-1", "a"] {
        let world = World::new().await;
        world.script.says("a", json!({"active": true, "username": "ana", "sid": "portal-sid-1"}));
        world.script.misbehave(Some(Fault::Drip(Duration::from_millis(2))));
        let (who, ()) = tokio::join!(world.who(&["a"]), async {
            until("the question", || async { world.script.asked() == 1 }).await;
            world.call_off(name);
        });
        assert_eq!(who, Who::Out("no_session"), "{name}");
    }
}

#[tokio::test]
async fn a_refresh_that_was_under_way_at_the_sign_out_revives_nobody() {
    let world = World::new().await;
    world.script.signs_in("a", "ana");
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
    world.pass(31);
    world.script.misbehave(Some(Fault::Drip(Duration::from_millis(2))));
    let (who, ()) = tokio::join!(world.who(&["a"]), async {
        until("the question", || async { world.script.asked() == 2 }).await;
        world.sign_out("a");
    });
    assert_eq!(who, Who::Out("revoked"));
    assert_eq!(world.known("a"), Who::Out("revoked"));
}

#[tokio::test]
async fn whoever_signed_out_in_an_outage_is_not_refused_for_ever() {
    let world = World::with("timeout = \"300ms\"").await;
    world.script.signs_in("a", "ana");
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
    world.pass(31);
    world.script.misbehave(Some(Fault::CloseAtOnce));
    assert_eq!(world.who(&["a"]).await, Who::is("ana"), "in the grace");
    world.sign_out("a");
    assert_eq!(world.who(&["a"]).await, Who::Out("revoked"));
    world.script.misbehave(None);
    world.script.signs_out("a");
    world.pass(31);
    assert_eq!(world.who(&["a"]).await, Who::Out("no_session"));
    world.script.signs_in("a", "ana");
    world.pass(3);
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
}

#[tokio::test]
async fn what_one_portal_vouches_for_is_nothing_at_another() {
    let (world, other) = (World::new().await, Script::start().await);
    let beside = world.beside(&other);
    world.script.signs_in("a", "ana");
    assert_eq!(world.who(&["a"]).await, Who::is("ana"));
    assert_eq!(world.who_at(&beside, &["a"]).await, Who::Out("no_session"));
    other.signs_in("b", "ben");
    assert_eq!(world.who_at(&beside, &["b"]).await, Who::is("ben"));
    assert_eq!(world.who(&["b"]).await, Who::Out("no_session"));
    world.sign_out("b");
    assert_eq!(world.who_at(&beside, &["b"]).await, Who::is("ben"));
}

#[tokio::test]
async fn a_session_is_known_by_its_name_in_the_house_until_it_ends() {
    use keyward::portal::Whose;
    let world = World::new().await;
    world.script.signs_in("a", "ana");
    let (id, ..) = world.details("a").await;
    let whose = async |id: &str| match world.portal.whose(id, world.clock_unix()).await.unwrap() {
        Whose::Of(identity) => identity.user().to_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!(whose(&id).await, "ana");
    assert_eq!(whose("a").await, "Nobody");
    world.sign_out("a");
    assert_eq!(whose(&id).await, "Nobody");
}

#[tokio::test]
async fn the_portals_side_gets_keys_for_a_session_that_nobody_has_asked_about_before() {
    let world = World::new().await;
    let forged = NotOpened::NoSession(Reason::Forged);
    world.script.says("a", json!({"active": true, "username": "ana", "sid": "portal-sid-1"}));
    world.script.says("b", json!({"active": true, "username": "ben", "sid": "portal-sid-2"}));
    for _ in 0..2 {
        assert_eq!(world.opens("portal-sid-1", "a").await, NotOpened::NoBackend);
        assert_eq!(world.opens("a", "a").await, NotOpened::NoBackend);
        assert_eq!(world.opens("portal-sid-2", "a").await, forged, "another one's");
        assert_eq!(world.opens("portal-sid-1", "b").await, forged);
        assert_eq!(world.opens("portal-sid-1", "made-up").await, NotOpened::NoSession(Reason::NoSession));
    }
    // The portal gave the browser another cookie for the same session.
    world.script.says("c", json!({"active": true, "username": "ana", "sid": "portal-sid-1"}));
    for cookie in ["a", "c", "a"] {
        assert_eq!(world.opens("portal-sid-1", cookie).await, NotOpened::NoBackend, "{cookie}");
    }
    world.sign_out("a");
    assert_eq!(world.opens("portal-sid-1", "a").await, NotOpened::NoSession(Reason::Revoked));
    assert_eq!(world.opens("portal-sid-1", "c").await, NotOpened::NoBackend, "it lives");
    world.call_off("portal-sid-1");
    assert_eq!(world.opens("portal-sid-1", "c").await, NotOpened::NoSession(Reason::Revoked));
}

#[tokio::test]
async fn what_the_portals_side_says_of_the_browser_goes_along_when_the_portal_is_asked() {
    let world = World::with("forward_headers = [\"User-Agent\", \"X-Forwarded-For\", \"X-Device\"]").await;
    world.script.says("a", json!({"active": true, "username": "ana", "sid": "portal-sid-1"}));
    assert_eq!(world.opens("portal-sid-1", "a").await, NotOpened::NoBackend);
    let questions = world.script.questions();
    assert_eq!(questions.len(), 1);
    let header = |name: &str| questions[0].header(name);
    assert_eq!((header("user-agent"), header("x-forwarded-for")), (Some("Firefox"), Some("192.0.2.7")));
    assert_eq!(header("x-device"), None, "of which the portal's side says nothing");
}

#[tokio::test]
async fn a_reload_forgets_nobody_who_has_signed_out() {
    let world = World::new().await;
    world.script.signs_in("a", "ana");
    // Before anything was known of her.
    world.sign_out("a");
    let reloaded = world.reloaded("");
    assert_eq!(world.who_at(&reloaded, &["a"]).await, Who::Out("revoked"));
    // While an answer is under way to the question of before.
    world.script.says("b", json!({"active": true, "username": "ben", "sid": "portal-sid-2"}));
    world.script.misbehave(Some(Fault::Drip(Duration::from_millis(2))));
    let asked = world.script.asked();
    let (_, ()) = tokio::join!(world.who(&["b"]), async {
        until("the question", || async { world.script.asked() > asked }).await;
        assert!(world.reloaded("").called_off("portal-sid-2").await.ids.is_empty(), "it is not known yet");
    });
    for cookie in ["a", "b"] {
        assert!(!matches!(world.known(cookie), Who::In(_)), "{cookie}");
    }
}

#[tokio::test]
async fn made_up_cookies_push_out_no_end_that_a_portal_told_of() {
    let world = World::new().await;
    world.script.says("a", json!({"active": true, "username": "ana", "sid": "portal-sid-1"}));
    world.script.misbehave(Some(Fault::Drip(Duration::from_millis(2))));
    let (who, ()) = tokio::join!(world.who(&["a"]), async {
        until("the question", || async { world.script.asked() == 1 }).await;
        world.call_off("portal-sid-1");
        for number in 0..11_000 {
            world.sign_out(&format!("made-up-{number}"));
        }
    });
    assert_eq!(who, Who::Out("no_session"));
}
