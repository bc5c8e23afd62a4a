//! Stand-ins for the servers that Keyward talks to.
#![allow(dead_code, reason = "every test file uses another part, so that nothing can be expected of all of them")]

pub mod axigen;
pub mod axigen_cli;
#[cfg(test)]
pub mod epixel_client;
#[cfg(test)]
pub mod epixel_host;
// The demo, which includes this file, has no use for it.
#[cfg(test)]
pub mod open_xchange;
#[cfg(test)]
pub mod openid_provider;
pub mod server;
pub mod websydian;
pub mod zimbra;
