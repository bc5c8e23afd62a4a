//! Between services and between people: signing out everywhere, and saying who one is. Knows portals
//! and keys, no protocol.

mod provenance;
mod self_service;

pub use provenance::Provenance;
pub use self_service::{SelfService, WhoAmI};
