//! Who is in the directory, and whose password is it?
//!
//! Asks LDAP servers (RFC 4511), the first of which that works. Knows nothing of sessions and pages, and counts
//! no wrong passwords.

use crate::config::Section;
use crate::domain::{Identity, Outage, Secret};
use crate::portal::Surroundings;

/// A directory that is asked who people are.
pub(super) struct Directory {}

/// Somebody who is in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Where in the directory, as the directory writes it.
    pub dn: String,
    /// Who they are, as the directory writes it: not as somebody typed it.
    pub identity: Identity<'static>,
}

/// What became of a change of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// The new one counts.
    Done,
    /// Nobody has this name.
    NoSuchPerson,
    /// The old one is not the person's.
    WrongPassword,
    /// The directory does not want the new one, or not from whoever asks.
    Refused(Refusal),
}

/// Why a directory does not change a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Too short, too simple, used before, too young: its rules for passwords are against the new one.
    Quality,
    /// Whoever asks may not do that.
    NotAllowed,
    /// The directory knows no such operation (RFC 3062).
    NotSupported,
}

impl Directory {
    /// Reads the directory's own keys. Mistakes are noted, and then there is none.
    pub(super) fn read(_section: &mut Section, _surroundings: &Surroundings) -> Option<Self> {
        None
    }

    /// How a name is spelt to count what is tried with it, so that `ALICE` and ` alice` are one; `None` for what
    /// cannot be anybody's name, and is never asked for.
    pub(super) fn spelling(_name: &str) -> Option<String> {
        None
    }

    /// Whether [`Directory::look_up`] can be asked at all: only an account of our own can look without a
    /// person's password.
    pub(super) const fn can_look_up(&self) -> bool {
        false
    }

    /// Who has this name and password. Nobody (`None`) looks the same and takes the same steps, whether the
    /// name or the password is wrong.
    ///
    /// # Errors
    /// No server could say.
    pub(super) async fn sign_in(&self, _name: &str, _password: &Secret) -> Result<Option<Member>, Outage> {
        Err(Outage::TimedOut)
    }

    /// Who has this name now; `None` where nobody has it any more. `name` is that of an identity, or what
    /// somebody typed.
    ///
    /// # Errors
    /// No server could say.
    pub(super) async fn look_up(&self, _name: &str) -> Result<Option<Member>, Outage> {
        Err(Outage::TimedOut)
    }

    /// Changes a password (RFC 3062): as the person, who shows the old one, or as our own account.
    ///
    /// # Errors
    /// No server could say, or it broke off in the middle: then either password may count.
    pub(super) async fn change_password(
        &self,
        _name: &str,
        _old: Option<&Secret>,
        _new: &Secret,
    ) -> Result<Changed, Outage> {
        Err(Outage::TimedOut)
    }
}
