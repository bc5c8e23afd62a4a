//! Stand-ins for the servers that Keyward talks to.

pub mod axigen;
pub mod server;
