use std::fmt::Display;
use std::time::Duration;

use crate::backend::{Outage, Refusal};
use crate::domain::{Reason, SessionKeys};
use crate::portal::NoPassword;
use crate::store::StoreOutage;

/// What is said to clients that are to come back when fewer people sign in.
const BUSY_FOR: Duration = Duration::from_secs(5);

/// How asking for keys ended. Cloned for everybody who waited.
#[derive(Clone, Debug)]
pub enum Obtained {
    /// Here they are.
    Keys(SessionKeys),
    /// The back-end said no, now or a while ago.
    Refused(Refusal),
    /// The back-end could not be asked.
    Unavailable(Outage),
    /// What replicas share could not be asked, and nobody is signed in without.
    NoStore(StoreOutage),
    /// The session was ended while the login was under way.
    Revoked,
    /// The portal gave no password to log in with.
    NoPassword(NoPassword),
    /// Too many logins are under way.
    Busy,
}

/// Why somebody gets no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoKeys {
    /// In the words of decisions.
    pub reason: Reason,
    /// When to ask again, where asking again may help.
    pub retry_after: Duration,
}

impl NoKeys {
    /// Too many people are signing in.
    pub const BUSY: Self = Self { reason: Reason::Busy, retry_after: BUSY_FOR };
}

impl Obtained {
    /// Who could not be asked, and why.
    pub(super) fn outage(&self) -> Option<&dyn Display> {
        match self {
            Self::Unavailable(outage) => Some(outage),
            Self::NoStore(outage) => Some(outage),
            _ => None,
        }
    }

    /// The keys, or why there are none.
    ///
    /// # Errors
    /// [`NoKeys`], which says the same to everybody who asks.
    pub fn into_keys(self) -> Result<SessionKeys, NoKeys> {
        let (reason, retry_after) = match self {
            Self::Keys(keys) => return Ok(keys),
            Self::Refused(_) => (Reason::CredentialsRefused, BUSY_FOR),
            Self::NoPassword(NoPassword::NotNow) => (Reason::PortalUnavailable, BUSY_FOR),
            Self::NoPassword(NoPassword::Absent | NoPassword::Unreadable) => (Reason::NoCredentials, BUSY_FOR),
            Self::Revoked => (Reason::Revoked, BUSY_FOR),
            Self::Busy => return Err(NoKeys::BUSY),
            Self::Unavailable(outage) => (Reason::BackendUnavailable, outage.retry_after()),
            // To people it is the same: the application cannot be opened at the moment.
            Self::NoStore(outage) => (Reason::BackendUnavailable, outage.retry_after()),
        };
        Err(NoKeys { reason, retry_after })
    }
}

/// What the store knows at once.
#[derive(Debug)]
pub enum Found {
    /// Keys to use now.
    Keys(SessionKeys),
    /// Nothing that could be used now; [`super::KeyStore::obtain`] may get it.
    Nothing,
    /// The session was ended.
    Revoked,
}
