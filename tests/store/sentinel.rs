use keyward::store::StoreOutage;

use crate::real::redis::{MASTER, Options, Sentinel};
use crate::replica::Replica;

pub fn lines(sentinel: &Sentinel) -> String {
    let addresses: Vec<String> = sentinel.addresses().iter().map(ToString::to_string).collect();
    format!("mode = \"sentinel\"\naddresses = {addresses:?}\nsentinel_name = \"{MASTER}\"")
}

/// Keeps something, and sees that the other server has it, too.
async fn put_at_both(replica: &Replica, sentinel: &Sentinel, name: &str) {
    replica.can_put(name).await;
    let primary = &sentinel.servers[sentinel.primary()];
    replica.until("a replica that has it", async || primary.is_replicated()).await;
}

#[tokio::test]
async fn whoever_takes_the_place_of_the_primary_is_found() {
    let mut sentinel = Sentinel::start().await;
    let replica = Replica::new(&lines(&sentinel));
    put_at_both(&replica, &sentinel, "ana").await;
    sentinel.servers[0].kill();
    replica.fails(&StoreOutage::Down).await;
    sentinel.failed_over(0).await;
    replica.until("its answer", async || replica.has("ana").await == Ok(true)).await;
    assert_eq!(replica.put("ben").await, Ok(()));

    // The old one comes back as a replica, and the first of the Sentinels is gone.
    sentinel.servers[0].start_again().await;
    sentinel.guards[0].kill();
    put_at_both(&replica, &sentinel_without_the_first(&mut sentinel), "cleo").await;
}

/// The same, asked at the others.
fn sentinel_without_the_first(sentinel: &mut Sentinel) -> Sentinel {
    let mut guards = std::mem::take(&mut sentinel.guards);
    guards.remove(0);
    Sentinel { servers: std::mem::take(&mut sentinel.servers), guards }
}

#[tokio::test]
async fn a_primary_that_is_one_no_more_is_left() {
    let options = Options { password: Some("hidden".to_owned()), ..Options::default() };
    let sentinel = Sentinel::with(options, Some("guarded")).await;
    let replica =
        Replica::new(&format!("{}\npassword = \"hidden\"\nsentinel_password = \"guarded\"", lines(&sentinel)));
    put_at_both(&replica, &sentinel, "ana").await;
    assert_eq!(sentinel.guards[0].say(&["SENTINEL", "FAILOVER", MASTER]), "OK");
    sentinel.failed_over(0).await;
    let other = &sentinel.servers[1];
    // Writes to the old one are refused, and none of them may be taken for done.
    replica.until("the new primary", async || replica.put("ben").await.is_ok() && other.say(&["DBSIZE"]) == "2").await;
    assert_eq!(replica.has("ana").await, Ok(true));
}

#[tokio::test]
async fn sentinels_that_do_not_know_the_name_are_no_store() {
    let sentinel = Sentinel::start().await;
    let replica = Replica::new(&lines(&sentinel).replace(MASTER, "another"));
    replica.fails(&StoreOutage::Down).await;
    assert!(!replica.store.is_ready());
}
