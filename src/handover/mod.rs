//! What people may do with their own sessions: enter applications with them, sign out everywhere, and
//! see who they are. Knows portals and keys, no protocol.

mod provenance;
mod reception;
mod self_service;
mod services;
mod site;
mod tokens;
mod visit;
mod visitor;

pub use provenance::Provenance;
pub use reception::Reception;
pub use self_service::{Entrance, SelfService, WhoAmI};
pub use services::Services;
pub use tokens::{LIFETIME, Tokens};
pub use visit::{Arrival, Given, Gone, Step, Visit};
