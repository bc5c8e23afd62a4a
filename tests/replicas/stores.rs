//! What replicas share, as three kinds of servers have it, and all that happens to those.

use std::net::SocketAddr;

use crate::redis::{Cluster, Line, MASTER, Redis, Sentinel};

/// A store, and a line of its own to it for each replica where that can be.
pub enum Store {
    Single { server: Box<Redis>, lines: Vec<Line> },
    Sentinel(Sentinel),
    Cluster(Cluster),
}

impl Store {
    pub async fn single() -> Self {
        Self::of(Redis::start().await).await
    }

    /// This server, and lines to it.
    pub async fn of(server: Redis) -> Self {
        let mut lines = Vec::new();
        for _ in 0..3 {
            lines.push(Line::to(server.address()).await);
        }
        Self::Single { server: Box::new(server), lines }
    }

    pub async fn sentinel() -> Self {
        Self::Sentinel(Sentinel::start().await)
    }

    pub async fn cluster() -> Self {
        Self::Cluster(Cluster::start().await)
    }

    /// `[store]` for each of three replicas, with these lines more.
    pub fn settings(&self, more: &str) -> [String; 3] {
        [0, 1, 2].map(|replica| {
            let (mode, addresses) = match self {
                Self::Single { lines, .. } => (String::new(), vec![lines[replica].address()]),
                Self::Sentinel(sentinel) => {
                    (format!("mode = \"sentinel\"\nsentinel_name = \"{MASTER}\"\n"), sentinel.addresses())
                }
                Self::Cluster(cluster) => ("mode = \"cluster\"\n".to_owned(), cluster.addresses()),
            };
            let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
            format!(
                "kind = \"redis\"\ntimeout = \"3s\"\n{mode}addresses = {addresses:?}\n\
                 names_secret = \"{NAMES_SECRET}\"\nkey = [{{ id = \"a\", secret = \"{RING_SECRET}\" }}]\n{more}\n"
            )
        })
    }

    /// Everybody who holds something.
    pub fn servers(&self) -> Vec<&Redis> {
        let all: Vec<&Redis> = match self {
            Self::Single { server, .. } => vec![server],
            Self::Sentinel(sentinel) => sentinel.servers.iter().collect(),
            Self::Cluster(cluster) => cluster.nodes.iter().collect(),
        };
        all.into_iter().filter(|server| server.is_running()).collect()
    }

    /// Those of them that take writes.
    pub fn primaries(&self) -> Vec<&Redis> {
        self.servers().into_iter().filter(|server| server.tells("role:master")).collect()
    }

    /// For how many portal sessions keys stand there.
    pub fn sessions(&self) -> usize {
        let count = |server: &Redis| server.say(&["--scan", "--pattern", "*:e"]).lines().count();
        self.primaries().into_iter().map(count).sum()
    }

    /// Forgets everything, at once and everywhere.
    pub fn flush(&self) {
        for server in self.primaries() {
            assert_eq!(server.say(&["FLUSHALL"]), "OK");
        }
    }

    /// Kills a primary; gives the place that [`Store::after_the_kill`] wants to know.
    pub fn kill_primary(&mut self) -> usize {
        match self {
            Self::Single { server, .. } => {
                server.kill();
                0
            }
            Self::Sentinel(sentinel) => {
                let primary = sentinel.primary();
                sentinel.servers[primary].kill();
                primary
            }
            Self::Cluster(cluster) => {
                let primary = cluster.holder(0);
                cluster.nodes[primary].kill();
                primary
            }
        }
    }

    /// Waits until the others have agreed on another primary; where there are no others the same one comes back, with
    /// nothing in it.
    pub async fn after_the_kill(&mut self, killed: usize) {
        match self {
            Self::Single { server, .. } => server.start_again().await,
            Self::Sentinel(sentinel) => sentinel.failed_over(killed).await,
            Self::Cluster(cluster) => cluster.failed_over(0, killed).await,
        }
    }

    /// Ends the way between a replica and the store.
    pub fn cut(&self, replica: usize) {
        self.line(replica).cut();
    }

    /// Has the way between a replica and the store take everything and give nothing.
    pub fn stall(&self, replica: usize) {
        self.line(replica).stall();
    }

    pub fn heal(&self, replica: usize) {
        self.line(replica).heal();
    }

    fn line(&self, replica: usize) -> &Line {
        match self {
            Self::Single { lines, .. } => &lines[replica],
            _ => panic!("their servers tell each other where they are, so that no line can be put between"),
        }
    }
}

/// Behind the names of everything.
pub const NAMES_SECRET: &str = "names names names names names 32!";
/// Behind what seals everything.
pub const RING_SECRET: &str = "seals seals seals seals seals 32!";
