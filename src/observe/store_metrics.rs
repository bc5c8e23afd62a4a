use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

const STORE_BUCKETS: [f64; 9] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0];

/// Counters of the shared store, each outcome named as its label.
#[derive(Clone)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct StoreMetrics {
    pub up: IntGauge,
    pub seconds: Histogram,
    pub done: IntCounter,
    pub timed_out: IntCounter,
    pub unreachable: IntCounter,
    pub unable: IntCounter,
    pub down: IntCounter,
}

impl StoreMetrics {
    /// # Panics
    /// Never: the names are fixed, valid and different, which a test of this file proves.
    #[expect(clippy::expect_used, reason = "fixed names; the unit test would fail")]
    pub(super) fn register(registry: &Registry) -> Self {
        let up = IntGauge::new("keyward_store_up", "1 while the shared store answers, else 0.").expect("valid name");
        let seconds = HistogramOpts::new("keyward_store_seconds", "Time that a call of the shared store took.");
        let seconds = Histogram::with_opts(seconds.buckets(STORE_BUCKETS.to_vec())).expect("valid name");
        let calls = Opts::new("keyward_store_calls_total", "Calls of the shared store, by outcome.");
        let calls = IntCounterVec::new(calls, &["outcome"]).expect("valid name");
        registry.register(Box::new(up.clone())).expect("registered once");
        registry.register(Box::new(seconds.clone())).expect("registered once");
        registry.register(Box::new(calls.clone())).expect("registered once");
        let outcome = |outcome| calls.with_label_values(&[outcome]);
        Self {
            up,
            seconds,
            done: outcome("done"),
            timed_out: outcome("timed_out"),
            unreachable: outcome("unreachable"),
            unable: outcome("unable"),
            down: outcome("down"),
        }
    }
}

/// What becomes of events that replicas tell each other.
pub struct JournalMetrics {
    /// Written for others.
    pub told: IntCounter,
    /// Told by others, and new here.
    pub heard: IntCounter,
    /// Not understood.
    pub skipped: IntCounter,
    /// Times at which something was found missing.
    pub lost: IntCounter,
    /// Time from a sign-out until it had its effect here.
    pub revocation_seconds: Histogram,
}

#[cfg(test)]
mod tests {
    use crate::observe::Metrics;

    #[test]
    fn series_exist_from_when_there_is_a_store_and_are_made_once() {
        let metrics = Metrics::new();
        assert!(!metrics.render().contains("keyward_store_up"));
        metrics.store().up.set(1);
        metrics.store().done.inc();
        let text = metrics.render();
        for line in [
            "keyward_store_up 1\n",
            "keyward_store_calls_total{outcome=\"done\"} 1\n",
            "keyward_store_seconds_count 0\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
