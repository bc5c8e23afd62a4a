//! What one replica sees of the store.

use std::sync::Arc;
use std::time::Duration;

use keyward::config::Section;
use keyward::domain::{Clock, ManualClock};
use keyward::observe::Metrics;
use keyward::store::{Place, Store, StoreOutage, StorePlan};

const LIFE: Duration = Duration::from_secs(600);
const COMES_WITHIN: Duration = Duration::from_secs(60);

pub struct Replica {
    pub store: Arc<Store>,
    metrics: Arc<Metrics>,
}

impl Replica {
    /// One with these lines in its `[store]`. It waits long for an answer, because a machine may be slow.
    pub fn new(lines: &str) -> Self {
        Self::waiting("10s", lines)
    }

    /// One that gives up soon, for servers that do not answer at all.
    pub fn impatient(lines: &str) -> Self {
        Self::waiting("500ms", lines)
    }

    fn waiting(timeout: &str, lines: &str) -> Self {
        let lines = format!("timeout = \"{timeout}\"\n{lines}");
        let metrics = Arc::new(Metrics::new());
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
        Self { store: Store::new(plan(&lines), clock, &metrics), metrics }
    }

    /// One whose store is a single server there.
    pub fn at(address: impl ToString) -> Self {
        Self::new(&format!("addresses = [\"{}\"]", address.to_string()))
    }

    /// Has it hear what others tell, as a process does.
    pub fn listens(&self) {
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.metrics));
        tokio::spawn(async move { store.run_journal(&metrics).await });
    }

    pub fn place(&self, name: &str) -> Place {
        self.store.place("test", &[name.as_bytes()])
    }

    pub async fn put(&self, name: &str) -> Result<(), StoreOutage> {
        self.store.put(&self.place(name), name.as_bytes(), LIFE).await
    }

    pub async fn has(&self, name: &str) -> Result<bool, StoreOutage> {
        Ok(self.store.get(&self.place(name)).await?.as_deref() == Some(name.as_bytes()))
    }

    /// Waits until it can keep this.
    pub async fn can_put(&self, name: &str) {
        self.until("a store that keeps", async || self.put(name).await.is_ok()).await;
    }

    /// Waits until calls fail in this way.
    pub async fn fails(&self, outage: &StoreOutage) {
        self.until("an outage", async || self.put("never mind").await.as_ref() == Err(outage)).await;
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let looking = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let came = tokio::time::timeout(COMES_WITHIN, looking).await;
        assert!(came.is_ok(), "it never came: {what}\n{}", self.metrics.render());
    }

    /// The value of a series.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.render();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {series}: {text}")).parse().unwrap()
    }

    pub fn calls(&self, outcome: &str) -> f64 {
        self.metric(&format!("keyward_store_calls_total{{outcome=\"{outcome}\"}}"))
    }

    pub fn is_up(&self) -> bool {
        self.metric("keyward_store_up") > 0.5
    }
}

pub fn plan(lines: &str) -> StorePlan {
    let text = format!(
        "kind = \"redis\"\nnames_secret = \"names names names names names 32!\"\n{lines}\n\
         [[key]]\nid = \"a\"\nsecret = \"seals seals seals seals seals 32!\"\n"
    );
    StorePlan::read(Section::from_toml(&text).unwrap()).expect("a plan without mistakes")
}

pub fn unable(word: &str) -> StoreOutage {
    StoreOutage::Unable(word.to_owned())
}
