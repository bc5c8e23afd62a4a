//! Whoever signs out at one replica is signed out at all of them, also where nobody told the others.

use std::time::Duration;

use tokio::time::Instant;

use crate::house::{HOST, House, Plan, ask};
use crate::person::User;
use crate::replica::Replica;
use crate::stores::Store;
use crate::support::until;

async fn house_of(store: &Store) -> House {
    let house = House::start(&Plan::sharing(store.settings(""))).await;
    house.store_is(true).await;
    house
}

pub async fn sign_out(replica: &Replica, user: &User) {
    let mut connection = replica.connect().await;
    let lines = format!("Host: {HOST}\r\nCookie: {}\r\nSec-Fetch-Site: same-origin\r\n", user.cookie);
    connection.send(format!("GET /.keyward/logout HTTP/1.1\r\n{lines}\r\n")).await;
    let answer = connection.answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn is_revoked(replica: &Replica, user: &User) -> bool {
    let answer = replica.ask(&ask(user)).await;
    if answer.status == 200 {
        answer.assert_allows(&user.name);
        return false;
    }
    assert_eq!(answer.assert_refuses().reason(), "revoked");
    true
}

/// Waits until all replicas refuse, and says how long it took.
async fn revoked_everywhere(house: &House, user: &User) -> Duration {
    let begun = Instant::now();
    until("the end everywhere", || async {
        for replica in &house.replicas {
            if !is_revoked(replica, user).await {
                return false;
            }
        }
        true
    })
    .await;
    begun.elapsed()
}

async fn told(store: Store, kind: &str) {
    let house = house_of(&store).await;
    let mut longest = Duration::ZERO;
    let people: Vec<_> = (0..12).map(|number| std::sync::Arc::new(house.user(&format!("ana-{number}")))).collect();
    house.warm(&people).await;
    assert_eq!(house.mail.sessions(), people.len());
    for (number, user) in people.iter().enumerate() {
        let at = &house.replicas[number % 3];
        sign_out(at, user).await;
        assert!(is_revoked(at, user).await, "here at once");
        longest = longest.max(revoked_everywhere(&house, user).await);
    }
    eprintln!("{kind}: a sign-out was heard everywhere within {longest:?}");
    until("the end at the mailbox server", || async { house.mail.sessions() == 0 }).await;
    for replica in &house.replicas {
        let heard = replica.metric("keyward_revocation_seconds_count").await;
        assert!(heard > 0.0, "it is measured");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_is_heard_everywhere_with_one_server() {
    told(Store::single().await, "one server").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_is_heard_everywhere_with_sentinels() {
    told(Store::sentinel().await, "Sentinels").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_is_heard_everywhere_with_a_cluster() {
    told(Store::cluster().await, "a Cluster").await;
}

/// The streams that stand in the store.
fn streams(store: &Store) -> Vec<String> {
    let all = store.primaries()[0].say(&["SCAN", "0", "TYPE", "stream", "COUNT", "100000"]);
    all.lines().skip(1).filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

/// Two replicas hear nothing while somebody signs out at the third; what was said is gone when they can hear again.
async fn lost(lose: impl AsyncFn(&Store)) -> Duration {
    let store = Store::single().await;
    let house = house_of(&store).await;
    let ana = std::sync::Arc::new(house.user("ana"));
    house.warm(std::slice::from_ref(&ana)).await;
    store.cut(1);
    store.cut(2);
    for deaf in &house.replicas[1..] {
        deaf.store_is(false).await;
    }
    sign_out(&house.replicas[0], &ana).await;
    until("the end at the mailbox server", || async { house.mail.sessions() == 0 }).await;
    lose(&store).await;
    store.heal(1);
    store.heal(2);
    let took = revoked_everywhere(&house, &ana).await;
    assert_eq!(house.mail.logins("ana"), 1);
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_whose_message_was_trimmed_is_noticed() {
    let took = lost(async |store| {
        let streams = streams(store);
        assert!(!streams.is_empty());
        for stream in streams {
            store.primaries()[0].say(&["XTRIM", &stream, "MAXLEN", "0"]);
        }
    });
    eprintln!("trimmed: noticed within {:?} of the line's healing", took.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_after_which_everything_was_flushed_is_noticed() {
    let took = lost(async |store| store.flush());
    eprintln!("flushed: noticed within {:?} of the line's healing", took.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_signs_out_where_the_store_cannot_be_reached_is_out_there_at_once_and_elsewhere_when_it_can() {
    let store = Store::single().await;
    let house = house_of(&store).await;
    let ana = std::sync::Arc::new(house.user("ana"));
    house.warm(std::slice::from_ref(&ana)).await;
    store.cut(0);
    house.replicas[0].store_is(false).await;
    sign_out(&house.replicas[0], &ana).await;
    assert!(is_revoked(&house.replicas[0], &ana).await);
    store.heal(0);
    let took = revoked_everywhere(&house, &ana).await;
    eprintln!("told late: heard within {took:?} of the line's healing");
    until("the end at the mailbox server", || async { house.mail.sessions() == 0 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_starts_later_knows_who_has_signed_out() {
    let store = Store::single().await;
    let mut house = house_of(&store).await;
    let ana = std::sync::Arc::new(house.user("ana"));
    house.warm(std::slice::from_ref(&ana)).await;
    house.replicas[2].stop().await;
    sign_out(&house.replicas[0], &ana).await;
    house.replicas[2].start().await;
    house.replicas[2].store_is(true).await;
    revoked_everywhere(&house, &ana).await;
    // All of them at once: nobody is left who would remember.
    for replica in &mut house.replicas {
        replica.kill().await;
    }
    for replica in &mut house.replicas {
        replica.start().await;
        replica.store_is(true).await;
    }
    revoked_everywhere(&house, &ana).await;
    assert_eq!(house.mail.logins("ana"), 1);
}
