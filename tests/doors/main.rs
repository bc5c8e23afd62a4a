//! One suite of questions through every door, against the program itself: the same decisions,
//! answered as each dialect wants it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod support;

mod answers;
mod pages;
mod plain;
mod portals;
mod roles;
mod script_cookies;
mod url_key;
mod wire;

const INBOX: &str = "https://app.example.test/inbox";
