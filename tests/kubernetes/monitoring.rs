//! What Prometheus makes of `monitoring/`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use keyward::demo::process::find_program;
use keyward::observe::Metrics;
use regex::Regex;
use serde_json::{Value, json};

use crate::manifests::{FOLDERS, documents, example, list, of_kind, text};

/// A series, and its values.
type Series = (&'static str, &'static str);

/// Each alert, series of half an hour by which it goes off, and such by which it does not. A value a minute, in
/// Prometheus' own notation.
const ALERTS: [(&str, &[Series], &[Series]); 6] = [
    ("KeywardStoreDown", &[("keyward_store_up{pod=\"a\"}", "1x15 0x15")], &[("keyward_store_up{pod=\"a\"}", "1x30")]),
    (
        "KeywardSignOutsLate",
        &[
            ("keyward_revocation_seconds_bucket{pod=\"a\",le=\"1\"}", "0x30"),
            ("keyward_revocation_seconds_bucket{pod=\"a\",le=\"10\"}", "0+1x30"),
            ("keyward_revocation_seconds_bucket{pod=\"a\",le=\"+Inf\"}", "0+1x30"),
        ],
        &[
            ("keyward_revocation_seconds_bucket{pod=\"a\",le=\"1\"}", "0+1x30"),
            ("keyward_revocation_seconds_bucket{pod=\"a\",le=\"10\"}", "0+1x30"),
            ("keyward_revocation_seconds_bucket{pod=\"a\",le=\"+Inf\"}", "0+1x30"),
        ],
    ),
    (
        "KeywardUnavailable",
        &[
            ("keyward_decisions_total{pod=\"a\",decision=\"allow\"}", "0+900x30"),
            ("keyward_decisions_total{pod=\"a\",decision=\"unavailable\"}", "0+100x30"),
        ],
        &[
            ("keyward_decisions_total{pod=\"a\",decision=\"allow\"}", "0+999x30"),
            ("keyward_decisions_total{pod=\"a\",decision=\"unavailable\"}", "0+1x30"),
        ],
    ),
    (
        "KeywardBackendDown",
        &[
            ("keyward_backend_up{pod=\"a\",backend=\"mail\"}", "0x30"),
            ("keyward_backend_up{pod=\"b\",backend=\"mail\"}", "0x30"),
        ],
        &[
            ("keyward_backend_up{pod=\"a\",backend=\"mail\"}", "0x30"),
            ("keyward_backend_up{pod=\"b\",backend=\"mail\"}", "1x30"),
        ],
    ),
    (
        "KeywardReloadRefused",
        &[("keyward_config_reloads_total{pod=\"a\",outcome=\"refused\"}", "0x25 1x5")],
        &[("keyward_config_reloads_total{pod=\"a\",outcome=\"applied\"}", "0x25 1x5")],
    ),
    (
        "KeywardDefect",
        &[("keyward_panics_total{pod=\"a\"}", "0x25 1x5")],
        &[("keyward_panics_total{pod=\"a\"}", "1x30")],
    ),
];

fn rules() -> &'static Value {
    let [rule] = of_kind(&FOLDERS["monitoring"], "PrometheusRule")[..] else { panic!("not one document of rules") };
    rule
}

fn alerts() -> Vec<&'static Value> {
    list(rules(), "/spec/groups").iter().flat_map(|group| list(group, "/rules")).collect()
}

/// Has promtool look at a file, which is JSON and so YAML, and says what it found.
fn promtool(command: [&str; 2], directory: &Path, file: &str) -> (bool, String) {
    let program = find_program("promtool").expect("promtool is not installed; it is in the Debian package prometheus");
    let output = Command::new(program).args(command).arg(file).current_dir(directory).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), said)
}

#[test]
fn promtool_takes_the_alerts_and_would_refuse_a_wrong_one() {
    let directory = tempfile::tempdir().unwrap();
    let right = rules()["spec"].to_string();
    for (content, expected) in [(right.clone(), true), (right.replace("sum by (", "sun by ("), false)] {
        std::fs::write(directory.path().join("rules.json"), content).unwrap();
        let (taken, said) = promtool(["check", "rules"], directory.path(), "rules.json");
        assert_eq!(taken, expected, "{said}");
    }
}

#[test]
fn every_alert_goes_off_on_what_it_is_about_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("rules.json"), rules()["spec"].to_string()).unwrap();
    let case = |alert: &str, series: &[Series], goes_off: bool| {
        let series: Vec<Value> =
            series.iter().map(|(series, values)| json!({"series": series, "values": values})).collect();
        let labels = format!("{{alertname=\"{alert}\"}}");
        let expected = if goes_off { vec![json!({"labels": labels, "value": 1})] } else { Vec::new() };
        json!({"interval": "1m", "input_series": series, "promql_expr_test": [{
            "expr": format!("count by (alertname) (ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})"),
            "eval_time": "30m",
            "exp_samples": expected,
        }]})
    };
    let cases: Vec<Value> =
        ALERTS.iter().flat_map(|(alert, bad, good)| [case(alert, bad, true), case(alert, good, false)]).collect();
    let tests = json!({"rule_files": ["rules.json"], "evaluation_interval": "1m", "tests": cases});
    std::fs::write(directory.path().join("tests.json"), tests.to_string()).unwrap();
    let (passed, said) = promtool(["test", "rules"], directory.path(), "tests.json");
    assert!(passed, "{said}");
    let named: BTreeSet<&str> = alerts().into_iter().map(|alert| text(alert, "/alert")).collect();
    assert_eq!(named, ALERTS.iter().map(|(alert, ..)| *alert).collect(), "each is tried");
}

#[test]
fn every_metric_that_is_asked_for_is_one_that_keyward_has() {
    let metrics = Metrics::new();
    let (_portal, _backend, _store) = (metrics.portal("customers"), metrics.backend("mail"), metrics.store());
    let known = metrics.render();
    let names = Regex::new(r"keyward_[a-z_]+").unwrap();
    let adapter = std::fs::read_to_string(example("monitoring/adapter-values.yaml")).unwrap();
    let asked = alerts().into_iter().map(|alert| text(alert, "/expr").to_owned()).chain([adapter.clone()]);
    let mut seen = 0;
    for expression in asked {
        for name in names.find_iter(&expression).map(|found| found.as_str()) {
            let metric = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(known.contains(&format!("# TYPE {metric} ")), "{name} in {expression}");
            seen += 1;
        }
    }
    assert!(seen > ALERTS.len(), "only {seen}");
}

/// The adapter's values are no document of Kubernetes', and have no schema that can be had. These are the fields of its
/// own documents (`docs/config.md` of its release 0.12) that are used.
#[test]
fn the_autoscaler_asks_for_the_metric_that_the_adapter_makes() {
    let values = documents(&std::fs::read_to_string(example("monitoring/adapter-values.yaml")).unwrap());
    let [rule] = list(&values[0], "/rules/custom") else { panic!("{values:?}") };
    let keys: Vec<&String> = rule.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["metricsQuery", "name", "resources", "seriesQuery"]);
    let pattern = Regex::new(text(rule, "/name/matches")).unwrap();
    let series = text(rule, "/seriesQuery").split('{').next().unwrap();
    let made = pattern.replace(series, text(rule, "/name/as"));
    let [autoscaler] = of_kind(&FOLDERS["shared"], "HorizontalPodAutoscaler")[..] else { panic!("not one autoscaler") };
    let asked = list(autoscaler, "/spec/metrics").iter().find(|metric| metric["type"] == "Pods").unwrap();
    assert_eq!(made, text(asked, "/pods/metric/name"));
}
