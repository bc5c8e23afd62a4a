//! Clients that keep no cookies.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;

use crate::browser::{Browser, House, INBOX, PEOPLE};
use crate::fakes::axigen::Person;
use crate::support::{Answer, Ask, until};

const DAV: &str = "https://app.example.test/dav/calendar";

fn with(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

async fn ask(house: &House, method: &str, authorization: &str) -> Answer {
    let ask = Ask::get(DAV).method(method).header("X-Forwarded-For", "192.0.2.9");
    house.ask(&ask.header("Authorization", authorization)).await
}

#[tokio::test]
async fn a_password_in_the_header_is_asked_about_once_and_opens_the_mailbox() {
    let house = House::start().await;
    let refused = house.ask(&Ask::get(DAV).method("PROPFIND")).await;
    assert_eq!(refused.one("WWW-Authenticate"), "Basic realm=\"staff\", charset=\"UTF-8\"");
    for (name, password) in PEOPLE {
        for method in ["PROPFIND", "OPTIONS", "GET", "PUT"] {
            ask(&house, method, &with(name, password)).await.assert_allows(name);
        }
        assert_eq!((house.binds(name), house.office.logins(name)), (1, 1), "{name}");
    }
    // Elsewhere the header does not count.
    let page = Ask::get(INBOX).header("Authorization", with("alice", "wonderland"));
    let refused = house.ask(&page).await;
    assert!(refused.status == 401 && refused.maybe("WWW-Authenticate").is_none(), "{refused:?}");
}

#[tokio::test]
async fn spellings_of_one_name_are_one_session() {
    let house = House::start().await;
    let mut keys = std::collections::BTreeSet::new();
    for name in ["john", "John", "JOHN", " john", "john@example.test", "ｊｏｈｎ"] {
        let answer = ask(&house, "PROPFIND", &with(name, "doe")).await;
        answer.assert_allows("john");
        keys.insert(answer.one("X-Upstream-Cookie"));
    }
    assert_eq!((keys.len(), house.office.logins("john")), (1, 1), "{keys:?}");
}

#[tokio::test]
async fn a_stale_password_asked_a_hundred_times_at_once_is_one_bind_and_locks_nobody_out() {
    let house = House::start().await;
    let stale = with("alice", "an old password");
    for round in 0..3 {
        let answers = join_all((0..100).map(|_| ask(&house, "PROPFIND", &stale))).await;
        assert!(answers.iter().all(|answer| answer.status == 401), "{round}");
    }
    assert_eq!(house.binds("alice"), 1);
    let right = with("alice", "wonderland");
    let answers = join_all((0..100).map(|_| ask(&house, "PROPFIND", &right))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!((house.binds("alice"), house.office.logins("alice")), (2, 1));
    let mut browser = Browser::at(&house, "192.0.2.9");
    assert_eq!(browser.sign_in("alice", "wonderland").await.status, 303);
}

#[tokio::test]
async fn what_is_no_name_and_password_is_nobodys() {
    let house = House::start().await;
    for header in [
        "Basic".to_owned(),
        "Basic !!!".to_owned(),
        format!("Basic {}", STANDARD.encode("alice")),
        format!("Basic {}", STANDARD.encode(b"alice:\xff\xfe")),
        format!("Bearer {}", STANDARD.encode("alice:wonderland")),
        with("alice", ""),
        with("alice", " "),
        with("", "wonderland"),
        with("alice\n", "wonderland"),
        with("*", "wonderland"),
        format!("Basic {}", "A".repeat(6000)),
    ] {
        assert_eq!(ask(&house, "PROPFIND", &header).await.status, 401, "{header}");
    }
    let twice = Ask::get(DAV).header("Authorization", with("alice", "wonderland"));
    let twice = twice.header("Authorization", with("bob", "x"));
    assert_eq!(house.ask(&twice).await.status, 401, "two headers are nobody's");
    assert_eq!(house.binds("alice"), 0);
}

#[tokio::test]
async fn a_cookie_that_is_good_counts_and_the_header_beside_it_does_not() {
    let house = House::start().await;
    let mut browser = Browser::new(&house);
    assert_eq!(browser.sign_in("alice", "wonderland").await.status, 303);
    for header in [with("bob", "x"), with("bob", PEOPLE[1].1), "Basic x".to_owned()] {
        let both = Ask::get(DAV).cookie(browser.jar()).header("Authorization", header);
        house.ask(&both).await.assert_allows("alice");
    }
    assert_eq!(house.binds("bob"), 0);
}

#[tokio::test]
async fn a_password_that_was_changed_counts_no_more_when_it_is_time() {
    let house = House::with("cache_for = \"1s\"\nrefused_for = \"1s\"", "").await;
    let (old, new) = (with("john", "doe"), with("john", "buck"));
    ask(&house, "PROPFIND", &old).await.assert_allows("john");
    assert_eq!(ask(&house, "PROPFIND", &new).await.status, 401);
    house.set_password("john", "buck").await;
    house.office.add(Person::new("john", "buck", "john"));
    until("the end of the old one", || async { ask(&house, "PROPFIND", &old).await.status == 401 }).await;
    until("the new one", || async { ask(&house, "PROPFIND", &new).await.status == 200 }).await;
}

#[tokio::test]
async fn while_the_directory_is_down_who_is_known_goes_on_and_others_are_told_to_come_back() {
    let mut house = House::start().await;
    ask(&house, "PROPFIND", &with("alice", "wonderland")).await.assert_allows("alice");
    house.slapd.stop();
    ask(&house, "PROPFIND", &with("alice", "wonderland")).await.assert_allows("alice");
    let answer = ask(&house, "PROPFIND", &with("bob", PEOPLE[1].1)).await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "portal_unavailable"));
    assert!(answer.maybe("Retry-After").is_some() && answer.maybe("WWW-Authenticate").is_none(), "{answer:?}");
}
