use keyward::store::StoreOutage;

use crate::real::redis::{Cluster, Options};
use crate::replica::Replica;

/// Enough that every node has some.
const NAMES: usize = 60;

pub fn lines(cluster: &Cluster) -> String {
    let addresses: Vec<String> = cluster.addresses().iter().take(2).map(ToString::to_string).collect();
    format!("mode = \"cluster\"\naddresses = {addresses:?}")
}

/// Where the thing of this name stands.
fn slot(cluster: &Cluster, replica: &Replica, name: &str) -> u16 {
    cluster.slot(&format!("keyward:{{{:?}}}:v", replica.place(name)))
}

#[tokio::test]
async fn things_stand_where_their_slots_are_wherever_those_go() {
    let cluster = Cluster::start().await;
    let replica = Replica::new(&lines(&cluster));
    for number in 0..NAMES {
        assert_eq!(replica.put(&number.to_string()).await, Ok(()), "{number}");
    }
    let kept = |node: &crate::real::redis::Redis| node.tells("role:master") && node.say(&["DBSIZE"]) != "0";
    assert_eq!(cluster.nodes.iter().filter(|node| kept(node)).count(), 3, "all primaries have some");

    let slot = slot(&cluster, &replica, "0");
    let from = cluster.holder(slot);
    let to = (0..6).find(|node| *node != from && cluster.nodes[*node].tells("role:master")).unwrap();
    cluster.begin_move(slot, to);
    assert_eq!(replica.has("0").await, Ok(true), "it is still where it was");
    assert_eq!(replica.store.take(&replica.place("0")).await.unwrap().as_deref(), Some(&b"0"[..]));
    assert_eq!(replica.put("0").await, Ok(()), "what is new is asked for at the other");
    assert_eq!(replica.has("0").await, Ok(true));
    cluster.end_move(slot, from, to);
    for _ in 0..20 {
        assert_eq!(replica.has("0").await, Ok(true));
    }
    assert_eq!(cluster.holder(slot), to);
    let failed: f64 = ["timed_out", "unreachable", "unable", "down"].map(|outcome| replica.calls(outcome)).iter().sum();
    assert_eq!(failed, 0.0);
}

#[tokio::test]
async fn a_primary_that_is_gone_or_hangs_costs_only_its_own_things() {
    let mut cluster = Cluster::start().await;
    let replica = Replica::impatient(&lines(&cluster));
    for number in 0..NAMES {
        replica.can_put(&number.to_string()).await;
    }
    let slot = slot(&cluster, &replica, "0");
    let holder = cluster.holder(slot);
    let elsewhere = (0..NAMES).map(|number| number.to_string());
    let elsewhere =
        elsewhere.filter(|name| cluster.holder(self::slot(&cluster, &replica, name)) != holder).collect::<Vec<_>>();
    replica.until("a replica that has it", async || cluster.nodes[holder].is_replicated()).await;

    cluster.nodes[holder].pause();
    replica.until("an outage", async || replica.has("0").await == Err(StoreOutage::Down)).await;
    let others = async || {
        for name in &elsewhere {
            if replica.has(name).await != Ok(true) {
                return false;
            }
        }
        true
    };
    replica.until("the others", async || others().await).await;
    replica.until("the gauge", async || !replica.is_up()).await;
    cluster.nodes[holder].go_on();
    replica.until("all of it", async || replica.has("0").await == Ok(true) && others().await).await;

    let holder = cluster.holder(slot);
    replica.until("a replica that has it", async || cluster.nodes[holder].is_replicated()).await;
    cluster.nodes[holder].kill();
    cluster.failed_over(slot, holder).await;
    replica.until("its successor's answer", async || replica.has("0").await == Ok(true)).await;
    replica.until("all of it", async || others().await).await;
    replica.until("the gauge", async || replica.is_up()).await;
}

#[tokio::test]
async fn a_cluster_is_told_who_we_are_at_every_node() {
    let password = Some("hidden".to_owned());
    let options = Options { password, settings: "masterauth hidden\n".to_owned(), ..Options::default() };
    let cluster = Cluster::with(options).await;
    let replica = Replica::new(&format!("{}\npassword = \"hidden\"", lines(&cluster)));
    for number in 0..NAMES {
        assert_eq!(replica.put(&number.to_string()).await, Ok(()), "{number}");
    }
    let stranger = Replica::new(&lines(&cluster));
    stranger.fails(&StoreOutage::Down).await;
}
