//! Three replicas behind one nginx, with a real Redis between them: alone, with Sentinels, as a Cluster. People read
//! their mail all day long while replicas, servers and lines end, and nobody may notice.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

mod apart;
mod canary;
mod crowd;
mod days;
mod failing;
mod holders;
mod house;
mod ledger;
mod lives;
mod person;
mod portals;
#[path = "../real/redis/mod.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod redis;
mod replica;
mod sign_out;
#[path = "../real/slapd.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod slapd;
mod stores;
mod tellings;
mod tokens;
mod troubles;
