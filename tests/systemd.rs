//! The unit in `examples/systemd/`, and what the program tells the service manager.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use keyward::demo::process::{find_program, free_address};
use support::{Ask, Door, House, SMALLEST, Setup, Sidecar, Ticket, mailboxes, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixDatagram};

const UNIT: &str = include_str!("../examples/systemd/keyward.service");
const README: &str = include_str!("../examples/systemd/README.md");
const INSTALLED: &str = "/usr/local/bin/keyward";
/// Longest wait for a word that will come.
const COMES_WITHIN: Duration = Duration::from_secs(20);

/// The values of a key of the unit, in order.
fn values(key: &str) -> Vec<&'static str> {
    UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

fn systemd_analyze(arguments: &[&str]) -> Output {
    let program = find_program("systemd-analyze").expect("systemd-analyze is not there; tests/run installs systemd");
    Command::new(program).args(arguments).output().unwrap()
}

/// Runs a command of `systemd-analyze` over a unit, in which the program is the one just built.
fn analyze(arguments: &[&str], unit: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keyward.service");
    std::fs::write(&file, unit.replace(INSTALLED, env!("CARGO_BIN_EXE_keyward"))).unwrap();
    systemd_analyze(&[arguments, &[file.to_str().unwrap()]].concat())
}

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    let output = analyze(&["verify", "--man=no"], UNIT);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
    let output = analyze(&["verify", "--man=no"], &UNIT.replace("PrivateTmp=yes", "PrivateTemp=yes"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("PrivateTemp"), "and it would: {output:?}");
}

/// What is left exposed, from 0 to 10, as systemd counts it.
fn exposure(unit: &str) -> String {
    let output = analyze(&["security", "--offline=true", "--no-pager"], unit);
    let table = String::from_utf8(output.stdout).unwrap();
    let line = table.lines().last().unwrap();
    line.split_once("keyward.service: ").unwrap().1.split(' ').next().unwrap().to_owned()
}

#[test]
fn the_readme_states_how_exposed_the_service_is() {
    let with_networks = UNIT.replace("#IPAddress", "IPAddress");
    assert_ne!(UNIT, with_networks);
    let said = format!("**{}** as it is, {} with", exposure(UNIT), exposure(&with_networks));
    assert!(README.contains(&said), "README.md does not say {said:?}, which is what systemd 252 of Debian 12 counts");
}

#[test]
fn every_secret_that_is_handed_over_is_named_with_its_path() {
    let secrets: Vec<&str> = values("LoadCredential").iter().map(|value| value.split_once(':').unwrap().0).collect();
    assert!(!secrets.is_empty());
    for secret in secrets {
        let path = format!("secret_file = \"/run/credentials/keyward.service/{secret}\"");
        assert!(UNIT.contains(&path) && README.contains(&path), "{path}");
    }
}

#[test]
fn the_manager_waits_longer_than_draining_may_take() {
    let reference = include_str!("../conf/keyward.toml");
    let seconds = |text: &str, unit: &str| text.strip_suffix(unit).unwrap().parse::<u64>().unwrap();
    let drain = reference.lines().find_map(|line| line.strip_prefix("drain_timeout = \"")).unwrap();
    // Once for requests, and once more for sign-outs at the applications.
    assert!(seconds(values("TimeoutStopSec")[0], "s") > 2 * seconds(drain, "s\""));
}

/// What a service manager hears.
struct Manager {
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Manager {
    fn listen() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Self { socket, directory }
    }

    fn address(&self) -> String {
        self.directory.path().join("notify").to_str().unwrap().to_owned()
    }

    /// The next word, line by line.
    async fn hears(&self) -> Vec<String> {
        let mut word = [0; 4096];
        let received = tokio::time::timeout(COMES_WITHIN, self.socket.recv(&mut word)).await;
        let length = received.expect("no word came").unwrap();
        String::from_utf8(word[..length].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    fn has_heard_nothing_more(&self) -> bool {
        self.socket.try_recv(&mut [0; 1]).is_err()
    }
}

fn supervised(config: &str, manager: &Manager) -> Setup {
    Setup::new(config).environment("NOTIFY_SOCKET", &manager.address())
}

/// Answers at once on every listener: nothing here tries twice.
async fn answers(keyward: &Sidecar) {
    assert_eq!(keyward.operator("/readyz").await.status, 200);
    assert_eq!(keyward.call("GET /v1/openapi.json HTTP/1.1\r\nHost: api\r\n\r\n").await.status, 401, "it has no key");
    for door in [Door::AuthRequest, Door::Fastcgi] {
        keyward.ask(door, &Ask::get("https://public.example.test/")).await.assert_allows("");
    }
}

/// At once as well, where Envoy would ask.
async fn speaks_http_2(address: SocketAddr) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    // The preface, and settings without any.
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    let answer = tokio::time::timeout(COMES_WITHIN, connection.read_exact(&mut frame)).await;
    answer.expect("no answer came").unwrap();
    assert_eq!(frame[3..], [4, 0, 0, 0, 0, 0], "settings are answered");
}

/// Microseconds since the machine started, which is no less than its monotonic clock says.
fn uptime() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    let hundredths = text.split(' ').next().unwrap().replace('.', "").parse::<u64>().unwrap();
    (hundredths + 1) * 10_000
}

#[tokio::test]
async fn the_manager_hears_of_listeners_reloads_and_the_end() {
    let manager = Manager::listen();
    let grpc = free_address().unwrap();
    let listening = supervised(SMALLEST, &manager).with_api().environment("KEYWARD__LISTEN__GRPC", &grpc.to_string());
    let mut keyward = listening.spawn();
    assert_eq!(manager.hears().await, ["READY=1", "STATUS=answering"]);
    answers(&keyward).await;
    speaks_http_2(grpc).await;

    let mut last = 0;
    for (config, status) in [
        (SMALLEST, "STATUS=answering, with the configuration read again"),
        ("[nonsense]", "STATUS=answering, with the old configuration: the new one has mistakes, see the log"),
    ] {
        keyward.rewrite(config);
        keyward.signal("HUP");
        let begun = manager.hears().await;
        assert_eq!((begun[0].as_str(), begun[2].as_str()), ("RELOADING=1", "STATUS=reading the configuration"));
        let at: u64 = begun[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!(last < at && at <= uptime(), "{at}");
        last = at;
        assert_eq!(manager.hears().await, ["READY=1", status]);
    }
    answers(&keyward).await;
    speaks_http_2(grpc).await;

    keyward.signal("TERM");
    assert_eq!(manager.hears().await, ["STOPPING=1", "STATUS=draining: running requests finish"]);
    assert_eq!(keyward.ended().await.code(), Some(0));
    assert!(manager.has_heard_nothing_more());
}

#[tokio::test]
async fn who_cannot_start_never_says_that_it_is_ready() {
    let manager = Manager::listen();
    assert_eq!(supervised("[nonsense]", &manager).spawn().ended().await.code(), Some(1));
    let other = Setup::new(SMALLEST).start().await;
    let taken = supervised(SMALLEST, &manager).environment("KEYWARD__LISTEN__OPS", &other.ops.to_string());
    assert_eq!(taken.spawn().ended().await.code(), Some(3), "the last listener cannot be opened");
    assert!(manager.has_heard_nothing_more());
}

#[tokio::test]
async fn a_manager_that_does_not_listen_is_told_in_the_log_and_stops_nobody() {
    let keyward = Setup::new(SMALLEST).environment("NOTIFY_SOCKET", "/nowhere/notify").start().await;
    keyward.ask(Door::AuthRequest, &Ask::get("https://public.example.test/")).await.assert_allows("");
    let unheard = |line: &serde_json::Value| line["message"] == "the service manager could not be told";
    until("the log line", || async { keyward.log_lines().iter().any(unheard) }).await;
}

/// The calls in a group of systemd's, and in the groups of that group.
fn calls_in(group: &str) -> BTreeSet<String> {
    let output = systemd_analyze(&["syscall-filter", "--no-pager", group]);
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (groups, calls): (Vec<&str>, Vec<&str>) = names.skip(1).partition(|name| name.starts_with('@'));
    let calls = calls.into_iter().map(str::to_owned);
    calls.chain(groups.into_iter().flat_map(calls_in)).collect()
}

/// The calls that the unit allows: each line of its filter adds groups, or, with a tilde, takes them away.
fn allowed_calls() -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in values("SystemCallFilter") {
        let groups = |text: &str| text.split(' ').flat_map(calls_in).collect::<BTreeSet<String>>();
        match line.strip_prefix('~') {
            Some(rest) => allowed = &allowed - &groups(rest),
            None => allowed.extend(groups(line)),
        }
    }
    assert!(allowed.contains("read") && !allowed.contains("mount"), "the filter was not understood: {allowed:?}");
    allowed
}

/// Everything that the program asks of the kernel while it starts, logs people in over a name, reloads and drains.
#[tokio::test]
async fn the_filter_has_every_system_call_that_the_program_makes() {
    assert!(find_program("strace").is_some(), "strace is not there; tests/run installs it");
    let (office, post) = (mailboxes().await, mailboxes().await);
    let [office_url, post_url] = [office.url(), post.url()].map(|url| url.replace("127.0.0.1", "localhost"));
    let config = House::config(&office_url, &post_url, "", "");
    // With the tracer as a child, the process stays the one that signals go to.
    let strace = "set -- strace -D -f -q -e signal=none -o calls \"$@\"";
    let manager = Manager::listen();
    let mut keyward = supervised(&config, &manager).before(strace).on_socket("").start().await;
    let alice = Ask::get("https://app.example.test/inbox").cookie(Ticket::of("alice").cookie());
    keyward.ask(Door::AuthRequest, &alice).await.assert_allows("alice");
    keyward.reload("applied").await;
    let directory = keyward.directory().to_owned();
    keyward.signal("TERM");
    assert_eq!(keyward.ended().await.code(), Some(0));

    let calls = || std::fs::read_to_string(directory.join("calls")).unwrap();
    until("the tracer's last word", || async { calls().contains("+++ exited with 0 +++") }).await;
    let name = |line: &str| {
        let call = line.split_once(' ')?.1.trim_start().strip_prefix("<... ").unwrap_or(line.split_once(' ')?.1);
        let name = call.trim_start().split(['(', ' ']).next()?;
        name.starts_with(|first: char| first.is_ascii_lowercase()).then(|| name.to_owned())
    };
    let made: BTreeSet<String> = calls().lines().filter_map(name).collect();
    for sure in ["accept4", "connect", "prctl", "clone3", "getrandom", "execve", "sendto"] {
        assert!(made.contains(sure), "the trace was not understood, {sure} is missing: {made:?}");
    }
    let allowed = allowed_calls();
    let beyond: Vec<&String> = made.difference(&allowed).collect();
    assert!(beyond.is_empty(), "not in the unit's filter: {beyond:?}");
}

#[test]
fn the_files_that_the_readme_tells_of_are_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/systemd");
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()) {
        let name = entry.to_str().unwrap();
        assert!(name == "README.md" || README.contains(&format!("]({name})")), "README.md does not tell of {name}");
    }
}
