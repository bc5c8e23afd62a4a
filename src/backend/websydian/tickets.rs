mod shared;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use self::shared::{Shared, Waiting};
use crate::backend::Profile;
use crate::domain::{ExposeSecret, Secret};
use crate::store::{Store, StoreOutage};

/// The one-time tickets that stand in the place of passwords, each for one login at one back-end.
///
/// A ticket lives exactly as long as the [`Ticket`] that was issued, and so no longer than the request
/// that carries it; there are as many as there are logins under way. Only hashes are kept. Where replicas share a
/// store tickets wait there; here wait only those that were issued while it could not be asked, and no other replica
/// knows them.
#[derive(Default)]
pub(super) struct Tickets {
    held: Mutex<HashMap<Hash, Held>>,
    shared: Option<Shared>,
}

type Hash = [u8; 32];

/// Whose a ticket is.
struct Held {
    login: String,
    roles: Vec<String>,
    fate: Arc<OnceLock<Fate>>,
}

/// What became of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was redeemed by whom it is for.
    Redeemed,
    /// It was shown for another login, and is of no more use.
    Misused,
}

/// What somebody is told who shows a ticket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It is genuine, and was. These are the roles.
    Valid(Vec<String>),
    /// It is genuine, was, and names somebody else.
    ForAnother,
    /// It was redeemed, was given up, or never was.
    Unknown,
}

/// A ticket under way. Dropped, it opens nothing any more.
pub(super) struct Ticket<'a> {
    secret: Secret,
    kept: Kept<'a>,
}

/// Where a ticket waits to be redeemed.
enum Kept<'a> {
    Here(Local<'a>),
    InStore(Waiting),
}

struct Local<'a> {
    tickets: &'a Tickets,
    hash: Hash,
    fate: Arc<OnceLock<Fate>>,
}

impl fmt::Debug for Ticket<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ticket(…)")
    }
}

impl Tickets {
    /// Shares them with other replicas, from before the first login.
    pub fn share(&mut self, store: &Arc<Store>, backend: &Profile) {
        self.shared = Some(Shared::new(store, backend));
    }

    /// A ticket for this login, which will be given these roles.
    ///
    /// # Errors
    /// Replicas share their tickets, and the store could not be asked.
    pub async fn issue(&self, login: &str, roles: Vec<String>) -> Result<Ticket<'_>, StoreOutage> {
        if let Some(shared) = &self.shared {
            match shared.issue(login, &roles).await {
                Ok((secret, waiting)) => return Ok(Ticket { secret, kept: Kept::InStore(waiting) }),
                // It is another ticket, should the store have kept that one after all.
                Err(_) if shared.goes_on_without() => {}
                Err(outage) => return Err(outage),
            }
        }
        Ok(self.issue_here(login, roles))
    }

    fn issue_here(&self, login: &str, roles: Vec<String>) -> Ticket<'_> {
        let secret = Secret::from(format!("{:032x}", rand::random::<u128>()));
        let (hash, fate) = (hash(secret.expose_secret()), Arc::default());
        let held = Held { login: login.to_owned(), roles, fate: Arc::clone(&fate) };
        self.held.lock().insert(hash, held);
        Ticket { secret, kept: Kept::Here(Local { tickets: self, hash, fate }) }
    }

    /// Takes a ticket, whatever comes of it: of several who show it at once, one is the first.
    ///
    /// Blanks behind either value are what fields of a fixed length fill up with.
    ///
    /// # Errors
    /// The store could not be asked: the ticket may be good still, or be gone.
    pub async fn redeem(&self, login: &str, shown: &Secret) -> Result<Shown, StoreOutage> {
        let (login, shown) = (login.trim_end_matches(' '), shown.expose_secret().trim_end_matches(' '));
        match &self.shared {
            Some(shared) if Shared::is_one(shown) => shared.redeem(login, shown).await,
            _ => Ok(self.redeem_here(login, shown)),
        }
    }

    fn redeem_here(&self, login: &str, shown: &str) -> Shown {
        let Some(held) = self.held.lock().remove(&hash(shown)) else { return Shown::Unknown };
        if held.login != login {
            let _ = held.fate.set(Fate::Misused);
            return Shown::ForAnother;
        }
        let _ = held.fate.set(Fate::Redeemed);
        Shown::Valid(held.roles)
    }

    /// How many could be redeemed now.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.held.lock().len()
    }
}

impl Ticket<'_> {
    /// What is shown.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Has it open nothing any more, and says what became of it.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn settle(self) -> Result<Option<Fate>, StoreOutage> {
        match self.kept {
            Kept::Here(local) => Ok(local.fate.get().copied()),
            Kept::InStore(mut waiting) => waiting.settle().await,
        }
    }
}

impl Drop for Local<'_> {
    fn drop(&mut self) {
        self.tickets.held.lock().remove(&self.hash);
    }
}

fn hash(ticket: &str) -> Hash {
    Sha256::digest(ticket).into()
}

#[cfg(test)]
mod tests;
