//! Portals that are asked whose a session is: one that does as it is told, however odd, and real ones.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod answers;
mod ends;
mod examples;
#[path = "../fakes/mod.rs"]
mod fakes;
mod outages;
mod races;
mod script;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;
mod whole;
mod world;
