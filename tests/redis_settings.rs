//! The files in `examples/redis/`: a real server takes each, and then does what it says; and the user whom they describe
//! may do what Keyward does, and nothing else.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[path = "real/redis/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod redis;
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use fakes::axigen::Axigen;
use keyward::demo::process::{Process, TemporaryWorkspace, Workspace, find_program, free_address, free_port};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use redis::Program;
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
        Self::made_by(Program::Redis, files, more).await
    }

    /// The same, whoever made it.
    async fn made_by(program: Program, files: &[&str], more: &str) -> Self {
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
        if files.contains(&"replicated.conf") {
            // Others would see it come from 127.0.0.1, and look for it there.
            settings += &format!("replica-announce-ip {}\nmasterauth of-replicas\n", address.ip());
        }
        home.write("redis.conf", &(settings + more)).unwrap();
        let mut server = Self { process: None, home, address };
        server.run(program, &["redis.conf"]).await;
        server
    }

    async fn run(&mut self, program: Program, arguments: &[&str]) {
        let mut process = Process::start("redis-server", &program.path(), arguments, &self.home).unwrap();
        process.ready(&Address::Tcp(self.address)).await.unwrap();
        // Opened last, where there is one.
        if !arguments.contains(&"--sentinel") {
            process.ready(&Address::Unix(self.home.path().join("redis.sock"))).await.unwrap();
        }
        self.process = Some(process);
    }

    /// A Sentinel that watches this primary.
    async fn guard(primary: SocketAddr) -> Self {
        let (home, address) = (Workspace::temporary().unwrap(), free_address().unwrap());
        let (ip, port) = (address.ip(), address.port());
        let settings =
            replaced(&read("sentinel.conf"), "127.0.0.1 6379", &format!("{} {}", primary.ip(), primary.port()));
        let settings = replaced(&settings, "port 26379", &format!("port {port}\nbind {ip}\nsentinel announce-ip {ip}"));
        let line = "# sentinel auth-pass keyward the password of that user";
        let settings = replaced(&settings, line, "sentinel auth-pass keyward of-sentinels");
        home.write("sentinel.conf", &settings).unwrap();
        let mut guard = Self { process: None, home, address };
        guard.run(Program::Redis, &["sentinel.conf", "--sentinel"]).await;
        guard
    }

    /// Says something to a Sentinel.
    fn ask(&self, words: &[&str]) -> String {
        let mut command = Command::new(find_program("redis-cli").expect("redis-cli is installed"));
        command.args(["-h", &self.address.ip().to_string(), "-p", &self.address.port().to_string()]);
        let output = command.args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
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
    let makes = Program::ALL.into_iter();
    let all = [
        &["server.conf", "memory.conf"][..],
        &["server.conf", "disk.conf"],
        &["server.conf", "disk.conf", "replicated.conf"],
        &["server.conf", "disk.conf", "replicated.conf", "cluster.conf"],
        &["server.conf", "disk.conf", "tls.conf"],
    ];
    for (program, files) in makes.flat_map(|program| all.map(|files| (program, files))) {
        if !program.has_tls() && files.contains(&"tls.conf") {
            continue;
        }
        let server = Server::made_by(program, files, "").await;
        for (name, value) in files.iter().flat_map(|file| settings(file)) {
            if ours.contains(&name.as_str()) {
                continue;
            }
            let told = server.say(&["CONFIG", "GET", &name]);
            // An empty one is no line.
            let told = told.strip_prefix(&name).unwrap_or_else(|| panic!("{name}: {told}")).trim_start();
            assert_eq!(told, plain(&value), "{name} of {files:?}, {program:?}");
        }
        seen.extend(files.iter().map(|file| (*file).to_owned()));
    }
    let all = std::fs::read_dir(example("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let all: BTreeSet<String> = all.filter(|name| name.ends_with(".conf") && name != "sentinel.conf").collect();
    assert_eq!(seen, all, "each is tried");
}

/// Two replicas with the same people, and the applications of both.
async fn replicas(section: &str) -> ([Sidecar; 2], [Axigen; 2]) {
    let (office, post) = (mailboxes().await, mailboxes().await);
    let config = House::config(&office.url(), &post.url(), "", section);
    let start = || Setup::new(&config).with_api().start();
    ([start().await, start().await], [office, post])
}

/// Has people come and go at both replicas.
async fn use_everything(replicas: &[Sidecar; 2], user: &str) {
    for replica in replicas {
        until("a replica that is ready", || async {
            replica.operator("/readyz").await.status == 200 && replica.metric("keyward_store_up").await > 0.0
        })
        .await;
    }
    let cookie = Ticket::of(user).cookie();
    let [here, there] = replicas;
    here.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(&cookie)).await.assert_allows(user);
    let opened = "keyward_backend_logins_total{backend=\"office\",outcome=\"opened\"}";
    let before = there.metric(opened).await;
    there.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(&cookie)).await.assert_allows(user);
    assert_eq!(there.metric(opened).await, before, "it has the keys from the other");
    let line = format!("Cookie: {cookie}");
    assert_eq!(there.get("/.keyward/logout", &[&line]).await.status, 200);
    until("the sign-out at the other", || async {
        here.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(&cookie)).await.status == 401
    })
    .await;
}

#[tokio::test]
async fn keyward_may_do_all_it_does_by_every_way_to_a_server() {
    for (program, files, more) in [
        (Program::Redis, &["server.conf", "memory.conf"][..], ""),
        (Program::Redis, &["server.conf", "memory.conf", "tls.conf"], "tls"),
        (Program::Redis, &["server.conf", "disk.conf", "cluster.conf"], "mode = \"cluster\""),
        (Program::Valkey(8), &["server.conf", "memory.conf"], ""),
        (Program::Valkey(9), &["server.conf", "disk.conf", "cluster.conf"], "mode = \"cluster\""),
    ] {
        let server = Server::made_by(program, files, "").await;
        if files.contains(&"cluster.conf") {
            assert_eq!(server.say(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
            until("a Cluster of one", || async { server.say(&["CLUSTER", "INFO"]).contains("cluster_state:ok") }).await;
        }
        let more = match more {
            "tls" => format!("tls = true\nca_file = \"{}/ca-cert.pem\"", server.home.path().display()),
            _ => more.to_owned(),
        };
        let (replicas, _applications) = replicas(&server.section(&more)).await;
        use_everything(&replicas, "alice").await;
        assert_eq!(server.say(&["ACL", "LOG"]), "", "{files:?}: the server refused something");
        assert_ne!(server.say(&["DBSIZE"]), "0", "{files:?}: nothing is there");
    }
}

#[tokio::test]
async fn sentinels_and_servers_may_do_what_a_failover_takes() {
    let files = ["server.conf", "disk.conf", "replicated.conf"];
    let primary = Server::start(&files, "").await;
    let of = format!("replicaof {} {}\n", primary.address.ip(), primary.address.port());
    let mut servers = vec![primary];
    for _ in 0..2 {
        servers.push(Server::start(&files, &of).await);
    }
    let tells =
        |server: &Server, line: &str| server.say(&["INFO", "replication"]).lines().any(|told| told.trim() == line);
    until("replicas in step", || async { tells(&servers[0], "min_slaves_good_slaves:2") }).await;
    let mut guards = Vec::new();
    for _ in 0..3 {
        guards.push(Server::guard(servers[0].address).await);
    }
    let knows_all = |guard: &Server| {
        let told = guard.ask(&["SENTINEL", "MASTER", "keyward"]);
        let lines: Vec<&str> = told.lines().collect();
        let is = |key, number| lines.windows(2).any(|pair| pair == [key, number]);
        is("num-slaves", "2") && is("num-other-sentinels", "2")
    };
    until("Sentinels that know everybody", || async { guards.iter().all(knows_all) }).await;

    let addresses: Vec<String> = guards.iter().map(|guard| guard.address.to_string()).collect();
    let more = "mode = \"sentinel\"\nsentinel_name = \"keyward\"";
    let (replicas, _applications) = replicas(&section(&addresses.join("\", \""), more)).await;
    use_everything(&replicas, "alice").await;
    assert_eq!(servers[0].say(&["ACL", "LOG"]), "");
    servers[0].process = None;
    until("a new primary", || async { servers[1..].iter().any(|server| tells(server, "role:master")) }).await;
    let new = servers[1..].iter().find(|server| tells(server, "role:master")).unwrap();
    until("its replica", || async { tells(new, "min_slaves_good_slaves:1") }).await;
    until("that it takes what is written", || async { new.say(&["SET", "x", "y"]) == "OK" }).await;
    use_everything(&replicas, "bob").await;
    for server in &servers[1..] {
        assert_eq!(server.say(&["ACL", "LOG"]), "", "the server refused something");
    }
}

/// What the program has a server do: in scripts, and by itself.
fn commands_of_the_program() -> BTreeSet<String> {
    let call = Regex::new(r#"redis\.p?call\('([A-Za-z]+)'|\bcmd\("([A-Z]+)"\)(?:\.arg\("([A-Z]+)"\))?"#).unwrap();
    let mut found: BTreeSet<String> = ["eval", "evalsha"].map(str::to_owned).into();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            // Tests look at more.
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            if path.to_str().unwrap().contains("tests") || text.starts_with("-- For tests") {
                continue;
            }
            for words in call.captures_iter(text) {
                let words: Vec<&str> = words.iter().skip(1).flatten().map(|word| word.as_str()).collect();
                found.insert(words.join("|").to_lowercase());
            }
        }
    }
    // The first is everybody's right; the second wants `database`, and the others are for Sentinels.
    for other in ["auth", "select", "sentinel"] {
        let all = found.len();
        found.retain(|command| command.split('|').next() != Some(other));
        assert!(found.len() < all, "nobody says {other}");
    }
    found
}

#[test]
fn the_user_may_do_what_the_program_does_and_no_more() {
    let users = read("users.acl");
    let line = users.lines().find(|line| line.starts_with("user keyward ")).unwrap();
    let given: Vec<&str> = line.split(' ').filter_map(|word| word.strip_prefix('+')).collect();
    let needed = commands_of_the_program();
    assert_eq!(given, needed.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(read("README.md").contains("`+select`"));
}

/// A file of secrets for each that is named.
fn with_secrets(config: &str, directory: &Path) -> String {
    for (index, rest) in config.split("\"/etc/keyward/").skip(1).enumerate() {
        let name = rest.split('"').next().unwrap();
        let content = if name.ends_with(".crt") {
            rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem()
        } else {
            format!("a secret of these tests, longer than 32 bytes: {index}")
        };
        std::fs::write(directory.join(name), content).unwrap();
    }
    config.replace("/etc/keyward", directory.to_str().unwrap())
}

fn check(config: &str) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keyward.toml");
    std::fs::write(&file, with_secrets(config, directory.path())).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_keyward")).args(["check", "-c"]).arg(&file).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn every_store_that_the_readme_shows_is_right() {
    let (whole, readme) = (read("keyward.toml"), read("README.md"));
    let (right, said) = check(&whole);
    assert!(right && !said.contains("warning"), "{said}");
    let own = format!("[store]{}", whole.split_once("[store]").unwrap().1.split_once("[[portal]]").unwrap().0);
    let key = format!("[[store.key]]{}", own.split_once("[[store.key]]").unwrap().1);
    let mut seen = 0;
    for block in readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        let key = if block.contains("[[store.key]]") { "" } else { &key };
        let (right, said) = check(&whole.replace(&own, &format!("{block}\n{key}")));
        assert!(right, "{said}{block}");
        seen += 1;
    }
    assert_eq!(seen, 4);
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
