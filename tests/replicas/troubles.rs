//! A store that is not there, is full, or takes no writes: whoever is in stays in.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::crowd::Crowd;
use crate::house::{House, Plan, ask};
use crate::ledger::Ledger;
use crate::person::User;
use crate::stores::Store;
use crate::support::until;

const PACE: Duration = Duration::from_millis(300);

/// Somebody whom no replica knows yet.
async fn is_let_in(house: &House, user: &User) -> bool {
    let answer = house.replicas[0].ask(&ask(user)).await;
    if answer.status == 200 {
        answer.assert_allows(&user.name);
        return true;
    }
    assert_eq!((answer.status, answer.reason().as_str()), (503, "backend_unavailable"), "{answer:?}");
    false
}

/// The same, however often it is tried.
async fn in_the_end(house: &House, user: &User) {
    until("somebody new is let in", || is_let_in(house, user)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_takes_no_writes_costs_nobody_anything_who_is_in() {
    let store = Store::single().await;
    let house = House::start(&Plan::sharing(store.settings("")).backend("keep_alive_interval = \"1s\"")).await;
    house.store_is(true).await;
    let mut crowd = Crowd::new(&house, PACE);
    crowd.join(&house, "reader", 30);
    crowd.all_in().await;
    house.warm(&crowd.people).await;
    let server = store.primaries()[0];
    let troubles: [(&str, &[&str], &[&str]); 3] = [
        ("full", &["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
        ("read-only", &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
        (
            "refusing",
            &["CONFIG", "SET", "min-replicas-to-write", "9"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
    ];
    let mut alone = Duration::ZERO;
    for (name, begin, end) in troubles {
        let begun = Instant::now();
        let late = house.user(&format!("late-{}", name.trim_matches('-')));
        server.say(begin);
        assert!(!is_let_in(&house, &late).await, "{name}");
        crowd.rounds(3).await;
        crowd.content(&house, name).await;
        server.say(end);
        in_the_end(&house, &late).await;
        alone += begun.elapsed();
        crowd.rounds(2).await;
        crowd.content(&house, name).await;
    }
    crowd.go_home().await;
    Ledger::of(&house, &[], Duration::from_secs(1), alone).await.balances("after a store that took no writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_start_without_a_store_and_find_it_later() {
    let mut store = Store::single().await;
    let gone = store.kill_primary();
    let house = House::start(&Plan::sharing(store.settings(""))).await;
    house.store_is(false).await;
    let ana = house.user("ana");
    assert!(!is_let_in(&house, &ana).await);
    assert_eq!(house.mail.attempts("ana"), 0, "nobody logs in who could not tell the others");
    store.after(gone).await;
    house.store_is(true).await;
    in_the_end(&house, &ana).await;
    house.warm(&[Arc::new(ana)]).await;
    assert_eq!(house.mail.logins("ana"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_configuration_says_so_people_are_signed_in_without_a_store_and_replicas_agree_later() {
    let mut store = Store::single().await;
    let gone = store.kill_primary();
    let plan = Plan::sharing(store.settings("when_down = \"login\"")).backend("keep_alive_interval = \"1s\"");
    let house = House::start(&plan).await;
    house.store_is(false).await;
    let people: Vec<Arc<User>> = (0..10).map(|number| Arc::new(house.user(&format!("ana-{number}")))).collect();
    house.warm(&people).await;
    assert_eq!(house.mail.sessions(), 3 * people.len(), "each replica has its own");
    store.after(gone).await;
    house.store_is(true).await;
    // Of three sessions one is everybody's from now on, and the others are ended.
    let one_each = || async {
        house.warm(&people).await;
        house.mail.sessions() == people.len()
    };
    until("one session each", one_each).await;
    for user in &people {
        let mut keys = Vec::new();
        for replica in &house.replicas {
            keys.push(replica.ask(&ask(user)).await.assert_allows(&user.name).one("X-Upstream-Cookie"));
        }
        keys.dedup();
        assert_eq!(keys.len(), 1, "{}: the same keys everywhere", user.name);
        let key = keys[0].rsplit_once('=').unwrap().1;
        assert_eq!(house.mail.owner(key).as_deref(), Some(user.name.as_str()));
    }
}
