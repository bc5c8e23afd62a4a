//! A browser walks every layout.

use serde_json::json;

use crate::chromium::{Chromium, Person};
use crate::town::Town;

const MAILBOX: &str = "Mailbox of alice";

async fn signed_in<'a>(chromium: &'a mut Chromium, portal: &str) -> Person<'a> {
    let mut person = chromium.person().await;
    person.open(&format!("{portal}/login?user=alice&next=/")).await;
    person.sees("The portal at /").await;
    person
}

/// What a cookie is like that may lie in a browser.
async fn assert_kept(person: &mut Person<'_>, domain: &str, name: &str, same_site: &str) {
    let cookie = person.cookie(domain, name).await.unwrap_or_else(|| panic!("no cookie {name} for {domain}"));
    assert_eq!((&cookie["httpOnly"], &cookie["path"]), (&json!(true), &json!("/")), "{cookie}");
    assert_eq!(cookie["sameSite"], same_site, "{cookie}");
}

#[tokio::test]
async fn within_one_domain_a_link_is_enough() {
    let town = Town::start().await;
    let mut chromium = Chromium::start(&town.names, false).await;
    for (portal, link, application, domain) in [
        ("https://portal.example.test", "open port", "https://portal.example.test:8443/?_h=", "portal.example.test"),
        ("https://portal.example.test", "open sub", "https://webmail.example.test/?_h=", ".example.test"),
        ("https://example.test", "open sub", "https://webmail.example.test/?_h=", ".example.test"),
        ("https://portal.example.test", "ask for port", "https://portal.example.test:8443/?_h=", "portal.example.test"),
        ("https://portal.example.test", "ask for sub", "https://webmail.example.test/?_h=", ".example.test"),
    ] {
        let mut alice = signed_in(&mut chromium, portal).await;
        alice.press(link).await;
        let address = alice.sees(MAILBOX).await;
        assert!(address.starts_with(application), "{portal}, {link}: {address}");
        assert_kept(&mut alice, domain, "_hmail", "Lax").await;
    }
}

#[tokio::test]
async fn from_one_domain_to_another_redirects_lead_there_and_out_again() {
    let town = Town::start().await;
    let mut chromium = Chromium::start(&town.names, false).await;
    let mut alice = signed_in(&mut chromium, "https://portal.example.test").await;
    alice.press("open guarded").await;
    assert!(alice.sees(MAILBOX).await.starts_with("https://webmail.other.test/?_h="));
    assert_kept(&mut alice, "webmail.other.test", "office_session", "Lax").await;
    assert!(alice.cookie("webmail.other.test", "_hmail").await.is_none(), "Keyward keeps it");

    alice.open("https://portal.example.test/").await;
    alice.press("open beside").await;
    assert!(alice.sees(MAILBOX).await.starts_with("https://direct.other.test/?_h="));
    assert_kept(&mut alice, "direct.other.test", "_hmail", "Lax").await;

    alice.open("https://webmail.other.test/.keyward/logout").await;
    alice.sees("You are signed out").await;
    assert!(alice.cookie("webmail.other.test", "office_session").await.is_none());
    for request in town.portal.requests() {
        let told = format!("{request:?}");
        assert!(!told.contains("_h=") && !told.contains("token="), "{told}");
    }
    let log = town.keyward.log();
    assert!(log.contains("handed over") && !log.contains("_h=") && !log.contains("token="), "{log}");
    assert_eq!(town.mail.attempts("alice"), 2);
}

#[tokio::test]
async fn who_opens_the_application_first_signs_in_at_the_portal_and_sees_the_page() {
    let town = Town::start().await;
    let mut chromium = Chromium::start(&town.names, false).await;
    let mut alice = chromium.person().await;
    alice.open("https://webmail.other.test/?folder=5").await;
    alice.press("I am Alice").await;
    assert_eq!(alice.sees(MAILBOX).await, "https://webmail.other.test/?folder=5");
    // By plain http, too, where a town has nothing else.
    let mut alice = signed_in(&mut chromium, "http://portal.example.test").await;
    alice.press("open guarded").await;
    assert!(alice.sees(MAILBOX).await.starts_with("http://webmail.other.test/?_h="));
}

#[tokio::test]
async fn on_request_the_way_leads_back_to_the_portal() {
    let town = Town::start().await;
    let mut chromium = Chromium::start(&town.names, false).await;
    let mut alice = signed_in(&mut chromium, "https://portal.example.test").await;
    alice.press("open beside and come back").await;
    alice.sees("The portal at /mail").await;
    assert_kept(&mut alice, "direct.other.test", "_hmail", "Lax").await;
}

#[tokio::test]
async fn a_script_brings_the_session_where_the_browser_lets_it_and_redirects_do_where_not() {
    let town = Town::start().await;
    for blocked in [false, true] {
        let mut chromium = Chromium::start(&town.names, !blocked).await;
        let mut alice = signed_in(&mut chromium, "https://portal.example.test").await;
        alice.press("ask for guarded").await;
        assert!(alice.sees(MAILBOX).await.starts_with("https://webmail.other.test/?_h="), "blocked: {blocked}");
        let same_site = if blocked { "Lax" } else { "None" };
        assert_kept(&mut alice, "webmail.other.test", "office_session", same_site).await;
        alice.open("https://portal.example.test/").await;
        alice.press("ask for beside").await;
        assert!(alice.sees(MAILBOX).await.starts_with("https://direct.other.test/?_h="), "blocked: {blocked}");
        assert_kept(&mut alice, "direct.other.test", "_hmail", same_site).await;
    }
}

#[tokio::test]
async fn a_strangers_page_opens_nothing_and_a_strangers_link_signs_nobody_in() {
    let town = Town::start().await;
    let mut chromium = Chromium::start(&town.names, true).await;
    // Mallory goes as far as his token and keeps it.
    let mut mallory = signed_in(&mut chromium, "https://portal.example.test").await;
    let greeted = mallory.run("fetch('https://webmail.other.test/.keyward/enter/guarded', {method: 'POST', credentials: 'include', headers: {'Content-Type': 'application/json'}, body: '{}'}).then(answer => answer.json())").await;
    let minted = mallory.run(&format!("fetch('/.keyward/enter/guarded', {{method: 'POST', headers: {{'Content-Type': 'application/json'}}, body: JSON.stringify({greeted})}}).then(answer => answer.json())")).await;
    let token = minted["token"].as_str().unwrap().to_owned();
    let mut alice = chromium.person().await;
    alice.open(&format!("https://webmail.other.test/.keyward/enter/guarded?token={token}")).await;
    alice.sees("Please try once more").await;
    assert_eq!(alice.cookies().await, [] as [serde_json::Value; 0]);

    let mut alice = signed_in(&mut chromium, "https://portal.example.test").await;
    alice.press("open guarded").await;
    alice.sees(MAILBOX).await;
    alice.open("https://evil.test/").await;
    alice.sees("The portal at /").await;
    for at in [
        "portal.example.test/.keyward/enter/guarded",
        "webmail.other.test/.keyward/enter/guarded",
        "webmail.other.test/.keyward/touch",
    ] {
        let call = |more: &str| {
            format!(
                "fetch('https://{at}', {{method: 'POST', credentials: 'include', {more}}}).then(() => 'read', () => 'refused')"
            )
        };
        let json = call("headers: {'Content-Type': 'application/json'}, body: '{}'");
        assert_eq!(alice.run(&json).await, "refused", "{at}");
        assert_eq!(alice.run(&call("body: '{}'")).await, "refused", "{at}");
    }
}

#[tokio::test]
async fn a_line_in_the_portals_page_keeps_the_mailbox_open() {
    let town = Town::start().await;
    let mut chromium = Chromium::start(&town.names, true).await;
    let mut alice = signed_in(&mut chromium, "https://portal.example.test").await;
    let status = "fetch('/.keyward/touch').then(answer => answer.status)";
    assert_eq!(alice.run(status).await, 204);
    let from_afar =
        "fetch('https://webmail.other.test/.keyward/touch', {credentials: 'include'}).then(answer => answer.status)";
    assert_eq!(alice.run(from_afar).await, 401, "there nobody is signed in yet");
    alice.run("keywardEnter('guarded')").await;
    alice.sees(MAILBOX).await;
    alice.open("https://portal.example.test/").await;
    alice.sees("The portal at /").await;
    assert_eq!(alice.run(from_afar).await, 204);
}
