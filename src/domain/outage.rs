use std::time::Duration;

/// Longest time for which somebody is told to stay away: a back-end that asks for a day is asked again
/// in a minute.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// What is said to those who are to come back after an outage of unknown length.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a server that we depend on could not be asked. Never a "no".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// No connection, or it broke.
    #[error("the server could not be reached: {0}")]
    Unreachable(String),
    /// No complete answer in time.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The back-end asks us to slow down.
    #[error("the server asks to be left alone for a while")]
    Throttled {
        /// How long, where it said so.
        retry_after: Option<Duration>,
    },
    /// It works, but takes no login of this one person for a while, whatever the password. Nobody
    /// else must suffer for it, so it opens no back-off.
    #[error("the back-end takes no login of this person for a while")]
    Locked {
        /// How long, where it is known.
        retry_after: Option<Duration>,
    },
    /// It answered something that its documentation does not know.
    #[error("the server's answer was not understood: {0}")]
    Protocol(String),
    /// It failed a moment ago, so it was not asked.
    #[error("the server failed a moment ago and is not asked again yet")]
    BackingOff {
        /// When it will be asked again, from now.
        retry_after: Duration,
    },
}

impl Outage {
    /// When asking again is worth it, from now.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::BackingOff { retry_after }
            | Self::Throttled { retry_after: Some(retry_after) }
            | Self::Locked { retry_after: Some(retry_after) } => {
                (*retry_after).clamp(Duration::from_secs(1), LONGEST_RETRY)
            }
            _ => RETRY_AFTER,
        }
    }
}
