//! New passwords, of which somebody else tells: they are set in the directory, and the old ones end here.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::basic::Basic;
use super::directory::{Changed, Refusal};
use super::sessions::People;
use crate::config::Section;
use crate::domain::{AccountRefusal, Outage, PasswordKeeper, Secret};

/// Longest time for one change: it asks the directory three times, each of which has its own limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// `[portal.accounts]`: whose new passwords are set.
pub(super) struct Terms {
    /// `people_of`: portals whose people are the same as ours, and have the same names.
    people_of: Vec<String>,
}

impl Terms {
    /// `None` where no password is to be changed from here.
    pub(super) fn read(section: &mut Section) -> Option<Self> {
        // Only an account of our own can change a password whose old one nobody shows.
        let has_account = section.has("bind_dn");
        let mut table = section.section("accounts");
        let passwords = table.flag("passwords", false);
        let people_of = table.texts("people_of").unwrap_or_default();
        if passwords && !has_account {
            table.mistake("passwords", "needs bind_dn and bind_password, of an account that may write passwords");
        }
        table.finish();
        passwords.then_some(Self { people_of })
    }
}

/// Sets passwords in a portal's directory.
pub(super) struct Passwords {
    pub terms: Terms,
    pub people: Arc<People>,
    pub basic: Arc<Basic>,
}

impl PasswordKeeper for Passwords {
    fn portal(&self) -> &str {
        &self.people.portal
    }

    fn people_of(&self) -> &[String] {
        &self.terms.people_of
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn change<'a>(
        &'a self,
        user: &'a str,
        new: &'a Secret,
    ) -> BoxFuture<'a, Result<Result<(), AccountRefusal>, Outage>> {
        Box::pin(self.set(user, new))
    }
}

impl Passwords {
    async fn set(&self, user: &str, new: &Secret) -> Result<Result<(), AccountRefusal>, Outage> {
        let directory = &self.people.directory;
        // Sessions are known by what the directory calls people, which need not be what others do.
        let Some(member) = directory.look_up(user).await? else { return Ok(Err(AccountRefusal::NoAccount)) };
        let refusal = match directory.change_password(user, None, new).await? {
            Changed::Done => {
                self.basic.may_be_right_now(user, new);
                self.people.end_all_but(member.identity.user(), new).await;
                return Ok(Ok(()));
            }
            Changed::NoSuchPerson => AccountRefusal::NoAccount,
            Changed::Refused(Refusal::Quality) => AccountRefusal::Password,
            Changed::WrongPassword | Changed::Refused(Refusal::NotAllowed | Refusal::NotSupported) => {
                AccountRefusal::Change
            }
        };
        Ok(Err(refusal))
    }
}
