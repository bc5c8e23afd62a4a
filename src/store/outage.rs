use std::time::Duration;

/// Why the shared store could not be asked. Never a "no", and whatever was to be written may have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreOutage {
    /// No connection, or it broke.
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
    /// No answer within `[store] timeout`.
    #[error("the store did not answer in time")]
    TimedOut,
    /// It answered that it cannot: it is loading, read-only, full, or a part of the Cluster is missing. The word is
    /// the server's own, such as `OOM`, and never holds what was asked.
    #[error("the store answered {0}")]
    Unable(String),
    /// It failed a moment ago, so it was not asked.
    #[error("the store failed a moment ago and is not asked again yet")]
    Down,
}

impl StoreOutage {
    /// When to ask again.
    #[must_use]
    pub const fn retry_after(&self) -> Duration {
        Duration::from_secs(5)
    }
}
