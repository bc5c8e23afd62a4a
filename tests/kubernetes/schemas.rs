//! What the API takes. A field that nobody knows is dropped or refused by a cluster, and one of them may be the one that
//! has Keyward asked at all: here each is a mistake, and a test misspells every single one to see it noticed.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;

use serde_json::{Value, json};

use crate::manifests::{FOLDERS, distinct, documents, example, kustomize, list, name, of_kind, text, tool};

/// The oldest version that the manifests are for, and the newest that there are schemas of.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

/// Kinds that are not Kubernetes' own, and where their types are.
const OTHERS: [(&str, &str, &str); 9] = [
    ("gateway.networking.k8s.io/v1", "GatewayClass", "gateway-api"),
    ("gateway.networking.k8s.io/v1", "Gateway", "gateway-api"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute", "gateway-api"),
    ("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", "envoy-gateway"),
    ("security.istio.io/v1", "AuthorizationPolicy", "istio"),
    ("traefik.io/v1alpha1", "Middleware", "traefik"),
    ("traefik.io/v1alpha1", "IngressRoute", "traefik"),
    ("monitoring.coreos.com/v1", "PrometheusRule", "prometheus-operator"),
    ("monitoring.coreos.com/v1", "ServiceMonitor", "prometheus-operator"),
];

fn module_of(document: &Value) -> Option<String> {
    let (version, kind) = (text(document, "/apiVersion"), text(document, "/kind"));
    let known = OTHERS.iter().find(|(known, name, _)| (*known, *name) == (version, kind));
    known.map(|(version, _, package)| format!("@kubernetes-models/{package}/{version}"))
}

/// Of each document what Kubernetes' schemas find wrong with it.
fn mistakes(version: &str, documents: &[Value]) -> Vec<Option<String>> {
    let answer =
        crate::manifests::script("schema.py", &json!({"version": version, "documents": documents}).to_string());
    let answer: Vec<Option<String>> = serde_json::from_value(answer).unwrap();
    assert_eq!(answer.len(), documents.len());
    answer
}

/// Where a type is one of several, the compiler overlooks an unknown field deep within. This has the fields of all of
/// them, and no others.
const ALL_OF: &str = "\
    type Keys<T> = T extends unknown ? keyof T : never;\n\
    type Field<T, K extends PropertyKey> = T extends { [key in K]?: infer V } ? V : never;\n\
    type AllOf<T> = [T] extends [string | number | boolean | null | undefined] ? T\
    : [NonNullable<T>] extends [ReadonlyArray<infer U>] ? AllOf<U>[]\
    : { [K in Keys<NonNullable<T>>]?: AllOf<Field<NonNullable<T>, K>> };\n\
    export {};\n";

/// Of each document what the TypeScript compiler finds wrong with it, which is told by its line.
fn type_mistakes(documents: &[(String, Value)]) -> Vec<Option<String>> {
    let mut source = String::new();
    for (line, (module, document)) in documents.iter().enumerate() {
        let kind = text(document, "/kind");
        write!(source, "const document{line}: import(\"{module}\").I{kind} = {document}; ").unwrap();
        writeln!(source, "const all{line}: AllOf<import(\"{module}\").I{kind}> = {document};").unwrap();
    }
    source.push_str(ALL_OF);
    // Within, because modules are looked for in the folders above.
    let directory = tempfile::tempdir_in(tool("")).unwrap();
    std::fs::write(directory.path().join("check.ts"), source).unwrap();
    let options = json!({"compilerOptions": {
        "noEmit": true, "strict": true, "target": "es2022", "module": "nodenext", "types": [], "pretty": false,
        // Saves half of the time. Whatever their files lack would be any type, and a misspelt field in it not noticed.
        "skipLibCheck": true,
    }, "files": ["check.ts"]});
    std::fs::write(directory.path().join("tsconfig.json"), options.to_string()).unwrap();
    let compiler = tool("node_modules/typescript/bin/tsc");
    let mut compile = Command::new("node");
    let output = compile.arg(compiler).arg("-p").arg(directory.path()).current_dir(directory.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let mut found = vec![None; documents.len()];
    for line in said.lines().filter(|line| !line.starts_with(' ')) {
        // Anything that is not about a document, such as a module that is missing, would make the rest mean nothing.
        let place = line.strip_prefix("check.ts(").and_then(|rest| rest.split_once(','));
        let number = place.and_then(|(number, _)| number.parse::<usize>().ok());
        let about_a_document = number.filter(|_| !line.contains("error TS2307") && !line.contains("error TS2694"));
        let number = about_a_document.unwrap_or_else(|| panic!("the compiler says: {line}"));
        found[number - 1].get_or_insert_with(|| line.to_owned());
    }
    assert_eq!(output.status.success(), found.iter().all(Option::is_none), "{said}{:?}", output.stderr);
    found
}

/// Kubernetes' own documents, and those of others with their module.
fn sorted() -> (Vec<Value>, Vec<(String, Value)>) {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for (_, document) in distinct() {
        match module_of(document) {
            Some(module) => others.push((module, document.clone())),
            None => own.push(document.clone()),
        }
    }
    (own, others)
}

#[test]
fn every_document_is_one_that_the_api_takes() {
    let (own, others) = sorted();
    for version in VERSIONS {
        for (document, mistake) in own.iter().zip(mistakes(version, &own)) {
            assert_eq!(mistake, None, "{} with Kubernetes {version}", name(document));
        }
    }
    for ((_, document), mistake) in others.iter().zip(type_mistakes(&others)) {
        assert_eq!(mistake, None, "{}", name(document));
    }
    let kinds: BTreeSet<&str> = others.iter().map(|(_, document)| text(document, "/kind")).collect();
    assert_eq!(kinds, OTHERS.iter().map(|(_, kind, _)| *kind).collect(), "every kind is there, or is in vain");
    assert!(own.len() > 15, "only {} documents of Kubernetes' own", own.len());
}

/// Whether the keys of this map are anybody's choice.
fn is_free(key: &str, map: &Value) -> bool {
    let texts = |map: &Value| map.as_object().is_some_and(|map| map.values().all(Value::is_string));
    ["labels", "annotations", "matchLabels", "data"].contains(&key)
        || (["selector", "requests", "limits"].contains(&key) && texts(map))
}

/// Where in a value there are fields that have one right name.
fn fields(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, within) in map {
                let path = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                if !is_free(key, within) {
                    fields(within, &path, found);
                }
                found.push(path);
            }
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(index, value)| fields(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// A field as the schema has it: of its list, any entry.
fn field_of(kind: &str, path: &str) -> String {
    let step = |step: &str| if step.parse::<usize>().is_ok() { "*".to_owned() } else { step.to_owned() };
    format!("{kind}{}", path.split('/').map(step).collect::<Vec<_>>().join("/"))
}

/// The document once for each of its fields that was not seen yet, with that one misspelt. Which kind it is must stay,
/// or nobody could look.
fn misspelt(document: &Value, seen: &mut BTreeSet<String>) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    fields(document, "", &mut found);
    found.retain(|path| {
        path != "/apiVersion" && path != "/kind" && seen.insert(field_of(text(document, "/kind"), path))
    });
    let misspell = |path: String| {
        let mut wrong = document.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let map = wrong.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        let value = map.remove(key).unwrap();
        map.insert(format!("{key}x"), value);
        (path, wrong)
    };
    found.into_iter().map(misspell).collect()
}

#[test]
fn every_single_field_is_noticed_when_it_is_misspelt() {
    let (own, others) = sorted();
    let mut seen = BTreeSet::new();
    let wrong: Vec<(String, Value)> = own.iter().flat_map(|document| misspelt(document, &mut seen)).collect();
    let found = mistakes(VERSIONS[1], &wrong.iter().map(|(_, document)| document.clone()).collect::<Vec<_>>());
    for ((path, document), mistake) in wrong.iter().zip(found) {
        assert!(mistake.is_some(), "{path}x is taken in {}", name(document));
    }
    assert!(wrong.len() > 150, "only {} of Kubernetes' own fields", wrong.len());

    let (mut paths, mut documents) = (Vec::new(), Vec::new());
    for (module, document) in &others {
        for (path, wrong) in misspelt(document, &mut seen) {
            paths.push(path);
            documents.push((module.clone(), wrong));
        }
    }
    for ((path, (_, document)), mistake) in paths.iter().zip(&documents).zip(type_mistakes(&documents)) {
        assert!(mistake.is_some(), "{path}x is taken in {}", document["kind"]);
    }
    assert!(paths.len() > 80, "only {} fields of others", paths.len());
    println!("{} fields of Kubernetes' own kinds and {} of others were misspelt", wrong.len(), paths.len());
}

#[test]
fn a_kind_that_nobody_knows_is_a_mistake() {
    let unknown = json!({"apiVersion": "example.test/v1", "kind": "Surprise", "metadata": {"name": "x"}});
    assert!(mistakes(VERSIONS[1], &[unknown])[0].is_some());
}

#[test]
fn kubectl_refuses_a_kustomization_with_a_misspelt_field_and_every_file_is_in_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = std::fs::read_to_string(example("monitoring/kustomization.yaml")).unwrap();
    std::fs::copy(example("monitoring/service-monitor.yaml"), directory.path().join("service-monitor.yaml")).unwrap();
    std::fs::copy(example("monitoring/rules.yaml"), directory.path().join("rules.yaml")).unwrap();
    for (content, right) in [(file.clone(), true), (file.replace("resources", "resourcesx"), false)] {
        std::fs::write(directory.path().join("kustomization.yaml"), content).unwrap();
        assert_eq!(kustomize(directory.path()).status.success(), right);
    }
    for folder in FOLDERS.keys() {
        let kustomization = std::fs::read_to_string(example(folder).join("kustomization.yaml")).unwrap();
        for file in std::fs::read_dir(example(folder)).unwrap().map(|entry| entry.unwrap().file_name()) {
            let file = file.to_str().unwrap();
            let names = |line: &str| ["- ", "- path: "].iter().any(|list| line.trim().strip_prefix(list) == Some(file));
            let apart = ["kustomization.yaml", "istiod-values.yaml", "adapter-values.yaml"].contains(&file);
            assert!(apart || kustomization.lines().any(names), "{folder}/{file}");
        }
    }
}

/// Annotations are free text to every schema, and a misspelt `auth-url` would let everybody in. These are the ones of
/// ingress-nginx's own list (`docs/user-guide/nginx-configuration/annotations.md` of its release 1.15) that are used.
const ANNOTATIONS: [&str; 8] = [
    "auth-response-headers",
    "auth-signin",
    "auth-signin-redirect-param",
    "auth-url",
    "proxy-body-size",
    "proxy-buffer-size",
    "rewrite-target",
    "use-regex",
];

#[test]
fn annotations_of_ingress_nginx_are_those_that_it_knows() {
    let mut used = BTreeSet::new();
    for ingress in of_kind(&FOLDERS["ingress-nginx"], "Ingress") {
        let annotations = ingress["metadata"]["annotations"].as_object().unwrap();
        used.extend(annotations.keys().map(|key| key.strip_prefix("nginx.ingress.kubernetes.io/").unwrap()));
    }
    assert_eq!(used, ANNOTATIONS.into());
}

/// MeshConfig has no schema that can be had: it is a text within a ConfigMap. These are the fields that are used, as
/// `mesh/v1alpha1/config.proto` of Istio's API names them (July 2026).
const MESH_FIELDS: [&str; 6] = ["clearRouteCache", "failOpen", "port", "service", "statusOnError", "timeout"];

#[test]
fn the_provider_for_istio_has_the_fields_of_meshconfig_and_the_name_that_the_policy_gives() {
    let values = documents(&std::fs::read_to_string(example("istio/istiod-values.yaml")).unwrap());
    let [provider] = list(&values[0], "/meshConfig/extensionProviders") else { panic!("{values:?}") };
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (keys(&values[0]), keys(&values[0]["meshConfig"])),
        (vec!["meshConfig".into()], vec!["extensionProviders".into()])
    );
    assert_eq!(keys(provider), ["envoyExtAuthzGrpc", "name"]);
    assert_eq!(keys(&provider["envoyExtAuthzGrpc"]), MESH_FIELDS);
    let [policy] = of_kind(&FOLDERS["istio"], "AuthorizationPolicy")[..] else { panic!("not one policy") };
    assert_eq!(policy["spec"]["provider"]["name"], provider["name"]);
}
