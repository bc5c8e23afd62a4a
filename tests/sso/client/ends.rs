//! Keyward is a client service, and a session ends: here, at the host, or before it quite began.

use serde_json::json;

use super::{assert_no_session, stage};
use crate::support::until;
use crate::{KEY, OTHER_KEY, cookie_of, request, told};

#[tokio::test]
async fn the_host_hears_of_a_sign_out_also_when_it_was_down() {
    let stage = stage("").await;
    let (ana, api_sid) = stage.signed_in("ana").await;
    stage.host.fail("logout/", 2);
    let answer = stage.browser("GET", "/.keyward/logout", &[&format!("Cookie: {ana}")], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(stage.ask(&ana).await.status, 401, "it has ended here at once");
    until("the host's knowledge", || async { stage.host.ended() == [api_sid.clone()] }).await;
}

#[tokio::test]
async fn who_could_not_be_acknowledged_stays_signed_in_and_is_acknowledged_later() {
    let stage = stage("").await;
    stage.host.fail("login-acknowledgement/", 2);
    let (ana, api_sid) = stage.signed_in("ana").await;
    stage.ask(&ana).await.assert_allows("ana");
    until("the acknowledgement", || async { stage.host.acknowledged() == [api_sid.clone()] }).await;
    stage.ask(&ana).await.assert_allows("ana");
}

#[tokio::test]
async fn the_host_ends_all_sessions_of_its_own_and_is_not_called_back() {
    for inside in [true, false] {
        let stage = stage("").await;
        let answer = json!({"api_sid": "shared", "access": "a", "username": "ana"});
        let mut cookies = Vec::new();
        for _ in 0..2 {
            let token = stage.host.mint_for(answer.clone());
            cookies.push(cookie_of(&stage.follow(&token, &[]).await));
        }
        let (other, _) = stage.signed_in("ana").await;
        let door = if inside { stage.keyward.api } else { stage.auth() };
        assert_eq!(stage.host.end(door, "shared", Some("wrong")).await, 401);
        assert_eq!(stage.host.end(door, "unknown", None).await, 200);
        stage.ask(&cookies[0]).await.assert_allows("ana");
        for _ in 0..2 {
            assert_eq!(stage.host.end(door, "shared", None).await, 200);
        }
        for cookie in &cookies {
            assert_eq!(stage.ask(cookie).await.status, 401);
        }
        stage.ask(&other).await.assert_allows("ana");
        assert!(stage.host.ended().is_empty());
    }
}

#[tokio::test]
async fn the_way_from_outside_can_be_closed() {
    let stage = stage(&format!("logout_from_outside = false\nlogout_apikey = \"{OTHER_KEY}\"")).await;
    let (ana, api_sid) = stage.signed_in("ana").await;
    assert_eq!(stage.host.end(stage.auth(), &api_sid, Some(OTHER_KEY)).await, 404);
    assert_eq!(stage.host.end(stage.keyward.api, &api_sid, Some(KEY)).await, 401, "that is what we show, not the host");
    stage.ask(&ana).await.assert_allows("ana");
    assert_eq!(stage.host.end(stage.keyward.api, &api_sid, Some(OTHER_KEY)).await, 200);
    assert_eq!(stage.ask(&ana).await.status, 401);
    let lines = [format!("apikey: {OTHER_KEY}")];
    let call = |body: &str| request("POST", "/sso/epixel/logout", "keyward", &lines, body);
    for body in ["", "{}", "{\"api_sid\":\"\"}", "{\"api_sid\":7}", "null"] {
        assert_eq!(told(&stage.keyward.call(call(body)).await), (400, "invalid_request".to_owned()), "{body}");
    }
}

#[tokio::test]
async fn an_end_that_overtakes_its_own_sign_in_wins() {
    let stage = stage("").await;
    let (token, api_sid) = stage.host.mint("ana");
    let held = stage.host.hold().await;
    let arriving = stage.follow(&token, &[]);
    let overtaking = async {
        until("the question for the token", || async { stage.verifications() == 1 }).await;
        assert_eq!(stage.host.end(stage.auth(), &api_sid, None).await, 200);
        drop(held);
    };
    let (answer, ()) = tokio::join!(arriving, overtaking);
    assert_eq!(answer.status, 403);
    assert_no_session(&answer);
    assert!(stage.host.acknowledged().is_empty());
}
