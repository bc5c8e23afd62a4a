//! What rights a pod is left with, and that it says when it is well.

use serde_json::{Value, json};

use crate::manifests::{FOLDERS, containers, list, name, of_kind, pods, setting, text};

/// Kinds that make pods, and those that may be here beside. A new one must be looked at.
const WITHOUT_PODS: [&str; 16] = [
    "AuthorizationPolicy",
    "ConfigMap",
    "Gateway",
    "GatewayClass",
    "HTTPRoute",
    "HorizontalPodAutoscaler",
    "Ingress",
    "IngressRoute",
    "Middleware",
    "Namespace",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "PrometheusRule",
    "SecurityPolicy",
    "Service",
    "ServiceMonitor",
];

/// What must stand in each container, whatever it is for.
fn lacking_in_container(pod: &Value, container: &Value) -> Vec<String> {
    let said = |pointer: &str| container.pointer(pointer);
    let mut lacking = Vec::new();
    let mut must = |right: bool, what: &str| {
        if !right {
            lacking.push(what.to_owned());
        }
    };
    must(said("/securityContext/allowPrivilegeEscalation") == Some(&json!(false)), "allowPrivilegeEscalation");
    must(said("/securityContext/readOnlyRootFilesystem") == Some(&json!(true)), "readOnlyRootFilesystem");
    must(said("/securityContext/capabilities") == Some(&json!({"drop": ["ALL"]})), "capabilities");
    must(said("/securityContext/privileged").is_none(), "privileged");
    for id in ["runAsUser", "runAsGroup"] {
        let own = said(&format!("/securityContext/{id}"));
        let id_of = own.or_else(|| pod.pointer(&format!("/spec/securityContext/{id}"))).and_then(Value::as_u64);
        must(id_of.is_some_and(|id| id > 0), id);
    }
    for kind in ["requests", "limits"] {
        let named: Vec<&str> = said(&format!("/resources/{kind}"))
            .and_then(Value::as_object)
            .map(|map| map.keys().map(String::as_str).collect())
            .unwrap_or_default();
        must(named == ["cpu", "memory"], kind);
    }
    must(said("/startupProbe").is_some() && said("/readinessProbe").is_some(), "probes");
    let image = said("/image").and_then(Value::as_str).unwrap_or_default();
    must(image.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/') && tag != "latest"), "image");
    // A secret in the environment is in every crash report, and in what `describe` shows.
    must(said("/envFrom").is_none() && list(container, "/env").iter().all(|entry| entry.get("value").is_some()), "env");
    lacking
}

/// What must stand in each pod.
fn lacking(pod: &Value) -> Vec<String> {
    let mut lacking = Vec::new();
    for (pointer, expected) in [
        ("/spec/automountServiceAccountToken", json!(false)),
        ("/spec/enableServiceLinks", json!(false)),
        ("/spec/securityContext/runAsNonRoot", json!(true)),
        ("/spec/securityContext/seccompProfile", json!({"type": "RuntimeDefault"})),
    ] {
        if pod.pointer(pointer) != Some(&expected) {
            lacking.push(pointer.to_owned());
        }
    }
    for never in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
        if pod["spec"].get(never).is_some() {
            lacking.push(never.to_owned());
        }
    }
    for volume in list(pod, "/spec/volumes") {
        let kinds: Vec<&str> =
            volume.as_object().unwrap().keys().map(String::as_str).filter(|key| *key != "name").collect();
        match kinds[..] {
            ["configMap" | "projected" | "emptyDir"] => {}
            // 0400, for the user; fsGroup has it readable by that group instead.
            ["secret"]
                if volume["secret"]["defaultMode"] == 0o400 && pod["spec"]["securityContext"]["fsGroup"].is_u64() => {}
            _ => lacking.push(format!("volume {volume}")),
        }
    }
    for container in containers(pod) {
        lacking.extend(lacking_in_container(pod, container));
    }
    lacking
}

#[test]
fn no_pod_has_a_right_that_it_does_not_need() {
    let mut seen = 0;
    for (folder, documents) in FOLDERS.iter() {
        for document in documents {
            let kind = text(document, "/kind");
            assert!(kind == "Deployment" || WITHOUT_PODS.contains(&kind), "{folder}: {kind} is not known here");
        }
        for pod in pods(documents) {
            assert_eq!(lacking(pod), [] as [&str; 0], "{folder}: {}", pod["metadata"]);
            seen += containers(pod).len();
        }
    }
    assert!(seen >= 10, "only {seen} containers");
}

#[test]
fn each_thing_that_must_stand_in_a_pod_is_missed_when_it_does_not() {
    let pod = pods(&FOLDERS["shared"])[0];
    for pointer in [
        "/spec/automountServiceAccountToken",
        "/spec/enableServiceLinks",
        "/spec/securityContext/runAsNonRoot",
        "/spec/securityContext/runAsUser",
        "/spec/securityContext/runAsGroup",
        "/spec/securityContext/fsGroup",
        "/spec/securityContext/seccompProfile",
        "/spec/volumes/1/secret/defaultMode",
        "/spec/containers/0/image",
        "/spec/containers/0/startupProbe",
        "/spec/containers/0/readinessProbe",
        "/spec/containers/0/resources/requests",
        "/spec/containers/0/resources/limits",
        "/spec/containers/0/resources/limits/memory",
        "/spec/containers/0/securityContext/allowPrivilegeEscalation",
        "/spec/containers/0/securityContext/readOnlyRootFilesystem",
        "/spec/containers/0/securityContext/capabilities",
    ] {
        let mut without = pod.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let removed = without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        assert!(removed.is_some(), "{pointer} is not there");
        assert!(!lacking(&without).is_empty(), "{pointer} is not missed");
    }
}

/// `[limits] drain_timeout` in seconds; its default where nothing is written.
fn drain_timeout(config: &str) -> u64 {
    setting(config, "drain_timeout").unwrap_or("10s").strip_suffix('s').unwrap().parse().unwrap()
}

#[test]
fn a_pod_is_given_the_time_that_keyward_takes_to_end() {
    let mut seen = 0;
    for (folder, documents) in FOLDERS.iter() {
        for deployment in of_kind(documents, "Deployment") {
            let pod = &deployment["spec"]["template"];
            let all = containers(pod);
            if !all.iter().any(|container| container["name"] == "keyward") {
                continue;
            }
            let config =
                of_kind(documents, "ConfigMap").into_iter().find_map(|map| map["data"]["keyward.toml"].as_str());
            let pause =
                |container: &&Value| container.pointer("/lifecycle/preStop/sleep/seconds").and_then(Value::as_u64);
            let pauses: u64 = all.iter().filter_map(pause).sum();
            assert!(pauses > 0, "{folder}: nobody waits until the endpoints were told");
            // Requests that run may take it once, and sign-outs under way once more.
            let needed = pauses + 2 * drain_timeout(config.unwrap());
            let given = pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
            assert!(given > needed, "{folder}: {given} s for {needed} s");
            seen += 1;
        }
    }
    assert!(seen >= 7, "only {seen} pods with Keyward");
}

/// The Deployment whose pods run Keyward, and its `keyward.toml`.
fn keyward_of(documents: &[Value]) -> Option<(&Value, &str)> {
    let runs_keyward = |deployment: &&Value| {
        containers(&deployment["spec"]["template"]).iter().any(|container| container["name"] == "keyward")
    };
    let deployment = of_kind(documents, "Deployment").into_iter().find(runs_keyward)?;
    let config = of_kind(documents, "ConfigMap").into_iter().find_map(|map| map["data"]["keyward.toml"].as_str());
    Some((deployment, config.unwrap()))
}

#[test]
fn there_are_several_replicas_where_they_share_a_store_and_never_two_where_they_do_not() {
    let mut seen = [0, 0];
    for (folder, documents) in FOLDERS.iter() {
        let Some((deployment, config)) = keyward_of(documents) else { continue };
        let (spec, autoscalers) = (&deployment["spec"], of_kind(documents, "HorizontalPodAutoscaler"));
        let shares = config.contains("\n[store]\nkind") || config.contains("\n[store]\n#");
        if shares {
            let [autoscaler] = autoscalers[..] else { panic!("{folder}: {autoscalers:?}") };
            let target = &autoscaler["spec"]["scaleTargetRef"];
            let [kind, name] = ["/kind", "/metadata/name"].map(|pointer| text(deployment, pointer));
            assert_eq!((&target["kind"], &target["name"]), (&json!(kind), &json!(name)), "{folder}");
            assert_eq!(autoscaler["metadata"]["namespace"], deployment["metadata"]["namespace"], "{folder}");
            // A number in both places is set back by each "apply".
            assert!(spec.get("replicas").is_none(), "{folder}");
            assert_eq!(autoscaler["spec"]["minReplicas"], 3, "{folder}");
            assert_eq!(
                spec["strategy"],
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}),
                "{folder}"
            );
            let spread = list(deployment, "/spec/template/spec/topologySpreadConstraints");
            assert_eq!(spread.len(), 2, "{folder}");
            for constraint in spread {
                assert_eq!(constraint["labelSelector"], spec["selector"], "{folder}");
            }
            assert_eq!(of_kind(documents, "PodDisruptionBudget").len(), 1, "{folder}");
        } else {
            assert_eq!((autoscalers.len(), &spec["replicas"]), (0, &json!(1)), "{folder}");
            assert_eq!(spec["strategy"], json!({"type": "Recreate"}), "{folder}: {}", name(deployment));
        }
        seen[usize::from(shares)] += 1;
    }
    assert_eq!(seen, [2, 5], "folders without a store, and with one");
}

#[test]
fn the_sidecar_starts_before_the_others_and_ends_after_them() {
    let documents = &FOLDERS["sidecar"];
    let [pod] = pods(documents)[..] else { panic!("not one pod") };
    let [keyward] = list(pod, "/spec/initContainers") else { panic!("not one sidecar") };
    assert_eq!((&keyward["name"], &keyward["restartPolicy"]), (&json!("keyward"), &json!("Always")));
}
