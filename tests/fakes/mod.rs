//! Stand-ins for the servers that Keyward talks to.
#![allow(dead_code, reason = "every test file uses another part, so that nothing can be expected of all of them")]

pub mod axigen;
pub mod epixel_client;
pub mod epixel_host;
pub mod server;
pub mod zimbra;
