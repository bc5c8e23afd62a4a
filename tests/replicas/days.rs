//! Whole days under load, the same for each kind of store.

use std::time::Duration;

use tokio::time::Instant;

use crate::crowd::Crowd;
use crate::house::{House, Plan};
use crate::ledger::Ledger;
use crate::stores::Store;
use crate::support::until;

const PEOPLE: usize = 500;
/// Mean time between two looks of one person.
const PACE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(6);
/// Longer than sessions stay whose keys gave way to others.
const OUTGOING: Duration = Duration::from_secs(60);

/// So many people keep a machine of few cores busy by themselves, and others may be at work there: a store that is
/// slow for that is not away.
const PATIENCE: Duration = Duration::from_secs(10);

/// A house whose people read all day.
struct Day {
    // They leave before the house does.
    crowd: Crowd,
    house: House,
    store: Store,
    kills: Vec<Instant>,
    /// How long replicas could not ask each other, and since when they cannot.
    alone: Duration,
    alone_since: Instant,
    /// For the names of those who come late.
    hours: usize,
}

impl Day {
    async fn begin(store: Store) -> Self {
        let plan = Plan::sharing(store.settings_with(PATIENCE, ""))
            .backend("keep_alive_interval = \"6s\"\nlogin_timeout = \"15s\"");
        let house = House::start(&plan).await;
        house.store_is(true).await;
        let mut crowd = Crowd::new(&house, PACE);
        crowd.join(&house, "reader", PEOPLE);
        crowd.all_in().await;
        crowd.rounds(1).await;
        let day = Self {
            store,
            house,
            crowd,
            kills: Vec::new(),
            alone: Duration::ZERO,
            alone_since: Instant::now(),
            hours: 0,
        };
        day.is_fine("in the morning").await;
        day
    }

    /// Nobody has noticed anything, and everybody has signed in once.
    async fn is_fine(&self, when: &str) {
        self.crowd.content(&self.house, when).await;
        let ledger = || Ledger::of(&self.house, &self.kills, INTERVAL, self.alone);
        let begun = Instant::now();
        // What gave way to somebody else's keys ends when nobody can be using it any more.
        while begun.elapsed() < OUTGOING && ledger().await.complaint().is_some() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        ledger().await.balances(when);
    }

    /// Some more come, whatever else happens.
    fn late(&mut self, count: usize) {
        self.hours += 1;
        self.crowd.join(&self.house, &format!("late-{}", self.hours), count);
    }

    /// A replica is killed while people sign in, and started again.
    async fn a_replica_is_killed(&mut self) {
        self.house.mail.answer_logins_after(Duration::from_millis(300));
        // Whoever waits for a login that was killed may be told to come back.
        self.crowd.newcomers_wait(true);
        self.late(30);
        let opened = || async { self.house.mail.moments().len() };
        let before = opened().await;
        until("logins", || async { opened().await > before }).await;
        self.kills.push(Instant::now());
        self.house.replicas[1].kill().await;
        self.crowd.rounds(1).await;
        self.crowd.all_in().await;
        self.crowd.newcomers_wait(false);
        self.house.mail.answer_logins_after(Duration::ZERO);
        self.house.replicas[1].start().await;
        self.crowd.rounds(2).await;
        self.is_fine("after a replica was killed").await;
    }

    /// One after the other is replaced, and people go on coming.
    async fn all_are_replaced(&mut self) {
        for replica in 0..3 {
            self.late(5);
            self.house.replicas[replica].stop().await;
            self.crowd.rounds(1).await;
            self.house.replicas[replica].start().await;
            self.house.replicas[replica].store_is(true).await;
        }
        self.crowd.all_in().await;
        self.crowd.rounds(2).await;
        self.is_fine("after all were replaced").await;
    }

    /// Nobody can reach the store for a while. Whoever is in stays in.
    async fn without_the_store(&mut self, when: &str, end: impl AsyncFnOnce(&mut Store)) {
        self.house.warm(&self.crowd.people).await;
        self.crowd.newcomers_wait(true);
        self.alone_since = Instant::now();
        end(&mut self.store).await;
        self.late(5);
        self.crowd.rounds(2).await;
        self.crowd.content(&self.house, when).await;
    }

    /// It is there again, and replicas agree: what they know is on the shelf again.
    async fn with_the_store_again(&mut self, when: &str) {
        self.house.store_is(true).await;
        self.crowd.all_in().await;
        self.alone += self.alone_since.elapsed();
        // Those who came meanwhile are known where they were let in, and from now on everywhere.
        self.is_shelved().await;
        self.crowd.rounds(1).await;
        self.crowd.newcomers_wait(false);
        self.crowd.rounds(1).await;
        self.is_fine(when).await;
    }

    /// Waits until everybody's keys stand in the store.
    async fn is_shelved(&self) {
        let people = self.crowd.people.len();
        until("everybody's keys in the store", || async { self.store.sessions() >= people }).await;
    }

    /// Everybody's keys are still on the shelf: whoever remembers nothing needs no login.
    async fn one_forgets_everything(&mut self) {
        self.house.replicas[2].stop().await;
        self.house.replicas[2].start().await;
        self.house.replicas[2].store_is(true).await;
        self.house.warm(&self.crowd.people).await;
        self.is_fine("after one had forgotten everything").await;
    }

    async fn end(mut self) {
        self.crowd.go_home().await;
        self.is_fine("in the evening").await;
        eprintln!("{} mailboxes were seen", self.crowd.mailboxes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_with_one_server() {
    let mut day = Day::begin(Store::single().await).await;
    day.a_replica_is_killed().await;
    day.without_the_store("while the lines are cut", async |store| (0..3).for_each(|replica| store.cut(replica))).await;
    (0..3).for_each(|replica| day.store.heal(replica));
    day.with_the_store_again("after the lines were cut").await;
    day.without_the_store("while the lines stall", async |store| (0..3).for_each(|replica| store.stall(replica))).await;
    (0..3).for_each(|replica| day.store.heal(replica));
    day.with_the_store_again("after the lines stalled").await;
    day.all_are_replaced().await;
    let mut gone = None;
    day.without_the_store("while the primary is dead", async |store| gone = Some(store.kill_primary())).await;
    day.store.after(gone.unwrap()).await;
    day.with_the_store_again("after the primary came back empty").await;
    day.one_forgets_everything().await;
    day.without_the_store("while everything is flushed", async |store| store.flush()).await;
    day.with_the_store_again("after everything was flushed").await;
    day.one_forgets_everything().await;
    day.end().await;
}

/// The day where others take a dead primary's place.
async fn with_several(store: Store) {
    let mut day = Day::begin(store).await;
    let mut gone = None;
    day.without_the_store("during the failover", async |store| gone = Some(store.kill_primary())).await;
    day.store.after(gone.unwrap()).await;
    day.with_the_store_again("after the failover").await;
    day.a_replica_is_killed().await;
    day.all_are_replaced().await;
    day.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_with_sentinels() {
    with_several(Store::sentinel().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_with_a_cluster() {
    with_several(Store::cluster().await).await;
}
