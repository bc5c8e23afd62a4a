use std::sync::Arc;

use super::keeper::{Keeper, Place};
use super::waiting::{Account, Planned};
use crate::backend::{AccountChange, AccountRefusal, Guarded};
use crate::domain::{CredentialSource, Identity, PasswordKeeper, Secret};

/// What a portal wants to become of somebody's accounts.
#[derive(Clone, Debug)]
pub enum Wish {
    /// They have another password at the portal.
    Password(Secret),
    /// They are to have an account, with this password where the back-end's is not derived.
    Put(Option<Secret>),
    /// They are to have none.
    Remove,
}

/// Why nothing was begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    /// No back-end keeps accounts.
    #[error("no back-end keeps accounts here; see [backend.accounts]")]
    Nowhere,
    /// The back-end's `login` wants what the identity has not.
    #[error("back-end {0} names people by something that this user has not, such as an e-mail address")]
    NoName(String),
    /// A new account needs a password.
    #[error("back-end {0} needs a password")]
    NoPassword(String),
    /// The change would be in vain.
    #[error("back-end {0}: {1}")]
    InVain(String, AccountRefusal),
    /// The account waits for its removal: whoever comes next must not find what the one before left.
    #[error("at back-end {0} an account of this name waits to be removed")]
    RemovalPending(String),
    /// It could not be kept waiting.
    #[error("too many changes of accounts are waiting")]
    Full,
}

/// What a wish means.
pub(super) struct Plan {
    pub(super) changes: Vec<Planned>,
    /// Where no account is changed, and sessions end all the same.
    pub(super) sessions_end: Vec<(Arc<Guarded>, String)>,
}

pub(super) fn make(
    backends: Vec<Arc<Guarded>>,
    directories: Vec<Arc<dyn PasswordKeeper>>,
    identity: &Identity<'_>,
    wish: &Wish,
) -> Result<Plan, NotBegun> {
    if !matches!(wish, Wish::Password(_)) && !backends.iter().any(|backend| backend.keeps_accounts()) {
        return Err(NotBegun::Nowhere);
    }
    let mut plan = Plan { changes: Vec::new(), sessions_end: Vec::new() };
    // Who is in a directory at all is its own affair, so nothing but passwords is changed there.
    if let Wish::Password(password) = wish {
        plan.changes.extend(directories.into_iter().map(|directory| {
            let keeper = Keeper::Portal(directory);
            let account = Account { place: keeper.place(), login: identity.user().to_owned() };
            Planned { keeper, account, change: AccountChange::Password(password.clone()) }
        }));
    }
    for backend in backends {
        let login = backend.login_name(identity).map(String::from);
        if !backend.keeps_accounts() {
            // Who has no name there has no session either.
            plan.sessions_end.extend(login.filter(|_| !matches!(wish, Wish::Put(_))).map(|login| (backend, login)));
            continue;
        }
        let login = login.ok_or_else(|| NotBegun::NoName(backend.name().to_owned()))?;
        let derived = backend.credentials() == CredentialSource::Derived;
        let change = match wish {
            Wish::Password(_) if derived => {
                plan.sessions_end.push((backend, login));
                continue;
            }
            Wish::Password(password) => AccountChange::Password(password.clone()),
            Wish::Put(given) => {
                let derived = || backend.derivation().first().map(|key| key.password(&login));
                let password = if derived().is_some() { derived() } else { given.clone() };
                AccountChange::Put(password.ok_or_else(|| NotBegun::NoPassword(backend.name().to_owned()))?)
            }
            Wish::Remove => AccountChange::Remove,
        };
        if let Some(refusal) = backend.foresees_change(&login, &change) {
            return Err(NotBegun::InVain(backend.name().to_owned(), refusal));
        }
        let account = Account { place: Place::Backend(backend.id()), login };
        plan.changes.push(Planned { keeper: Keeper::Backend(backend), account, change });
    }
    Ok(plan)
}
