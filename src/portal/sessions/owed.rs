//! What the store is told of sessions behind everybody's back, and told again until it has heard.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::shared::{Debt, Due, PAST_ALL, Put, STEP, Shared, Standing};
use super::{Name, Place, Sessions};
use crate::store::StoreOutage;

/// Most of it at once.
const AT_ONCE: usize = 32;
/// How long others may need to put back what the store has lost, when we have done so: they hold no more than we do.
const RECOVERY: Duration = Duration::from_secs(10);

impl Sessions {
    /// The store and other replicas hear soon that this one has ended.
    pub(super) fn tell_of_end(&self, name: &Name, place: &Place) {
        let Some(shared) = self.shared.get() else { return };
        shared.heard_of(name);
        // What was renewed meanwhile has ended as well, what was kept anew has not.
        let version = match place.session.version() {
            0 => shared.number_of_new(name),
            version => version,
        };
        let version = version + STEP / 2;
        let due = Due::End { version, until: Some(place.session.expires), memos: place.memos.clone() };
        shared.owe(&place.portal, *name, due);
    }

    /// The same of one that is not here, whatever stands in the store.
    pub(super) fn tell_of_end_elsewhere(&self, portal: &str, name: &Name) {
        let Some(shared) = self.shared.get() else { return };
        shared.heard_of(name);
        if shared.owes(name).is_none() {
            let due = Due::End { version: PAST_ALL, until: None, memos: smallvec::SmallVec::new() };
            shared.owe(portal, *name, due);
        }
    }

    /// How many sessions there are of which the store is still to be told something.
    #[must_use]
    pub fn untold(&self) -> usize {
        self.shared.get().map_or(0, Shared::untold)
    }

    pub(super) async fn tell_what_is_owed(&self) {
        let Some(shared) = self.shared.get() else { return };
        let (was_putting_back, mut puts_back) = (shared.is_putting_back(), false);
        let mut after = None;
        loop {
            let debts = shared.debts(after, AT_ONCE);
            let Some((last, _)) = debts.last() else { break };
            after = Some(*last);
            puts_back |= debts.iter().any(|(_, debt)| matches!(debt.due, Due::PutBack));
            let told = join_all(debts.iter().map(|(name, debt)| async {
                let told = self.tell_one(shared, name, debt).await.is_ok();
                if told {
                    shared.settled(name, debt);
                }
                told
            }));
            let told = told.await;
            // It cannot be asked, so the others can wait as well.
            if !told.contains(&true) {
                return;
            }
        }
        if was_putting_back && !puts_back {
            shared.end_recovery(shared.now().plus(RECOVERY));
        }
    }

    async fn tell_one(&self, shared: &Shared, name: &Name, debt: &Debt) -> Result<(), StoreOutage> {
        let portal = &*debt.portal;
        match &debt.due {
            Due::End { version, until, memos } => {
                shared.end(portal, name, *version, *until).await?;
                shared.unfile(memos, name).await?;
                // The end of whatever stands there must not be told of what came since.
                if until.is_some() {
                    shared.told(portal, name, debt.due.clone());
                }
            }
            due => {
                let is_new = !matches!(due, Due::PutBack);
                let place = self.held.get(name).map(|held| (Arc::clone(&held.session), held.memos.clone()));
                let Some((session, memos)) = place.filter(|(session, _)| session.expires > shared.unix()) else {
                    return Ok(());
                };
                let before = session.version();
                let mut version = match (before, due) {
                    (0, Due::Write { number }) => *number,
                    (0, _) => shared.first_version(),
                    (before, _) if is_new => before + 1,
                    (before, _) => before,
                };
                shared.file(&memos, name, session.expires).await?;
                let bytes = self.written(shared, name, &session);
                let mut put = shared.put(portal, name, version, &bytes, (session.expires, false)).await?;
                if let Put::Older(newer, Standing::Session { .. }) = put
                    && matches!(due, Due::Write { .. })
                    && (before..before + STEP / 2).contains(&newer)
                {
                    // Another replica has renewed the session that was changed here.
                    version = newer + 1;
                    put = shared.put(portal, name, version, &bytes, (session.expires, false)).await?;
                }
                match put {
                    Put::Done(_) => {
                        shared.told(portal, name, Due::PutBack);
                        // Whatever has taken its place meanwhile has another number.
                        if let Some(held) = self.held.get(name).filter(|held| held.session.version() == before) {
                            held.session.stands_as(version, session.expires);
                        }
                    }
                    Put::Older(same, _) if same == version && !is_new => {}
                    Put::Older(_, standing) => {
                        self.take_theirs(shared, portal, name, standing);
                    }
                }
                if !matches!(due, Due::Write { .. }) {
                    return Ok(());
                }
            }
        }
        self.tell_of_change(shared, portal, name).await;
        Ok(())
    }
}
