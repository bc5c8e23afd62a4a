//! The hand-over, `/.keyward/enter/<backend>`: in bytes against the program itself, and walked by a real
//! browser through a real web server.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

mod across;
mod addresses;
#[path = "../real/chromium.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod chromium;
mod house;
mod one_domain;
mod portals;
mod script;
mod town;
mod walk;

/// Where people sign in.
const PORTAL: &str = "https://portal.example.test";
/// The application on a domain of its own.
const MAIL: &str = "https://webmail.other.test";
/// Its route.
const MAIL_ROUTE: &str = "host = \"webmail.other.test\"";
