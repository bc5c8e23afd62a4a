//! What the operator wrote, checked. Reports every mistake at once, with file, key and remedy.
//!
//! The room does not know the kinds of portals and back-ends: each reads its own settings out of a
//! [`Section`], and whatever nobody has read is an unknown key.

mod document;
mod section;
mod settings;

pub use document::Document;
pub use section::{Mistake, Section};
pub use settings::{
    BackendLimits, BackendSettings, CredentialSource, ListenAddress, PortalSettings, RouteSettings, Settings,
};
