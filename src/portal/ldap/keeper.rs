//! New passwords for the people of the directory.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::basic::Verdicts;
use super::directory::{Changed, Refusal};
use super::sessions::People;
use crate::domain::{AccountRefusal, Outage, PasswordKeeper, Secret};

/// Longest time for one change: every server of the directory may have its turn.
const PATIENCE: Duration = Duration::from_secs(20);

/// Changes passwords, as our own account at the directory.
pub(super) struct Keeper {
    pub people: Arc<People>,
    pub verdicts: Arc<Verdicts>,
}

impl PasswordKeeper for Keeper {
    fn portal(&self) -> &str {
        &self.people.portal
    }

    fn is_for(&self, portal: &str) -> bool {
        portal == self.people.portal
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn change<'a>(
        &'a self,
        user: &'a str,
        new: &'a Secret,
    ) -> BoxFuture<'a, Result<Result<(), AccountRefusal>, Outage>> {
        Box::pin(async move {
            match self.people.directory.change_password(user, None, new).await? {
                Changed::Done => {
                    // What was wrong may be right now; what was right opens a session that has ended.
                    self.verdicts.forget_wrong();
                    self.people.end_all_of(user);
                    Ok(Ok(()))
                }
                Changed::NoSuchPerson => Ok(Err(AccountRefusal::NoAccount)),
                Changed::Refused(Refusal::Quality) => Ok(Err(AccountRefusal::Password)),
                Changed::WrongPassword | Changed::Refused(Refusal::NotAllowed | Refusal::NotSupported) => {
                    Ok(Err(AccountRefusal::Change))
                }
            }
        })
    }
}
