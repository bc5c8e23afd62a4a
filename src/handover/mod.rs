//! What people may do with their own sessions: sign out everywhere, and see who they are. Knows
//! portals and keys, no protocol.

mod provenance;
mod self_service;
mod services;

pub use provenance::Provenance;
pub use self_service::{Entrance, SelfService, WhoAmI};
pub use services::Services;
