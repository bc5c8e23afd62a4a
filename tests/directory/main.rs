//! The directory behind the kind `ldap`: against OpenLDAP's own server, and against servers that lie.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod groups;
mod liars;
mod names;
mod passwords;
mod secrets;
mod servers;
mod settings;
mod stage;

#[path = "../real/mod.rs"]
mod real;
