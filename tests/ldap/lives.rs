//! Sessions, as their people's entries change.

use crate::browser::{Browser, COOKIE, House, INBOX};
use crate::real::slapd;
use crate::support::until;

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
