//! Keycloak goes, and comes back; the directory behind it, too.

use std::time::{Duration, Instant};

use crate::browser::Browser;
use crate::example::membership;
use crate::refresh::{LIFETIME, short};
use crate::stage::{Stage, signed_in};
use crate::support::until;

/// Waits until every token has ended, and the session has not.
async fn outlives_its_tokens(browser: &Browser<'_>, name: &str) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(LIFETIME + 1) {
        browser.fetch("/").await.assert_allows(name);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn while_keycloak_is_away_known_sessions_go_on_and_nobody_else_gets_in() {
    let stage = Stage::alone(short).await;
    let (name, other) = (stage.person(&["mail-users"]).await, stage.person(&["mail-users"]).await);
    let Stage { keyward, mut servers, .. } = stage;
    let known = signed_in(&keyward, &name).await;
    servers.keycloak.stop();
    outlives_its_tokens(&known, &name).await;

    let mut newcomer = Browser::new(&keyward);
    let page = newcomer.open("/").await;
    assert_eq!(page.answer.status, 503, "{:?}", page.answer);
    assert_eq!(page.url.path(), "/.keyward/login/keycloak");
    page.answer.one("Retry-After");
    known.fetch("/").await.assert_allows(&name);

    servers.keycloak.start_again().await.unwrap();
    until("sign-ins again", || async { Browser::new(&keyward).open("/").await.asks_for_password() }).await;
    signed_in(&keyward, &other).await;
    // The session is renewed again, as one sees by what it learns.
    servers.directory.modify(&membership("add", &name, "mail-admins")).await.unwrap();
    until("the role", || async { known.fetch("/admin").await.status == 200 }).await;

    // Without the directory Keycloak is there and knows nobody, which is no reason to sign anybody out.
    servers.directory.stop();
    outlives_its_tokens(&known, &name).await;
    servers.directory.start_again().await.unwrap();
    servers.directory.modify(&membership("delete", &name, "mail-admins")).await.unwrap();
    until("the loss of the role", || async { known.fetch("/admin").await.status == 403 }).await;
    known.fetch("/").await.assert_allows(&name);
}
