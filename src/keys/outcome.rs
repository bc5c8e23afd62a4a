use std::sync::Arc;

use crate::backend::{Outage, Refusal};
use crate::domain::SessionKeys;
use crate::portal::NoPassword;

/// How asking for keys ended. Cloned for everybody who waited.
#[derive(Clone, Debug)]
pub enum Obtained {
    /// Here they are.
    Keys(Arc<SessionKeys>),
    /// The back-end said no, now or a while ago.
    Refused(Refusal),
    /// The back-end could not be asked.
    Unavailable(Outage),
    /// The session was ended while the login was under way.
    Revoked,
    /// The portal gave no password to log in with.
    NoPassword(NoPassword),
    /// Too many logins are under way.
    Busy,
}

/// What the store knows at once.
#[derive(Debug)]
pub enum Found {
    /// Keys to use now.
    Keys(Arc<SessionKeys>),
    /// Nothing that could be used now; [`super::KeyStore::obtain`] may get it.
    Nothing,
    /// The session was ended.
    Revoked,
}
