//! Several replicas on one store. The server's clock is real, and so is theirs.

mod checks;
mod ends;
mod logins;
mod outgoing;
mod tending;
mod without;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::entry::Entry;
use super::replicas::Replicas;
use super::shelf::Ages;
use super::store::Cause;
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
        let replica = self.deaf_replica(when_down);
        let (journal, counted) = (Arc::clone(&replica.store), Arc::clone(&replica.metrics));
        replica.spawn(async move { journal.run_journal(&counted).await });
        replica
    }

    /// One that hears nothing of what others tell.
    fn deaf_replica(&self, when_down: &str) -> Replica {
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

    fn checks(&self) -> usize {
        self.script.checks.load(SeqCst)
    }

    /// Scripts that the server has run so far.
    fn scripts(&self) -> usize {
        let all = self.server.say(&["INFO", "commandstats"]);
        let calls = |line: &str| Some(line.strip_prefix("cmdstat_evalsha:calls=")?.split_once(',')?.0.parse().unwrap());
        all.lines().find_map(calls).unwrap_or_default()
    }

    /// Whether the server has somebody told of what comes of a lease or a turn.
    fn somebody_waits(&self) -> bool {
        let waited = "for _, key in ipairs(redis.call('KEYS', '*:e')) do
            for _, raw in ipairs(redis.call('HVALS', key)) do if string.byte(raw, 73) == 1 then return 1 end end
        end return 0";
        self.server.say(&["EVAL", waited, "0"]).trim() == "1"
    }

    /// What the server knows was opened, confirmed and used so much earlier.
    fn age(&self, by: Duration) {
        let age = "for _, key in ipairs(redis.call('KEYS', '*:e')) do
            for _, field in ipairs(redis.call('HKEYS', key)) do
                local raw = redis.call('HGET', key, field)
                local times = { struct.unpack('>I8I8I8', raw, 33) }
                for at = 1, 3 do times[at] = struct.pack('>I8', times[at] - ARGV[1]) end
                redis.call('HSET', key, field, string.sub(raw, 1, 32) .. table.concat(times, '', 1, 3) .. string.sub(raw, 57))
            end
        end return 'aged'";
        assert_eq!(self.server.say(&["EVAL", age, "0", &by.as_millis().to_string()]).trim(), "aged");
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

    /// Does something on the replica's own threads.
    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.runtime.as_ref().unwrap().spawn(work)
    }

    /// Asks on the replica's own threads.
    fn begin(&self, who: &'static Who) -> JoinHandle<Obtained> {
        let (keys, backend) = (Arc::clone(&self.keys), Arc::clone(&self.backend));
        self.spawn(async move { ask_at(&keys, &backend, who, false).await })
    }

    /// What this one holds was opened, confirmed and used so much earlier.
    fn age(&self, by: Duration) {
        let now = self.keys.clock.now();
        for entry in self.keys.sessions.all(|_| true) {
            let ages = entry.ages(now);
            let [opened, confirmed] = [ages.opened, ages.confirmed].map(|age| age + by);
            entry.date(now, &Ages { opened, confirmed, used: opened.max(ages.used + by) });
        }
    }

    /// What it holds of its one portal session.
    fn entry(&self) -> Arc<Entry> {
        self.keys.sessions.all(|_| true).remove(0)
    }

    /// Looks at what it holds as if it were due.
    async fn refresh(&self) {
        let entry = self.entry();
        self.keys.refresh(&entry, &self.backend);
        until("it has looked", || !entry.refreshing.load(SeqCst)).await;
    }

    /// Ends at once what would end later.
    fn hurry(&self) {
        self.shared().outgoing.lock().iter_mut().for_each(|one| one.hurry());
    }

    /// Looks for no records that nobody looks after.
    async fn seek_nothing(&self) {
        self.shared().next_search.store(u64::MAX, SeqCst);
        until("it has looked", || !self.shared().under_way.iter().any(|duty| duty.load(SeqCst))).await;
    }

    fn shared(&self) -> &Replicas {
        self.keys.replicas.get().unwrap()
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
