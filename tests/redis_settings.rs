//! The files in `examples/redis/`: a real server takes each, and then does what it says; and the user whom they describe
//! may do what Keyward does, and nothing else.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[expect(dead_code, reason = "other tests use more of it")]
mod fakes;
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyward::demo::process::{Process, TemporaryWorkspace, Workspace, find_program, free_address, free_port};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use regex::Regex;
use sha2::{Digest, Sha256};
use support::{Address, Ask, Door, House, Setup, Sidecar, Ticket, mailboxes, until};

const PASSWORD: &str = "of-the-user-keyward";
/// For these tests alone: who may look at everything.
const ADMINISTRATOR: &str = "user tests on nopass allkeys allchannels +@all\n";
const INBOX: &str = "https://app.example.test/inbox";

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/redis").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(example(name)).unwrap()
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in {text}");
    text.replace(from, to)
}

fn hash(password: &str) -> String {
    Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All users, with passwords that are theirs alone.
fn users() -> String {
    let own = replaced(&read("users.acl"), "HASH", &hash(PASSWORD));
    let servers = replaced(&read("servers.acl"), "REPLICATION", &hash("of-replicas"));
    own + &replaced(&servers, "SENTINEL", &hash("of-sentinels")) + ADMINISTRATOR
}

/// A server with some of the files. Only addresses and folders are others than they say.
struct Server {
    process: Option<Process>,
    home: TemporaryWorkspace,
    address: SocketAddr,
}

impl Server {
    /// With these files, and then these lines.
    async fn start(files: &[&str], more: &str) -> Self {
        let (home, address) = (Workspace::temporary().unwrap(), free_address().unwrap());
        home.write("users.acl", &users()).unwrap();
        let here = home.path().display();
        let mut settings: String = files.iter().map(|file| format!("include {}\n", example(file).display())).collect();
        let port = if files.contains(&"tls.conf") { certify(&home, address) + "tls-port" } else { "port".to_owned() };
        settings += &format!(
            "{port} {}\nbind {}\naclfile {here}/users.acl\ndir {here}\nunixsocket {here}/redis.sock\n",
            address.port(),
            address.ip()
        );
        if files.contains(&"cluster.conf") {
            settings += &format!("cluster-port {}\n", free_port(address.ip()).unwrap().port());
        }
        home.write("redis.conf", &(settings + more)).unwrap();
        let mut server = Self { process: None, home, address };
        server.run("redis-server", "redis.conf").await;
        server
    }

    async fn run(&mut self, program: &'static str, file: &str) {
        let found = find_program(program).unwrap_or_else(|| panic!("{program} is installed"));
        let mut process = Process::start(program, &found, &[file], &self.home).unwrap();
        process.ready(&Address::Tcp(self.address)).await.unwrap();
        self.process = Some(process);
    }

    /// Says something to it as somebody who may do everything.
    fn say(&self, words: &[&str]) -> String {
        let mut command = Command::new(find_program("redis-cli").expect("redis-cli is installed"));
        command.arg("-s").arg(self.home.path().join("redis.sock")).args(["--user", "tests", "--pass", "any"]);
        let output = command.arg("--no-auth-warning").args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// `[store]` of replicas that come as the user of `users.acl`, with more of its lines.
    fn section(&self, more: &str) -> String {
        section(&self.address.to_string(), more)
    }
}

fn section(address: &str, more: &str) -> String {
    format!(
        "[store]\nkind = \"redis\"\naddresses = [\"{address}\"]\nuser = \"keyward\"\npassword = \"{PASSWORD}\"\n{more}\n\
         names_secret = \"names names names names names 32!\"\n\
         [[store.key]]\nid = \"a\"\nsecret = \"seals seals seals seals seals 32!\"\n"
    )
}

/// An authority and what it signed, and the lines that name them.
fn certify(home: &Workspace, address: SocketAddr) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![address.ip().to_string()]).unwrap().signed_by(&key, &issuer).unwrap();
    let files = [("ca-cert", issuer.pem()), ("cert", certificate.pem()), ("key", key.serialize_pem())];
    let named = files.map(|(name, content)| {
        let file = home.write(&format!("{name}.pem"), &content).unwrap();
        format!("tls-{name}-file {}\n", file.display())
    });
    named.concat()
}

/// The settings in a file: names and values, without quotes.
fn settings(file: &str) -> Vec<(String, String)> {
    let text = read(file);
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ').unwrap_or_else(|| panic!("{file}: {line}"));
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    lines.map(pair).collect()
}

/// In bytes, where it says how many.
fn plain(value: &str) -> String {
    let units = [("gb", 1 << 30), ("mb", 1 << 20)];
    let bytes = units.iter().find_map(|(unit, bytes)| Some(value.strip_suffix(unit)?.parse::<u64>().ok()? * bytes));
    bytes.map_or_else(|| value.to_owned(), |bytes| bytes.to_string())
}

#[tokio::test]
async fn a_server_takes_each_file_and_then_does_what_it_says() {
    // Which are others in these tests.
    let ours = [
        "aclfile",
        "bind",
        "cluster-config-file",
        "port",
        "tls-ca-cert-file",
        "tls-cert-file",
        "tls-key-file",
        "tls-port",
    ];
    let mut seen = BTreeSet::new();
    for files in [
        &["server.conf", "memory.conf"][..],
        &["server.conf", "disk.conf"],
        &["server.conf", "disk.conf", "replicated.conf"],
        &["server.conf", "disk.conf", "replicated.conf", "cluster.conf"],
        &["server.conf", "disk.conf", "tls.conf"],
    ] {
        let server = Server::start(files, "").await;
        for (name, value) in files.iter().flat_map(|file| settings(file)) {
            if ours.contains(&name.as_str()) {
                continue;
            }
            let told = server.say(&["CONFIG", "GET", &name]);
            // An empty one is no line.
            let told = told.strip_prefix(&name).unwrap_or_else(|| panic!("{name}: {told}")).trim_start();
            assert_eq!(told, plain(&value), "{name} of {files:?}");
        }
        seen.extend(files.iter().map(|file| (*file).to_owned()));
    }
    let all = std::fs::read_dir(example("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let all: BTreeSet<String> = all.filter(|name| name.ends_with(".conf") && name != "sentinel.conf").collect();
    assert_eq!(seen, all, "each is tried");
}

/// Two replicas with the same people and applications.
async fn replicas(section: &str) -> [Sidecar; 2] {
    let (office, post) = (mailboxes().await, mailboxes().await);
    let config = House::config(&office.url(), &post.url(), "", section);
    // They live as long as the process.
    std::mem::forget((office, post));
    [Setup::new(&config).with_api().start().await, Setup::new(&config).with_api().start().await]
}

/// Has people come and go at both replicas.
async fn use_everything(replicas: &[Sidecar; 2]) {
    for replica in replicas {
        until("a replica that is ready", || async { replica.operator("/readyz").await.status == 200 }).await;
    }
    let cookie = Ticket::of("alice").cookie();
    let [here, there] = replicas;
    here.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(&cookie)).await.assert_allows("alice");
    there.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(&cookie)).await.assert_allows("alice");
    let line = format!("Cookie: {cookie}");
    assert_eq!(there.get("/.keyward/logout", &[&line]).await.status, 200);
    until("the sign-out at the other", || async {
        here.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(&cookie)).await.status == 401
    })
    .await;
}

#[tokio::test]
async fn keyward_may_do_all_it_does_by_every_way_to_a_server() {
    for (files, more) in [
        (&["server.conf", "memory.conf"][..], ""),
        (&["server.conf", "memory.conf", "tls.conf"], "tls"),
        (&["server.conf", "disk.conf", "cluster.conf"], "mode = \"cluster\""),
    ] {
        let server = Server::start(files, "").await;
        if files.contains(&"cluster.conf") {
            assert_eq!(server.say(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
            until("a Cluster of one", || async { server.say(&["CLUSTER", "INFO"]).contains("cluster_state:ok") }).await;
        }
        let more = match more {
            "tls" => format!("tls = true\nca_file = \"{}/ca-cert.pem\"", server.home.path().display()),
            _ => more.to_owned(),
        };
        let replicas = replicas(&server.section(&more)).await;
        use_everything(&replicas).await;
        assert_eq!(server.say(&["ACL", "LOG"]), "", "{files:?}: the server refused something");
        assert_ne!(server.say(&["DBSIZE"]), "0", "{files:?}: nothing is there");
    }
}

/// What scripts of the program have a server do, in small letters.
fn commands_of_scripts() -> BTreeSet<String> {
    let call = Regex::new(r"redis\.p?call\('([A-Za-z]+)'").unwrap();
    let (mut found, mut folders) = (BTreeSet::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            // Tests look at more.
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            if !path.to_str().unwrap().contains("tests") && !text.starts_with("-- For tests") {
                found.extend(call.captures_iter(text).map(|found| found[1].to_lowercase()));
            }
        }
    }
    found
}

/// What Keyward asks for by itself.
const ASKED: [&str; 5] = ["eval", "evalsha", "ping", "script|load", "xread"];
/// The same of a Cluster.
const ASKED_OF_A_CLUSTER: [&str; 2] = ["cluster|slots", "readonly"];

#[test]
fn the_user_may_do_what_scripts_do_and_no_more() {
    let users = read("users.acl");
    let line = users.lines().find(|line| line.starts_with("user keyward ")).unwrap();
    let given: BTreeSet<String> =
        line.split(' ').filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect();
    let mut needed = commands_of_scripts();
    needed.extend(ASKED.iter().chain(&ASKED_OF_A_CLUSTER).map(|word| (*word).to_owned()));
    assert_eq!(given, needed);
}

#[tokio::test]
async fn nobody_may_do_anything_else() {
    let server = Server::start(&["server.conf", "memory.conf"], "").await;
    let may = |user: &str, words: &[&str]| server.say(&[&["ACL", "DRYRUN", user], words].concat());
    assert_eq!(may("keyward", &["GET", "keyward:{0}:v"]), "OK");
    for words in [
        &["GET", "other:{0}:v"][..],
        &["SET", "other", "x"],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["FLUSHALL"],
        &["FLUSHDB"],
        &["CONFIG", "GET", "*"],
        &["CONFIG", "SET", "dir", "/"],
        &["ACL", "LIST"],
        &["MONITOR"],
        &["SAVE"],
        &["SHUTDOWN"],
        &["REPLICAOF", "127.0.0.1", "1"],
        &["SCRIPT", "FLUSH"],
        &["CLIENT", "LIST"],
        &["MIGRATE", "127.0.0.1", "1", "keyward:{0}:v", "0", "1"],
        &["PUBLISH", "x", "y"],
        &["SUBSCRIBE", "x"],
        &["FUNCTION", "LIST"],
        &["MODULE", "LIST"],
        &["SELECT", "1"],
    ] {
        assert!(may("keyward", words).contains("has no permissions"), "{words:?}: {}", may("keyward", words));
    }
    for user in ["default", "replication", "sentinel"] {
        let told = may(user, &["GET", "keyward:{0}:v"]);
        assert!(told.contains("has no permissions"), "{user}: {told}");
    }
    let stranger = Command::new(find_program("redis-cli").unwrap())
        .arg("-s")
        .arg(server.home.path().join("redis.sock"))
        .args(["PING"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&stranger.stdout).contains("NOAUTH"), "{stranger:?}");
}
