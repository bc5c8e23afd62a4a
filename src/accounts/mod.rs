//! Changes of accounts, at every back-end that keeps accounts up: passwords, new people, people who go.
//!
//! A change is tried everywhere at once. Where a back-end cannot be asked, the change waits and is tried
//! again until it is done or refused; a newer change of the same account takes its place. What waits is
//! held in memory alone, so that no password is ever written down: it is lost when the process ends,
//! which then says what is left. What could not be kept waiting is refused before anything was done.
//!
//! While a change is made nobody signs that person in there. When it is done, their old sessions end,
//! and what the back-end said of the new password before is forgotten.
//!
//! Portals with a directory of their own ([`PasswordKeeper`]) are told of a new password first: whoever signs in
//! with it there finds the back-ends changed a moment later. What such a directory refuses, by its rules for
//! passwords for example, is not done at the back-ends either, or people would have two passwords.

mod keeper;
mod plan;
mod waiting;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::backend::{AccountChange, AccountRefusal, Guarded, Outage};
use crate::domain::{Clock, Identity, PasswordKeeper};
use crate::keys::KeyStore;
use keeper::{Keeper, Place};
use waiting::{Account, Begun, Waiting};

pub use plan::{NotBegun, Wish};

/// First pause before a change is tried again; it doubles up to a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Most changes that are begun again in one tick.
const MOST_AT_ONCE: usize = 100;

/// What became of a change at one back-end or portal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where.
    pub at: At,
    /// What became of it.
    pub outcome: Outcome,
}

/// Where an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// At the back-end of this name.
    Backend(String),
    /// In the directory of the portal of this name.
    Portal(String),
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, and the old sessions have ended.
    Done,
    /// The back-end said no, and has changed nothing.
    Refused(AccountRefusal),
    /// The back-end could not be asked, or has not answered yet. It is tried again until it does.
    Pending,
    /// A newer change of the same account has taken its place.
    Replaced,
}

impl Outcome {
    /// The word for it in answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused(_) => "refused",
            Self::Pending => "pending",
            Self::Replaced => "replaced",
        }
    }
}

/// Makes changes of accounts, and keeps those that are not done yet.
pub struct Provisioner {
    keys: Arc<KeyStore>,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    waiting: Mutex<Waiting>,
    /// Portals that keep passwords.
    directories: Mutex<Vec<Arc<dyn PasswordKeeper>>>,
    /// One change is made at a portal at a time, so that no older one ends after a newer. Under its name, since
    /// it is the same portal after a reload.
    portal_turns: Mutex<HashMap<String, Arc<Turn>>>,
}

impl Provisioner {
    /// With nothing to do yet. Changes run on `runtime`.
    #[must_use]
    pub fn new(keys: Arc<KeyStore>, clock: Arc<dyn Clock>, runtime: Handle) -> Arc<Self> {
        let (waiting, directories) = (Mutex::default(), Mutex::default());
        Arc::new(Self { keys, clock, runtime, waiting, directories, portal_turns: Mutex::default() })
    }

    /// Takes other portals that keep passwords, in the place of those before.
    pub fn configure(&self, directories: Vec<Arc<dyn PasswordKeeper>>) {
        *self.directories.lock() = directories;
        // Those that somebody has or waits for stay.
        self.portal_turns.lock().retain(|_, turn| Arc::strong_count(turn) > 1);
    }

    fn portal_turn(&self, portal: &str) -> Arc<Turn> {
        Arc::clone(self.portal_turns.lock().entry(portal.to_owned()).or_default())
    }

    /// Makes a change for one of this portal's people: where passwords are kept for it, and at all of these
    /// back-ends. Says what became of it wherever accounts are kept. Waits at most as long as the slowest of each
    /// takes; what was begun goes on when nobody waits.
    ///
    /// # Errors
    /// [`NotBegun`]: then nothing was changed anywhere.
    pub async fn change(
        self: &Arc<Self>,
        identity: &Identity<'_>,
        wish: &Wish,
        portal: &str,
        backends: Vec<Arc<Guarded>>,
    ) -> Result<Vec<Report>, NotBegun> {
        let directories = self.directories.lock().iter().filter(|one| one.is_for(portal)).cloned().collect();
        let plan = plan::make(backends, directories, identity, wish)?;
        let begun = self.waiting.lock().begin(plan.changes)?;
        let all_pending = begun.iter().map(|(keeper, ..)| report(keeper, Outcome::Pending)).collect();
        // A task of its own, since whoever asked may go away.
        let finished = self.runtime.spawn(Arc::clone(self).finish(begun, plan.sessions_end));
        Ok(finished.await.unwrap_or(all_pending))
    }

    async fn finish(self: Arc<Self>, begun: Vec<Begun>, sessions_end: Vec<(Arc<Guarded>, String)>) -> Vec<Report> {
        let (first, then): (Vec<_>, Vec<_>) =
            begun.into_iter().partition(|(keeper, ..)| matches!(keeper, Keeper::Portal(_)));
        let mut reports = self.try_all(first).await;
        if reports.iter().any(|report| matches!(report.outcome, Outcome::Refused(_))) {
            reports.extend(then.into_iter().map(|begun| self.leave_alone(&begun)));
            return reports;
        }
        reports.extend(self.try_all(then).await);
        for (backend, login) in &sessions_end {
            self.keys.end_at(backend, login).await;
        }
        reports
    }

    async fn try_all(self: &Arc<Self>, begun: Vec<Begun>) -> Vec<Report> {
        let attempts = begun.into_iter().map(|(keeper, account, number)| {
            let attempt = self.runtime.spawn(Arc::clone(self).attempt(account, number));
            async move {
                let told = tokio::time::timeout(keeper.patience(), attempt).await;
                // Whatever happened to the attempt, the change waits until it is made.
                report(&keeper, told.map_or(Outcome::Pending, |told| told.unwrap_or(Outcome::Pending)))
            }
        });
        join_all(attempts).await
    }

    /// Gives up a change that was not tried yet.
    fn leave_alone(&self, (keeper, account, number): &Begun) -> Report {
        let outcome = Outcome::Refused(AccountRefusal::LeftAlone);
        if let Some(change) = self.waiting.lock().end(account, *number) {
            keeper.count(change.as_str(), outcome.as_str());
        }
        report(keeper, outcome)
    }

    /// Tries again what is due. Call it about once a second.
    pub fn tick(self: &Arc<Self>) {
        let due = self.waiting.lock().begin_due(self.clock.now(), MOST_AT_ONCE);
        for (account, number) in due {
            self.runtime.spawn(Arc::clone(self).attempt(account, number));
        }
    }

    /// Changes that are not done yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Whether all is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says what is lost if the process ends now, one line for each.
    pub fn report_left(&self) {
        for (keeper, login, change) in self.waiting.lock().left() {
            match keeper {
                Keeper::Backend(backend) => {
                    let backend = backend.name();
                    tracing::error!(backend, login, change, "account change not done, and lost; make it again");
                }
                Keeper::Portal(portal) => {
                    let portal = portal.portal();
                    tracing::error!(portal, login, change, "password change not done, and lost; make it again");
                }
            }
        }
    }

    async fn attempt(self: Arc<Self>, account: Account, number: u64) -> Outcome {
        let Some(keeper) = self.keeper(&account.place) else {
            let mut waiting = self.waiting.lock();
            if let Some(change) = waiting.end(&account, number) {
                let (login, change) = (account.login.as_str(), change.as_str());
                tracing::error!(login, change, "account change given up: its back-end is no longer configured");
            }
            return Outcome::Refused(AccountRefusal::Change);
        };
        let attempt = Attempt { provisioner: &self, account: &account, number };
        let made = match &keeper {
            Keeper::Backend(backend) => self.change_at(backend, &account, number).await,
            Keeper::Portal(portal) => self.change_in(portal.as_ref(), &account, number).await,
        };
        let Some((change, outcome)) = made else { return Outcome::Replaced };
        let outcome = match outcome {
            Ok(Ok(())) => Outcome::Done,
            Ok(Err(refusal)) => Outcome::Refused(refusal),
            Err(outage) => return attempt.postpone(&keeper, &outage, change),
        };
        self.waiting.lock().end(&account, number);
        keeper.count(change, outcome.as_str());
        outcome
    }

    /// Who keeps what is there, as it is configured now.
    fn keeper(&self, place: &Place) -> Option<Keeper> {
        match place {
            Place::Backend(id) => {
                self.keys.backends().into_iter().find(|backend| backend.id() == *id).map(Keeper::Backend)
            }
            Place::Portal(name) => {
                self.directories.lock().iter().find(|one| one.portal() == name).cloned().map(Keeper::Portal)
            }
        }
    }

    /// Makes a change at a back-end, unless another has taken its place.
    async fn change_at(&self, backend: &Guarded, account: &Account, number: u64) -> Option<Made> {
        // In this order: while many changes wait for their place, people can be signed in.
        let place = backend.change_place().await;
        let _turn = self.keys.turn(backend, &account.login).await;
        let change = self.waiting.lock().current(account, number)?;
        let outcome = backend.change_account(place, &account.login, &change).await;
        if outcome == Ok(Ok(())) {
            if let Some(password) = change.password() {
                self.keys.forget_refusal(backend, &account.login, password);
            }
            self.keys.end_at(backend, &account.login).await;
        }
        Some((change.as_str(), outcome))
    }

    /// Makes a change in a portal's directory, unless another has taken its place.
    async fn change_in(&self, keeper: &dyn PasswordKeeper, account: &Account, number: u64) -> Option<Made> {
        let turn = self.portal_turn(keeper.portal());
        let _turn = turn.lock().await;
        let change = self.waiting.lock().current(account, number)?;
        let AccountChange::Password(password) = &*change else {
            return Some((change.as_str(), Ok(Err(AccountRefusal::Change))));
        };
        let made = tokio::time::timeout(keeper.patience(), keeper.change(&account.login, password)).await;
        let outcome = made.unwrap_or(Err(Outage::TimedOut));
        let (portal, login) = (keeper.portal(), account.login.as_str());
        match &outcome {
            Ok(Ok(())) => tracing::info!(portal, login, "password changed in the directory"),
            Ok(Err(refusal)) => tracing::warn!(portal, login, %refusal, "the directory refused a new password"),
            Err(outage) => tracing::warn!(portal, login, %outage, "could not change a password in the directory"),
        }
        Some((change.as_str(), outcome))
    }
}

/// Whoever has it makes a change.
type Turn = tokio::sync::Mutex<()>;

/// Which change was tried, and what became of it.
type Made = (&'static str, Result<Result<(), AccountRefusal>, Outage>);

fn report(keeper: &Keeper, outcome: Outcome) -> Report {
    let name = keeper.name().to_owned();
    let at = match keeper {
        Keeper::Backend(_) => At::Backend(name),
        Keeper::Portal(_) => At::Portal(name),
    };
    Report { at, outcome }
}

/// An attempt under way. However it ends, its change does not stay behind as if it were still under way.
struct Attempt<'a> {
    provisioner: &'a Provisioner,
    account: &'a Account,
    number: u64,
}

impl Attempt<'_> {
    fn postpone(&self, keeper: &Keeper, outage: &Outage, change: &'static str) -> Outcome {
        let not_before = match outage {
            Outage::BackingOff { retry_after } => Some(*retry_after),
            _ => None,
        };
        let now = self.provisioner.clock.now();
        if self.provisioner.waiting.lock().postpone(self.account, self.number, now, not_before) {
            keeper.count(change, Outcome::Pending.as_str());
        }
        Outcome::Pending
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let now = self.provisioner.clock.now();
        self.provisioner.waiting.lock().give_back(self.account, self.number, now);
    }
}
