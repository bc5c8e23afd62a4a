//! Tickets that wait in the store, so that the site's function may ask any replica.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{Fate, Shown};
use crate::backend::Profile;
use crate::domain::{ExposeSecret, Secret};
use crate::store::{Place, Store, StoreOutage};

/// What a ticket that waits in the store begins with, and no other does, so that none is looked for at both.
const MARK: char = 's';
/// How a fate is written.
const REDEEMED: &[u8] = b"redeemed";
const MISUSED: &[u8] = b"misused";

/// Where the tickets of one back-end wait.
pub(super) struct Shared {
    store: Arc<Store>,
    backend: [String; 2],
    life: Duration,
}

/// Whose a ticket is, as it is sealed.
#[derive(Deserialize, Serialize)]
struct Sealed<'a> {
    login: Cow<'a, str>,
    roles: Cow<'a, [String]>,
}

/// One under way. Dropped, it is taken out of the store.
pub(super) struct Waiting {
    store: Arc<Store>,
    ticket: Place,
    fate: Place,
    /// Whether nobody can redeem it any more.
    is_settled: bool,
}

impl Shared {
    pub(super) fn new(store: &Arc<Store>, backend: &Profile) -> Self {
        let id = [backend.name.clone(), backend.url.to_string()];
        // A login that is given up, and a replica that dies, leave nothing that lives longer than the login had.
        Self { store: Arc::clone(store), backend: id, life: backend.limits.login_timeout }
    }

    /// Whether logins go on while the store cannot be asked.
    pub(super) fn goes_on_without(&self) -> bool {
        self.store.goes_on_without()
    }

    /// Whether this is one of those that wait in a store, if it is one at all.
    pub(super) fn is_one(ticket: &str) -> bool {
        ticket.starts_with(MARK)
    }

    /// A new one, as long as the others: 124 random bits.
    pub(super) async fn issue(&self, login: &str, roles: &[String]) -> Result<(Secret, Waiting), StoreOutage> {
        let secret = Secret::from(format!("{MARK}{:031x}", rand::random::<u128>() >> 4));
        let sealed = Sealed { login: login.into(), roles: roles.into() };
        // Texts can always be written.
        let text = Secret::from(serde_json::to_string(&sealed).unwrap_or_default());
        let [ticket, fate] = self.places(secret.expose_secret());
        self.store.put(&ticket, text.expose_secret().as_bytes(), self.life).await?;
        Ok((secret, Waiting { store: Arc::clone(&self.store), ticket, fate, is_settled: false }))
    }

    /// Takes one, whatever comes of it: of all replicas at which it is shown, one has it.
    pub(super) async fn redeem(&self, login: &str, shown: &str) -> Result<Shown, StoreOutage> {
        let [ticket, fate] = self.places(shown);
        let Some(text) = self.store.take(&ticket).await? else { return Ok(Shown::Unknown) };
        let Ok(held) = serde_json::from_slice::<Sealed<'_>>(&text) else { return Ok(Shown::Unknown) };
        let (told, shown) = if held.login == login {
            (REDEEMED, Shown::Valid(held.roles.into_owned()))
        } else {
            (MISUSED, Shown::ForAnother)
        };
        // Whoever waits and does not hear of it has an outage. Were it the other way round, and a "yes" heard of that
        // was not said, they would take the anonymous session that comes of it for a refusal.
        drop(self.store.put(&fate, told, self.life).await);
        Ok(shown)
    }

    /// Where a ticket stands, and what became of it. The ticket itself stands nowhere.
    fn places(&self, ticket: &str) -> [Place; 2] {
        let [name, url] = &self.backend;
        let parts = [name, url, ticket].map(str::as_bytes);
        ["websydian ticket", "websydian ticket's fate"].map(|kind| self.store.place(kind, &parts))
    }
}

impl Waiting {
    /// Has it open nothing any more, and says what became of it, if that was heard.
    pub(super) async fn settle(&mut self) -> Result<Option<Fate>, StoreOutage> {
        let was_there = self.store.take(&self.ticket).await?.is_some();
        self.is_settled = true;
        if was_there {
            return Ok(None);
        }
        let told = self.store.take(&self.fate).await?;
        Ok(match told.as_deref() {
            Some(REDEEMED) => Some(Fate::Redeemed),
            Some(MISUSED) => Some(Fate::Misused),
            _ => None,
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        // Without a runtime, as without the store, it ends with its time.
        if let Ok(runtime) = Handle::try_current() {
            let (store, ticket) = (Arc::clone(&self.store), self.ticket);
            runtime.spawn(async move { drop(store.take(&ticket).await) });
        }
    }
}
