//! Every web server there is an example for, real, with the very files of `examples/<server>/`, and behind it the
//! program: one suite of requests, the same decisions from every door.
#![cfg(feature = "grpc")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

mod application;
mod broken;
mod browser;
mod example;
mod installed;
mod play;
mod rows;
mod scenes;
mod suite;
mod web_server;
mod world;

mod apache;
mod caddy;
mod envoy;
mod haproxy;
mod lighttpd;
mod nginx;
mod traefik;
