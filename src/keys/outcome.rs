use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Outage, Refusal};
use crate::domain::{Reason, SessionKeys};
use crate::portal::NoPassword;

/// Longest time for which clients are told to stay away: a back-end that asks for a day is asked
/// again in a minute.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// What is said to clients that are to come back after an outage of unknown length.
const RETRY_AFTER: Duration = Duration::from_secs(5);

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

/// Why somebody gets no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoKeys {
    /// In the words of decisions.
    pub reason: Reason,
    /// When to ask again, where asking again may help.
    pub retry_after: Duration,
}

impl Obtained {
    /// The keys, or why there are none.
    ///
    /// # Errors
    /// [`NoKeys`], which says the same to everybody who asks.
    pub fn into_keys(self) -> Result<Arc<SessionKeys>, NoKeys> {
        let (reason, retry_after) = match self {
            Self::Keys(keys) => return Ok(keys),
            Self::Refused(_) => (Reason::CredentialsRefused, RETRY_AFTER),
            Self::NoPassword(_) => (Reason::NoCredentials, RETRY_AFTER),
            Self::Revoked => (Reason::Revoked, RETRY_AFTER),
            Self::Busy => (Reason::Busy, RETRY_AFTER),
            Self::Unavailable(
                Outage::BackingOff { retry_after }
                | Outage::Throttled { retry_after: Some(retry_after) }
                | Outage::Locked { retry_after: Some(retry_after) },
            ) => (Reason::BackendUnavailable, retry_after.clamp(Duration::from_secs(1), LONGEST_RETRY)),
            Self::Unavailable(_) => (Reason::BackendUnavailable, RETRY_AFTER),
        };
        Err(NoKeys { reason, retry_after })
    }
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
