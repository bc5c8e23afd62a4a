use std::borrow::Cow;
use std::collections::HashMap;

use super::PortalSession;
use crate::domain::Identity;

/// The words of one portal for its roles, and ours. Routes, headers and back-ends know ours alone.
pub(super) struct RoleMap(HashMap<String, String>);

impl RoleMap {
    /// From pairs of the portal's word and ours. Of none, roles stay as they are.
    pub(super) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The session with our words; what the map does not name is left out.
    pub(super) fn translate<'a>(&'a self, session: PortalSession<'a>) -> PortalSession<'a> {
        if self.0.is_empty() {
            return session;
        }
        PortalSession { identity: self.of(session.identity), ..session }
    }

    /// The identity with our words.
    pub(super) fn of<'a>(&'a self, identity: Identity<'a>) -> Identity<'a> {
        if self.0.is_empty() {
            return identity;
        }
        identity.with_roles(|role| self.0.get(role).map(|known| Cow::Borrowed(known.as_str())))
    }
}
