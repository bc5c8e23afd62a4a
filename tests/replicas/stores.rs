//! What replicas share, as three kinds of servers have it, and all that happens to those.

use std::net::SocketAddr;
use std::time::Duration;

use crate::redis::{Cluster, Line, MASTER, Options, Program, Redis, Sentinel};

/// A store, and a way of its own to it for each replica.
pub struct Store {
    pub servers: Servers,
    /// For each replica a line to everybody who is there, Sentinels last.
    lines: Vec<Vec<Line>>,
}

/// Who keeps things.
pub enum Servers {
    Single(Box<Redis>),
    Sentinel(Sentinel),
    Cluster(Cluster),
}

impl Store {
    pub async fn single() -> Self {
        Self::of(Redis::start().await).await
    }

    /// A server of this make.
    pub async fn made_by(program: Program) -> Self {
        Self::of(Redis::with(Options { program, ..Options::default() }).await).await
    }

    /// This server, and lines to it.
    pub async fn of(server: Redis) -> Self {
        let everybody = [server.address()];
        Self::with(Servers::Single(Box::new(server)), &everybody).await
    }

    pub async fn sentinel() -> Self {
        let sentinel = Sentinel::start().await;
        let servers = sentinel.servers.iter().map(Redis::address);
        let everybody: Vec<SocketAddr> = servers.chain(sentinel.addresses()).collect();
        Self::with(Servers::Sentinel(sentinel), &everybody).await
    }

    pub async fn cluster() -> Self {
        let cluster = Cluster::start().await;
        let everybody = cluster.addresses();
        Self::with(Servers::Cluster(cluster), &everybody).await
    }

    async fn with(servers: Servers, everybody: &[SocketAddr]) -> Self {
        let mut lines = Vec::new();
        for _ in 0..3 {
            lines.push(Line::translated(everybody).await);
        }
        Self { servers, lines }
    }

    /// `[store]` for each of three replicas, with these lines more.
    pub fn settings(&self, more: &str) -> [String; 3] {
        self.settings_with(TIMEOUT, more)
    }

    /// The same for replicas that wait so long for an answer.
    pub fn settings_with(&self, timeout: Duration, more: &str) -> [String; 3] {
        [0, 1, 2].map(|replica| {
            let (mode, first) = match &self.servers {
                Servers::Single(_) => (String::new(), 0),
                Servers::Sentinel(sentinel) => {
                    (format!("mode = \"sentinel\"\nsentinel_name = \"{MASTER}\"\n"), sentinel.servers.len())
                }
                Servers::Cluster(_) => ("mode = \"cluster\"\n".to_owned(), 0),
            };
            let addresses: Vec<String> =
                self.lines[replica][first..].iter().map(|line| line.address().to_string()).collect();
            format!(
                "kind = \"redis\"\ntimeout = \"{}s\"\n{mode}addresses = {addresses:?}\n\
                 names_secret = \"{NAMES_SECRET}\"\nkey = [{{ id = \"a\", secret = \"{RING_SECRET}\" }}]\n{more}\n",
                timeout.as_secs()
            )
        })
    }

    /// Everybody who holds something.
    pub fn servers(&self) -> Vec<&Redis> {
        let all: Vec<&Redis> = match &self.servers {
            Servers::Single(server) => vec![server],
            Servers::Sentinel(sentinel) => sentinel.servers.iter().collect(),
            Servers::Cluster(cluster) => cluster.nodes.iter().collect(),
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

    /// The streams that stand there.
    pub fn streams(&self) -> Vec<(&Redis, String)> {
        let streams = |server: &Redis| server.say(&["SCAN", "0", "TYPE", "stream", "COUNT", "100000"]);
        // The first line is where to go on.
        let of = |server| streams(server).lines().skip(1).map(|key| (server, key.to_owned())).collect::<Vec<_>>();
        self.primaries().into_iter().flat_map(of).collect()
    }

    /// Where what replicas tell each other stands, in a Cluster; anything for others.
    fn slot_of_the_journal(&self) -> u16 {
        let Servers::Cluster(cluster) = &self.servers else { return 0 };
        self.streams().first().map_or(0, |(_, key)| cluster.slot(key))
    }

    /// The place of the primary at which what replicas tell each other stands.
    pub fn primary(&self) -> usize {
        match &self.servers {
            Servers::Single(_) => 0,
            Servers::Sentinel(sentinel) => sentinel.primary(),
            Servers::Cluster(cluster) => cluster.holder(self.slot_of_the_journal()),
        }
    }

    /// Kills that; gives its place, which [`Store::after`] wants to know, and what stood there.
    pub fn kill_primary(&mut self) -> Gone {
        let gone = self.gone();
        match &mut self.servers {
            Servers::Single(server) => server.kill(),
            Servers::Sentinel(sentinel) => sentinel.servers[gone.place].kill(),
            Servers::Cluster(cluster) => cluster.nodes[gone.place].kill(),
        }
        gone
    }

    /// Has another take its place in order, while it goes on.
    pub fn demote_primary(&self) -> Gone {
        let gone = self.gone();
        let told = match &self.servers {
            Servers::Single(_) => panic!("there is no other"),
            Servers::Sentinel(sentinel) => sentinel.guards[0].say(&["SENTINEL", "FAILOVER", MASTER]),
            Servers::Cluster(cluster) => cluster.replica_of(gone.place).say(&["CLUSTER", "FAILOVER"]),
        };
        assert_eq!(told, "OK");
        gone
    }

    fn gone(&self) -> Gone {
        Gone { place: self.primary(), slot: self.slot_of_the_journal() }
    }

    /// Waits until the others have agreed on another primary; where there are no others the same one comes back, with
    /// what it has on disk.
    pub async fn after(&mut self, gone: Gone) {
        match &mut self.servers {
            Servers::Single(server) => server.start_again().await,
            Servers::Sentinel(sentinel) => sentinel.failed_over(gone.place).await,
            Servers::Cluster(cluster) => cluster.failed_over(gone.slot, gone.place).await,
        }
    }

    /// Ends the way between a replica and the store.
    pub fn cut(&self, replica: usize) {
        self.lines[replica].iter().for_each(Line::cut);
    }

    /// Has the way between a replica and the store take everything and give nothing.
    pub fn stall(&self, replica: usize) {
        self.lines[replica].iter().for_each(Line::stall);
    }

    /// Has every connection of a replica die without a word.
    pub fn forget_connections(&self, replica: usize) {
        self.lines[replica].iter().for_each(Line::forget_connections);
    }

    /// Has the way of all replicas to a single server lead to another one; who is connected stays.
    pub fn lead_to(&self, server: &Redis) {
        self.lines.iter().for_each(|lines| lines[0].lead_to(server.address()));
    }

    pub fn heal(&self, replica: usize) {
        self.lines[replica].iter().for_each(Line::heal);
    }
}

/// A primary that is none any more.
#[derive(Clone, Copy)]
pub struct Gone {
    pub place: usize,
    /// One of those that it served.
    slot: u16,
}

/// `[store] timeout` of the replicas.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Behind the names of everything.
pub const NAMES_SECRET: &str = "names names names names names 32!";
/// Behind what seals everything.
pub const RING_SECRET: &str = "seals seals seals seals seals 32!";
