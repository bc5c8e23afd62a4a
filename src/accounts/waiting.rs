use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::keeper::{Keeper, Place};
use super::{FIRST_PAUSE, LONGEST_PAUSE, NotBegun, Outcome};
use crate::backend::AccountChange;
use crate::domain::Moment;

/// Most changes that are not done yet. Each takes some hundred bytes.
const MOST: usize = 10_000;

/// Whose account, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Account {
    pub(super) place: Place,
    pub(super) login: String,
}

/// A change that is to be begun.
pub(super) struct Planned {
    pub(super) keeper: Keeper,
    pub(super) account: Account,
    pub(super) change: AccountChange,
}

/// A change that is under way: where, whose, and its number.
pub(super) type Begun = (Keeper, Account, u64);

/// Every change that is not done yet, one for each account: under way, or waiting for its time.
#[derive(Default)]
pub(super) struct Waiting {
    changes: HashMap<Account, Held>,
    /// Tells a change from the one that took its place.
    last_number: u64,
}

struct Held {
    number: u64,
    keeper: Keeper,
    change: Arc<AccountChange>,
    /// When it is to be tried again; nothing while it is under way.
    due: Option<Moment>,
    /// The pause after the next failure.
    pause: Duration,
    /// Whether it ever failed.
    postponed: bool,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Takes all of these changes or none. Each is under way from then on.
    pub(super) fn begin(&mut self, planned: Vec<Planned>) -> Result<Vec<Begun>, NotBegun> {
        let removed = |held: &Held| matches!(*held.change, AccountChange::Remove);
        let mut new = 0;
        for Planned { keeper, account, change } in &planned {
            match self.changes.get(account) {
                Some(held) if removed(held) && !matches!(change, AccountChange::Remove) => {
                    return Err(NotBegun::RemovalPending(keeper.name().to_owned()));
                }
                Some(_) => {}
                None => new += 1,
            }
        }
        if self.changes.len() + new > MOST {
            return Err(NotBegun::Full);
        }
        Ok(planned.into_iter().map(|planned| self.begin_one(planned)).collect())
    }

    fn begin_one(&mut self, Planned { keeper, account, change }: Planned) -> Begun {
        self.last_number += 1;
        let number = self.last_number;
        let earlier = self.changes.remove(&account);
        match &earlier {
            Some(earlier) => keeper.count(earlier.change.as_str(), Outcome::Replaced.as_str()),
            None => keeper.count_waiting(true),
        }
        let change = match (earlier.map(|held| held.change), change) {
            // The account may not be there yet.
            (Some(earlier), AccountChange::Password(password)) if matches!(*earlier, AccountChange::Put(_)) => {
                AccountChange::Put(password)
            }
            (_, change) => change,
        };
        let (at, change) = (keeper.clone(), Arc::new(change));
        let held = Held { number, keeper: at, change, due: None, pause: FIRST_PAUSE, postponed: false };
        self.changes.insert(account.clone(), held);
        (keeper, account, number)
    }

    /// The change, unless another has taken its place.
    pub(super) fn current(&self, account: &Account, number: u64) -> Option<Arc<AccountChange>> {
        let held = self.changes.get(account).filter(|held| held.number == number)?;
        Some(Arc::clone(&held.change))
    }

    /// Takes a change out that is done or given up.
    pub(super) fn end(&mut self, account: &Account, number: u64) -> Option<Arc<AccountChange>> {
        self.current(account, number)?;
        let held = self.changes.remove(account)?;
        held.keeper.count_waiting(false);
        Some(held.change)
    }

    /// Has a change wait for its next try: `not_before` this has passed, where the back-end is left alone
    /// anyhow, else for a pause that doubles. Says whether this was its first failure.
    pub(super) fn postpone(
        &mut self,
        account: &Account,
        number: u64,
        now: Moment,
        not_before: Option<Duration>,
    ) -> bool {
        let Some(held) = self.changes.get_mut(account).filter(|held| held.number == number) else { return false };
        held.due = Some(now.plus(not_before.unwrap_or(held.pause)));
        if not_before.is_none() {
            held.pause = (held.pause * 2).min(LONGEST_PAUSE);
        }
        !std::mem::replace(&mut held.postponed, true)
    }

    /// Has a change wait whose attempt broke off without a word.
    pub(super) fn give_back(&mut self, account: &Account, number: u64, now: Moment) {
        if let Some(held) = self.changes.get_mut(account).filter(|held| held.number == number && held.due.is_none()) {
            held.due = Some(now.plus(LONGEST_PAUSE));
        }
    }

    /// Takes up to `most` changes whose time has come, the longest waiting first. They are under way then.
    pub(super) fn begin_due(&mut self, now: Moment, most: usize) -> Vec<(Account, u64)> {
        let is_due = |(account, held): (&Account, &Held)| {
            let due = held.due.filter(|due| *due <= now)?;
            Some((due, account.clone(), held.number))
        };
        let mut due: Vec<_> = self.changes.iter().filter_map(is_due).collect();
        due.sort_by_key(|(due, _, number)| (*due, *number));
        due.truncate(most);
        for (_, account, _) in &due {
            if let Some(held) = self.changes.get_mut(account) {
                held.due = None;
            }
        }
        due.into_iter().map(|(_, account, number)| (account, number)).collect()
    }

    /// What is not done: by whom, name and change.
    pub(super) fn left(&self) -> Vec<(&Keeper, &str, &'static str)> {
        let left = self.changes.iter();
        left.map(|(account, held)| (&held.keeper, account.login.as_str(), held.change.as_str())).collect()
    }
}
