use std::time::Duration;

/// What a login at a back-end uses (`credentials`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// The password that came with the portal session.
    Portal,
    /// An access token that the portal session has, which speaks for the person for some minutes.
    Token,
    /// A password that is derived from a key of ours and the name.
    Derived,
    /// A technical account that may sign in for everybody.
    Master,
    /// Nothing but the name.
    None,
}

/// Deadlines and limits that every back-end has, whatever its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendLimits {
    /// What one request waits for a login, queueing included; also the deadline of the login itself.
    pub login_timeout: Duration,
    /// Logins at once.
    pub max_logins: usize,
    /// Longest time without a decision before the session is ended.
    pub idle_timeout: Duration,
    /// Longest life of a session.
    pub max_age: Duration,
    /// Time between refreshes of a session that is in use.
    pub keep_alive_interval: Duration,
    /// How long a refused password is remembered.
    pub refused_for: Duration,
    /// First pause after an outage; doubles up to one minute.
    pub failure_backoff: Duration,
}

impl Default for BackendLimits {
    fn default() -> Self {
        Self {
            login_timeout: Duration::from_secs(10),
            max_logins: 8,
            idle_timeout: Duration::from_secs(15 * 60),
            max_age: Duration::from_secs(60 * 3600),
            keep_alive_interval: Duration::from_secs(5 * 60),
            refused_for: Duration::from_secs(5 * 60),
            failure_backoff: Duration::from_secs(2),
        }
    }
}
