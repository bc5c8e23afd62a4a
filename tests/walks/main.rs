//! A real browser walks from a stranger's first look to the open mailbox and back out, through the real nginx
//! with the shipped files, where people sign in at an OpenID provider or at Keyward's own page.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../real/chromium.rs"]
mod chromium;
#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../real/mod.rs"]
mod real;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

mod directory;
mod openid;
mod page;
mod town;

/// The webmail.
const WEBMAIL: &str = "https://webmail.example.test";
