//! People of a real OpenLDAP sign in at a real Keycloak, with the very files of `examples/keycloak-openldap/`.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../real/mod.rs"]
mod real;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

mod bearer;
mod browser;
mod example;
mod imap;
mod keys;
mod mailboxes;
mod outages;
mod refresh;
mod servers;
mod sign_in;
mod sign_out;
mod stage;
mod web_server;
