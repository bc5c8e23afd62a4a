use std::net::SocketAddr;

use super::{Kind, Options, Redis, until};

/// What the Sentinels call what they guard.
pub const MASTER: &str = "house";

/// A primary, a replica of it, and three Sentinels that have the other take its place when it is gone for a second.
pub struct Sentinel {
    /// The primary of the start comes first.
    pub servers: Vec<Redis>,
    pub guards: Vec<Redis>,
}

impl Sentinel {
    pub async fn start() -> Self {
        Self::with(Options::default(), None).await
    }

    /// With servers of this kind, and what has to be said to the Sentinels.
    pub async fn with(options: Options, guard_password: Option<&str>) -> Self {
        let primary = Redis::with(options.clone()).await;
        let master = primary.door();
        let mut of_replica = options.clone();
        of_replica.settings += &format!("\nreplicaof {} {}\n", master.ip(), master.port());
        if let Some(password) = &options.password {
            of_replica.settings += &format!("masterauth \"{password}\"\n");
        }
        let replica = Redis::with(of_replica).await;
        let mut guards = Vec::new();
        for _ in 0..3 {
            let auth = options.password.as_ref().map(|word| format!("sentinel auth-pass {MASTER} {word}\n"));
            let settings = format!(
                "sentinel monitor {MASTER} {} {} 2\nsentinel down-after-milliseconds {MASTER} 1000\n\
                 sentinel failover-timeout {MASTER} 5000\n{}",
                master.ip(),
                master.port(),
                auth.unwrap_or_default()
            );
            let password = guard_password.map(str::to_owned);
            guards.push(Redis::with(Options { settings, password, kind: Kind::Sentinel, ..options.clone() }).await);
        }
        let sentinel = Self { servers: vec![primary, replica], guards };
        until("a replica that is in step", || sentinel.servers[1].tells("master_link_status:up")).await;
        let know = |guard: &Redis| {
            let told = guard.say(&["SENTINEL", "MASTER", MASTER]);
            let lines: Vec<&str> = told.lines().collect();
            let is = |key, number| lines.windows(2).any(|pair| pair == [key, number]);
            is("num-slaves", "1") && is("num-other-sentinels", "2")
        };
        until("Sentinels that know everybody", || sentinel.guards.iter().all(know)).await;
        sentinel
    }

    /// Where the Sentinels listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.guards.iter().map(Redis::door).collect()
    }

    /// Which of the servers the Sentinels take for the primary.
    pub fn primary(&self) -> usize {
        let told = self.guards[0].say(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
        let told = told.replace('\n', ":");
        self.servers.iter().position(|server| server.door().to_string() == told).unwrap()
    }

    /// Waits until another than this is the primary, and takes writes.
    pub async fn failed_over(&self, from: usize) {
        until("a new primary", || self.primary() != from && self.servers[self.primary()].tells("role:master")).await;
    }
}
