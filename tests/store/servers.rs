//! That the servers of these tests do what the tests take for granted.

use crate::real::redis::{Cluster, Redis, Sentinel};

#[tokio::test]
async fn a_server_is_killed_and_starts_again_with_nothing() {
    let mut server = Redis::start().await;
    assert_eq!(server.say(&["SET", "a", "b"]), "OK");
    server.kill();
    assert!(!server.is_running());
    server.start_again().await;
    assert_eq!(server.say(&["GET", "a"]), "");
}

#[tokio::test]
async fn sentinels_find_another_primary() {
    let mut sentinel = Sentinel::start().await;
    assert_eq!(sentinel.primary(), 0);
    sentinel.servers[0].kill();
    sentinel.failed_over(0).await;
    assert_eq!(sentinel.servers[1].say(&["SET", "a", "b"]), "OK");
}

#[tokio::test]
async fn a_cluster_moves_slots_and_replaces_a_primary() {
    let mut cluster = Cluster::start().await;
    let slot = cluster.slot("a");
    let from = cluster.holder(slot);
    assert_eq!(cluster.nodes[from].say(&["SET", "a", "b"]), "OK");
    let to = (0..6).find(|node| *node != from && cluster.nodes[*node].tells("role:master")).unwrap();
    cluster.begin_move(slot, to);
    cluster.end_move(slot, from, to);
    assert_eq!(cluster.holder(slot), to);
    assert_eq!(cluster.nodes[to].say(&["GET", "a"]), "b");
    cluster.nodes[to].kill();
    cluster.failed_over(slot, to).await;
    assert_eq!(cluster.nodes[cluster.holder(slot)].say(&["GET", "a"]), "b");
}
