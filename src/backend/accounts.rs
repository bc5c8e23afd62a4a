use futures_util::future::BoxFuture;

use crate::domain::{AccountRefusal, Outage, Secret};

/// Where an application's accounts can be kept up from here: passwords, and the accounts themselves.
///
/// The contract:
/// - A refusal is a value, an outage is an error, as with logins. After either, nothing is half done; after
///   an outage it may be done all the same, so every change may be made twice: a second time does no harm.
/// - A method may be dropped at any await.
/// - Nothing it returns or logs holds a password, or a word of what the application said.
pub trait Accounts: Send + Sync {
    /// Why a change would be in vain, where that can be seen without asking.
    fn foresees(&self, login: &str, change: &AccountChange) -> Option<AccountRefusal>;

    /// Makes a change to the account of this name.
    fn apply<'a>(
        &'a self,
        login: &'a str,
        change: &'a AccountChange,
    ) -> BoxFuture<'a, Result<Result<(), AccountRefusal>, Outage>>;
}

/// What is to become of an account.
#[derive(Clone, Debug)]
pub enum AccountChange {
    /// Another password. The account must be there.
    Password(Secret),
    /// The account is to be there, with this password.
    Put(Secret),
    /// The account is not to be there, nor what it holds.
    Remove,
}

impl AccountChange {
    /// The word for it in metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Password(_) => "password",
            Self::Put(_) => "put",
            Self::Remove => "remove",
        }
    }

    /// The password that it sets.
    #[must_use]
    pub const fn password(&self) -> Option<&Secret> {
        match self {
            Self::Password(password) | Self::Put(password) => Some(password),
            Self::Remove => None,
        }
    }
}
