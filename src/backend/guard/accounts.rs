//! Changes of accounts, with the same deadline, back-off and metrics around them as logins have.

use tokio::sync::SemaphorePermit;

use super::super::{AccountChange, AccountRefusal};
use super::{Guarded, place, within};
use crate::domain::Outage;

/// The right to change an account at a back-end, given back when dropped.
pub struct ChangePlace<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

impl Guarded {
    /// Whether accounts can be kept up here.
    #[must_use]
    pub fn keeps_accounts(&self) -> bool {
        self.backend.accounts().is_some()
    }

    /// Why a change would be in vain, where that can be seen without asking.
    #[must_use]
    pub fn foresees_change(&self, login: &str, change: &AccountChange) -> Option<AccountRefusal> {
        self.backend.accounts()?.foresees(login, change)
    }

    /// Waits for the right to change an account, in order of arrival: one is changed at a time.
    pub async fn change_place(&self) -> ChangePlace<'_> {
        ChangePlace { _permit: place(&self.changes).await }
    }

    /// Makes a change to the account of this name.
    ///
    /// # Errors
    /// [`Outage`]; [`Outage::BackingOff`] at once while the back-end is left alone. The change may be made again.
    pub async fn change_account(
        &self,
        _place: ChangePlace<'_>,
        login: &str,
        change: &AccountChange,
    ) -> Result<Result<(), AccountRefusal>, Outage> {
        let Some(accounts) = self.backend.accounts() else { return Ok(Err(AccountRefusal::Change)) };
        let leave = self.change_backoff.enter().map_err(|retry_after| Outage::BackingOff { retry_after })?;
        let outcome = within(self.limits().login_timeout, accounts.apply(login, change)).await;
        match &outcome {
            Ok(_) => leave.answered(),
            Err(_) => leave.failed(None),
        }
        let (backend, change) = (self.name(), change.as_str());
        match &outcome {
            Ok(Ok(())) => tracing::info!(backend, login, change, "account changed at the back-end"),
            Ok(Err(refusal)) => {
                tracing::warn!(backend, login, change, %refusal, "account change refused by the back-end");
            }
            Err(outage) => tracing::warn!(backend, login, change, %outage, "could not change an account"),
        }
        outcome
    }
}
