use keyward::store::StoreOutage;

use crate::real::redis::{Authority, Cluster, MASTER, Options, Redis, Sentinel};
use crate::replica::Replica;

async fn certified_as(names: &[&str], settings: &str) -> Redis {
    let certified_as = names.iter().map(ToString::to_string).collect();
    let authority = Some(Authority::new());
    Redis::with(Options { authority, certified_as, settings: settings.to_owned(), ..Options::default() }).await
}

fn lines(server: &Redis, authority: &Redis) -> String {
    format!("addresses = [\"{}\"]\ntls = true\nca_file = {:?}", server.tls_address(), authority.authority())
}

fn trusting(authority: &Authority) -> String {
    format!("\ntls = true\nca_file = {:?}", authority.file())
}

#[tokio::test]
async fn a_server_of_the_right_name_and_authority_is_reached() {
    let server = certified_as(&[], "").await;
    assert_eq!(Replica::new(&lines(&server, &server)).put("ana").await, Ok(()));
}

#[tokio::test]
async fn a_server_of_another_name_or_authority_is_nobody() {
    let (server, misnamed) = (certified_as(&[], "").await, certified_as(&["elsewhere.example.test"], "").await);
    let plain = format!("addresses = [\"{}\"]\ntls = true\nca_file = {:?}", server.address(), server.authority());
    for lines in [lines(&misnamed, &misnamed), lines(&server, &misnamed), plain] {
        let replica = Replica::new(&lines);
        replica.fails(&StoreOutage::Down).await;
        assert!(!replica.store.is_ready());
    }
}

#[tokio::test]
async fn a_server_that_wants_to_know_who_comes_is_shown_a_certificate() {
    let server = certified_as(&[], "tls-auth-clients yes").await;
    let stranger = Replica::new(&lines(&server, &server));
    stranger.fails(&StoreOutage::Down).await;
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| server.authority().with_file_name(name));
    let known = format!("{}\ncertificate_file = {certificate:?}\nkey_file = {key:?}", lines(&server, &server));
    assert_eq!(Replica::new(&known).put("ana").await, Ok(()));
}

/// Settings of servers that trust each other and nobody else, and of a stranger's authority.
fn of_one_house() -> (Options, Authority) {
    (Options { authority: Some(Authority::new()), ..Options::default() }, Authority::new())
}

async fn is_refused(lines: &str) {
    let replica = Replica::new(lines);
    replica.fails(&StoreOutage::Down).await;
    assert!(!replica.store.is_ready() && !replica.is_up());
}

#[tokio::test]
async fn sentinels_and_who_they_name_are_reached_and_nobody_who_says_to_be_them() {
    let (options, other) = of_one_house();
    let mut sentinel = Sentinel::with(options.clone(), None).await;
    let ours = crate::sentinel::lines(&sentinel) + &trusting(options.authority.as_ref().unwrap());
    let replica = Replica::new(&ours);
    replica.listens();
    replica.can_put("ana").await;
    replica.until("readiness", async || replica.store.is_ready()).await;
    is_refused(&(crate::sentinel::lines(&sentinel) + &trusting(&other))).await;
    let server = &sentinel.servers[sentinel.primary()];
    replica.until("a replica that has it", async || server.is_replicated()).await;
    sentinel.servers[0].kill();
    sentinel.failed_over(0).await;
    replica.until("its successor's answer", async || replica.has("ana").await == Ok(true)).await;

    // Sentinels that are who they say name one who is not.
    let stranger = Redis::with(Options { authority: Some(other), ..Options::default() }).await;
    let (ip, port) = (stranger.door().ip().to_string(), stranger.door().port().to_string());
    for guard in &sentinel.guards {
        guard.say(&["SENTINEL", "REMOVE", MASTER]);
        assert_eq!(guard.say(&["SENTINEL", "MONITOR", MASTER, &ip, &port, "2"]), "OK");
        assert_eq!(guard.say(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]), format!("{ip}\n{port}"));
    }
    is_refused(&ours).await;
}

#[tokio::test]
async fn all_nodes_of_a_cluster_are_reached_and_nobody_who_says_to_be_one() {
    let (options, other) = of_one_house();
    let mut cluster = Cluster::with(options.clone()).await;
    let replica = Replica::new(&(crate::cluster::lines(&cluster) + &trusting(options.authority.as_ref().unwrap())));
    replica.listens();
    for number in 0..30 {
        replica.can_put(&number.to_string()).await;
    }
    let connected = |node: &Redis| node.tells("role:slave") || node.say(&["DBSIZE"]) != "0";
    assert!(cluster.nodes.iter().all(connected), "all primaries have some");
    replica.until("readiness", async || replica.store.is_ready() && replica.is_up()).await;
    is_refused(&(crate::cluster::lines(&cluster) + &trusting(&other))).await;
    let holder = cluster.holder(0);
    replica.until("a replica that has it", async || cluster.nodes[holder].is_replicated()).await;
    cluster.nodes[holder].kill();
    cluster.failed_over(0, holder).await;
    for number in 0..30 {
        replica.until("all of it", async || replica.has(&number.to_string()).await == Ok(true)).await;
    }
}
