//! Keycloak goes, and comes back; the directory behind it, too.
//!
//! Of people who are not in its cache Keycloak says then that they are disabled, and nobody can tell that from
//! the truth. So the example has it remember people for some minutes.

use std::time::Duration;

use keyward::domain::{Clock, SystemClock};

use crate::browser::{Browser, GONE};
use crate::example::{REALM, WEBMAIL, membership, password};
use crate::refresh::{LIFETIME, short};
use crate::stage::{Stage, signed_in};
use crate::support::until;

const TOKEN: &str = "/protocol/openid-connect/token";

/// Waits until every token has ended, and the session has not.
async fn outlives_its_tokens(browser: &Browser<'_>, name: &str) {
    let clock = SystemClock::new();
    let begin = clock.now();
    while clock.now().since(begin) < Duration::from_secs(LIFETIME + 1) {
        browser.fetch("/").await.assert_allows(name);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn while_keycloak_is_away_known_sessions_go_on_and_nobody_else_gets_in() {
    let stage = Stage::alone(short).await;
    let (name, other) = (stage.person(&["mail-users"]).await, stage.person(&["mail-users"]).await);
    let Stage { keyward, mut servers, mail: _mail, .. } = stage;
    let known = signed_in(&keyward, &name).await;
    let mut half_way = Browser::new(&keyward);
    let page = half_way.open("/").await;
    let callback = half_way.sign_in_and_stop(&page, &other, &password(&other)).await;
    servers.keycloak.stop();
    let page = half_way.open(&callback).await;
    assert_eq!((page.answer.status, page.url.path()), (503, "/.keyward/callback/keycloak"), "{:?}", page.answer);
    page.answer.one("Retry-After");
    outlives_its_tokens(&known, &name).await;
    // A moment after somebody has found out, nobody is sent there.
    let is_told = async || {
        known.fetch("/").await.assert_allows(&name);
        let page = Browser::new(&keyward).open("/").await;
        assert!(matches!(page.answer.status, 503 | GONE), "{:?}", page.answer);
        page.answer.status == 503 && page.url.path() == "/.keyward/login/keycloak"
    };
    until("a sign-in that is not begun", is_told).await;
    assert_eq!(half_way.fetch("/").await.status, 401);

    // The session is renewed again, as one sees by what it learns.
    servers.directory.modify(&membership("add", &name, "mail-admins")).await.unwrap();
    servers.keycloak.start_again().await.unwrap();
    until("the role", || async { known.fetch("/admin").await.status == 200 }).await;
    until("sign-ins", || async { Browser::new(&keyward).open("/").await.asks_for_password() }).await;
    signed_in(&keyward, &other).await;
    known.fetch("/").await.assert_allows(&name);
}

#[tokio::test]
async fn while_the_directory_is_away_whoever_keycloak_remembers_goes_on() {
    let stage = Stage::alone(short).await;
    let (name, other) = (stage.person(&["mail-users"]).await, stage.person(&["mail-users"]).await);
    let Stage { keyward, mut servers, mail: _mail, .. } = stage;
    let known = signed_in(&keyward, &name).await;
    servers.directory.stop();
    let refreshes = || servers.keycloak.asked(REALM, TOKEN);
    let before = refreshes();
    until("two refreshes", || async {
        known.fetch("/").await.assert_allows(&name);
        refreshes() >= before + 2
    })
    .await;
    let mut newcomer = Browser::new(&keyward);
    let page = newcomer.open("/").await;
    let page = newcomer.sign_in(&page, &other, &password(&other)).await;
    assert_ne!(page.url.origin().ascii_serialization(), WEBMAIL, "{:?}", page.answer);
    assert_eq!(newcomer.fetch("/").await.status, 401);
    servers.directory.start_again().await.unwrap();
    signed_in(&keyward, &other).await;
}
