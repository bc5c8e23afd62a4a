//! Portals of kind `oidc`, with a strict stand-in for the provider that misbehaves on command.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod bearer;
mod clock;
#[path = "../fakes/mod.rs"]
mod fakes;
mod houses;
mod lasting;
mod logout;
mod portal_side;
#[path = "../real/mod.rs"]
mod real;
mod refused;
mod replicas;
mod sign_in;
mod stage;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;
mod to_mailbox;
