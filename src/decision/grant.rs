use std::fmt;
use std::sync::Arc;

use super::Ask;
use crate::backend::{Guarded, ScriptCookie};
use crate::domain::{Identity, Reason, SessionKeys};
use crate::inject::{carries_key, write_upstream_cookies, write_upstream_target};
use crate::portal::Portal;

/// The permission to pass, and everything that goes upstream with it. Made only by the gate, so no
/// other code can let anything through.
pub struct Grant<'a> {
    ask: &'a Ask<'a>,
    portals: &'a [Arc<Portal>],
    identity: Option<Identity<'a>>,
    backend: Option<&'a Arc<Guarded>>,
    keys: Option<SessionKeys>,
    session_seconds: u64,
    covers_credentials: bool,
}

impl<'a> Grant<'a> {
    pub(super) fn new(
        ask: &'a Ask<'a>,
        portals: &'a [Arc<Portal>],
        identity: Option<Identity<'a>>,
        backend: Option<&'a Arc<Guarded>>,
        keys: Option<SessionKeys>,
        session_seconds: u64,
    ) -> Self {
        Self { ask, portals, identity, backend, keys, session_seconds, covers_credentials: false }
    }

    /// Where the client's own `Authorization` may have been for us, the application gets ours or an empty one
    /// in any case: theirs may hold the password of their portal.
    pub(super) fn covering_credentials(self, covers_credentials: bool) -> Self {
        Self { covers_credentials, ..self }
    }

    /// Who passes; nobody on a public route.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity<'a>> {
        self.identity.as_ref()
    }

    /// Why it may pass.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        if self.identity.is_some() { Reason::Ok } else { Reason::Public }
    }

    /// What is left of the portal session, in seconds; 0 on a public route.
    #[must_use]
    pub const fn session_seconds(&self) -> u64 {
        self.session_seconds
    }

    /// Appends the complete upstream `Cookie` value: no portal's cookies, none that the back-end
    /// would take for its own but ours.
    pub fn write_cookies(&self, out: &mut Vec<u8>) {
        let cut = |name: &[u8]| {
            self.portals.iter().any(|portal| portal.owns_cookie(name))
                || self.backend.is_some_and(|backend| backend.owns_cookie(name))
                // Whatever the connector knows of its names: ours must be the only one of each.
                || self.keys.as_ref().is_some_and(|keys| keys.has_cookie(name))
        };
        write_upstream_cookies(out, &self.ask.cookies, cut, self.keys.as_ref().map_or(&[], |keys| keys.cookie_bytes()));
    }

    /// Appends the complete upstream path and query.
    pub fn write_target(&self, out: &mut Vec<u8>) {
        let query_key = self.backend.and_then(|backend| backend.query_key());
        let pair: &[u8] = self.keys.as_ref().map_or(&[], |keys| keys.query_bytes());
        write_upstream_target(out, self.ask.target.raw(), query_key, pair);
    }

    /// The address of what was asked for with the application's key in its query, in the place of whatever the
    /// client had there; `None` where there is no such key, or the address has it already.
    ///
    /// It is absolute, since a path may begin with two slashes, and ASCII, as browsers write it.
    pub(super) fn address_with_key(&self) -> Option<String> {
        let query_key = self.backend?.query_key()?;
        let pair = self.keys.as_ref()?.query();
        let Ask { host, target, secure, .. } = self.ask;
        if pair.is_empty() || carries_key(target.raw(), query_key, pair) {
            return None;
        }
        let mut with_key = Vec::with_capacity(target.raw().len() + pair.len() + 1);
        self.write_target(&mut with_key);
        let ascii = percent_encoding::percent_encode(&with_key, percent_encoding::CONTROLS);
        Some(format!("{}{ascii}", host.origin(*secure)))
    }

    /// The upstream `Authorization` value, empty where there is none; `None` where the back-end
    /// takes none from us, and the client's own is nothing to us.
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        let takes = self.backend.is_some_and(|backend| backend.takes_authorization());
        (takes || self.covers_credentials).then(|| self.keys.as_ref().map_or("", |keys| keys.authorization()))
    }

    /// The application's own header for the session's id and its value, empty where there is none; `None`
    /// where it has no such header.
    #[must_use]
    pub fn session_header(&self) -> Option<(&'static str, &str)> {
        let name = self.backend.and_then(|backend| backend.session_header())?;
        Some((name, self.keys.as_ref().map_or("", |keys| keys.session())))
    }

    /// Cookies that the application's scripts read, and that this browser does not have as they are: each with
    /// its value, and whether it is for https alone.
    pub fn script_cookies(&self) -> impl Iterator<Item = (&ScriptCookie, &str, bool)> {
        let cookies = self.backend.map_or(&[][..], |backend| backend.script_cookies());
        cookies.iter().filter_map(|cookie| {
            let value = self.keys.as_ref()?.cookie(&cookie.name)?;
            let shown = self.ask.cookies.values(&cookie.name);
            let has_it = !shown.is_empty() && shown.iter().all(|shown| *shown == value);
            (!has_it).then_some((cookie, value, self.ask.secure))
        })
    }

    /// Appends the roles, joined by commas: as the portal says them, or as the back-end's role map
    /// translates them, which drops what it does not know.
    pub fn write_groups(&self, out: &mut Vec<u8>) {
        let Some(identity) = &self.identity else { return };
        match self.backend {
            Some(backend) => write_joined(out, backend.roles(identity)),
            None => write_joined(out, identity.roles().iter().map(AsRef::as_ref)),
        }
    }
}

fn write_joined<'a>(out: &mut Vec<u8>, roles: impl Iterator<Item = &'a str>) {
    let start = out.len();
    for role in roles {
        if out.len() > start {
            out.push(b',');
        }
        out.extend_from_slice(role.as_bytes());
    }
}

impl fmt::Debug for Grant<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Grant").field("identity", &self.identity).finish_non_exhaustive()
    }
}
