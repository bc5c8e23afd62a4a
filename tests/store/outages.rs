use std::time::Duration;

use futures_util::FutureExt;
use keyward::store::StoreOutage;

use crate::real::redis::{Line, Redis};
use crate::replica::{Replica, unable};

fn impatient(address: std::net::SocketAddr) -> Replica {
    Replica::impatient(&format!("addresses = [\"{address}\"]"))
}

#[tokio::test]
async fn a_server_that_hangs_is_not_waited_for_and_found_again() {
    let server = Redis::start().await;
    let replica = impatient(server.address());
    replica.can_put("ana").await;
    server.pause();
    replica.fails(&StoreOutage::Down).await;
    let timed_out = replica.calls("timed_out");
    for _ in 0..100 {
        assert_eq!(replica.has("ana").await, Err(StoreOutage::Down));
    }
    assert_eq!(replica.calls("timed_out"), timed_out, "nobody else has waited");
    assert!(!replica.is_up());
    server.go_on();
    replica.until("its answer", async || replica.has("ana").await == Ok(true)).await;
    assert!(replica.is_up());
}

#[tokio::test]
async fn a_server_that_hangs_at_the_start_is_not_waited_for() {
    let server = Redis::start().await;
    server.pause();
    let replica = impatient(server.address());
    replica.fails(&StoreOutage::Down).await;
    server.go_on();
    replica.can_put("ana").await;
}

#[tokio::test]
async fn lines_are_cut_and_stall_and_slow_down_and_heal() {
    let server = Redis::start().await;
    let line = Line::to(server.address()).await;
    let replica = impatient(line.address());
    replica.can_put("ana").await;
    type Break = fn(&Line);
    let breaks: [(&str, Break); 3] =
        [("cut", Line::cut), ("stall", Line::stall), ("slow", |line| line.slow(Duration::from_secs(2)))];
    for (name, break_it) in breaks {
        break_it(&line);
        replica.fails(&StoreOutage::Down).await;
        line.heal();
        replica.until(name, async || replica.has("ana").await == Ok(true)).await;
    }
}

#[tokio::test]
async fn calls_that_are_given_up_count_as_nothing() {
    let server = Redis::start().await;
    let replica = Replica::at(server.address());
    replica.put("ana").await.unwrap();
    for _ in 0..1000 {
        // Asked, and dropped before there can be an answer.
        assert!(replica.put("ben").now_or_never().is_none());
    }
    assert_eq!(replica.has("ana").await, Ok(true));
    let counted: f64 =
        ["timed_out", "unreachable", "unable", "down"].map(|outcome| replica.calls(outcome)).iter().sum();
    assert_eq!((counted, replica.calls("done")), (0.0, 2.0));
    assert!(replica.is_up());
}

#[tokio::test]
async fn a_full_server_is_read_from() {
    let server = Redis::start().await;
    let replica = Replica::at(server.address());
    replica.put("ana").await.unwrap();
    server.say(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(replica.put("ben").await, Err(unable("OOM")));
    assert_eq!(replica.has("ana").await, Ok(true));
    assert!(replica.is_up());
    assert_eq!(replica.calls("unable"), 1.0);
    server.say(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(replica.put("ben").await, Ok(()));
}

#[tokio::test]
async fn a_read_only_server_is_read_from() {
    let (server, primary) = (Redis::start().await, Redis::start().await);
    let replica = Replica::at(server.address());
    replica.put("ana").await.unwrap();
    // Nobody answers there, so that it keeps what it has.
    server.say(&["REPLICAOF", "127.0.0.1", "1"]);
    replica.fails(&unable("READONLY")).await;
    assert_eq!(replica.has("ana").await, Ok(true));
    server.say(&["REPLICAOF", "NO", "ONE"]);
    replica.can_put("ben").await;
    drop(primary);
}

#[tokio::test]
async fn a_server_that_may_answer_nothing_is_not_asked() {
    let server = Redis::configured("replica-serve-stale-data no").await;
    let replica = Replica::at(server.address());
    replica.put("ana").await.unwrap();
    server.say(&["REPLICAOF", "127.0.0.1", "1"]);
    replica.fails(&StoreOutage::Down).await;
    assert!(!replica.is_up());
    server.say(&["REPLICAOF", "NO", "ONE"]);
    replica.can_put("ben").await;
}
