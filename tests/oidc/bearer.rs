//! Access tokens that API callers bring themselves.

use serde_json::{Value, json};

use crate::fakes::openid_provider::SigningKey;
use crate::fakes::server::Fault;
use crate::stage::{Browser, MAIL, Stage, stage};
use crate::support::{Answer, Ask, Door, now, until};

async fn api() -> Stage {
    stage("audiences = [\"mail-api\", \"other-api\"]").await
}

async fn bring(stage: &Stage, path: &str, header: &str) -> Answer {
    let ask = Ask::get(format!("{MAIL}{path}")).header("Authorization", header);
    stage.keyward.ask(Door::AuthRequest, &ask).await
}

async fn with_token(stage: &Stage, claims: &Value) -> Answer {
    bring(stage, "/api", &format!("Bearer {}", stage.provider.key().sign(claims))).await
}

#[tokio::test]
async fn a_token_for_one_of_our_audiences_is_taken_where_the_route_says_so() {
    let stage = api().await;
    stage.provider.knows("ana", json!({ "realm_access": { "roles": ["reader"] } }));
    let claims = stage.provider.access_claims("ana", "mail-api");
    let token = stage.provider.key().sign(&claims);
    for header in [format!("Bearer {token}"), format!("bearer {token}"), format!("BEARER  {token}")] {
        let answer = bring(&stage, "/api", &header).await;
        answer.assert_allows("ana");
        assert_eq!((answer.one("remote-groups").as_str(), answer.all("set-cookie").len()), ("reader", 0));
    }
    assert_eq!(bring(&stage, "/", &format!("Bearer {token}")).await.status, 401, "elsewhere it counts for nothing");
    assert_eq!(stage.provider.asked("/certs"), 1);
    assert_eq!(stage.provider.asked("/token"), 0, "it is checked here");
    let several = stage.provider.access_claims("ben", "other-api");
    with_token(&stage, &several).await.assert_allows("ben");
}

#[tokio::test]
async fn a_client_without_a_token_is_asked_for_one() {
    let stage = api().await;
    let answer = stage.keyward.ask(Door::AuthRequest, &Ask::get(format!("{MAIL}/api"))).await;
    assert_eq!((answer.status, answer.one("www-authenticate").as_str()), (401, "Bearer"));
}

#[tokio::test]
async fn a_portal_without_audiences_takes_no_token() {
    let stage = stage("").await;
    let claims = stage.provider.access_claims("ana", "keyward");
    let answer = with_token(&stage, &claims).await;
    assert_eq!((answer.status, answer.all("www-authenticate").len()), (401, 0));
    assert_eq!(stage.provider.asked("/certs"), 0);
}

#[tokio::test]
async fn a_token_with_one_thing_wrong_is_none() {
    let stage = api().await;
    let good = || stage.provider.access_claims("ana", "mail-api");
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    for claims in [
        without("iss"),
        without("aud"),
        without("exp"),
        without("sub"),
        without("preferred_username"),
        with("iss", json!("https://evil.test")),
        with("iss", json!(format!("{}/", stage.provider.issuer()))),
        with("aud", json!("keyward")),
        with("aud", json!("mail-api2")),
        with("aud", json!(["account"])),
        with("aud", json!({ "mail-api": true })),
        with("exp", json!(now() - 120)),
        with("exp", json!("1")),
        with("exp", json!((now() + 60).to_string())),
        with("exp", json!(1e300)),
        with("nbf", json!("99999999999")),
        with("nbf", json!(now() + 600)),
        with("iat", json!(now() + 600)),
        with("typ", json!("ID")),
        with("typ", json!("Refresh")),
        with("typ", json!("Logout")),
        with("typ", json!(["Bearer"])),
        with("nonce", json!("n")),
        with("at_hash", json!("h")),
        with("events", json!({})),
        with("cnf", json!({ "jkt": "k" })),
        with("preferred_username", json!("ana\r\nX: y")),
        with("realm_access", json!({ "roles": "admin" })),
    ] {
        let answer = with_token(&stage, &claims).await;
        assert_eq!(answer.status, 401, "{claims}");
        answer.assert_refuses();
    }
    let key = stage.provider.key();
    let header = |name: &str, value: Value| {
        let mut header = key.header();
        header[name] = value;
        header
    };
    let token = key.sign(&good());
    for token in [
        SigningKey::rsa("first").sign(&good()),
        key.sign_with(&header("alg", json!("none")), &good()),
        key.sign_with(&header("alg", json!("HS256")), &good()),
        key.sign_with(&header("typ", json!("logout+jwt")), &good()),
        key.sign_with(&header("crit", json!(["b64"])), &good()),
        token.rsplit_once('.').unwrap().0.to_owned() + ".",
        format!("{token}x.y"),
        format!("{token}, {token}"),
        "x".repeat(8000),
        String::new(),
    ] {
        let answer = bring(&stage, "/api", &format!("Bearer {token}")).await;
        assert_eq!(answer.status, 401, "{token}");
    }
    for scheme in ["Basic", "Token", "Bearer\t", "DPoP", ""] {
        assert_eq!(bring(&stage, "/api", &format!("{scheme} {token}")).await.status, 401, "{scheme}");
    }
    bring(&stage, "/api", &format!("Bearer {token}")).await.assert_allows("ana");
    let typed = key.sign_with(&header("typ", json!("at+jwt")), &good());
    bring(&stage, "/api", &format!("Bearer {typed}")).await.assert_allows("ana");
}

#[tokio::test]
async fn a_session_goes_before_a_token_and_a_bad_cookie_behind_it() {
    let stage = api().await;
    let mut browser = stage.signed_in("ana").await;
    let token = stage.provider.key().sign(&stage.provider.access_claims("ben", "mail-api"));
    let ask = |browser: &Browser| {
        let cookie = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        Ask::get(format!("{MAIL}/api")).cookie(cookie).header("Authorization", format!("Bearer {token}"))
    };
    stage.keyward.ask(Door::AuthRequest, &ask(&browser)).await.assert_allows("ana");
    browser.jar.values_mut().for_each(|value| *value = "made-up".to_owned());
    stage.keyward.ask(Door::AuthRequest, &ask(&browser)).await.assert_allows("ben");
}

#[tokio::test]
async fn a_token_ends_with_its_time_and_with_its_session() {
    let stage = stage("audiences = [\"mail-api\"]\nclock_skew = \"1s\"").await;
    let mut claims = stage.provider.access_claims("ana", "mail-api");
    claims["exp"] = json!(now() + 2);
    let short = stage.provider.key().sign(&claims);
    bring(&stage, "/api", &format!("Bearer {short}")).await.assert_allows("ana");
    until("its end", || async { bring(&stage, "/api", &format!("Bearer {short}")).await.status == 401 }).await;
    let claims = stage.provider.access_claims("ana", "mail-api");
    with_token(&stage, &claims).await.assert_allows("ana");
    let logout = stage.provider.key().sign(&stage.provider.logout_claims(None, claims["sid"].as_str()));
    let door = "/.keyward/backchannel-logout/id";
    let answer = stage.send(&mut Browser::default(), "POST", door, &[], &format!("logout_token={logout}")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(with_token(&stage, &claims).await.status, 401);
    let another = stage.provider.access_claims("ana", "mail-api");
    assert_eq!(with_token(&stage, &another).await.status, 401, "another one of the same session");
}

#[tokio::test]
async fn who_signs_out_here_takes_the_tokens_of_that_session_along() {
    let stage = stage("audiences = [\"mail-api\"]\npost_logout = \"here\"").await;
    let mut browser = stage.signed_in("ana").await;
    let sid = stage.provider.sid();
    let of_session = |sid: &str| {
        let mut claims = stage.provider.access_claims("ana", "mail-api");
        claims["sid"] = json!(sid);
        claims
    };
    let [shown, unseen, another] = [of_session(&sid), of_session(&sid), of_session("another")];
    with_token(&stage, &shown).await.assert_allows("ana");
    let out = stage.send(&mut browser, "GET", "/.keyward/logout", &["Sec-Fetch-Site: same-origin"], "").await;
    assert_eq!(out.status, 200, "{out:?}");
    for claims in [&shown, &unseen] {
        assert_eq!(with_token(&stage, claims).await.status, 401);
    }
    with_token(&stage, &another).await.assert_allows("ana");
    // The provider stands by its session, so what it gives from now on is good.
    let out_at = now();
    until("a later second", || async { now() > out_at }).await;
    with_token(&stage, &of_session(&sid)).await.assert_allows("ana");
    stage.signed_in("ana").await;
}

#[tokio::test]
async fn random_keys_have_the_keys_asked_for_once() {
    let stage = api().await;
    let claims = stage.provider.access_claims("ana", "mail-api");
    with_token(&stage, &claims).await.assert_allows("ana");
    for number in 0..300 {
        let token = stage.provider.key().sign_with(&json!({ "alg": "RS256", "kid": format!("k{number}") }), &claims);
        assert_eq!(bring(&stage, "/api", &format!("Bearer {token}")).await.status, 401);
    }
    assert!(stage.provider.asked("/certs") <= 3, "{}", stage.provider.asked("/certs"));
    with_token(&stage, &claims).await.assert_allows("ana");
}

#[tokio::test]
async fn while_the_keys_cannot_be_had_nobody_can_tell() {
    let stage = api().await;
    stage.provider.misbehave(Some(Fault::CloseAtOnce));
    let claims = stage.provider.access_claims("ana", "mail-api");
    let answer = with_token(&stage, &claims).await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "portal_unavailable"));
    stage.provider.misbehave(None);
    until("the keys are there", || async { with_token(&stage, &claims).await.status == 200 }).await;
    stage.provider.misbehave(Some(Fault::CloseAtOnce));
    let claims = stage.provider.access_claims("ben", "mail-api");
    with_token(&stage, &claims).await.assert_allows("ben");
}
