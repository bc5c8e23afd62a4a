//! What people may do with their own sessions: sign out everywhere, and see who they are; and what
//! their portal may do with them. Knows portals and keys, no protocol.

mod portal_side;
mod provenance;
mod self_service;
mod services;

pub use crate::portal::NotKept;
pub use portal_side::{BrowserBehind, NotOpened, NotRegistered, Opened, PortalSide, Registered};
pub use provenance::Provenance;
pub use self_service::{Entrance, SelfService, WhoAmI};
pub use services::Services;
