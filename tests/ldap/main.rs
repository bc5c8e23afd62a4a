//! People who sign in with the password that a directory knows: OpenLDAP's own server, Keyward as a process, and
//! requests in bytes.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../real/mod.rs"]
mod real;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

mod basic;
mod browser;
mod forgery;
mod form;
mod guesses;
mod lives;
mod passwords;
mod secrets;
