//! Out: begun here, and begun at Keycloak.

use reqwest::Method;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::example::WEBMAIL;
use crate::stage::Stage;
use crate::support::until;

async fn is_in(browser: &Browser<'_>) -> bool {
    browser.fetch("/").await.status == 200
}

#[tokio::test]
async fn who_signs_out_here_is_signed_out_at_keycloak() {
    let stage = Stage::start().await;
    let name = stage.person(&["mail-users"]).await;
    let mut browser = stage.signed_in(&name).await;
    let sessions = format!("/users/{}/sessions", stage.id_of(&name).await);
    assert_eq!(stage.administer(Method::GET, &sessions, None).await.as_array().unwrap().len(), 1);
    let page = browser.open("/.keyward/logout").await;
    assert_eq!(page.url.as_str(), format!("{WEBMAIL}/.keyward/signed-out/keycloak"), "{}", page.answer.text());
    assert_eq!(page.answer.status, 200);
    assert!(page.answer.text().contains("You are signed out"));
    assert_eq!(stage.administer(Method::GET, &sessions, None).await, json!([]));
    assert!(!is_in(&browser).await);
    assert!(browser.open("/").await.asks_for_password());
}

#[tokio::test]
async fn an_end_of_one_session_at_keycloak_ends_that_one_here() {
    let stage = Stage::start().await;
    let (name, other) = (stage.person(&["mail-users"]).await, stage.person(&["mail-users"]).await);
    let (first, others) = (stage.signed_in(&name).await, stage.signed_in(&other).await);
    let sessions = format!("/users/{}/sessions", stage.id_of(&name).await);
    let known = stage.administer(Method::GET, &sessions, None).await;
    let second = stage.signed_in(&name).await;
    let session = format!("/sessions/{}", known[0]["id"].as_str().unwrap());
    stage.administer(Method::DELETE, &session, None).await;
    until("the end of the first session", || async { !is_in(&first).await }).await;
    assert!(is_in(&second).await && is_in(&others).await);
}

#[tokio::test]
async fn who_is_signed_out_at_keycloak_is_signed_out_here_everywhere() {
    let stage = Stage::start().await;
    let (name, other) = (stage.person(&["mail-users"]).await, stage.person(&["mail-users"]).await);
    let (first, second, others) =
        (stage.signed_in(&name).await, stage.signed_in(&name).await, stage.signed_in(&other).await);
    let logout = format!("/users/{}/logout", stage.id_of(&name).await);
    stage.administer(Method::POST, &logout, None).await;
    until("the end of both sessions", || async { !is_in(&first).await && !is_in(&second).await }).await;
    assert!(is_in(&others).await);
}

#[tokio::test]
async fn a_logout_token_that_names_only_the_person_ends_all_their_sessions() {
    let without_session = |realm: &mut Value| {
        let client = realm["clients"].as_array_mut().unwrap().iter_mut().find(|client| client["clientId"] == "keyward");
        client.unwrap()["attributes"]["backchannel.logout.session.required"] = json!("false");
    };
    let stage = Stage::with(without_session).await;
    let (name, other) = (stage.person(&["mail-users"]).await, stage.person(&["mail-users"]).await);
    let (first, second, others) =
        (stage.signed_in(&name).await, stage.signed_in(&name).await, stage.signed_in(&other).await);
    let sessions = format!("/users/{}/sessions", stage.id_of(&name).await);
    let known = stage.administer(Method::GET, &sessions, None).await;
    let session = format!("/sessions/{}", known[0]["id"].as_str().unwrap());
    stage.administer(Method::DELETE, &session, None).await;
    until("the end of both sessions", || async { !is_in(&first).await && !is_in(&second).await }).await;
    assert!(is_in(&others).await);
}
