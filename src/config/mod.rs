//! What the operator wrote, checked. Reports every mistake at once, with file, key and remedy.
//!
//! A [`Document`] is what was written, a [`Draft`] what became of it: [`Settings`] for everybody,
//! and the portals and back-ends, whose kinds this room does not know. Each kind reads its own
//! settings out of a [`Section`], and whatever nobody has read is an unknown key. The draft's
//! [`Mistakes`] are complete once all kinds have read. Beside them are warnings, which refuse nothing.

mod api;
mod authorities;
mod backend;
mod document;
mod enter;
mod fingerprint;
mod listen;
mod mistake;
mod names;
mod portal;
mod roles;
mod route;
mod secret_file;
mod section;
mod settings;

pub use authorities::{Authorities, trusting};
pub use backend::BackendSettings;
pub use document::Document;
pub use mistake::{Mistake, Mistakes};
pub use names::Names;
pub use portal::PortalSettings;
pub use route::RouteSettings;
pub use secret_file::read_secret_file;
pub use section::{Section, there_is};
pub use settings::{Draft, Settings};

#[cfg(test)]
mod tests;
