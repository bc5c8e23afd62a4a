use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::MissedTickBehavior;

use crate::accounts::Provisioner;
use crate::config::Settings;
use crate::domain::{Clock, SettledClock};
use crate::handover::Tokens;
use crate::keys::KeyStore;
use crate::observe::Metrics;
use crate::portal::Sessions;
use crate::store::{Store, StorePlan};
use crate::transport::Wanting;
use crate::wire::Errands;

/// Sessions that are ended before other tasks get their turn.
const BATCH: usize = 512;

/// What a running process keeps through every reload.
pub(super) struct Foundation {
    pub keys: Arc<KeyStore>,
    pub sessions: Arc<Sessions>,
    pub errands: Arc<Errands>,
    pub accounts: Arc<Provisioner>,
    pub tokens: Arc<Tokens>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    /// What replicas share, where there are several.
    pub store: Option<Arc<Store>>,
    /// By which sessions that have ended are forgotten.
    settled: SettledClock,
}

impl Foundation {
    /// Needs the runtime in which its tasks are to run.
    pub fn new(
        settings: &Settings,
        sessions: Arc<Sessions>,
        errands: Arc<Errands>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        store: Option<StorePlan>,
    ) -> Self {
        let runtime = tokio::runtime::Handle::current();
        errands.run_on(runtime.clone());
        let keys = KeyStore::new(settings.key_limit, Arc::clone(&clock), runtime.clone());
        let ended_at = Arc::clone(&keys);
        sessions.at_the_end(move |portal, id, until| ended_at.revoke(portal, id, until));
        let accounts = Provisioner::new(Arc::clone(&keys), Arc::clone(&clock), runtime);
        let tokens = Tokens::new(Arc::clone(&clock));
        let settled = SettledClock::new(Arc::clone(&clock));
        let store = store.map(|plan| Store::new(plan, Arc::clone(&clock), &metrics));
        if let Some(store) = &store {
            keys.share(store);
            sessions.share(store);
            tokens.share(store);
            let (keys, sessions) = (Arc::downgrade(&keys), Arc::downgrade(&sessions));
            store.listen(move |event| {
                if let (Some(keys), Some(sessions)) = (keys.upgrade(), sessions.upgrade()) {
                    sessions.hear(event);
                    keys.hear(event);
                }
            });
        }
        Self { keys, sessions, errands, accounts, tokens, metrics, clock, store, settled }
    }

    /// What is waited for before requests may come. Once there is nothing it stays so.
    pub fn wanting(&self) -> Wanting {
        let store = self.store.clone();
        Box::new(move || store.as_ref().filter(|store| !store.is_ready()).map(|_| "waiting for the store"))
    }

    /// Whether a running process can go on with this store: what is in it would be nowhere in another.
    pub fn can_share(&self, plan: Option<&StorePlan>) -> bool {
        match (&self.store, plan) {
            (Some(store), Some(plan)) => store.is_as_planned(plan),
            (store, plan) => store.is_none() == plan.is_none(),
        }
    }

    /// Signs out of everywhere whose portal session has ended by itself.
    async fn end_expired(&self) {
        let mut ended = 0;
        while let Some(person) = self.sessions.next_ended(self.settled.unix()) {
            self.keys.expire(&person);
            ended += 1;
            if ended % BATCH == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Does once a second what time asks for, for ever.
    pub async fn tick(self: Arc<Self>) {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            // A panic was counted and logged, and must not be the end of all expiry.
            let _ = AssertUnwindSafe(self.do_chores()).catch_unwind().await;
        }
    }

    /// Hears what other replicas tell, where there are any, for ever.
    pub async fn hear(self: Arc<Self>) {
        if let Some(store) = &self.store {
            store.run_journal(&self.metrics).await;
        }
    }

    /// How much the store, and so other replicas, are still to be told.
    pub fn untold(&self) -> usize {
        self.store.as_ref().map_or(0, |store| store.untold() + self.sessions.untold())
    }

    /// Waits until there is nothing.
    pub async fn finish_telling(&self) {
        while self.untold() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn do_chores(&self) {
        self.end_expired().await;
        self.accounts.tick();
        self.keys.tick().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Document, Draft};
    use crate::domain::{Identity, ManualClock, SystemClock};
    use crate::portal::{HeldSession, Kept};
    use crate::store::scratch::Scratch;

    #[tokio::test]
    async fn a_wall_clock_that_jumps_ahead_and_back_costs_nobody_their_session() {
        let clock = Arc::new(ManualClock::at(1000));
        let settings = Draft::read(Document::parse("k.toml", "").unwrap()).settings;
        let (sessions, errands) = (Sessions::new(9), Errands::new());
        let at: Arc<dyn Clock> = clock.clone();
        let foundation = Foundation::new(&settings, sessions, errands, Arc::new(Metrics::new()), at, None);
        let identity = Identity::new("ana", "", "", Vec::new()).unwrap();
        let session = HeldSession::new(identity, 5000, None);
        foundation.sessions.keep("p", "shown", session).await.unwrap();
        let is_in = || foundation.sessions.find("p", "shown", clock.unix()).is_some();
        clock.set_unix(900_000);
        foundation.do_chores().await;
        assert!(!is_in(), "whether or not the clock is right");
        clock.set_unix(1001);
        assert!(is_in());
        clock.advance(Duration::from_secs(4000));
        foundation.do_chores().await;
        clock.set_unix(1001);
        assert!(!is_in(), "it has ended by both");
    }

    #[tokio::test]
    async fn whoever_goes_has_told_what_others_must_know() {
        let server = Scratch::start().await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let settings = Draft::read(Document::parse("k.toml", "").unwrap()).settings;
        let replica = || {
            let plan = server.plan("refuse", &["seals seals seals seals seals 32!"]);
            let (sessions, metrics) = (Sessions::new(9), Arc::new(Metrics::new()));
            Arc::new(Foundation::new(&settings, sessions, Errands::new(), metrics, Arc::clone(&clock), Some(plan)))
        };
        let (leaving, other) = (replica(), replica());
        let session = HeldSession::new(Identity::new("ana", "", "", Vec::new()).unwrap(), clock.unix() + 5000, None);
        leaving.sessions.keep("p", "shown", session).await.unwrap();
        let id = leaving.sessions.id_of("p", "shown");
        assert_eq!(leaving.untold(), 0);
        server.say(&["CONFIG", "SET", "maxmemory", "1"]);
        assert!(leaving.sessions.end("p", &id).is_some());
        assert_eq!(leaving.untold(), 1);
        // Also to a server that is full.
        tokio::time::timeout(Duration::from_secs(60), leaving.finish_telling()).await.unwrap();
        drop(leaving);
        server.say(&["CONFIG", "SET", "maxmemory", "0"]);
        let again = HeldSession::new(Identity::new("ana", "", "", Vec::new()).unwrap(), clock.unix() + 5000, None);
        // What was not ended would be replaced.
        assert!(matches!(other.sessions.keep("p", "shown", again).await, Ok(Kept::New)));
    }
}
