//! Keyward stands beside a web server and answers one question for every request: may this go to
//! the back-end, and with which keys?
//!
//! A request walks through the house in one direction, and each room asks one question:
//!
//! ```text
//! transport ──► decision ──► portal ──► keys ──► backend ──► inject ──► transport
//! what is asked?  may it?    who is it?  have we    open a     which
//!                                        a key?     session    headers?
//! ```
//!
//! - [`transport`]: wire in, wire out; one file per protocol, no judgement.
//! - [`decision`]: the only place that judges.
//! - [`portal`]: who does the portal say this is?
//! - [`keys`]: the back-end sessions we already hold.
//! - [`backend`]: one file per web application, one table.
//! - [`inject`]: session keys to header edits.
//! - [`handover`]: sign-out and the other pages under `/.keyward/`.
//! - [`config`]: what the operator wrote, checked.
//! - [`observe`]: metrics and log lines.
//! - [`domain`]: the nouns all rooms share.
//! - [`app`]: how it is wired; knows all rooms.
//! - [`demo`]: all of it on loopback, for a first look.
//!
//! `tests/architecture.rs` keeps the arrows between the rooms.

pub mod app;
pub mod backend;
pub mod config;
pub mod decision;
pub mod demo;
pub mod domain;
pub mod handover;
pub mod inject;
pub mod keys;
pub mod observe;
pub mod portal;
pub mod transport;
