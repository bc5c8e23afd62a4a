//! Sessions at the back-end have one owner at a time, whoever dies: they are refreshed, found dead, and ended, once.

use std::sync::Arc;
use std::time::Duration;

use crate::crowd::Crowd;
use crate::fakes::axigen::Event;
use crate::house::{House, Plan, ask};
use crate::ledger::Ledger;
use crate::person::User;
use crate::stores::{RING_SECRET, Store};
use crate::support::until;

const PACE: Duration = Duration::from_millis(200);

fn people(house: &House, count: usize) -> Vec<Arc<User>> {
    (0..count).map(|number| Arc::new(house.user(&format!("ana-{number}")))).collect()
}

/// What happened to all sessions, of one sort.
fn count(house: &House, event: Event) -> usize {
    house.mail.moments().iter().filter(|moment| moment.event == event).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_replica_held_is_ended_by_another_when_nobody_uses_it() {
    let store = Store::single().await;
    let limits = "keep_alive_interval = \"1s\"\nlogin_timeout = \"1s\"\nidle_timeout = \"3s\"";
    let mut house = House::start(&Plan::sharing(store.settings("")).backend(limits)).await;
    house.store_is(true).await;
    let people = people(&house, 10);
    for user in &people {
        house.replicas[0].ask(&ask(user)).await.assert_allows(&user.name);
    }
    assert_eq!(house.mail.sessions(), 10);
    house.replicas[0].kill().await;
    until("the end of all sessions", || async { house.mail.sessions() == 0 }).await;
    assert_eq!((count(&house, Event::Opened), count(&house, Event::Ended)), (10, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_refreshed_and_is_dead_is_replaced_and_one_refreshes_at_a_time() {
    let store = Store::single().await;
    let mut house = House::start(&Plan::sharing(store.settings("")).backend("keep_alive_interval = \"1s\"")).await;
    house.store_is(true).await;
    let mut crowd = Crowd::new(&house, PACE);
    crowd.join(&house, "reader", 20);
    crowd.all_in().await;
    let refreshed = async |house: &House, more: usize| {
        let before = count(house, Event::Checked);
        until("refreshes", || async { count(house, Event::Checked) >= before + more }).await;
    };
    refreshed(&house, 60).await;
    for replica in 0..2 {
        house.replicas[replica].kill().await;
        // For every session more than one, so that nobody is forgotten.
        refreshed(&house, 60).await;
    }
    crowd.rounds(1).await;
    crowd.go_home().await;
    crowd.content(&house, "two of three are dead").await;
    Ledger::of(&house, &[], Duration::from_secs(1), Duration::ZERO).await.balances("two of three are dead");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_the_application_has_forgotten_are_opened_again_once() {
    let store = Store::single().await;
    let house = House::start(&Plan::sharing(store.settings("")).backend("keep_alive_interval = \"1s\"")).await;
    house.store_is(true).await;
    let people = people(&house, 10);
    house.warm(&people).await;
    house.mail.drop_sessions();
    until("new sessions for all", || async {
        house.warm(&people).await;
        house.mail.sessions() == 10
    })
    .await;
    for user in &people {
        assert_eq!(house.mail.logins(&user.name), 2, "{}", user.name);
        until("the same keys everywhere", || async {
            let mut keys = Vec::new();
            for replica in &house.replicas {
                keys.push(replica.ask(&ask(user)).await.assert_allows(&user.name).one("X-Upstream-Cookie"));
            }
            keys.windows(2).all(|two| two[0] == two[1])
        })
        .await;
    }
    assert_eq!(house.mail.sessions(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_the_store_are_replaced_while_people_read() {
    const NEXT: &str = "other seals, other seals, 32 of!!";
    let store = Store::single().await;
    let mut house = House::start(&Plan::sharing(store.settings(""))).await;
    house.store_is(true).await;
    let mut crowd = Crowd::new(&house, PACE);
    crowd.join(&house, "reader", 20);
    crowd.all_in().await;
    let key = |id: &str, secret: &str| format!("{{ id = \"{id}\", secret = \"{secret}\" }}");
    let (old, new) = (key("a", RING_SECRET), key("b", NEXT));
    // All can read with the new one before anybody writes with it.
    let rings = [format!("key = [{old}]"), format!("key = [{old}, {new}]"), format!("key = [{new}, {old}]")];
    for (number, step) in rings.windows(2).enumerate() {
        for replica in 0..3 {
            house.replicas[replica].reload(&step[0], &step[1]).await;
            crowd.join(&house, &format!("late-{number}-{replica}"), 2);
            crowd.all_in().await;
        }
    }
    // Whoever has no memory reads what was written with either.
    for replica in 0..3 {
        house.replicas[replica].stop().await;
        house.replicas[replica].start().await;
        house.replicas[replica].store_is(true).await;
    }
    house.warm(&crowd.people).await;
    crowd.go_home().await;
    crowd.content(&house, "new keys").await;
    Ledger::of(&house, &[], Duration::from_secs(300), Duration::ZERO).await.balances("new keys");
}
