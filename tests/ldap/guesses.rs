//! Who guesses passwords.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::browser::{Browser, House, INBOX};
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
