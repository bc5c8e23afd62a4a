//! The ways in which gates like this one were bypassed, tried on the program itself: each test is a
//! class of flaws, with variations of spelling, encoding, position, dialect and order.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

mod addresses;
mod back_ends;
mod flood;
mod holders;
mod hosts;
mod odd_requests;
mod paths;
mod sources;
mod tickets;

use support::{Answer, Ask, Door, House, Ticket};

const APP: &str = "https://app.example.test";
const INBOX: &str = "https://app.example.test/inbox";
const ADMIN: &str = "https://app.example.test/admin/x";
const MAIL: &str = "https://mail.example.test/";

/// Asks at every door, once without a cookie and once as alice; what came, and whether it was alice.
async fn everywhere(house: &House, ask: &Ask) -> Vec<(bool, Door, Answer)> {
    let alice = Ticket::of("alice").cookie();
    let mut answers = Vec::new();
    for door in ask.doors() {
        answers.push((false, door, house.keyward.ask(door, ask).await));
        answers.push((true, door, house.keyward.ask(door, &ask.clone().cookie(&alice)).await));
    }
    answers
}

/// Whoever asks is refused, and not because something broke.
async fn assert_refused_everywhere(house: &House, ask: &Ask) {
    for (alice, door, answer) in everywhere(house, ask).await {
        answer.assert_refuses();
        assert!(answer.status < 500, "{door:?}, alice: {alice}, {ask:?}: {answer:?}");
    }
}
