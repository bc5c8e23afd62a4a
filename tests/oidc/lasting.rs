//! How long a session lasts, and what it is worth meanwhile.

use serde_json::json;

use crate::fakes::server::{Fault, Reply};
use crate::stage::{Stage, stage};
use crate::support::{now, until};

/// With access tokens that are good for so many seconds.
async fn short(access: u64, refresh: Option<u64>) -> Stage {
    let stage = stage("").await;
    stage.provider.lifetimes(access, refresh);
    stage
}

#[tokio::test]
async fn tokens_are_renewed_before_they_end_and_roles_with_them() {
    let stage = short(4, Some(1800)).await;
    stage.provider.knows("ana", json!({ "realm_access": { "roles": ["admin"] } }));
    let browser = stage.signed_in("ana").await;
    stage.ask(&browser, "/admin").await.assert_allows("ana");
    stage.provider.knows("ana", json!({ "realm_access": { "roles": ["user"] } }));
    until("the role is gone", || async { stage.ask(&browser, "/admin").await.status == 403 }).await;
    stage.ask(&browser, "/").await.assert_allows("ana");
    stage.provider.knows("ana", json!({ "realm_access": { "roles": ["admin"] } }));
    until("the role is back", || async { stage.ask(&browser, "/admin").await.status == 200 }).await;
}

#[tokio::test]
async fn a_refresh_that_brings_no_id_token_leaves_the_person_who_they_are() {
    let stage = short(1, None).await;
    stage.provider.gives_no_id_token_at_refresh();
    stage.provider.knows("ana", json!({ "name": "Ana Example" }));
    let browser = stage.signed_in("ana").await;
    let before = stage.provider.asked("/token");
    until("two refreshes", || async {
        assert_eq!(stage.ask(&browser, "/").await.one("remote-name"), "Ana Example");
        stage.provider.asked("/token") >= before + 2
    })
    .await;
}

#[tokio::test]
async fn many_requests_at_the_end_of_a_token_make_one_refresh() {
    let stage = short(1, None).await;
    let browser = stage.signed_in("ana").await;
    let before = stage.provider.asked("/token");
    stage.provider.lifetimes(3600, None);
    let end = now() + 1;
    until("the end of the token", || async { now() > end }).await;
    let asked = futures_util::future::join_all((0..50).map(|_| stage.ask(&browser, "/"))).await;
    for answer in asked {
        answer.assert_allows("ana");
    }
    // Each refresh token is good once, so a second refresh would have ended the session.
    assert_eq!(stage.provider.asked("/token"), before + 1);
    stage.ask(&browser, "/").await.assert_allows("ana");
}

#[tokio::test]
async fn a_session_that_the_provider_has_ended_ends() {
    let stage = short(1, None).await;
    let browser = stage.signed_in("ana").await;
    stage.provider.ends(&stage.provider.sid());
    until("the end", || async { stage.ask(&browser, "/").await.status == 401 }).await;
    let asked = stage.provider.asked("/token");
    assert_eq!(stage.ask(&browser, "/").await.status, 401);
    assert_eq!(stage.provider.asked("/token"), asked, "what has ended is not asked for again");
}

#[tokio::test]
async fn an_outage_is_no_sign_out() {
    let faults = [
        Fault::CloseAtOnce,
        Fault::HalfAnswer,
        Fault::Garbage,
        Fault::Hang,
        Fault::EndlessBody,
        Fault::Instead(Reply::new(503, "")),
        Fault::Instead(Reply::new(500, "oops")),
        Fault::Instead(Reply::new(200, "")),
        Fault::Instead(Reply::html(200, "<p>maintenance</p>")),
        Fault::Instead(Reply::json(200, &json!({}))),
        Fault::Instead(Reply::json(200, &json!({ "ok": "false" }))),
        Fault::Instead(Reply::json(400, &json!({ "error": "temporarily_unavailable" }))),
        Fault::Instead(Reply::json(401, &json!({ "error": "invalid_client" }))),
        Fault::Instead(Reply::new(404, "")),
        Fault::Instead(Reply::new(302, "").with("Location", "/login")),
    ];
    let one = |fault: Fault| async move {
        let stage = short(1, None).await;
        let browser = stage.signed_in("ana").await;
        let what = format!("{fault:?}");
        let asked = stage.provider.asked("/token");
        stage.provider.misbehave(Some(fault));
        until("a refresh was tried", || async {
            stage.ask(&browser, "/").await.assert_allows("ana");
            stage.provider.asked("/token") > asked
        })
        .await;
        stage.ask(&browser, "/").await.assert_allows("ana");
        assert!(!stage.keyward.log().contains("the OpenID provider has ended a session"), "{what}");
    };
    futures_util::future::join_all(faults.map(one)).await;
}

#[tokio::test]
async fn when_nothing_valid_is_left_in_an_outage_nobody_can_tell() {
    let stage = short(1, Some(1)).await;
    let browser = stage.signed_in("ana").await;
    stage.provider.misbehave(Some(Fault::CloseAtOnce));
    until("the end of the tokens", || async { stage.ask(&browser, "/").await.status == 503 }).await;
    let answer = stage.ask(&browser, "/").await;
    assert_eq!((answer.reason().as_str(), answer.maybe("retry-after").is_some()), ("portal_unavailable", true));
    stage.provider.misbehave(None);
    stage.provider.lifetimes(3600, None);
    until("the provider is back", || async { stage.ask(&browser, "/").await.status == 200 }).await;
}

#[tokio::test]
async fn new_tokens_of_somebody_else_end_the_session() {
    for claim in ["sub", "preferred_username"] {
        let stage = short(1, None).await;
        let browser = stage.signed_in("ana").await;
        stage.provider.twist_id_claims(move |claims| claims[claim] = json!("ben"));
        until("the end", || async {
            let answer = stage.ask(&browser, "/").await;
            assert!(answer.status == 401 || answer.one("remote-user") == "ana", "{answer:?}");
            answer.status == 401
        })
        .await;
    }
}

#[tokio::test]
async fn an_access_token_of_somebody_else_is_not_used_though_no_id_token_comes_with_it() {
    let stage = short(1, None).await;
    stage.provider.gives_no_id_token_at_refresh();
    let browser = stage.signed_in("ana").await;
    stage.provider.twist_access_claims(|claims| claims["sub"] = json!("ben"));
    until("the end", || async { stage.ask(&browser, "/").await.status == 401 }).await;
    assert!(stage.keyward.log().contains("a session ends, since its new tokens are not good"));
}

#[tokio::test]
async fn many_sessions_that_are_due_at_once_come_to_the_provider_in_turns() {
    let stage = short(1, None).await;
    let browsers = futures_util::future::join_all((0..100).map(|_| stage.signed_in("ana"))).await;
    let end = now() + 1;
    until("the end of the tokens", || async { now() > end }).await;
    stage.provider.lifetimes(3600, None);
    let before = stage.provider.asked("/token");
    stage.provider.misbehave(Some(Fault::CloseAtOnce));
    for answer in futures_util::future::join_all(browsers.iter().map(|browser| stage.ask(browser, "/"))).await {
        answer.assert_allows("ana");
    }
    let asked = stage.provider.asked("/token") - before;
    assert!((1..=40).contains(&asked), "{asked}: those that waited learn that the provider is away");
    stage.provider.misbehave(None);
    until("all are renewed", || async {
        for answer in futures_util::future::join_all(browsers.iter().map(|browser| stage.ask(browser, "/"))).await {
            answer.assert_allows("ana");
        }
        stage.provider.asked("/token") >= before + asked + 100
    })
    .await;
}
