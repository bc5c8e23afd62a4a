//! The directory behind the kind `ldap`: against OpenLDAP's own server, and against servers that lie.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod groups;
mod liars;
mod names;
mod passwords;
mod servers;
mod settings;
mod stage;

#[path = "../real/mod.rs"]
mod real;
