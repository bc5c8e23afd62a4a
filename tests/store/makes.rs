//! The same with servers of Valkey as with Redis, which all other tests ask.

use crate::real::redis::{Cluster, Options, Program, Redis, Sentinel};
use crate::replica::Replica;

const NEWEST: Program = Program::Valkey(9);

fn made_by(program: Program) -> Options {
    Options { program, ..Options::default() }
}

#[tokio::test]
async fn every_make_keeps_and_gives_back() {
    for program in Program::ALL {
        let server = Redis::with(made_by(program)).await;
        let [one, other] = [(); 2].map(|()| Replica::at(server.address()));
        one.listens();
        assert_eq!(one.put("ana").await, Ok(()), "{program:?}");
        assert_eq!(other.has("ana").await, Ok(true), "{program:?}");
        assert_eq!(other.store.take(&other.place("ana")).await.unwrap().as_deref(), Some(&b"ana"[..]));
        assert_eq!(one.has("ana").await, Ok(false), "{program:?}");
        one.until("readiness", async || one.store.is_ready()).await;
        let own = matches!(program, Program::Valkey(_));
        assert_eq!(server.say(&["INFO", "server"]).contains("server_name:valkey"), own, "{program:?} is what it is");
    }
}

#[tokio::test]
async fn sentinels_of_valkey_are_followed() {
    let mut sentinel = Sentinel::with(made_by(NEWEST), None).await;
    let replica = Replica::new(&crate::sentinel::lines(&sentinel));
    replica.can_put("ana").await;
    let primary = &sentinel.servers[0];
    replica.until("a replica that has it", async || primary.is_replicated()).await;
    sentinel.servers[0].kill();
    sentinel.failed_over(0).await;
    replica.until("its successor's answer", async || replica.has("ana").await == Ok(true)).await;
}

#[tokio::test]
async fn a_cluster_of_valkey_is_asked_where_things_stand() {
    let mut cluster = Cluster::with(made_by(NEWEST)).await;
    let replica = Replica::new(&crate::cluster::lines(&cluster));
    for number in 0..30 {
        replica.can_put(&number.to_string()).await;
    }
    let holder = cluster.holder(0);
    replica.until("a replica that has it", async || cluster.nodes[holder].is_replicated()).await;
    cluster.nodes[holder].kill();
    cluster.failed_over(0, holder).await;
    for number in 0..30 {
        replica.until("all of it", async || replica.has(&number.to_string()).await == Ok(true)).await;
    }
}
