//! FastCGI in bytes, over real sockets, against the program itself: as Apache, lighttpd and nginx speak it, and as
//! nobody should.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

mod answers;
mod attacks;
mod connections;
mod house;
mod peer;
mod records;
