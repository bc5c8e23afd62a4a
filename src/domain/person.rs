use std::fmt;

use super::{Identity, UnixSeconds};

/// The name of one portal session: the portal's own, and the session's within it.
///
/// It prints nothing of the session: whoever knows its id may be able to use it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionHandle {
    /// The portal's name in the configuration.
    pub portal: String,
    /// The portal's name for the session.
    pub id: String,
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SessionHandle({}, …)", self.portal)
    }
}

/// Somebody with a checked portal session, as back-ends and services may know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The session that says so.
    pub session: SessionHandle,
    /// Who it is, in the portal's words.
    pub identity: Identity<'static>,
    /// When the session ends by itself.
    pub expires: UnixSeconds,
}
