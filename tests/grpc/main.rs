//! Envoy's ext_authz over gRPC, against the program itself: as Envoy asks, and as nobody should.
//!
//! Each test has threads beside its own: connections of HTTP/2 end by talking, also while a test ends the program.
#![cfg(feature = "grpc")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

mod answers;
mod attacks;
mod connections;
mod envoy;
mod house;

const INBOX: &str = "https://app.example.test/inbox";
const ADMIN: &str = "https://app.example.test/admin/x";
