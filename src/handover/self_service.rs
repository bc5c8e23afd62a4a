use std::sync::Arc;

use serde::Serialize;
use url::Url;

use crate::domain::{Clock, Cookies, UnixSeconds};
use crate::keys::KeyStore;
use crate::portal::{Portal, PortalSession, Scratch, Verdict};

/// What people may do with their own sessions: look at them and end them.
pub struct SelfService {
    portals: Vec<Arc<Portal>>,
    keys: Arc<KeyStore>,
    clock: Arc<dyn Clock>,
    return_to: Vec<Url>,
}

/// What people may know of their own session. Never a key.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct WhoAmI {
    /// The portal that vouches for them.
    pub portal: String,
    /// Their name at the portal.
    pub user: String,
    /// Their full name, or empty.
    pub name: String,
    /// Their e-mail address, or empty.
    pub email: String,
    /// Their roles.
    pub groups: Vec<String>,
    /// When the portal session ends, in Unix seconds.
    pub expires: UnixSeconds,
    /// Back-ends at which they are signed in now.
    pub backends: Vec<String>,
}

impl SelfService {
    /// For sessions of these portals; after sign-out a browser may be sent to the addresses in
    /// `return_to`.
    #[must_use]
    pub fn new(portals: Vec<Arc<Portal>>, keys: Arc<KeyStore>, clock: Arc<dyn Clock>, return_to: Vec<Url>) -> Self {
        Self { portals, keys, clock, return_to }
    }

    /// Ends every portal session among the cookies, and all its back-end sessions: the one entry of
    /// single sign-out, whoever starts it. Also sessions that have expired, since their back-end
    /// sessions may live, and all of several, since nobody can tell which one was planted.
    pub fn sign_out(&self, cookies: &Cookies<'_>) {
        for portal in &self.portals {
            for session in portal.signed(&cookies.values(portal.cookie())) {
                self.keys.revoke(portal.name(), &session.id, session.expires);
                tracing::info!(portal = portal.name(), user = session.user, "signed out");
            }
        }
    }

    /// Whose sessions the cookies are: of the first portal that vouches for them.
    #[must_use]
    pub fn whoami(&self, cookies: &Cookies<'_>) -> Option<WhoAmI> {
        self.portals.iter().find_map(|portal| {
            let look = |session: &PortalSession<'_>| {
                let revoked = self.keys.is_revoked(portal.name(), session);
                (!revoked).then(|| self.describe(portal, session))
            };
            self.with_session(portal, cookies, look).flatten()
        })
    }

    /// The address to go on to after sign-out, if it is one of those that are allowed. Compared
    /// whole, after parsing, and given back as it was configured, so that nothing of the request's
    /// spelling survives.
    #[must_use]
    pub fn return_address(&self, asked: &str) -> Option<&Url> {
        let asked = Url::parse(asked).ok()?;
        self.return_to.iter().find(|allowed| **allowed == asked)
    }

    fn describe(&self, portal: &Portal, session: &PortalSession<'_>) -> WhoAmI {
        let identity = session.identity();
        WhoAmI {
            portal: portal.name().to_owned(),
            user: identity.user().to_owned(),
            name: identity.name().to_owned(),
            email: identity.email().to_owned(),
            groups: identity.roles().iter().map(|role| role.as_ref().to_owned()).collect(),
            expires: session.expires(),
            backends: self.keys.open_at(portal.name(), session),
        }
    }

    fn with_session<T>(
        &self,
        portal: &Portal,
        cookies: &Cookies<'_>,
        then: impl FnOnce(&PortalSession<'_>) -> T,
    ) -> Option<T> {
        let mut scratch = Scratch::default();
        match portal.validate(&cookies.values(portal.cookie()), self.clock.unix(), &mut scratch) {
            Verdict::Genuine(session) => Some(then(&session)),
            Verdict::Rejected(_) => None,
        }
    }
}
