//! Who guesses passwords.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::browser::{Browser, House, INBOX, PEOPLE};
use crate::support::Ask;

#[tokio::test]
async fn john_is_one_however_he_is_spelt_and_by_whichever_way() {
    let house = House::start().await;
    let attacker = "198.51.100.66";
    let mut guesses = 0;
    let mut status = Vec::new();
    for name in ["john", "John", "JOHN", " john ", "ｊｏｈｎ", "jOHN"] {
        guesses += 1;
        if guesses % 2 == 0 {
            let mut browser = Browser::at(&house, attacker);
            status.push(browser.sign_in(name, &format!("guess-{guesses}")).await.status);
        } else {
            let token = STANDARD.encode(format!("{name}:guess-{guesses}"));
            let ask = Ask::get("https://app.example.test/dav/x").header("X-Forwarded-For", attacker);
            status.push(house.ask(&ask.header("Authorization", format!("Basic {token}"))).await.status);
        }
    }
    assert_eq!(status, [401, 403, 401, 403, 401, 429], "five tries, then a wait");
    assert_eq!(house.binds("john"), 5);
    let mut browser = Browser::at(&house, attacker);
    let answer = browser.sign_in("john", "doe").await;
    assert_eq!(answer.status, 429, "the right one tells nothing while there is a wait");
    assert!(answer.one("Retry-After").parse::<u64>().unwrap() <= 20, "{answer:?}");
    assert!(answer.text().contains("<bdi>") && answer.text().contains("too many attempts"), "{answer:?}");
    // From elsewhere he is let in, at once.
    assert_eq!(Browser::at(&house, "192.0.2.1").sign_in("john", "doe").await.status, 303);
    assert_eq!(browser.sign_in("alice", "wonderland").await.status, 303, "nor is anybody else held up");
}

#[tokio::test]
async fn a_name_that_nobody_has_waits_like_any_other() {
    let house = House::start().await;
    for name in ["alice", "nobody-there"] {
        let mut status = Vec::new();
        for guess in 0..6 {
            let mut browser = Browser::at(&house, "198.51.100.66");
            status.push(browser.sign_in(name, &format!("guess-{guess}")).await.status);
        }
        assert_eq!(status, [403, 403, 403, 403, 403, 429], "{name}");
    }
}

#[tokio::test]
async fn a_browser_that_is_known_goes_on_while_its_network_waits() {
    let house = House::with("[portal.lockout]\nattempts = 2", "").await;
    let office = "198.51.100.1";
    let mut alice = Browser::at(&house, office);
    assert_eq!(alice.sign_in("alice", "wonderland").await.status, 303);
    alice.send("POST", "/.keyward/logout", &["Sec-Fetch-Site: same-origin"], "").await;
    for guess in 0..5 {
        Browser::at(&house, office).sign_in("alice", &format!("guess-{guess}")).await;
    }
    assert_eq!(Browser::at(&house, office).sign_in("alice", "wonderland").await.status, 429);
    assert_eq!(alice.sign_in("alice", "wonderland").await.status, 303);
    // What was made for one person says nothing of another, nor when it was touched.
    let known = alice.cookies.iter().find(|(name, _)| name.ends_with("-known")).unwrap().clone();
    for guess in 0..5 {
        Browser::at(&house, office).sign_in("bob", &format!("guess-{guess}")).await;
    }
    for (name, value) in [
        ("bob", known.1.clone()),
        ("alice", format!("{}0", known.1)),
        ("alice", known.1.replacen('.', "x.", 1)),
        ("alice", String::new()),
        ("alice", "..".to_owned()),
    ] {
        let mut browser = Browser::at(&house, office);
        browser.cookies.push((known.0.clone(), value.clone()));
        assert_eq!(browser.sign_in(name, "wonderland").await.status, 429, "{name} {value}");
    }
}

/// What becomes of one guess, from an address, as the web server tells it.
async fn guess(house: &House, from: &str, name: &str, guess: usize) -> u16 {
    Browser::at(house, from).sign_in(name, &format!("guess-{guess}")).await.status
}

#[tokio::test]
async fn a_network_that_tries_many_names_waits_and_takes_nobody_else_with_it() {
    let house = House::with("[portal.lockout]\nattempts_per_address = 4", "").await;
    let mut at_home = Browser::at(&house, "2001:db8:0:1::1");
    assert_eq!(at_home.sign_in("alice", "wonderland").await.status, 303);
    // Every address of one customer's network is the same customer.
    let mut status = Vec::new();
    for (number, name) in ["n1", "n2", "n3", "n4", "n5", "bob"].into_iter().enumerate() {
        status.push(guess(&house, &format!("2001:db8:0:1:{number:x}::{number:x}"), name, number).await);
    }
    assert_eq!(status, [403, 403, 403, 403, 429, 429]);
    assert_eq!(Browser::at(&house, "2001:db8:0:1::9").sign_in("bob", "x").await.status, 429, "nobody knows him there");
    // Where she has signed in before she is let in, with this browser or another one, and so is he next door.
    assert_eq!(Browser::at(&house, "2001:db8:0:1::9").sign_in("alice", "wonderland").await.status, 303);
    assert_eq!(Browser::at(&house, "2001:db8:0:2::1").sign_in("john", "doe").await.status, 303);
    // An IPv4 address is a customer of its own, also where it is written as one of IPv6.
    let mut status = Vec::new();
    for number in 0..5 {
        let from = if number % 2 == 0 { "198.51.100.7" } else { "::ffff:198.51.100.7" };
        status.push(guess(&house, from, &format!("m{number}"), number).await);
    }
    assert_eq!(status, [403, 403, 403, 403, 429]);
    assert_eq!(Browser::at(&house, "198.51.100.8").sign_in("john", "doe").await.status, 303);
}

#[tokio::test]
async fn many_who_try_one_name_hold_up_only_who_was_never_there_and_for_a_minute_at_most() {
    let terms = "[portal.lockout]\nattempts_per_user = 6\nwait = \"10m\"\nlongest_wait = \"10m\"";
    let house = House::with(terms, "").await;
    let mut alice = Browser::at(&house, "192.0.2.1");
    assert_eq!(alice.sign_in("alice", "wonderland").await.status, 303);
    alice.send("POST", "/.keyward/logout", &["Sec-Fetch-Site: same-origin"], "").await;
    let mut status = Vec::new();
    for number in 0..9 {
        status.push(guess(&house, &format!("198.51.{number}.1"), "alice", number).await);
    }
    assert_eq!(status, [[403; 3], [403; 3], [429; 3]].concat());
    assert_eq!(house.binds("alice"), 1 + 6);
    let new_place = Browser::at(&house, "203.0.113.5").sign_in("alice", "wonderland").await;
    assert_eq!(new_place.status, 429);
    assert!(new_place.one("Retry-After").parse::<u64>().unwrap() <= 61, "{new_place:?}");
    alice.address = "203.0.113.6".to_owned();
    assert_eq!(alice.sign_in("alice", "wonderland").await.status, 303, "with her browser, wherever it is");
    assert_eq!(Browser::at(&house, "192.0.2.1").sign_in("alice", "wonderland").await.status, 303, "from her network");
    assert_eq!(Browser::at(&house, "198.51.1.1").sign_in("bob", PEOPLE[1].1).await.status, 303, "nor anybody else");
}

#[tokio::test]
async fn no_no_comes_before_its_time_whether_or_not_somebody_has_the_name() {
    let house = House::start().await;
    let mut times = Vec::new();
    for (number, name) in ["alice", "nobody-there", "*", "al\u{200b}ice"].into_iter().enumerate() {
        let mut browser = Browser::at(&house, &format!("198.51.100.{number}"));
        let form = browser.form(INBOX).await;
        let begun = tokio::time::Instant::now();
        assert_eq!(browser.submit(&form, name, "guess").await.status, 403, "{name}");
        times.push(begun.elapsed());
    }
    // What the directory took is far less than the time at which every no is given, so none of it shows. How much
    // longer this machine took is no matter.
    assert!(times.iter().all(|time| *time >= Duration::from_millis(500)), "{times:?}");
}

#[tokio::test]
async fn a_reload_forgets_no_guesses() {
    let house = House::start().await;
    for guess in 0..6 {
        Browser::at(&house, "198.51.100.66").sign_in("alice", &format!("guess-{guess}")).await;
    }
    house.keyward.reload("applied").await;
    assert_eq!(Browser::at(&house, "198.51.100.66").sign_in("alice", "wonderland").await.status, 429);
}

#[tokio::test]
async fn asking_for_the_page_leaves_nothing() {
    let house = House::start().await;
    let mut browser = Browser::new(&house);
    for _ in 0..200 {
        browser.cookies.clear();
        browser.form(INBOX).await;
    }
    let before = house.keyward.memory();
    for _ in 0..2000 {
        browser.cookies.clear();
        browser.form(INBOX).await;
    }
    assert!(house.keyward.memory() < before + 4 * 1024 * 1024, "{before} {}", house.keyward.memory());
}
