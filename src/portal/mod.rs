//! Who does the portal say this is?
//!
//! A portal looks at what the browser [shows](Shown) and says *genuine*, *rejected* or *could not ask*. Most
//! of the time it can tell at once: a `ticket` says all of it, a `registered` session was told of through
//! the API, and what was asked a moment ago is still known. Where somebody must be asked first,
//! [`Verifier::verify`] says so and [`Verifier::ask`] does it. Only this room makes a [`PortalSession`],
//! so whoever holds one holds a checked one. [`Sessions`] keeps those of portals whose cookie says nothing
//! of itself.

mod configured;
mod cookie_line;
mod flights;
mod introspect;
pub mod ldap;
mod login_page;
mod login_url;
mod notes;
mod oidc;
mod one_time_token;
mod place;
mod portals;
mod registered;
mod role_map;
#[cfg(test)]
mod scripted;
mod sealed;
mod session;
mod sessions;
mod shown;
pub mod ticket;
mod verifier;

#[cfg(test)]
mod tests;

pub use configured::{Portal, PortalPlan};
pub use portals::{Found, Portals, Sheets, Unfinished, Unreachable};
#[cfg(test)]
pub use scripted::{Says, Scripted};
pub use sealed::Sealed;
use session::Password;
pub use session::PortalSession;
pub use sessions::{HeldSession, Kept, Mark, NoRoom, Sessions, Turn};
pub use shown::Shown;
pub use verifier::{Called, Keeps, NoPassword, NotKept, Scratch, SignedSession, Verdict, Verifier, Whose};

use std::sync::Arc;

use crate::config::Section;
use crate::domain::{Clock, is_token};
use crate::pages::Pages;
use crate::wire::Errands;

/// Every kind of portal there is.
pub const KINDS: &[Kind] =
    &[ticket::KIND, introspect::KIND, registered::KIND, one_time_token::KIND, oidc::KIND, ldap::KIND];

/// One entry of [`KINDS`].
pub struct Kind {
    /// The `kind` an operator writes.
    pub name: &'static str,
    /// Reads the kind's own settings. Mistakes go into the section; what is returned after a
    /// mistake is thrown away.
    pub build: fn(&mut Section, &Surroundings) -> Box<dyn Verifier>,
}

/// What a portal finds when it is made.
pub struct Surroundings {
    /// Its name in the configuration.
    pub name: String,
    /// Where sessions are kept for portals whose cookie says nothing of itself.
    pub sessions: Arc<Sessions>,
    /// Calls to the portal that must arrive, although nobody waits for them.
    pub errands: Arc<Errands>,
    /// What people are shown.
    pub pages: Arc<Pages>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Reads `cookie`: the name of a portal's cookie.
fn read_cookie_name(section: &mut Section) -> String {
    let cookie = section.required("cookie");
    if !cookie.bytes().all(is_token) {
        section.mistake("cookie", "must be a cookie name: letters, digits, - and _");
    }
    cookie
}
