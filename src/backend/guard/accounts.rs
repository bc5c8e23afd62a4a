//! Changes of accounts, with the same deadline, back-off and metrics around them as logins have.

use super::super::{AccountChange, AccountRefusal};
use super::{Guarded, place, within};
use crate::domain::Outage;

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

    /// Makes a change to the account of this name. One at a time, in order of arrival.
    ///
    /// # Errors
    /// [`Outage`]; [`Outage::BackingOff`] at once while the back-end is left alone. The change may be made again.
    pub async fn change_account(
        &self,
        login: &str,
        change: &AccountChange,
    ) -> Result<Result<(), AccountRefusal>, Outage> {
        let Some(accounts) = self.backend.accounts() else { return Ok(Err(AccountRefusal::Change)) };
        if let Some(retry_after) = self.change_backoff.pause() {
            return Err(Outage::BackingOff { retry_after });
        }
        let _place = place(&self.changes).await;
        // It may have failed while we queued.
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
