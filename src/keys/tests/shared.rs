//! Several replicas on one store. The server's clock is real, and so is theirs.

mod ends;
mod logins;
mod tending;
mod without;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::*;
use crate::domain::SystemClock;
use crate::store::Store;
use crate::store::scratch::Scratch as Server;

/// Longer than any of these sessions.
const LATE: u64 = 4_000_000_000;

/// A server and a back-end that all replicas have.
struct House {
    server: Server,
    script: Arc<Script>,
    limits: BackendLimits,
}

/// One process of several.
struct Replica {
    keys: Arc<KeyStore>,
    store: Arc<Store>,
    backend: Arc<Guarded>,
    metrics: Arc<Metrics>,
    runtime: Option<Runtime>,
}

impl House {
    async fn new(script: Script) -> Self {
        let limits = BackendLimits { login_timeout: SECONDS(5), ..limits() };
        Self { server: Server::start().await, script: Arc::new(script), limits }
    }

    /// Where sessions have short lives.
    async fn in_haste(script: Script) -> Self {
        let house = Self::new(script).await;
        let limits =
            BackendLimits { login_timeout: SECONDS(1), keep_alive_interval: SECONDS(1), ..house.limits.clone() };
        Self { limits, ..house }
    }

    fn replica(&self) -> Replica {
        self.replica_when_down("refuse")
    }

    fn replica_when_down(&self, when_down: &str) -> Replica {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let metrics = Arc::new(Metrics::new());
        let backend = guarded_with(self.limits.clone(), "mail", &self.script, &metrics, Arc::clone(&clock));
        let keys = KeyStore::new(1000, Arc::clone(&clock), runtime.handle().clone());
        keys.configure(1000, &[Arc::clone(&backend)]);
        let store = self.server.store_when_down(when_down, clock);
        keys.share(&store);
        let hearing = Arc::downgrade(&keys);
        store.listen(move |event| {
            if let Some(keys) = hearing.upgrade() {
                keys.hear(event);
            }
        });
        let (journal, counted) = (Arc::clone(&store), Arc::clone(&metrics));
        runtime.spawn(async move { journal.run_journal(&counted).await });
        let ticking = Arc::clone(&keys);
        runtime.spawn(async move {
            loop {
                ticking.tick().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Replica { keys, store, backend, metrics, runtime: Some(runtime) }
    }

    async fn replicas(&self) -> [Replica; 3] {
        let all = [(); 3].map(|()| self.replica());
        for one in &all {
            until("the journal is read", || one.store.is_caught_up()).await;
        }
        all
    }

    fn logins(&self) -> usize {
        self.script.logins.load(SeqCst)
    }

    fn logouts(&self) -> Vec<String> {
        self.script.logouts.lock().unwrap().clone()
    }

    /// Lets so many more logins and checks go on.
    fn open(&self, permits: usize) {
        self.script.gate.as_ref().unwrap().add_permits(permits);
    }

    async fn stop(&self) {
        self.server.say(&["SHUTDOWN", "NOSAVE"]);
        until("the server is gone", || self.server.say(&["PING"]).trim() != "PONG").await;
    }
}

impl Replica {
    async fn ask(&self, who: &Who) -> Obtained {
        ask_at(&self.keys, &self.backend, who, false).await
    }

    async fn renew(&self, who: &Who) -> Obtained {
        ask_at(&self.keys, &self.backend, who, true).await
    }

    /// Asks on the replica's own threads.
    fn begin(&self, who: &'static Who) -> JoinHandle<Obtained> {
        let (keys, backend) = (Arc::clone(&self.keys), Arc::clone(&self.backend));
        self.runtime.as_ref().unwrap().spawn(async move { ask_at(&keys, &backend, who, false).await })
    }

    /// Asks until there are keys.
    async fn insist(&self, who: &Who) -> String {
        for _ in 0..600 {
            if let Obtained::Keys(keys) = self.ask(who).await {
                return keys.cookie("key").unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no keys within a minute")
    }

    fn counted(&self, series: &str) -> bool {
        self.metrics.render().lines().any(|line| line == series)
    }

    /// Ends it as `kill -9` would.
    fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}")
}
