use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::api::{ApiCall, ApiOutcome};
use super::store_metrics::{JournalMetrics, StoreMetrics};
use crate::domain::{Reason, Ruling};

/// Which wire protocol a decision was asked over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// nginx `auth_request` and its like.
    AuthRequest,
    /// Traefik and Caddy.
    ForwardAuth,
    /// Envoy's external authorization over HTTP.
    ExtAuthz,
    /// FastCGI, as authorizer and responder.
    Fastcgi,
    /// Envoy's external authorization over gRPC.
    Grpc,
}

impl Door {
    /// Every door.
    pub const ALL: [Self; 5] = [Self::AuthRequest, Self::ForwardAuth, Self::ExtAuthz, Self::Fastcgi, Self::Grpc];

    /// The word for it in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthRequest => "auth-request",
            Self::ForwardAuth => "forward-auth",
            Self::ExtAuthz => "ext-authz",
            Self::Fastcgi => "fastcgi",
            Self::Grpc => "grpc",
        }
    }
}

const DECISION_BUCKETS: [f64; 9] = [0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.01, 0.1, 1.0, 10.0];
const REVOCATION_BUCKETS: [f64; 8] = [0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0, 5.0, 10.0];
const LOGIN_BUCKETS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

/// All metrics of the process.
///
/// Labels come from the configuration and from closed enums, never from a request, so the number of
/// series stands still. Whoever counts holds its counters ready: the hot path looks nothing up.
pub struct Metrics {
    registry: Registry,
    decisions: IntCounterVec,
    decision_seconds: HistogramVec,
    validations: IntCounterVec,
    keys: IntGaugeVec,
    lookups: IntCounterVec,
    logins: IntCounterVec,
    login_seconds: HistogramVec,
    logins_in_flight: IntGaugeVec,
    keep_alives: IntCounterVec,
    logouts: IntCounterVec,
    logouts_waiting: IntGaugeVec,
    revocation_seconds: Histogram,
    store_events: IntCounterVec,
    evictions: IntCounterVec,
    leases_lost: IntCounterVec,
    account_changes: IntCounterVec,
    account_changes_waiting: IntGaugeVec,
    backend_up: IntGaugeVec,
    api_calls: IntCounterVec,
    reloads: IntCounterVec,
    panics: IntCounter,
    store: OnceLock<StoreMetrics>,
    doors: Mutex<HashMap<Door, Arc<DoorMetrics>>>,
    backends: Mutex<HashMap<String, Arc<BackendMetrics>>>,
}

/// Counters of one door.
pub struct DoorMetrics {
    decisions: Vec<Option<IntCounter>>,
    /// How long decisions took.
    pub seconds: Histogram,
}

impl DoorMetrics {
    /// Counts one decision.
    pub fn count(&self, ruling: Ruling, reason: Reason) {
        if let Some(Some(counter)) = self.decisions.get(ruling as usize * Reason::ALL.len() + reason as usize) {
            counter.inc();
        }
    }
}

/// Counters of one portal.
#[derive(Clone)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct PortalMetrics {
    pub genuine: IntCounter,
    pub rejected: IntCounter,
    pub unreachable: IntCounter,
}

/// Counters of one back-end, each named as its label.
#[expect(missing_docs, reason = "the contract's own words")]
pub struct BackendMetrics {
    pub keys: IntGauge,
    pub hit: IntCounter,
    pub shared: IntCounter,
    pub miss: IntCounter,
    pub joined: IntCounter,
    pub refused: IntCounter,
    pub login_opened: IntCounter,
    pub login_refused: IntCounter,
    pub login_unreachable: IntCounter,
    pub login_timed_out: IntCounter,
    pub login_throttled: IntCounter,
    pub login_protocol: IntCounter,
    pub login_seconds: Histogram,
    pub logins_in_flight: IntGauge,
    pub keep_alive_alive: IntCounter,
    pub keep_alive_dead: IntCounter,
    pub keep_alive_failed: IntCounter,
    pub evicted_idle: IntCounter,
    pub evicted_age: IntCounter,
    pub evicted_capacity: IntCounter,
    pub evicted_logout: IntCounter,
    pub evicted_dead: IntCounter,
    pub evicted_elsewhere: IntCounter,
    pub leases_lost: IntCounter,
    pub up: IntGauge,
    pub account_changes_waiting: IntGauge,
    account_changes: IntCounterVec,
    pub logouts_waiting: IntGauge,
    logouts: IntCounterVec,
    name: String,
}

impl BackendMetrics {
    /// Counts a logout at the back-end. `cause` is one of the eviction causes, or `late`; `outcome` is
    /// `done`, `failed` for an attempt that will be repeated, `given_up`, or `left` where there is no way.
    pub fn count_logout(&self, cause: &'static str, outcome: &'static str) {
        self.logouts.with_label_values(&[self.name.as_str(), cause, outcome]).inc();
    }

    /// Shows that there was no logout yet, by what can become of one here: whether the back-end can be told. What
    /// cannot happen has no series, because each takes most of a kilobyte.
    pub fn show_logouts(&self, can_be_told: bool) {
        for cause in LOGOUT_CAUSES {
            for outcome in if can_be_told { LOGOUT_OUTCOMES } else { &[LOGOUT_LEFT] } {
                self.logouts.with_label_values(&[self.name.as_str(), cause, outcome]);
            }
        }
    }

    /// Shows that no account has been changed yet, where they can be.
    pub fn show_account_changes(&self) {
        for change in ACCOUNT_CHANGES {
            for outcome in ACCOUNT_OUTCOMES {
                self.account_changes.with_label_values(&[self.name.as_str(), change, outcome]);
            }
        }
    }

    /// Counts one change of an account, both words from the lists below.
    pub fn count_account_change(&self, change: &'static str, outcome: &'static str) {
        self.account_changes.with_label_values(&[self.name.as_str(), change, outcome]).inc();
    }
}

/// Why sessions are ended at the back-end: the causes of evictions, and a login that ended after
/// its session had.
const LOGOUT_CAUSES: [&str; 6] = ["idle", "age", "capacity", "logout", "dead", "late"];

const ACCOUNT_CHANGES: [&str; 3] = ["password", "put", "remove"];
const ACCOUNT_OUTCOMES: [&str; 4] = ["done", "refused", "pending", "replaced"];
const LOGOUT_OUTCOMES: &[&str] = &["done", "failed", "given_up"];
const LOGOUT_LEFT: &str = "left";

impl Metrics {
    /// Makes all metrics, none with a series yet but those of the doors.
    ///
    /// # Panics
    /// Never: the names are fixed, valid and different, which a test of this file proves.
    #[must_use]
    #[expect(clippy::expect_used, reason = "fixed names; the unit test would fail")]
    pub fn new() -> Self {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels).expect("valid name");
            registry.register(Box::new(vec.clone())).expect("registered once");
            vec
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntGaugeVec::new(Opts::new(name, help), labels).expect("valid name");
            registry.register(Box::new(vec.clone())).expect("registered once");
            vec
        };
        let histograms = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let vec = HistogramVec::new(options, labels).expect("valid name");
            registry.register(Box::new(vec.clone())).expect("registered once");
            vec
        };
        let panics = IntCounter::new("keyward_panics_total", "Panics caught; each is a defect worth reporting.")
            .expect("valid name");
        registry.register(Box::new(panics.clone())).expect("registered once");
        let revocation_seconds = HistogramOpts::new(
            "keyward_revocation_seconds",
            "Time from the arrival of a sign-out, here or at another replica, until nothing is given out for the session here.",
        );
        let revocation_seconds =
            Histogram::with_opts(revocation_seconds.buckets(REVOCATION_BUCKETS.to_vec())).expect("valid name");
        registry.register(Box::new(revocation_seconds.clone())).expect("registered once");
        let build = gauges("keyward_build_info", "Always 1; the label tells the version.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            decisions: counters(
                "keyward_decisions_total",
                "Decisions, by door, ruling and reason.",
                &["door", "decision", "reason"],
            ),
            decision_seconds: histograms(
                "keyward_decision_seconds",
                "Time from reading a question to its answer.",
                &["door"],
                &DECISION_BUCKETS,
            ),
            validations: counters(
                "keyward_portal_validations_total",
                "Portal sessions looked at, by verdict.",
                &["portal", "verdict"],
            ),
            keys: gauges("keyward_keys", "Back-end sessions held.", &["backend"]),
            lookups: counters(
                "keyward_key_lookups_total",
                "Look-ups of a back-end session, by result.",
                &["backend", "result"],
            ),
            logins: counters("keyward_backend_logins_total", "Logins, by outcome.", &["backend", "outcome"]),
            login_seconds: histograms(
                "keyward_backend_login_seconds",
                "Time a login took at the back-end, queueing not included.",
                &["backend"],
                &LOGIN_BUCKETS,
            ),
            logins_in_flight: gauges("keyward_backend_logins_in_flight", "Logins under way.", &["backend"]),
            keep_alives: counters(
                "keyward_keep_alives_total",
                "Keep-alives and checks, by outcome.",
                &["backend", "outcome"],
            ),
            logouts: counters(
                "keyward_logouts_total",
                "Sessions ended at the back-end, by cause and outcome.",
                &["backend", "cause", "outcome"],
            ),
            logouts_waiting: gauges(
                "keyward_logouts_waiting",
                "Ended sessions of which the back-end has not heard yet.",
                &["backend"],
            ),
            revocation_seconds,
            store_events: counters(
                "keyward_store_events_total",
                "What replicas tell each other through the shared store, by what became of it.",
                &["outcome"],
            ),
            evictions: counters(
                "keyward_evictions_total",
                "Back-end sessions no longer held, by cause.",
                &["backend", "cause"],
            ),
            leases_lost: counters(
                "keyward_leases_lost_total",
                "Logins whose result another replica's has overtaken, so that it was thrown away and logged out.",
                &["backend"],
            ),
            account_changes: counters(
                "keyward_account_changes_total",
                "Changes of accounts, by change and outcome.",
                &["backend", "change", "outcome"],
            ),
            account_changes_waiting: gauges(
                "keyward_account_changes_waiting",
                "Changes of accounts that are not done yet.",
                &["backend"],
            ),
            backend_up: gauges("keyward_backend_up", "0 while logins fail and are backed off, else 1.", &["backend"]),
            api_calls: counters(
                "keyward_api_calls_total",
                "Calls of the portal's API, by outcome.",
                &["call", "outcome"],
            ),
            reloads: counters(
                "keyward_config_reloads_total",
                "Reloads of the configuration, by outcome.",
                &["outcome"],
            ),
            panics,
            store: OnceLock::new(),
            doors: Mutex::new(HashMap::new()),
            backends: Mutex::new(HashMap::new()),
            registry,
        };
        for door in Door::ALL {
            let _ = metrics.door(door);
        }
        for call in ApiCall::ALL {
            for outcome in ApiOutcome::ALL {
                metrics.api_calls.with_label_values(&[call.as_str(), outcome.as_str()]);
            }
        }
        for outcome in ["applied", "refused"] {
            metrics.reloads.with_label_values(&[outcome]);
        }
        metrics
    }

    /// The counters of a door.
    #[must_use]
    pub fn door(&self, door: Door) -> Arc<DoorMetrics> {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let cell = |ruling: Ruling, reason: Reason| {
                let labels = [door.as_str(), ruling.as_str(), reason.as_str()];
                reason.rulings().contains(&ruling).then(|| self.decisions.with_label_values(&labels))
            };
            let decisions = Ruling::ALL.into_iter().flat_map(|ruling| Reason::ALL.map(|reason| cell(ruling, reason)));
            Arc::new(DoorMetrics {
                decisions: decisions.collect(),
                seconds: self.decision_seconds.with_label_values(&[door.as_str()]),
            })
        };
        Arc::clone(doors.entry(door).or_insert_with(make))
    }

    /// The counters of a portal of this name.
    #[must_use]
    pub fn portal(&self, name: &str) -> PortalMetrics {
        let verdict = |verdict| self.validations.with_label_values(&[name, verdict]);
        PortalMetrics {
            genuine: verdict("genuine"),
            rejected: verdict("rejected"),
            unreachable: verdict("unreachable"),
        }
    }

    /// The counters of a back-end of this name.
    #[must_use]
    pub fn backend(&self, name: &str) -> Arc<BackendMetrics> {
        let mut backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(backends.entry(name.to_owned()).or_insert_with(|| Arc::new(self.make_backend(name))))
    }

    /// The counters of the shared store. Without one there are none.
    pub fn store(&self) -> StoreMetrics {
        self.store.get_or_init(|| StoreMetrics::register(&self.registry)).clone()
    }

    fn make_backend(&self, name: &str) -> BackendMetrics {
        let lookup = |result| self.lookups.with_label_values(&[name, result]);
        let login = |outcome| self.logins.with_label_values(&[name, outcome]);
        let keep_alive = |outcome| self.keep_alives.with_label_values(&[name, outcome]);
        let eviction = |cause| self.evictions.with_label_values(&[name, cause]);
        let up = self.backend_up.with_label_values(&[name]);
        up.set(1);
        BackendMetrics {
            keys: self.keys.with_label_values(&[name]),
            hit: lookup("hit"),
            shared: lookup("shared"),
            miss: lookup("miss"),
            joined: lookup("joined"),
            refused: lookup("refused"),
            login_opened: login("opened"),
            login_refused: login("refused"),
            login_unreachable: login("unreachable"),
            login_timed_out: login("timed_out"),
            login_throttled: login("throttled"),
            login_protocol: login("protocol"),
            login_seconds: self.login_seconds.with_label_values(&[name]),
            logins_in_flight: self.logins_in_flight.with_label_values(&[name]),
            keep_alive_alive: keep_alive("alive"),
            keep_alive_dead: keep_alive("dead"),
            keep_alive_failed: keep_alive("failed"),
            evicted_idle: eviction("idle"),
            evicted_age: eviction("age"),
            evicted_capacity: eviction("capacity"),
            evicted_logout: eviction("logout"),
            evicted_dead: eviction("dead"),
            evicted_elsewhere: eviction("elsewhere"),
            leases_lost: self.leases_lost.with_label_values(&[name]),
            up,
            account_changes_waiting: self.account_changes_waiting.with_label_values(&[name]),
            account_changes: self.account_changes.clone(),
            logouts_waiting: self.logouts_waiting.with_label_values(&[name]),
            logouts: self.logouts.clone(),
            name: name.to_owned(),
        }
    }

    /// Counts a call of the portal's API.
    pub fn count_api_call(&self, call: ApiCall, outcome: ApiOutcome) {
        self.api_calls.with_label_values(&[call.as_str(), outcome.as_str()]).inc();
    }

    /// How long sign-outs took until nothing was given out any more.
    #[must_use]
    pub fn revocation_seconds(&self) -> Histogram {
        self.revocation_seconds.clone()
    }

    /// The counters of what replicas tell each other.
    #[must_use]
    pub fn journal(&self) -> JournalMetrics {
        let outcome = |outcome| self.store_events.with_label_values(&[outcome]);
        JournalMetrics {
            told: outcome("told"),
            heard: outcome("heard"),
            skipped: outcome("skipped"),
            lost: outcome("lost"),
            revocation_seconds: self.revocation_seconds.clone(),
        }
    }

    /// Counts a reload of the configuration.
    pub fn count_reload(&self, applied: bool) {
        self.reloads.with_label_values(&[if applied { "applied" } else { "refused" }]).inc();
    }

    /// Counts a panic that was caught.
    pub fn count_panic(&self) {
        self.panics.inc();
    }

    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory fails only on metrics without a name, and all of ours are registered.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
