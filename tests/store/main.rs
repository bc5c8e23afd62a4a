//! The shared store's link, against real servers that come, go, hang and fail over.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod servers;

#[path = "../real/mod.rs"]
mod real;
