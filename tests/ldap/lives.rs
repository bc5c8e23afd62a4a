//! Sessions, as their people's entries change.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::browser::{Browser, COOKIE, House, INBOX};
use crate::fakes::axigen::Person;
use crate::real::slapd;
use crate::support::{Ask, until};

const ADMIN: &str = "https://app.example.test/admin";

#[tokio::test]
async fn roles_follow_the_directory_and_who_is_gone_is_out() {
    let house = House::with("refresh_every = \"1s\"", "").await;
    let mut browser = Browser::new(&house);
    assert_eq!(browser.sign_in("alice", "wonderland").await.status, 303);
    assert_eq!(browser.ask(ADMIN).await.status, 403);
    let (group, alice) = (slapd::group_dn("admin"), slapd::person_dn("alice"));
    let change = |how: &str| format!("dn: {group}\nchangetype: modify\n{how}: member\nmember: {alice}\n");
    house.slapd.modify(&change("add")).await.unwrap();
    until("the role", || async { browser.ask(ADMIN).await.status == 200 }).await;
    house.slapd.modify(&change("delete")).await.unwrap();
    until("its end", || async { browser.ask(ADMIN).await.status == 403 }).await;
    house.slapd.modify(&format!("dn: {alice}\nchangetype: delete\n")).await.unwrap();
    until("her end", || async { browser.ask(INBOX).await.status == 401 }).await;
    until("the end at the back-end", || async { house.office.sessions() == 0 }).await;
}

#[tokio::test]
async fn an_outage_of_the_directory_is_no_logout() {
    let mut house = House::with("refresh_every = \"1s\"", "").await;
    let cookies = {
        let mut browser = Browser::new(&house);
        assert_eq!(browser.sign_in("alice", "wonderland").await.status, 303);
        browser.cookies
    };
    house.slapd.stop();
    let mut browser = Browser::new(&house);
    browser.cookies = cookies;
    let noticed = "the directory could not say whether a session is still right";
    until("the outage", || async {
        browser.ask(INBOX).await.assert_allows("alice");
        house.keyward.log().contains(noticed)
    })
    .await;
    browser.ask(INBOX).await.assert_allows("alice");
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over_and_survives_a_reload() {
    let house = House::with("session_lifetime = \"3s\"", "").await;
    let mut browser = Browser::new(&house);
    assert_eq!(browser.sign_in("alice", "wonderland").await.status, 303);
    house.keyward.reload("applied").await;
    browser.ask(INBOX).await.assert_allows("alice");
    until("its end", || async { browser.ask(INBOX).await.status == 401 }).await;
    assert!(browser.cookie(COOKIE).is_some(), "the browser need not know");
}

/// Who may change passwords.
const CALLER: &str = "[[api.key]]\ncaller = \"staff\"\nsecret = \"0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c\"\n\
                      portal = \"staff\"\n";

#[tokio::test]
async fn a_password_that_is_changed_through_us_counts_at_once_and_the_old_one_no_more() {
    let (admin, password) = (slapd::ADMINISTRATOR, slapd::ADMINISTRATOR_PASSWORD);
    let house = House::with(&format!("bind_dn = \"{admin}\"\nbind_password = \"{password}\""), CALLER).await;
    let with = |password: &str| format!("Basic {}", STANDARD.encode(format!("John:{password}")));
    let dav = |password: &str| {
        Ask::get("https://app.example.test/dav/x")
            .header("Authorization", with(password))
            .header("X-Forwarded-For", "192.0.2.7")
    };
    let mut browser = Browser::new(&house);
    assert_eq!(browser.sign_in("john", "doe").await.status, 303);
    house.ask(&dav("doe")).await.assert_allows("john");
    assert_eq!(house.ask(&dav("buck private")).await.status, 401);
    let body = "{\"password\":\"buck private\"}";
    let call = format!(
        "PUT /v1/accounts/john/password HTTP/1.1\r\nHost: api\r\n\
         Authorization: Bearer 0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = house.keyward.call(call).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    house.office.add(Person::new("john", "buck private", "john"));
    assert_eq!(browser.ask(INBOX).await.status, 401, "a session that began with the old one");
    assert_eq!(house.ask(&dav("doe")).await.status, 401);
    house.ask(&dav("buck private")).await.assert_allows("john");
    assert_eq!(Browser::new(&house).sign_in("john", "doe").await.status, 403);
    assert_eq!(Browser::new(&house).sign_in("john", "buck private").await.status, 303);
}
