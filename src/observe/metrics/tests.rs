use super::*;

#[test]
fn series_of_known_names_exist_from_the_start() {
    let metrics = Metrics::new();
    let backend = metrics.backend("mail");
    let _ = metrics.portal("customers");
    for later in ["keyward_account_changes_total", "keyward_logouts_total"] {
        assert!(!metrics.render().contains(later), "it is not known yet what can become of {later}");
    }
    backend.show_account_changes();
    backend.show_logouts(true);
    metrics.backend("shop").show_logouts(false);
    assert!(!metrics.render().contains("keyward_store"), "there is none");
    let _ = metrics.store();
    let _ = metrics.store();
    let text = metrics.render();
    for series in [
        r#"keyward_decisions_total{decision="allow",door="auth-request",reason="ok"} 0"#,
        r#"keyward_key_lookups_total{backend="mail",result="joined"} 0"#,
        r#"keyward_logouts_total{backend="mail",cause="idle",outcome="done"} 0"#,
        r#"keyward_portal_validations_total{portal="customers",verdict="genuine"} 0"#,
        r#"keyward_logouts_total{backend="shop",cause="idle",outcome="left"} 0"#,
        r#"keyward_account_changes_total{backend="mail",change="put",outcome="done"} 0"#,
        r#"keyward_backend_up{backend="mail"} 1"#,
        r#"keyward_config_reloads_total{outcome="applied"} 0"#,
        r#"keyward_store_calls_total{outcome="timed_out"} 0"#,
        "keyward_store_up 0",
        "keyward_store_seconds_count 0",
    ] {
        assert!(text.contains(series), "{series} is missing in\n{text}");
    }
    for series in [
        r#"keyward_logouts_total{backend="mail",cause="idle",outcome="left"}"#,
        r#"keyward_logouts_total{backend="shop",cause="idle",outcome="done"}"#,
        r#"keyward_account_changes_total{backend="shop""#,
    ] {
        assert!(!text.contains(series), "{series} cannot be, and is in\n{text}");
    }
}

#[test]
fn a_decision_is_counted_under_its_own_labels() {
    let metrics = Metrics::new();
    metrics.door(Door::ForwardAuth).count(Ruling::Deny, Reason::Role);
    let series = r#"keyward_decisions_total{decision="deny",door="forward-auth",reason="role"} 1"#;
    assert!(metrics.render().contains(series));
}
