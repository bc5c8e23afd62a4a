//! What people may do with their own sessions: enter applications with them, sign out everywhere, and
//! see who they are; and what their portal may do with them. Knows portals and keys, no protocol.
//!
//! - [`Reception`]: the hand-over. A [`Visit`] goes in, an [`Arrival`] comes out; `visitor` says who it is,
//!   `site` where the application is for this browser, [`Tokens`] keeps what leads from one domain to another.
//! - [`SelfService`]: signing out, and who am I. A [`Counter`] is its desk for one call of a service; `leaving` ends
//!   sessions, whether or not somebody waits for it.
//! - [`PortalSide`]: what a portal may do through the API with the sessions of its people.
//! - [`Services`]: who takes a call that a back-end or a portal offers beside.
//! - [`Provenance`]: whether a person asked to be signed out, or a page of somebody else.

mod counter;
mod leaving;
mod portal_side;
mod provenance;
mod reception;
mod self_service;
mod services;
mod site;
mod tokens;
mod visit;
mod visitor;

pub use crate::keys::SignOutBy;
pub use crate::portal::{NotKept, Unreachable};
pub use counter::Counter;
pub use leaving::SignOutRequest;
pub use portal_side::{BrowserBehind, NotOpened, NotRegistered, Opened, PortalSide, Registered};
pub use provenance::Provenance;
pub use reception::Reception;
pub use self_service::{Entrance, SelfService, WhoAmI};
pub use services::Services;
pub use tokens::{LIFETIME, Tokens};
pub use visit::{Arrival, Given, Gone, Step, Visit};
