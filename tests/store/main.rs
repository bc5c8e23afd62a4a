//! The way to the shared store, against real servers that come, go, hang, fill up and fail over.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod cluster;
mod login;
mod outages;
mod reach;
mod replica;
mod sentinel;
mod tls;

#[path = "../real/mod.rs"]
mod real;
