//! The way to the shared store, against real servers that come, go, hang, fill up and fail over.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod cluster;
mod login;
mod makes;
mod outages;
mod reach;
mod readiness;
mod replica;
mod sentinel;
mod standing;
mod tls;

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../real/mod.rs"]
mod real;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;
