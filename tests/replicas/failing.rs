//! Sign-outs and people while the way to Sentinels or a Cluster breaks, a primary is demoted, and one dies.

use std::time::Duration;

use keyward::store::HEARD_AGAIN_WITHIN;

use crate::crowd::Crowd;
use crate::house::{House, Plan};
use crate::redis::Redis;
use crate::sign_out::{house_of, is_revoked, people, revoked_everywhere, sign_out};
use crate::stores::{Servers, Store};
use crate::support::until;

const PACE: Duration = Duration::from_millis(300);
const READERS: usize = 30;

async fn readers(house: &House) -> Crowd {
    let mut crowd = Crowd::new(house, PACE);
    crowd.join(house, "reader", READERS);
    crowd.all_in().await;
    house.warm(&crowd.people).await;
    crowd
}

/// Has the new primary take over without what is told from now on, where it follows by itself.
fn lose_what_comes(store: &Store) {
    let Servers::Sentinel(_) = &store.servers else { return };
    let primary = store.primaries()[0];
    assert_eq!(primary.say(&["ACL", "SETUSER", "default", "-psync", "-sync"]), "OK");
    assert_eq!(primary.say(&["CLIENT", "KILL", "TYPE", "replica"]), "1");
}

/// Where that is so, it has one sign-out less.
fn has_lost_one(store: &Store) {
    let Servers::Sentinel(sentinel) = &store.servers else { return };
    let stand = |server: &Redis| {
        let names = server.say(&["--scan", "--pattern", "*:standing"]);
        server.say(&["ZCARD", names.trim()]).parse::<usize>().unwrap()
    };
    let primary = sentinel.primary();
    assert_eq!(stand(&sentinel.servers[primary]), stand(&sentinel.servers[1 - primary]) + 1);
}

async fn with(mut store: Store, kind: &str) {
    let mut house = house_of(&store).await;
    let mut crowd = readers(&house).await;
    let ends: [_; 5] = people(&house, "ana");
    house.warm(&ends).await;
    let [while_cut, while_stalled, demoted, lost, after] = &ends;

    // The way of one replica breaks, and its people go on.
    store.cut(1);
    house.replicas[1].store_is(false).await;
    sign_out(&house.replicas[0], while_cut).await;
    crowd.rounds(2).await;
    store.heal(1);
    let took = revoked_everywhere(&house, while_cut, HEARD_AGAIN_WITHIN).await;
    eprintln!("{kind}, after a cut: heard everywhere within {took:?}");
    house.store_is(true).await;

    // It takes everything and gives nothing.
    store.stall(1);
    sign_out(&house.replicas[1], while_stalled).await;
    assert!(is_revoked(&house.replicas[1], while_stalled).await, "here at once");
    crowd.rounds(2).await;
    store.heal(1);
    let took = revoked_everywhere(&house, while_stalled, HEARD_AGAIN_WITHIN).await;
    eprintln!("{kind}, after a stall: heard everywhere within {took:?}");
    house.store_is(true).await;
    crowd.content(&house, "after the way broke").await;

    // A primary that has become another's replica, and goes on answering.
    let gone = store.demote_primary();
    store.after(gone).await;
    sign_out(&house.replicas[0], demoted).await;
    let took = revoked_everywhere(&house, demoted, HEARD_AGAIN_WITHIN).await;
    eprintln!("{kind}, after a demotion: heard everywhere within {took:?}");
    house.store_is(true).await;
    is_in_step(&store).await;

    // One dies, who has told two of three what its successor has never heard.
    store.cut(2);
    house.replicas[2].store_is(false).await;
    lose_what_comes(&store);
    sign_out(&house.replicas[0], lost).await;
    until("the others", || is_revoked(&house.replicas[1], lost)).await;
    has_lost_one(&store);
    let gone = store.kill_primary();
    crowd.rounds(1).await;
    store.after(gone).await;
    store.heal(2);
    let took = revoked_everywhere(&house, lost, HEARD_AGAIN_WITHIN).await;
    eprintln!("{kind}, after a failover: heard everywhere within {took:?}");
    house.store_is(true).await;
    sign_out(&house.replicas[2], after).await;
    revoked_everywhere(&house, after, HEARD_AGAIN_WITHIN).await;

    // It stands in the store as well, for whoever remembers nothing.
    house.replicas[2].stop().await;
    house.replicas[2].start().await;
    house.replicas[2].is_ready().await;
    for user in &ends {
        assert!(is_revoked(&house.replicas[2], user).await, "{kind}: {}", user.name);
        assert_eq!(house.mail.logins(&user.name), 1, "{kind}");
    }
    crowd.rounds(1).await;
    crowd.go_home().await;
    crowd.content(&house, kind).await;
    for user in &crowd.people {
        assert_eq!(house.mail.logins(&user.name), 1, "{kind}: {}", user.name);
    }
}

/// Whoever was demoted knows it, and whoever would take a primary's place has what it has.
async fn is_in_step(store: &Store) {
    let is_settled = || async {
        let followers = store.servers().iter().filter(|server| server.tells("master_link_status:up")).count();
        followers == store.servers().len() / 2
    };
    until("a replica in step for each primary", is_settled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_outs_survive_whatever_becomes_of_sentinels() {
    with(Store::sentinel().await, "Sentinels").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_outs_survive_whatever_becomes_of_a_cluster() {
    with(Store::cluster().await, "a Cluster").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_to_another_server_is_followed() {
    let store = Store::single().await;
    let house = house_of(&store).await;
    let ends: [_; 3] = people(&house, "ana");
    house.warm(&ends).await;
    let [at_once, later, last] = &ends;
    let old = store.primaries()[0];
    let (ip, port) = (old.address().ip().to_string(), old.address().port().to_string());
    let new = Redis::configured(&format!("replicaof {ip} {port}\n")).await;
    until("a replica that is in step", || async { new.tells("master_link_status:up") }).await;
    // Whoever is connected to the old one stays, and is told that it takes no writes.
    new.say(&["REPLICAOF", "NO", "ONE"]);
    store.lead_to(&new);
    let (ip, port) = (new.address().ip().to_string(), new.address().port().to_string());
    old.say(&["REPLICAOF", &ip, &port]);
    sign_out(&house.replicas[0], at_once).await;
    revoked_everywhere(&house, at_once, HEARD_AGAIN_WITHIN).await;
    let Servers::Single(old) = &store.servers else { panic!("one") };
    old.pause();
    sign_out(&house.replicas[1], later).await;
    // Those who only listened notice by its silence.
    revoked_everywhere(&house, later, crate::sign_out::DEAD_FOR + HEARD_AGAIN_WITHIN).await;
    sign_out(&house.replicas[2], last).await;
    revoked_everywhere(&house, last, HEARD_AGAIN_WITHIN).await;
    old.go_on();
}

/// People read while a server that keeps an append-only file is killed and started again: nothing is lost by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_from_its_disk_has_everything() {
    let mut store = Store::of(Redis::configured("appendonly yes\n").await).await;
    let plan = Plan::sharing(store.settings("")).backend("keep_alive_interval = \"3s\"");
    let mut house = House::start(&plan).await;
    house.store_is(true).await;
    let mut crowd = readers(&house).await;
    let [ana] = people(&house, "ana");
    house.warm(std::slice::from_ref(&ana)).await;
    sign_out(&house.replicas[0], &ana).await;
    crowd.rounds(1).await;
    let gone = store.kill_primary();
    crowd.newcomers_wait(true);
    crowd.join(&house, "late", 5);
    crowd.rounds(2).await;
    // Nobody is left who could put anything back.
    for replica in &mut house.replicas[..2] {
        replica.kill().await;
    }
    house.replicas[2].pause();
    store.after(gone).await;
    assert!(store.sessions() >= READERS, "{} are there", store.sessions());
    for replica in &mut house.replicas[..2] {
        replica.start().await;
        replica.is_ready().await;
        assert!(is_revoked(replica, &ana).await);
    }
    house.replicas[2].go_on();
    crowd.all_in().await;
    crowd.rounds(1).await;
    house.warm(&crowd.people).await;
    crowd.go_home().await;
    crowd.content(&house, "after the server was killed").await;
    for user in &crowd.people {
        assert_eq!(house.mail.logins(&user.name), 1, "{}", user.name);
    }
}
