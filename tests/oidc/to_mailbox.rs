//! From the sign-in at the provider to a mailbox that takes its access token.

use std::sync::Arc;

use serde_json::json;

use crate::fakes::axigen::{Axigen, Person};
use crate::fakes::openid_provider::{CLIENT, OpenIdProvider, SECRET};
use crate::fakes::server::Fault;
use crate::stage::{Browser, Stage};
use crate::support::{Setup, now, until};

const ADDRESS: &str = "ana@example.test";

/// With access tokens that are good for so many seconds, and known to the mailboxes.
async fn mailboxes(access: u64) -> (Stage, Arc<Axigen>) {
    let axigen = Arc::new(Axigen::start(vec![Person::new(ADDRESS, "not used", "Ana")]).await.unwrap());
    let provider = OpenIdProvider::start(&[crate::stage::MAIL]).await.unwrap();
    provider.lifetimes(access, Some(1800));
    provider.knows("ana", json!({ "email": ADDRESS, "email_verified": true }));
    let accepts = Arc::clone(&axigen);
    provider.tells_of_access_tokens(move |token, user| accepts.accept(token, &format!("{user}@example.test")));
    let setup = Setup::new(&format!(
        "[[backend]]\nname = \"mail\"\nkind = \"axigen\"\nurl = \"{}\"\nsurface = \"mailbox-api\"\n\
         login = \"{{email}}\"\ncredentials = \"token\"\n\
         [[route]]\nhost = \"mail.example.test\"\nportal = \"id\"\nbackend = \"mail\"\n\
         [[portal]]\nname = \"id\"\nkind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\n\
         client_secret = \"{SECRET}\"\n",
        axigen.url(),
        provider.issuer()
    ));
    (Stage { keyward: setup.environment("RUST_LOG", "trace").start().await, provider }, axigen)
}

/// The token that goes to the mailbox with a page.
async fn token(stage: &Stage, browser: &Browser) -> String {
    let answer = stage.ask(browser, "/").await;
    answer.assert_allows("ana");
    answer.one("x-upstream-authorization").strip_prefix("Bearer ").unwrap().to_owned()
}

#[tokio::test]
async fn each_new_token_replaces_the_keys_and_the_sign_out_ends_the_last() {
    let (stage, axigen) = mailboxes(4).await;
    let mut browser = stage.signed_in("ana").await;
    let first = token(&stage, &browser).await;
    assert_eq!((axigen.logins(ADDRESS), axigen.sessions()), (1, 1));
    assert_eq!(token(&stage, &browser).await, first, "as long as it is good, the keys stay");
    until("the keys of the next token", || async { token(&stage, &browser).await != first }).await;
    axigen.expire(&first);
    let second = token(&stage, &browser).await;
    assert_ne!(second, first);
    assert!(axigen.logins(ADDRESS) >= 2);
    let out = stage.send(&mut browser, "GET", "/.keyward/logout", &["Sec-Fetch-Site: same-origin"], "").await;
    assert_eq!(out.status, 303, "{out:?}");
    let ended = |token: &str| {
        let bearer = format!("Bearer {token}");
        axigen
            .requests()
            .iter()
            .any(|request| request.target == "/api/v1/logout" && request.header("authorization") == Some(&bearer))
    };
    until("the mailbox hears of the end", || async { ended(&second) }).await;
    assert_eq!(stage.ask(&browser, "/").await.status, 401);
}

#[tokio::test]
async fn while_the_provider_is_away_keys_open_the_mailbox_as_long_as_they_are_good() {
    let (stage, axigen) = mailboxes(3).await;
    let (browser, late) = (stage.signed_in("ana").await, stage.signed_in("ana").await);
    let first = token(&stage, &browser).await;
    let end = now() + 3;
    stage.provider.misbehave(Some(Fault::CloseAtOnce));
    assert_eq!(token(&stage, &browser).await, first);
    until("the end of the token", || async { now() > end + 1 }).await;
    assert_eq!(token(&stage, &browser).await, first, "whether it still counts, the mailbox says");
    let answer = stage.ask(&late, "/").await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "portal_unavailable"), "{answer:?}");
    assert!(answer.maybe("retry-after").is_some());
    assert_eq!(axigen.attempts(ADDRESS), 1, "a token that has ended is not tried");
    stage.provider.misbehave(None);
    until("the next token", || async { token(&stage, &browser).await != first }).await;
    until("the other's, too", || async { stage.ask(&late, "/").await.status == 200 }).await;
}
