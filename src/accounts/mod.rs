//! Changes of accounts, at every back-end that keeps accounts up: passwords, new people, people who go.
//!
//! A change is tried everywhere at once. Where a back-end cannot be asked, the change waits and is tried
//! again until it is done or refused; a newer change of the same account takes its place. What waits is
//! held in memory alone, so that no password is ever written down: it is lost when the process ends,
//! which then says what is left. What could not be kept waiting is refused before anything was done.
//!
//! While a change is made nobody signs that person in there. When it is done, their old sessions end,
//! and what the back-end said of the new password before is forgotten.

mod plan;
mod waiting;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::backend::{AccountRefusal, Guarded, Outage};
use crate::domain::{Clock, Identity};
use crate::keys::KeyStore;
use waiting::{Account, Begun, Waiting};

pub use plan::{NotBegun, Wish};

/// First pause before a change is tried again; it doubles up to a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Most changes that are begun again in one tick.
const MOST_AT_ONCE: usize = 100;

/// What became of a change at one back-end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The back-end's name.
    pub backend: String,
    /// What became of it.
    pub outcome: Outcome,
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
}

impl Provisioner {
    /// With nothing to do yet. Changes run on `runtime`.
    #[must_use]
    pub fn new(keys: Arc<KeyStore>, clock: Arc<dyn Clock>, runtime: Handle) -> Arc<Self> {
        Arc::new(Self { keys, clock, runtime, waiting: Mutex::default() })
    }

    /// Makes a change at all of these back-ends, and says what became of it at each that keeps accounts. Waits at
    /// most as long as each of them takes for a login; what was begun goes on when nobody waits.
    ///
    /// # Errors
    /// [`NotBegun`]: then nothing was changed anywhere.
    pub async fn change(
        self: &Arc<Self>,
        identity: &Identity<'_>,
        wish: &Wish,
        backends: Vec<Arc<Guarded>>,
    ) -> Result<Vec<Report>, NotBegun> {
        let plan = plan::make(backends, identity, wish)?;
        let begun = self.waiting.lock().begin(plan.changes)?;
        let all_pending = begun.iter().map(|(backend, ..)| report(backend, Outcome::Pending)).collect();
        // A task of its own, since whoever asked may go away.
        let finished = self.runtime.spawn(Arc::clone(self).finish(begun, plan.sessions_end));
        Ok(finished.await.unwrap_or(all_pending))
    }

    async fn finish(self: Arc<Self>, begun: Vec<Begun>, sessions_end: Vec<(Arc<Guarded>, String)>) -> Vec<Report> {
        let attempts = begun.into_iter().map(|(backend, account, number)| {
            let attempt = self.runtime.spawn(Arc::clone(&self).attempt(account, number));
            async move {
                let told = tokio::time::timeout(backend.limits().login_timeout, attempt).await;
                // Whatever happened to the attempt, the change waits until it is made.
                report(&backend, told.map_or(Outcome::Pending, |told| told.unwrap_or(Outcome::Pending)))
            }
        });
        let reports = join_all(attempts).await;
        for (backend, login) in &sessions_end {
            self.keys.end_at(backend, login).await;
        }
        reports
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
        for (backend, login, change) in self.waiting.lock().left() {
            tracing::error!(backend, login, change, "account change not done, and lost; make it again");
        }
    }

    async fn attempt(self: Arc<Self>, account: Account, number: u64) -> Outcome {
        let Some(backend) = self.keys.backends().into_iter().find(|backend| backend.id() == account.backend) else {
            let mut waiting = self.waiting.lock();
            if let Some(change) = waiting.end(&account, number) {
                let (login, change) = (account.login.as_str(), change.as_str());
                tracing::error!(login, change, "account change given up: its back-end is no longer configured");
            }
            return Outcome::Refused(AccountRefusal::Change);
        };
        let attempt = Attempt { provisioner: &self, account: &account, number };
        // In this order: while many changes wait for their place, people can be signed in.
        let place = backend.change_place().await;
        let _turn = self.keys.turn(&backend, &account.login).await;
        let Some(change) = self.waiting.lock().current(&account, number) else {
            return Outcome::Replaced;
        };
        let outcome = match backend.change_account(place, &account.login, &change).await {
            Ok(Ok(())) => {
                if let Some(password) = change.password() {
                    self.keys.forget_refusal(&backend, &account.login, password);
                }
                self.keys.end_at(&backend, &account.login).await;
                Outcome::Done
            }
            Ok(Err(refusal)) => Outcome::Refused(refusal),
            Err(outage) => return attempt.postpone(&backend, &outage, change.as_str()),
        };
        self.waiting.lock().end(&account, number);
        backend.metrics().count_account_change(change.as_str(), outcome.as_str());
        outcome
    }
}

fn report(backend: &Guarded, outcome: Outcome) -> Report {
    Report { backend: backend.name().to_owned(), outcome }
}

/// An attempt under way. However it ends, its change does not stay behind as if it were still under way.
struct Attempt<'a> {
    provisioner: &'a Provisioner,
    account: &'a Account,
    number: u64,
}

impl Attempt<'_> {
    fn postpone(&self, backend: &Guarded, outage: &Outage, change: &'static str) -> Outcome {
        let not_before = match outage {
            Outage::BackingOff { retry_after } => Some(*retry_after),
            _ => None,
        };
        let now = self.provisioner.clock.now();
        if self.provisioner.waiting.lock().postpone(self.account, self.number, now, not_before) {
            backend.metrics().count_account_change(change, Outcome::Pending.as_str());
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
