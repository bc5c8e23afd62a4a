//! Who wants keys, and all that it takes to get them.

use std::sync::Arc;

use crate::backend::{Attempt, Guarded};
use crate::domain::{Client, CredentialSource, Person, Secret};
use crate::portal::{NoPassword, Portal, PortalSession};

/// A request for keys that may need a login.
pub struct Order<'a> {
    /// The portal's name.
    pub portal: &'a str,
    /// Whose session.
    pub session: &'a PortalSession<'a>,
    /// Where.
    pub backend: &'a Arc<Guarded>,
    /// The name there.
    pub login: &'a str,
    /// For which browser.
    pub client: &'a Client<'a>,
    /// Opens the password. Called only when a login needs it.
    pub password: OpenPassword,
    /// The back-end treated the keys that are held as a stranger's, so they are to be replaced.
    pub renew: bool,
}

/// Opens the password of a portal session, where the back-end wants one.
pub type OpenPassword = Arc<dyn Fn() -> Result<Option<Secret>, NoPassword> + Send + Sync>;

/// What opens the password that a login at this back-end uses.
#[must_use]
pub fn password_of(portal: &Arc<Portal>, backend: &Guarded, session: &Arc<PortalSession<'static>>) -> OpenPassword {
    match backend.credentials() {
        CredentialSource::Portal => {
            let (portal, session) = (Arc::clone(portal), Arc::clone(session));
            Arc::new(move || portal.password(&session).map(Some))
        }
        CredentialSource::Token => {
            let (portal, session) = (Arc::clone(portal), Arc::clone(session));
            Arc::new(move || portal.token(&session).map(Some))
        }
        // The back-end's own: derived by the store, which knows which of several was refused, or a master's.
        CredentialSource::Derived | CredentialSource::Master | CredentialSource::None => Arc::new(|| Ok(None)),
    }
}

/// Everything that a login needs and that outlives the request.
#[derive(Clone)]
pub(super) struct Applicant {
    pub(super) login: String,
    pub(super) client: Client<'static>,
    pub(super) password: OpenPassword,
    pub(super) person: Arc<Person>,
    pub(super) roles: Vec<String>,
}

impl Applicant {
    pub(super) fn attempt(&self, password: Option<Secret>) -> Attempt {
        let (login, client) = (self.login.clone(), self.client.clone());
        Attempt { login, password, client, person: Arc::clone(&self.person), roles: self.roles.clone() }
    }
}
