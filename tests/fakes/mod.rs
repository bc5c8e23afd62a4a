//! Stand-ins for the servers that Keyward talks to.
#![expect(clippy::allow_attributes, reason = "every test file uses another part, so nothing can be expected")]
#![allow(dead_code, reason = "every test file uses another part of the stand-ins")]

pub mod axigen;
pub mod server;
