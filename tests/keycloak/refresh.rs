//! What changes at Keycloak or in the directory while somebody is signed in.

use keyward::domain::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::example::{self, membership};
use crate::stage::Stage;
use crate::support::until;

/// How long access tokens are good, in seconds: long enough for a sign-in on a busy machine.
pub const LIFETIME: u64 = 4;

/// A realm in which tokens are renewed while one waits.
pub fn short(realm: &mut Value) {
    realm["accessTokenLifespan"] = json!(LIFETIME);
}

/// And in which Keycloak looks at the directory each time.
fn short_and_fresh(realm: &mut Value) {
    short(realm);
    let settings = &mut realm["components"]["org.keycloak.storage.UserStorageProvider"][0]["config"];
    assert_eq!((&settings["cachePolicy"], &settings["maxLifespan"]), (&json!(["MAX_LIFESPAN"]), &json!(["300000"])));
    settings["maxLifespan"] = json!(["1"]);
}

#[tokio::test]
async fn a_role_that_is_given_or_taken_counts_from_the_next_refresh_on() {
    let stage = Stage::with(short_and_fresh).await;
    let name = stage.person(&["mail-users"]).await;
    let browser = stage.signed_in(&name).await;
    let admin = async || browser.fetch("/admin").await.status;
    assert_eq!(admin().await, 403);
    stage.directory().modify(&membership("add", &name, "mail-admins")).await.unwrap();
    until("the role", || async { admin().await == 200 }).await;
    stage.directory().modify(&membership("delete", &name, "mail-admins")).await.unwrap();
    until("the loss of the role", || async { admin().await == 403 }).await;
    browser.fetch("/").await.assert_allows(&name);
}

#[tokio::test]
async fn who_is_locked_in_the_directory_is_signed_out_at_the_next_refresh() {
    let stage = Stage::with(short_and_fresh).await;
    let (name, other) = (stage.person(&["mail-users"]).await, stage.person(&["mail-users"]).await);
    let (browser, others) = (stage.signed_in(&name).await, stage.signed_in(&other).await);
    let dn = example::dn(&name);
    let lock =
        format!("dn: {dn}\nchangetype: modify\nadd: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n");
    stage.directory().modify(&lock).await.unwrap();
    until("the end of the session", || async { browser.fetch("/").await.status == 401 }).await;
    others.fetch("/").await.assert_allows(&other);
}

#[tokio::test]
async fn who_is_disabled_at_keycloak_is_signed_out_at_the_next_refresh() {
    let stage = Stage::with(short).await;
    let name = stage.person(&["mail-users"]).await;
    let browser = stage.signed_in(&name).await;
    let path = format!("/users/{}", stage.id_of(&name).await);
    stage.administer(Method::PUT, &path, Some(&json!({ "enabled": false }))).await;
    until("the end of the session", || async { browser.fetch("/").await.status == 401 }).await;
}

#[tokio::test]
async fn tokens_are_renewed_once_however_many_requests_come() {
    let stage = Stage::with(short).await;
    let name = stage.person(&["mail-users"]).await;
    let clock = SystemClock::new();
    let (begin, browser) = (clock.now(), stage.signed_in(&name).await);
    while stage.asked("/protocol/openid-connect/token") < 3 {
        for answer in futures_util::future::join_all((0..20).map(|_| browser.fetch("/"))).await {
            answer.assert_allows(&name);
        }
    }
    // A quarter of their life before they end.
    let most = clock.now().since(begin).as_secs() / (LIFETIME * 3 / 4) + 1;
    let refreshes = stage.asked("/protocol/openid-connect/token") - 1;
    assert!(refreshes as u64 <= most, "{refreshes} refreshes, and there was time for {most}");
}
