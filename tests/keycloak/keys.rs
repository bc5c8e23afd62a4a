//! Keycloak gets new keys.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use keyward::observe::Door;
use reqwest::Method;
use serde_json::json;

use crate::example::CALENDARS;
use crate::stage::Stage;
use crate::support::Ask;

const KEYS: &str = "/protocol/openid-connect/certs";

#[tokio::test]
async fn new_keys_are_fetched_once_and_old_sessions_go_on() {
    let stage = Stage::start().await;
    let (name, other) = (stage.person(&["mail-users"]).await, stage.person(&["mail-users"]).await);
    let before = stage.signed_in(&name).await;
    let fetched = stage.asked(KEYS);
    let new = json!({
        "name": "next year's", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
        "config": { "priority": ["200"], "algorithm": ["RS256"], "keySize": ["2048"] },
    });
    stage.administer(Method::POST, "/components", Some(&new)).await;
    // The old one is not even published any more.
    let components = "/components?type=org.keycloak.keys.KeyProvider";
    let components = stage.administer(Method::GET, components, None).await;
    let old = components
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["providerId"] == "rsa-generated" && one["name"] != new["name"]);
    let old = format!("/components/{}", old.unwrap()["id"].as_str().unwrap());
    stage.administer(Method::DELETE, &old, None).await;
    let after = stage.signed_in(&other).await;
    assert_eq!(stage.asked(KEYS), fetched + 1);
    before.fetch("/").await.assert_allows(&name);
    after.fetch("/").await.assert_allows(&other);
}

#[tokio::test]
async fn made_up_keys_are_asked_for_once() {
    let stage = Stage::start().await;
    let name = stage.person(&["mail-users"]).await;
    stage.signed_in(&name).await;
    let fetched = stage.asked(KEYS);
    let payload = URL_SAFE_NO_PAD.encode(json!({ "aud": "keyward", "sub": "x", "exp": 4_000_000_000_u64 }).to_string());
    let forge = |number: u32| {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "RS256", "kid": format!("key {number}") }).to_string());
        let ask = Ask::get(format!("{CALENDARS}/"));
        let ask = ask.header("Authorization", format!("Bearer {header}.{payload}.{}", "A".repeat(342)));
        let stage = &stage;
        async move { stage.keyward.ask(Door::AuthRequest, &ask).await.status }
    };
    for status in join_all((0..50).map(forge)).await {
        assert_eq!(status, 401);
    }
    let more = stage.asked(KEYS) - fetched;
    assert!(more <= 1, "{more} fetches");
}
