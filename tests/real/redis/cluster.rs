use std::net::SocketAddr;

use super::{Kind, Options, Redis, until};

/// Three primaries with a replica each, which takes its primary's place when that is gone for some seconds.
pub struct Cluster {
    pub nodes: Vec<Redis>,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// With nodes of this kind.
    pub async fn with(options: Options) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..6 {
            nodes.push(Redis::with(Options { kind: Kind::OfCluster, ..options.clone() }).await);
        }
        let addresses: Vec<String> = nodes.iter().map(|node| format!("{}@{}", node.door(), node.bus)).collect();
        let authority = options.authority.as_ref().map(|authority| authority.file().display().to_string());
        let mut words = Vec::new();
        if let Some(file) = &authority {
            words.extend(["--tls", "--cacert", file]);
        }
        words.extend(["--cluster", "create"]);
        words.extend(addresses.iter().map(String::as_str));
        words.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        let told = nodes[0].say(&words);
        assert!(told.contains("All 16384 slots covered"), "{told}");
        let cluster = Self { nodes };
        until("a Cluster that agrees", || cluster.agrees()).await;
        until("replicas that are in step", || {
            let in_step = |node: &&Redis| node.tells("role:master") || node.tells("master_link_status:up");
            cluster.nodes.iter().filter(in_step).count() == cluster.nodes.len()
        })
        .await;
        cluster
    }

    /// Whether all nodes that run have all slots served.
    pub fn agrees(&self) -> bool {
        let mut running = self.nodes.iter().filter(|node| node.is_running());
        running.all(|node| node.say(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
    }

    /// Where all of them listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Redis::door).collect()
    }

    /// Where a key stands.
    pub fn slot(&self, key: &str) -> u16 {
        self.any().say(&["CLUSTER", "KEYSLOT", key]).parse().unwrap()
    }

    /// Which of the nodes serves a slot.
    pub fn holder(&self, slot: u16) -> usize {
        self.holder_now(slot).unwrap()
    }

    fn holder_now(&self, slot: u16) -> Option<usize> {
        let serves = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
        };
        let told = self.any().say(&["CLUSTER", "NODES"]);
        let node = told.lines().find(|line| line.split(' ').skip(8).any(serves) && !line.contains("fail"))?;
        let address = node.split([' ', '@']).nth(1)?;
        // Whoever asks without TLS is told where there is none.
        self.nodes
            .iter()
            .position(|node| [node.address, node.tls_address].map(|own| own.to_string()).contains(&address.to_owned()))
    }

    /// A node that would take the place of this one.
    pub fn replica_of(&self, primary: usize) -> &Redis {
        let line = format!("master_host:{}", self.nodes[primary].address.ip());
        self.nodes.iter().find(|node| node.is_running() && node.tells(&line)).unwrap()
    }

    /// Begins to move a slot: what is in it stays where it is, and what is not is to be asked for at the other.
    pub fn begin_move(&self, slot: u16, to: usize) {
        let from = self.holder(slot);
        let slot = slot.to_string();
        self.nodes[to].say(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]);
        self.nodes[from].say(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]);
    }

    /// Moves what is in a slot after [`Cluster::begin_move`], and has all primaries know.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let text = slot.to_string();
        let (ip, port) = (self.nodes[to].address.ip().to_string(), self.nodes[to].address.port().to_string());
        for key in self.nodes[from].say(&["CLUSTER", "GETKEYSINSLOT", &text, "1000"]).lines() {
            self.nodes[from].say(&["MIGRATE", &ip, &port, key, "0", "5000"]);
        }
        let id = self.id(to);
        for node in [to, from].into_iter().chain(0..self.nodes.len()) {
            if self.nodes[node].is_running() && self.nodes[node].tells("role:master") {
                self.nodes[node].say(&["CLUSTER", "SETSLOT", &text, "NODE", &id]);
            }
        }
    }

    /// Waits until another than this node serves a slot, and all agree.
    pub async fn failed_over(&self, slot: u16, from: usize) {
        until("a new primary", || self.agrees() && self.holder_now(slot).is_some_and(|holder| holder != from)).await;
    }

    fn any(&self) -> &Redis {
        self.nodes.iter().find(|node| node.is_running()).unwrap()
    }

    fn id(&self, node: usize) -> String {
        self.nodes[node].say(&["CLUSTER", "MYID"])
    }
}
