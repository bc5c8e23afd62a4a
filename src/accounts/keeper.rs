use std::sync::Arc;
use std::time::Duration;

use crate::backend::{BackendId, Guarded};
use crate::domain::PasswordKeeper;

/// Who keeps what is to be changed.
#[derive(Clone)]
pub(super) enum Keeper {
    Backend(Arc<Guarded>),
    Portal(Arc<dyn PasswordKeeper>),
}

/// Where an account is, across reloads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Backend(BackendId),
    /// The portal of this name.
    Portal(String),
}

impl Keeper {
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Backend(backend) => Place::Backend(backend.id()),
            Self::Portal(portal) => Place::Portal(portal.portal().to_owned()),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Backend(backend) => backend.name(),
            Self::Portal(portal) => portal.portal(),
        }
    }

    /// Longest time for one change.
    pub(super) fn patience(&self) -> Duration {
        match self {
            Self::Backend(backend) => backend.limits().login_timeout,
            Self::Portal(portal) => portal.patience(),
        }
    }

    /// Counts what became of a change. Those at portals are in the log alone.
    pub(super) fn count(&self, change: &'static str, outcome: &'static str) {
        if let Self::Backend(backend) = self {
            backend.metrics().count_account_change(change, outcome);
        }
    }

    /// One change more, or one less, waits.
    pub(super) fn count_waiting(&self, more: bool) {
        if let Self::Backend(backend) = self {
            let waiting = &backend.metrics().account_changes_waiting;
            if more { waiting.inc() } else { waiting.dec() }
        }
    }
}
