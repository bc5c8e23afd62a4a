//! That whatever a manifest names is there: within the folder that is applied, or made by a command of the README.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::manifests::{FOLDERS, containers, documents, example, list, name, of_kind, pods, text};

/// Secrets that the README has people make: by name, and in each by key the file that it is made of.
pub fn secrets() -> BTreeMap<String, BTreeMap<String, String>> {
    let readme = std::fs::read_to_string(example("README.md")).unwrap().replace("\\\n", " ");
    let mut found = BTreeMap::new();
    for line in readme.lines().filter_map(|line| line.split_once("create secret ").map(|(_, rest)| rest)) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let file = |(option, key): (&str, &str)| {
            let file = words.iter().find_map(|word| word.strip_prefix(option)?.strip_prefix('='));
            (key.to_owned(), file.unwrap().to_owned())
        };
        let files = match words[0] {
            "tls" => [("--cert", "tls.crt"), ("--key", "tls.key")].map(file).into(),
            _ => words.iter().filter_map(|word| word.strip_prefix("--from-file=")).map(key_and_file).collect(),
        };
        found.insert(words[1].to_owned(), files);
    }
    found
}

/// Of `key=file`, or of a file that is its own key.
fn key_and_file(words: &str) -> (String, String) {
    let (key, file) = words.split_once('=').unwrap_or((words, words));
    (key.to_owned(), file.to_owned())
}

fn named<'a>(documents: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
    of_kind(documents, kind).into_iter().find(|document| document["metadata"]["name"] == *name)
}

/// Whether labels are all among others.
fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().unwrap();
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn selected<'a>(documents: &'a [Value], selector: &Value) -> Vec<&'a Value> {
    pods(documents).into_iter().filter(|pod| selects(selector, &pod["metadata"]["labels"])).collect()
}

/// The number of a port of these pods, given by name or number.
fn port_of(pods: &[&Value], port: &Value) -> Option<u64> {
    let ports = pods.iter().flat_map(|pod| containers(pod)).flat_map(|container| list(container, "/ports"));
    let found = ports.into_iter().find(|known| known["name"] == *port || known["containerPort"] == *port);
    found.and_then(|port| port["containerPort"].as_u64())
}

/// Whether a Service has this port, by name or number.
fn offers(documents: &[Value], service: &str, port: &Value) -> bool {
    let service = named(documents, "Service", service);
    let known =
        |service: &Value| list(service, "/spec/ports").iter().any(|own| own["name"] == *port || own["port"] == *port);
    service.is_some_and(known)
}

#[test]
fn what_a_pod_mounts_is_there() {
    let secrets = secrets();
    for (folder, documents) in FOLDERS.iter() {
        for pod in pods(documents) {
            let mut volumes = Vec::new();
            for volume in list(pod, "/spec/volumes") {
                volumes.push(text(volume, "/name"));
                let sources = list(volume, "/projected/sources").iter().map(|source| &source["configMap"]);
                for map in sources.chain(volume.get("configMap")) {
                    let known = named(documents, "ConfigMap", text(map, "/name"));
                    let known = known.unwrap_or_else(|| panic!("{folder}: there is no ConfigMap {}", map["name"]));
                    for item in list(map, "/items") {
                        assert!(known["data"].get(text(item, "/key")).is_some(), "{folder}: {item}");
                    }
                }
                if let Some(secret) = volume.get("secret") {
                    assert!(secrets.contains_key(text(secret, "/secretName")), "{folder}: nobody makes {secret}");
                }
            }
            for mount in containers(pod).into_iter().flat_map(|container| list(container, "/volumeMounts")) {
                assert!(volumes.contains(&text(mount, "/name")), "{folder}: {mount}");
            }
        }
    }
}

#[test]
fn labels_and_ports_lead_to_pods() {
    let mut services = 0;
    for (folder, documents) in FOLDERS.iter() {
        for deployment in of_kind(documents, "Deployment") {
            let (selector, pod) = (&deployment["spec"]["selector"]["matchLabels"], &deployment["spec"]["template"]);
            assert!(selects(selector, &pod["metadata"]["labels"]), "{folder}: {}", name(deployment));
            for container in containers(pod) {
                for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                    let probe = &container[probe];
                    let port = probe.pointer("/httpGet/port").or_else(|| probe.pointer("/tcpSocket/port"));
                    let own = |port: &Value| list(container, "/ports").iter().any(|own| own["name"] == *port);
                    assert!(probe.is_null() || port.is_some_and(own), "{folder}: {probe}");
                }
            }
        }
        for service in of_kind(documents, "Service") {
            let pods = selected(documents, &service["spec"]["selector"]);
            assert_eq!(pods.len(), 1, "{folder}: {}", name(service));
            for port in list(service, "/spec/ports") {
                // Elsewhere people name the number that the pod listens on, and the Service's own is the same.
                assert_eq!(port_of(&pods, &port["targetPort"]), port["port"].as_u64(), "{folder}: {port}");
            }
            services += 1;
        }
        for budget in of_kind(documents, "PodDisruptionBudget") {
            assert_eq!(selected(documents, &budget["spec"]["selector"]["matchLabels"]).len(), 1, "{folder}");
        }
    }
    assert!(services >= 12, "only {services} Services");
    let [monitor] = of_kind(&FOLDERS["monitoring"], "ServiceMonitor")[..] else { panic!("not one monitor") };
    for folder in ["shared", "sidecar", "single"] {
        let services = of_kind(&FOLDERS[folder], "Service").into_iter();
        let (selector, namespace) = (&monitor["spec"]["selector"]["matchLabels"], &monitor["metadata"]["namespace"]);
        let found: Vec<&Value> = services.filter(|service| selects(selector, &service["metadata"]["labels"])).collect();
        let [service] = found[..] else { panic!("{folder}: the monitor finds {found:?}") };
        assert_eq!(&service["metadata"]["namespace"], namespace);
        let port = &monitor["spec"]["endpoints"][0]["port"];
        assert!(offers(&FOLDERS[folder], text(service, "/metadata/name"), port), "{folder}");
    }
}

/// The pods here that one side of a rule lets in or is let out to, if it is about pods of the same namespace.
fn here<'a>(documents: &'a [Value], peer: &Value) -> Option<Vec<&'a Value>> {
    let selector = peer.pointer("/podSelector/matchLabels").filter(|_| peer.get("namespaceSelector").is_none());
    selector.map(|selector| selected(documents, selector))
}

#[test]
fn network_policies_are_about_pods_that_are_there_and_ports_that_they_have() {
    for (folder, documents) in FOLDERS.iter() {
        let policies = of_kind(documents, "NetworkPolicy");
        for policy in &policies {
            let pods = selected(documents, &policy["spec"]["podSelector"]["matchLabels"]);
            // One of the two layouts has no pod of Keyward's own, and webmail/ has none of anybody else's.
            assert_eq!(pods.len(), 1, "{folder}: {}", name(policy));
            for rule in list(policy, "/spec/ingress") {
                assert!(!list(rule, "/from").is_empty(), "{folder}: {rule} lets everybody in");
                assert!(!list(rule, "/ports").is_empty(), "{folder}: {rule} is about every port");
                for port in list(rule, "/ports") {
                    assert!(port_of(&pods, &port["port"]).is_some(), "{folder}: {port}");
                }
            }
            for rule in list(policy, "/spec/egress") {
                for targets in list(rule, "/to").iter().filter_map(|peer| here(documents, peer)) {
                    // In shared/ alone webmail and store are not there yet, and in single/ no store is.
                    let alone = ["shared", "single"].contains(&folder.as_str());
                    for port in list(rule, "/ports").iter().filter(|_| !alone) {
                        assert!(port_of(&targets, &port["port"]).is_some(), "{folder}: {rule}");
                    }
                }
            }
        }
        for pod in pods(documents) {
            let labels = &pod["metadata"]["labels"];
            let about = |policy: &&&Value| selects(&policy["spec"]["podSelector"]["matchLabels"], labels);
            let types = policies.iter().filter(about).flat_map(|policy| list(policy, "/spec/policyTypes"));
            let types: Vec<&Value> = types.collect();
            assert!(types.iter().any(|kind| *kind == "Ingress"), "{folder}: everybody reaches {labels}");
            let keyward = containers(pod).iter().any(|container| container["name"] == "keyward");
            assert!(!keyward || types.iter().any(|kind| *kind == "Egress"), "{folder}: {labels} reaches everybody");
        }
    }
}

#[test]
fn only_the_web_servers_pods_and_those_that_measure_reach_keyward() {
    for door in ["ingress-nginx", "traefik", "envoy-gateway", "istio"] {
        let mut who: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
        for policy in of_kind(&FOLDERS[door], "NetworkPolicy") {
            if policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] != "keyward" {
                continue;
            }
            for rule in list(policy, "/spec/ingress") {
                for port in list(rule, "/ports") {
                    who.entry(port["port"].as_u64().unwrap()).or_default().extend(list(rule, "/from"));
                }
            }
        }
        let asked = if ["envoy-gateway", "istio"].contains(&door) { vec![8420, 8422] } else { vec![8420] };
        assert_eq!(who.keys().copied().filter(|port| *port != 9420).collect::<Vec<_>>(), asked, "{door}");
        for port in asked {
            let [server] = who[&port][..] else { panic!("{door}: {who:?}") };
            // Both, and in one entry: two entries would mean either.
            let both = server.get("namespaceSelector").is_some() && server.get("podSelector").is_some();
            assert!(both, "{door}: {server}");
        }
        let [monitoring] = who[&9420][..] else { panic!("{door}: {who:?}") };
        assert!(monitoring.to_string().contains("\"monitoring\""), "{door}: {monitoring}");
    }
    let alone = of_kind(&FOLDERS["shared"], "NetworkPolicy");
    assert!(
        !alone.iter().any(|policy| policy["spec"]["ingress"].to_string().contains("8420")),
        "nobody asks by shared/"
    );
}

/// What a route leads to: the Service and its port.
fn backends(document: &Value) -> Vec<(String, Value)> {
    let all = |pointer: &str, within: &str| -> Vec<Value> {
        list(document, pointer).iter().flat_map(|rule| list(rule, within).to_vec()).collect()
    };
    let plain = |backend: Value| (text(&backend, "/name").to_owned(), backend["port"].clone());
    match text(document, "/kind") {
        "Ingress" => all("/spec/rules", "/http/paths")
            .into_iter()
            .map(|path| {
                (text(&path, "/backend/service/name").to_owned(), path["backend"]["service"]["port"]["name"].clone())
            })
            .collect(),
        "HTTPRoute" => all("/spec/rules", "/backendRefs").into_iter().map(plain).collect(),
        "IngressRoute" => all("/spec/routes", "/services").into_iter().map(plain).collect(),
        "SecurityPolicy" => list(document, "/spec/extAuth/grpc/backendRefs").iter().cloned().map(plain).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn routes_lead_to_services_that_are_there_and_policies_to_routes() {
    let secrets = secrets();
    let certificates = Regex::new("\"(?:secretName|certificateRefs)\":(?:\\[\\{[^]]*\"name\":)?\"([^\"]+)\"").unwrap();
    for door in ["ingress-nginx", "traefik", "envoy-gateway", "istio"] {
        let documents = &FOLDERS[door];
        let found: Vec<(String, Value)> = documents.iter().flat_map(backends).collect();
        for (service, port) in &found {
            assert!(offers(documents, service, port), "{door}: {service} {port}");
        }
        for service in ["keyward", "webmail"] {
            assert!(found.iter().any(|(name, _)| name == service), "{door}: nothing leads to {service}");
        }
        for route in of_kind(documents, "IngressRoute") {
            for used in list(route, "/spec/routes").iter().flat_map(|rule| list(rule, "/middlewares")) {
                assert!(named(documents, "Middleware", text(used, "/name")).is_some(), "{door}: {used}");
            }
        }
        for route in of_kind(documents, "HTTPRoute") {
            let [parent] = list(route, "/spec/parentRefs") else { panic!("{door}: {route}") };
            let gateway = named(documents, "Gateway", text(parent, "/name")).unwrap();
            let namespace = parent.get("namespace").unwrap_or(&route["metadata"]["namespace"]);
            assert_eq!(&gateway["metadata"]["namespace"], namespace, "{door}");
        }
        for policy in documents.iter().filter(|document| document.pointer("/spec/targetRefs").is_some()) {
            for target in list(policy, "/spec/targetRefs") {
                let found = named(documents, text(target, "/kind"), text(target, "/name"));
                let namespace = found.map(|found| &found["metadata"]["namespace"]);
                assert_eq!(namespace, Some(&policy["metadata"]["namespace"]), "{door}: {target}");
            }
        }
        for class in of_kind(documents, "Gateway") {
            let class = text(class, "/spec/gatewayClassName");
            // Istio makes its own.
            assert!(class == "istio" || named(documents, "GatewayClass", class).is_some(), "{door}: {class}");
        }
        let text = serde_json::to_string(documents).unwrap();
        let named: Vec<&str> = certificates.captures_iter(&text).map(|found| found.get(1).unwrap().as_str()).collect();
        assert!(named.contains(&"webmail-tls") && named.contains(&"keyward"), "{door}: {named:?}");
        for secret in named {
            assert!(secrets.contains_key(secret), "{door}: nobody makes the secret {secret}");
        }
    }
}

#[test]
fn every_address_within_the_cluster_is_that_of_a_service_and_a_door_where_keyward_is_asked() {
    let address = Regex::new(r"\b([a-z-]+)\.mail\.svc\.cluster\.local(?::(\d+)([/\w-]*))?").unwrap();
    let mut doors = Vec::new();
    for folder in ["ingress-nginx", "traefik", "envoy-gateway", "istio"] {
        let text = serde_json::to_string(&FOLDERS[folder]).unwrap();
        for found in address.captures_iter(&text) {
            let port: Value = found[2].parse::<u64>().unwrap().into();
            assert!(offers(&FOLDERS[folder], &found[1], &port), "{folder}: {}", &found[0]);
            if &found[1] == "keyward" {
                doors.push(found[3].to_owned());
            }
        }
    }
    assert_eq!(doors, ["/authz/auth-request-plain", "/authz/forward-auth-plain"]);
    let values = documents(&std::fs::read_to_string(example("istio/istiod-values.yaml")).unwrap());
    let provider = &values[0]["meshConfig"]["extensionProviders"][0]["envoyExtAuthzGrpc"];
    assert_eq!((&provider["service"], &provider["port"]), (&"keyward.mail.svc.cluster.local".into(), &8422.into()));
    assert!(offers(&FOLDERS["istio"], "keyward", &provider["port"]));
    let [policy] = of_kind(&FOLDERS["envoy-gateway"], "SecurityPolicy")[..] else { panic!("not one policy") };
    assert_eq!(backends(policy), [("keyward".to_owned(), 8422.into())]);
}
