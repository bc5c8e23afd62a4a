//! What the manifests count on, done by the program: each `keyward.toml` out of its ConfigMap, the probes, the doors, and
//! nginx with the files that are mounted into its container.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keyward::demo::nginx::Nginx;
use keyward::demo::process::{Address, Process, TemporaryWorkspace, Workspace, find_program, free_address};
use serde_json::Value;

use crate::manifests::{FOLDERS, containers, example, list, of_kind, pods, setting, text};
use crate::references::secrets;

const KEYWARD: &str = env!("CARGO_BIN_EXE_keyward");
/// Where secrets are mounted.
const SECRETS: &str = "/run/secrets/keyward";
const STORE: &str = "keyward-store.mail.svc.cluster.local:6379";
const HOST: &str = "webmail.example.test";

/// A folder's `keyward.toml` as its ConfigMap has it.
fn config_of(folder: &str) -> &'static str {
    let maps = of_kind(&FOLDERS[folder], "ConfigMap");
    maps.into_iter().find_map(|map| map["data"]["keyward.toml"].as_str()).unwrap()
}

/// The container that runs Keyward, and its pod.
fn keyward_of(folder: &str) -> (&'static Value, &'static Value) {
    let pods = pods(&FOLDERS[folder]);
    let found = pods.into_iter().flat_map(|pod| containers(pod).into_iter().map(move |container| (container, pod)));
    found.into_iter().find(|(container, _)| container["name"] == "keyward").unwrap()
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in {text}");
    text.replace(from, to)
}

/// The files of secrets that it names.
fn secrets_of(config: &str) -> Vec<&str> {
    config.split(&format!("\"{SECRETS}/")).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// Does what the README says before it asks for a cluster, here.
fn make_secrets(directory: &Path, ip: &str) {
    let readme = std::fs::read_to_string(example("README.md")).unwrap();
    let (_, after) = readme.split_once("\n## Apply\n").unwrap();
    let (_, recipe) = after.split_once("\n    openssl ").unwrap();
    let (recipe, _) = recipe.split_once("    kubectl ").unwrap();
    let recipe = replaced(&format!("openssl {recipe}"), "../redis/", example("../redis/").to_str().unwrap());
    // Whoever goes there by name in a cluster goes by address here.
    let name = "subjectAltName=DNS:keyward-store.mail.svc.cluster.local";
    let recipe = replaced(&recipe, name, &format!("{name},IP:{ip}"));
    let output = Command::new("sh").args(["-euc", &recipe]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (key, file) in secrets().values().flatten().filter(|(key, file)| key != file && !key.starts_with("tls.")) {
        std::fs::copy(directory.join(file), directory.join(key)).unwrap();
    }
}

/// The same with secrets that are there.
fn with_secrets(config: &str, directory: &Path, ip: &str) -> String {
    make_secrets(directory, ip);
    replaced(config, SECRETS, directory.to_str().unwrap())
}

fn check(config: &str, directory: &Path) -> (bool, String) {
    let file = directory.join("keyward.toml");
    std::fs::write(&file, config).unwrap();
    let output = Command::new(KEYWARD).args(["check", "-c"]).arg(&file).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn every_keyward_toml_is_right_and_nothing_in_it_is_warned_of() {
    let mut seen = 0;
    for (folder, documents) in
        FOLDERS.iter().filter(|(folder, _)| !["monitoring", "store", "webmail"].contains(&folder.as_str()))
    {
        let directory = tempfile::tempdir().unwrap();
        let config = with_secrets(config_of(folder), directory.path(), "127.0.0.1");
        let (right, said) = check(&config, directory.path());
        assert!(right && said.lines().count() == 1 && !said.contains("warning"), "{folder}: {said}");
        let (right, said) = check(&replaced(&config, "[trust]", "[trust]\nproxys = []"), directory.path());
        assert!(!right && said.contains("trust.proxys: is not a known key"), "{folder}: {said}");
        assert_eq!(documents.iter().filter(|document| document["data"]["keyward.toml"].is_string()).count(), 1);
        seen += 1;
    }
    assert_eq!(seen, 7);
}

#[test]
fn the_container_starts_keyward_with_the_file_and_the_secret_that_are_mounted_and_listens_where_its_ports_are() {
    for folder in ["shared", "sidecar", "single"] {
        let (container, pod) = keyward_of(folder);
        let config = config_of(folder);
        assert_eq!(container["args"], serde_json::json!(["serve", "-c", "/etc/keyward/keyward.toml"]));
        for (path, kind) in [("/etc/keyward/keyward.toml", "configMap"), (&format!("{SECRETS}/any"), "secret")] {
            let mount = list(container, "/volumeMounts")
                .iter()
                .find(|mount| path.strip_prefix(text(mount, "/mountPath")).is_some_and(|rest| rest.starts_with('/')));
            let mount = mount.unwrap_or_else(|| panic!("{folder}: nothing is mounted for {path}"));
            let volume = list(pod, "/spec/volumes").iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            assert!(volume.get(kind).is_some() && mount["readOnly"] == true, "{folder}: {volume}");
        }
        for secret in secrets_of(config) {
            assert!(secrets()["keyward"].contains_key(secret), "{folder}: nobody makes {secret}");
        }
        let ports = list(container, "/ports");
        let expected: Vec<(&str, u64)> = ["auth", "grpc", "ops"]
            .into_iter()
            .filter_map(|key| Some((key, setting(config, key)?.parse::<SocketAddr>().unwrap())))
            .filter(|(_, address)| !address.ip().is_loopback())
            .map(|(key, address)| (key, address.port().into()))
            .collect();
        let named: Vec<(&str, u64)> =
            ports.iter().map(|port| (text(port, "/name"), port["containerPort"].as_u64().unwrap())).collect();
        assert_eq!(named, expected, "{folder}");
    }
    assert!(setting(config_of("sidecar"), "auth").unwrap().starts_with("127.0.0.1:"), "nobody but nginx may ask");
}

/// An answer: its status, its head and what follows.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// A header, which must be there once.
    fn header(&self, name: &str) -> &str {
        let found: Vec<&str> = self
            .head
            .lines()
            .filter_map(|line| line.split_once(": ").or(line.split_once(':')))
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect();
        let [value] = found[..] else { panic!("{name}: {found:?} in {}", self.head) };
        value
    }
}

fn ask(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut head = format!("GET {target} HTTP/1.1\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// The program with a folder's file; only addresses and secret are others.
struct Keyward {
    auth: SocketAddr,
    grpc: Option<SocketAddr>,
    ops: SocketAddr,
    workspace: TemporaryWorkspace,
    _processes: Vec<Process>,
}

/// The store's server as its pod starts it, with the files that are mounted there; only the program's name, folders and
/// addresses are others.
async fn store(workspace: &TemporaryWorkspace, address: SocketAddr) -> Process {
    let documents = &FOLDERS["store"];
    let [pod] = pods(documents)[..] else { panic!("not one pod") };
    let [container] = containers(pod)[..] else { panic!("not one container") };
    let [map] = of_kind(documents, "ConfigMap")[..] else { panic!("not one ConfigMap") };
    for (name, content) in map["data"].as_object().unwrap() {
        std::fs::write(workspace.path().join(name), content.as_str().unwrap()).unwrap();
    }
    for file in secrets()["keyward-store"].values() {
        assert!(workspace.path().join(file).exists(), "nobody makes {file}");
    }
    let words: Vec<&str> = list(container, "/command").iter().map(|word| word.as_str().unwrap()).collect();
    let mut command = words.join("\n");
    for mount in list(container, "/volumeMounts") {
        command = replaced(&command, text(mount, "/mountPath"), workspace.path().to_str().unwrap());
    }
    let command = replaced(&command, "--bind\n*\n-::*", &format!("--bind\n{}", address.ip()));
    let command = replaced(&command, "valkey-server\n", "");
    let command = format!("{command}\n--tls-port\n{}", address.port());
    let words: Vec<&str> = command.split('\n').collect();
    let program = find_program("redis-server").unwrap();
    let mut process = Process::start("store", &program, &words, &workspace.with_our_rights()).unwrap();
    process.ready(&Address::Tcp(address)).await.unwrap();
    process
}

async fn keyward(config: &str) -> Keyward {
    let workspace = Workspace::temporary().unwrap();
    let (auth, ops) = (free_address().unwrap(), free_address().unwrap());
    let grpc = setting(config, "grpc").map(|_| free_address().unwrap());
    let at = free_address().unwrap();
    let mut config = with_secrets(config, workspace.path(), &at.ip().to_string());
    for (key, address) in [("auth", Some(auth)), ("grpc", grpc), ("ops", Some(ops))] {
        let Some(address) = address else { continue };
        config = replaced(&config, setting(&config, key).unwrap(), &address.to_string());
    }
    let mut processes = Vec::new();
    if config.contains(STORE) {
        processes.push(store(&workspace, at).await);
        config = config.replace(STORE, &at.to_string());
    }
    let file = workspace.path().join("keyward.toml");
    std::fs::write(&file, config).unwrap();
    let arguments = ["serve", "-c", file.to_str().unwrap()];
    let mut process = Process::start("keyward", Path::new(KEYWARD), &arguments, &workspace.with_our_rights()).unwrap();
    process.ready(&Address::Tcp(auth)).await.unwrap();
    process.ready(&Address::Tcp(ops)).await.unwrap();
    processes.push(process);
    Keyward { auth, grpc, ops, workspace, _processes: processes }
}

/// A ticket as the portal would give it.
fn ticket(keyward: &Keyward) -> String {
    let secret = keyward.workspace.path().join("ticket");
    let mut mint = Command::new(KEYWARD);
    mint.args(["ticket", "mint", "--key-id", "2026a", "--sub", "ana", "--secret-file"]).arg(secret);
    String::from_utf8(mint.output().unwrap().stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn probes_and_metrics_are_answered_where_they_are_asked_for() {
    let [monitor] = of_kind(&FOLDERS["monitoring"], "ServiceMonitor")[..] else { panic!("not one monitor") };
    for folder in ["shared", "sidecar", "single"] {
        let keyward = keyward(config_of(folder)).await;
        // It is ready once it has seen its store.
        for tries in 0.. {
            let ready = ask(keyward.ops, "/readyz", &[("Host", HOST)]);
            let metrics = ask(keyward.ops, "/metrics", &[("Host", HOST)]).body;
            assert_eq!(metrics.contains("keyward_store_up"), folder == "shared", "{folder}");
            if ready.status == 200 && (folder != "shared" || metrics.contains("keyward_store_up 1\n")) {
                break;
            }
            assert!(tries < 1000, "{folder}: {}", ready.head);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (container, _) = keyward_of(folder);
        let probes = ["startupProbe", "readinessProbe", "livenessProbe"].map(|probe| {
            assert_eq!(container[probe]["httpGet"]["port"], "ops");
            text(container, &format!("/{probe}/httpGet/path"))
        });
        for path in probes.into_iter().chain([text(monitor, "/spec/endpoints/0/path")]) {
            assert_eq!(ask(keyward.ops, path, &[("Host", "10.244.0.7:9420")]).status, 200, "{path}");
            assert_eq!(ask(keyward.auth, path, &[("Host", HOST)]).status, 404, "{path} is for nobody outside");
        }
    }
}

/// How a web server asks: its folder, the path, the headers by which it tells of the original request, and those of the
/// answer that it takes over.
type Asking = (&'static str, String, Vec<(&'static str, String)>, Vec<String>);

fn doors() -> Vec<Asking> {
    let words = |values: &[Value]| values.iter().map(|value| value.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let path = |url: &str| url.split_once(":8420").unwrap().1.to_owned();
    let original = |name: &'static str, value: &str| (name, value.to_owned());

    let ingress = of_kind(&FOLDERS["ingress-nginx"], "Ingress").into_iter();
    let annotation = |ingress: &Value, name: &str| {
        Some(
            ingress["metadata"]["annotations"].get(format!("nginx.ingress.kubernetes.io/{name}"))?.as_str()?.to_owned(),
        )
    };
    let protected = ingress.into_iter().find(|ingress| annotation(ingress, "auth-url").is_some()).unwrap();
    let copied = annotation(protected, "auth-response-headers").unwrap().split(',').map(str::to_owned).collect();
    let nginx = (
        "ingress-nginx",
        path(&annotation(protected, "auth-url").unwrap()),
        vec![
            original("Host", "keyward.mail.svc.cluster.local"),
            original("X-Original-URL", "https://webmail.example.test/?_task=mail"),
            original("X-Original-Method", "GET"),
        ],
        copied,
    );

    let forward = of_kind(&FOLDERS["traefik"], "Middleware").into_iter();
    let forward = forward.map(|middleware| &middleware["spec"]["forwardAuth"]).find(|auth| auth.is_object()).unwrap();
    let traefik = (
        "traefik",
        path(text(forward, "/address")),
        vec![
            original("Host", "keyward.mail.svc.cluster.local:8420"),
            original("X-Forwarded-Method", "GET"),
            original("X-Forwarded-Proto", "https"),
            original("X-Forwarded-Host", HOST),
            original("X-Forwarded-Uri", "/?_task=mail"),
        ],
        words(list(forward, "/authResponseHeaders")),
    );

    vec![nginx, traefik]
}

#[tokio::test]
async fn ingress_nginx_and_traefik_ask_doors_that_are_there_and_take_over_every_header_that_a_client_could_forge() {
    // The web servers are in the network of the pods there, on loopback here; and no Roundcube is here to sign in at.
    let config = replaced(config_of("shared"), "10.244.0.0/16", "127.0.0.0/8");
    let keyward = keyward(&replaced(
        &config,
        "portal  = \"customer-portal\"\nbackend = \"roundcube\"",
        "portal = \"customer-portal\"",
    ))
    .await;
    let cookie = format!("portal_session={}; theme=dark", ticket(&keyward));
    for (server, target, original, copied) in doors() {
        let said: Vec<(&str, &str)> = original.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let page = [&said[..], &[("Accept", "text/html"), ("X-Forwarded-For", "192.0.2.7")]].concat();
        let stranger = ask(keyward.auth, &target, &page);
        assert_eq!(stranger.status, if server == "ingress-nginx" { 401 } else { 302 }, "{server}: {}", stranger.head);
        assert!(
            stranger.header("location").starts_with("https://portal.example.test/login?next=https%3A%2F%2Fwebmail")
        );

        let known = ask(keyward.auth, &target, &[&page[..], &[("Cookie", &cookie)]].concat());
        assert_eq!(known.status, 200, "{server}: {}", known.head);
        let mut names: Vec<String> = copied.iter().map(|name| name.to_lowercase()).collect();
        names.sort_unstable();
        let every = ["authorization", "cookie", "remote-email", "remote-groups", "remote-name", "remote-user"];
        assert_eq!(names, every, "{server}");
        // Also those without a value are there.
        names.iter().for_each(|name| _ = known.header(name));
        assert_eq!((known.header("remote-user"), known.header("cookie")), ("ana", "theme=dark"), "{server}");
        assert_eq!((known.header("authorization"), known.header("remote-name")), ("", ""), "{server}");
    }
}

#[tokio::test]
async fn where_envoy_gateway_and_istio_ask_http_2_is_spoken() {
    let keyward = keyward(config_of("shared")).await;
    let mut stream = TcpStream::connect(keyward.grpc.unwrap()).unwrap();
    // The preface of HTTP/2, and settings without any.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3..], [4, 0, 0, 0, 0, 0], "settings are answered");
}

/// What is in a volume of a pod: path and content of each file.
fn files_in(folder: &str, volume: &str) -> Vec<(String, String)> {
    let documents = &FOLDERS[folder];
    let [pod] = pods(documents)[..] else { panic!("not one pod") };
    let volume = list(pod, "/spec/volumes").iter().find(|known| known["name"] == *volume).unwrap();
    let mut files = Vec::new();
    for source in list(volume, "/projected/sources").iter().map(|source| &source["configMap"]) {
        let maps = of_kind(documents, "ConfigMap").into_iter();
        let map = maps.into_iter().find(|map| map["metadata"]["name"] == source["name"]).unwrap();
        let content = |key: &str| map["data"][key].as_str().unwrap().to_owned();
        match list(source, "/items") {
            [] => files.extend(map["data"].as_object().unwrap().keys().map(|key| (key.clone(), content(key)))),
            items => {
                files.extend(items.iter().map(|item| (text(item, "/path").to_owned(), content(text(item, "/key")))))
            }
        }
    }
    files
}

#[tokio::test]
async fn in_the_sidecars_pod_nginx_takes_its_files_answers_its_probes_and_asks_keyward() {
    let keyward = keyward(config_of("sidecar")).await;
    let address = free_address().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap();
    let adapted = |(name, content): (String, String)| match name.as_str() {
        "nginx.conf" => (name, replaced(&content, "/tmp/", &format!("{here}/"))),
        "site.conf" => {
            let site = replaced(&content, "listen 8080", &format!("listen {address}"));
            let site = replaced(&site, "listen      8080", &format!("listen {address}"));
            let site = replaced(&site, "127.0.0.1:8420", &keyward.auth.to_string());
            (name, replaced(&site, "/dev/stdout", &format!("{here}/access.log")))
        }
        _ => (name, content),
    };
    let files: Vec<(String, String)> = files_in("sidecar", "nginx").into_iter().map(adapted).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
    let _nginx = Nginx::start(directory.path(), &files, address).await.unwrap();

    let [pod] = pods(&FOLDERS["sidecar"])[..] else { panic!("not one pod") };
    let nginx = containers(pod).into_iter().find(|container| container["name"] == "nginx").unwrap();
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let path = text(nginx, &format!("/{probe}/httpGet/path"));
        assert_eq!(ask(address, path, &[("Host", "10.244.0.7:8080")]).status, 200, "{path}");
    }
    assert_eq!(ask(address, "/", &[("Host", "10.244.0.7:8080")]).status, 421, "another host");
    let stranger = ask(address, "/?_task=mail", &[("Host", HOST), ("Accept", "text/html")]);
    assert_eq!(stranger.status, 302, "{}", stranger.head);
    assert!(stranger.header("location").starts_with("https://portal.example.test/login?next=https%3A%2F%2Fwebmail"));
    // Keyward knows her, and her ticket brings no password for Roundcube.
    let cookie = format!("portal_session={}", ticket(&keyward));
    let known = ask(address, "/?_task=mail", &[("Host", HOST), ("Accept", "text/html"), ("Cookie", &cookie)]);
    assert_eq!(known.status, 403, "{}", known.head);
    assert_eq!(ask(address, "/.keyward/whoami", &[("Host", HOST), ("Cookie", &cookie)]).status, 200);
    assert_eq!(ask(address, "/authz/ext-authz/../../.keyward/x", &[("Host", HOST), ("Cookie", &cookie)]).status, 404);
}

#[tokio::test]
async fn what_ingress_nginx_sends_to_keywards_pages_is_the_path_that_it_matched() {
    let ingresses = of_kind(&FOLDERS["ingress-nginx"], "Ingress");
    let pages = ingresses.into_iter().find(|ingress| ingress["metadata"]["name"] == "keyward-pages").unwrap();
    let annotation =
        |name: &str| text(&pages["metadata"]["annotations"], &format!("/nginx.ingress.kubernetes.io~1{name}"));
    assert_eq!(annotation("use-regex"), "true");
    let path = text(pages, "/spec/rules/0/http/paths/0/path");
    let (address, keyward) = (free_address().unwrap(), free_address().unwrap());
    let directory = tempfile::tempdir().unwrap();
    // The lines that ingress-nginx 1.15 makes of such an Ingress.
    let conf = format!(
        "pid nginx.pid; events {{}} http {{ access_log off; client_body_temp_path a; proxy_temp_path b; \
         fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e; upstream upstream_balancer {{ server {keyward}; }}\n\
         server {{ listen {keyward}; location / {{ return 200; add_header X-Seen $request_uri; }} }}\n\
         server {{ listen {address}; location ~* \"^{path}\" {{ rewrite \"(?i){path}\" {} break; \
         proxy_pass http://upstream_balancer; }} location ~* \"^/\" {{ return 418; }} }} }}",
        annotation("rewrite-target"),
    );
    let _nginx = Nginx::start(directory.path(), &[("nginx.conf", &conf)], address).await.unwrap();
    for (asked, seen) in [
        ("/.keyward/whoami?a=b%20c", "/.keyward/whoami?a=b%20c"),
        ("/authz/ext-authz/../../.keyward/x", "/.keyward/x"),
        ("//.keyward/x", "/.keyward/x"),
    ] {
        assert_eq!(ask(address, asked, &[("Host", HOST)]).header("x-seen"), seen, "{asked}");
    }
    for away in
        ["/.keyward/../authz/forward-auth", "/.keyward/%2e%2e/authz/forward-auth", "/.keyward/..%2fauthz/forward-auth"]
    {
        assert_eq!(ask(address, away, &[("Host", HOST)]).status, 418, "{away}");
    }
}
