//! What operators rely on: exit codes, metrics, readiness, draining, reloading.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use fakes::server::Fault;
use keyward::demo::process::{Process, Workspace, find_program, free_address};
use support::{APP_PORTAL, Address, Ask, Connection, DOORS, Door, House, SMALLEST, Setup, Ticket, mailboxes, until};

const INBOX: &str = "https://app.example.test/inbox";

/// Runs the program to its end.
fn keyward(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null()).output().unwrap()
}

fn check(config: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keyward.toml");
    std::fs::write(&file, config).unwrap();
    let output = keyward(&["check", "-c", file.to_str().unwrap()]);
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn good_config() -> String {
    House::config("http://127.0.0.1:1", "http://127.0.0.1:2", "", "")
}

#[test]
fn check_tells_every_mistake_with_file_and_key() {
    let (code, output) = check(&good_config());
    assert_eq!((code, output.contains("keyward.toml is right: routes 7, portals 2, back-ends 2\n")), (Some(0), true));
    let mistakes = "surprise = 1\n[limits]\nkeys = -1\n[trust]\nproxies = [\"0.0.0.0/0\"]\n[log]\nlevel = \"loud\"";
    let config = House::config("ftp://x", "http://127.0.0.1:2", "login_timeout = 3", mistakes);
    let (code, output) = check(
        &config.replace("roles = [\"admin\"]", "roles = [\"\"]").replace("\"post\"\nbackend", "\"past\"\nbackend"),
    );
    assert_eq!(code, Some(1));
    for key in [
        "surprise: ",
        "limits.keys: ",
        "trust.proxies[1]: ",
        "log.level: ",
        "backend[office].url: ",
        "backend[office].login_timeout: ",
        "backend[post].login_timeout: ",
        "route[2].roles[1]: ",
        "route[4].roles[1]: ",
        "route[6].portal: ",
    ] {
        assert!(output.lines().any(|line| line.contains(&format!("keyward.toml: {key}"))), "{key} is not in {output}");
    }
    assert_eq!(output.lines().count(), 10, "{output}");
}

#[test]
fn rules_that_match_nothing_or_everything_are_mistakes() {
    for wrong in [
        "roles = []",
        "roles = [\"\"]",
        "rolls = [\"admin\"]",
        "roles = \"admin\"",
        "roles = [\"a,b\"]",
        "methods = []",
    ] {
        let (code, output) = check(&good_config().replacen("roles = [\"admin\"]", wrong, 1));
        assert!(code == Some(1) && output.contains("keyward.toml: route[2]."), "{wrong}: {output}");
    }
}

/// Ways to give a secret that is none.
fn no_secrets(directory: &Path) -> Vec<String> {
    let file = |name: &str, content: &[u8]| {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        format!("secret_file = \"{}\"", path.display())
    };
    let good = APP_PORTAL.secret;
    vec![
        String::new(),
        "secret = \"\"".to_owned(),
        "secret = \"too short\"".to_owned(),
        "secret = \"base64:AAAA\"".to_owned(),
        "secret = \"base64:!!!!\"".to_owned(),
        "secret = \"hex:zz\"".to_owned(),
        "secret = 17".to_owned(),
        "secret_file = \"\"".to_owned(),
        "secret_file = \"/nowhere/at/all\"".to_owned(),
        format!("secret_file = \"{}\"", directory.display()),
        file("empty", b""),
        file("line", b"\n"),
        file("short", b"short\n"),
        file("binary", &[0xff; 64]),
        format!("secret = \"{good}\"\n{}", file("good", good.as_bytes())),
    ]
}

#[tokio::test]
async fn an_unreadable_secret_never_means_no_secret() {
    let house = House::start().await;
    let config = House::config(&house.office.url(), &house.post.url(), "", "");
    let line = format!("secret = \"{}\"", APP_PORTAL.secret);
    let ask = Ask::get(INBOX).cookie(Ticket::of("alice").cookie());
    for secret in no_secrets(house.keyward.directory()) {
        let broken = config.replacen(&line, &secret, 1);
        let (code, output) = check(&broken);
        assert!(code == Some(1) && output.contains("portal[office]"), "{secret}: {output}");
        assert!(!output.contains(APP_PORTAL.secret));
        assert_eq!(Setup::new(&broken).spawn().ended().await.code(), Some(1), "{secret}");
        house.keyward.rewrite(&broken);
        house.keyward.reload("refused").await;
        house.keyward.ask(Door::AuthRequest, &ask).await.assert_allows("alice");
    }
}

#[tokio::test]
async fn the_exit_code_tells_what_happened() {
    assert_eq!(keyward(&["serve", "--nonsense"]).status.code(), Some(2));
    assert_eq!(keyward(&["serve", "-c", "/nowhere/keyward.toml"]).status.code(), Some(1));
    assert_eq!(Setup::new("[nonsense]").spawn().ended().await.code(), Some(1));
    let house = House::start().await;
    let taken = format!("[listen]\nauth = \"{}\"\nops = \"off\"\n{SMALLEST}", house.keyward.ops);
    let file = house.keyward.directory().join("taken.toml");
    std::fs::write(&file, taken).unwrap();
    let output = keyward(&["serve", "-c", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("cannot listen on {}", house.keyward.ops)));
    for signal in ["TERM", "INT"] {
        let mut sidecar = Setup::new(SMALLEST).start().await;
        sidecar.signal(signal);
        assert_eq!(sidecar.ended().await.code(), Some(0), "{signal}");
    }
}

/// Every metric of the contract that applies, with one of its series.
const SERIES: [&str; 36] = [
    "keyward_decisions_total{decision=\"allow\",door=\"auth-request\",reason=\"ok\"}",
    "keyward_decisions_total{decision=\"allow\",door=\"forward-auth\",reason=\"public\"}",
    "keyward_decisions_total{decision=\"redirect\",door=\"forward-auth\",reason=\"no_session\"}",
    "keyward_decisions_total{decision=\"sign_in\",door=\"auth-request\",reason=\"expired\"}",
    "keyward_decisions_total{decision=\"sign_in\",door=\"auth-request\",reason=\"forged\"}",
    "keyward_decisions_total{decision=\"sign_in\",door=\"auth-request\",reason=\"revoked\"}",
    "keyward_decisions_total{decision=\"deny\",door=\"auth-request\",reason=\"role\"}",
    "keyward_decisions_total{decision=\"deny\",door=\"auth-request\",reason=\"untrusted_peer\"}",
    "keyward_decisions_total{decision=\"deny\",door=\"auth-request\",reason=\"credentials_refused\"}",
    "keyward_decisions_total{decision=\"unavailable\",door=\"auth-request\",reason=\"backend_unavailable\"}",
    "keyward_decisions_total{decision=\"unavailable\",door=\"auth-request\",reason=\"busy\"}",
    "keyward_decision_seconds_count{door=\"auth-request\"}",
    "keyward_decision_seconds_bucket{door=\"forward-auth\",le=\"+Inf\"}",
    "keyward_portal_validations_total{portal=\"office\",verdict=\"genuine\"}",
    "keyward_portal_validations_total{portal=\"post\",verdict=\"unreachable\"}",
    "keyward_keys{backend=\"office\"}",
    "keyward_key_lookups_total{backend=\"office\",result=\"hit\"}",
    "keyward_key_lookups_total{backend=\"post\",result=\"joined\"}",
    "keyward_key_lookups_total{backend=\"post\",result=\"shared\"}",
    "keyward_leases_lost_total{backend=\"post\"}",
    "keyward_backend_logins_total{backend=\"office\",outcome=\"opened\"}",
    "keyward_backend_logins_total{backend=\"post\",outcome=\"protocol\"}",
    "keyward_backend_login_seconds_count{backend=\"post\"}",
    "keyward_backend_logins_in_flight{backend=\"office\"}",
    "keyward_keep_alives_total{backend=\"office\",outcome=\"alive\"}",
    "keyward_logouts_total{backend=\"office\",cause=\"logout\",outcome=\"done\"}",
    "keyward_logouts_total{backend=\"post\",cause=\"idle\",outcome=\"given_up\"}",
    "keyward_logouts_waiting{backend=\"post\"}",
    "keyward_revocation_seconds_count",
    "keyward_evictions_total{backend=\"office\",cause=\"capacity\"}",
    "keyward_evictions_total{backend=\"post\",cause=\"dead\"}",
    "keyward_backend_up{backend=\"post\"}",
    "keyward_config_reloads_total{outcome=\"applied\"}",
    "keyward_config_reloads_total{outcome=\"refused\"}",
    "keyward_panics_total",
    "keyward_build_info{version=\"0.1.0\"}",
];

#[tokio::test]
async fn every_series_is_there_from_the_start() {
    let house = House::start().await;
    for series in SERIES {
        let value = house.keyward.metric(series).await;
        let is_one = series.starts_with("keyward_build_info") || series.starts_with("keyward_backend_up");
        assert_eq!(value, f64::from(u8::from(is_one)), "{series}");
    }
}

#[tokio::test]
async fn promtool_finds_no_fault_with_the_metrics() {
    let promtool = find_program("promtool").expect("promtool is not installed; it is in the Debian package prometheus");
    let house = House::start().await;
    house.still_serves().await;
    let metrics = house.keyward.operator("/metrics").await;
    assert_eq!(metrics.one("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&metrics.body).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[tokio::test]
async fn decisions_are_counted_under_their_own_labels() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    let count = |door: Door, ruling: &str, reason: &str| {
        format!("keyward_decisions_total{{decision=\"{ruling}\",door=\"{}\",reason=\"{reason}\"}}", door.as_str())
    };
    for door in DOORS {
        for (ask, ruling, reason) in [
            (Ask::get(INBOX).cookie(&alice), "allow", "ok"),
            (Ask::get("https://app.example.test/public/"), "allow", "public"),
            (Ask::page(INBOX), "redirect", "no_session"),
            (Ask::get(INBOX), "sign_in", "no_session"),
            (Ask::get("https://app.example.test/admin").cookie(&alice), "deny", "role"),
            (Ask::get("ftp://app.example.test/"), "deny", "bad_request"),
        ] {
            let before = house.keyward.metric(&count(door, ruling, reason)).await;
            house.keyward.ask(door, &ask).await;
            assert_eq!(house.keyward.metric(&count(door, ruling, reason)).await, before + 1.0, "{ruling} {reason}");
        }
    }
}

#[tokio::test]
async fn draining_finishes_what_runs_and_waits_for_nobody_idle() {
    let house = House::with("[limits]\ndrain_timeout = \"5m\"", |setup| setup).await;
    let House { mut keyward, office, post: _post } = house;
    assert_eq!((keyward.operator("/livez").await.status, keyward.operator("/readyz").await.status), (200, 200));
    let alice = Ask::get(INBOX).cookie(Ticket::of("alice").cookie());
    // As a web server holds them: answered, open, idle.
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut connection = keyward.connect().await;
        connection.ask(Door::AuthRequest, &alice).await.assert_allows("alice");
        idle.push(connection);
    }
    office.misbehave(Some(Fault::Drip(Duration::from_millis(10))));
    let bob = Ask::get(INBOX).cookie(Ticket::of("bob").cookie());
    let mut running = keyward.connect().await;
    let seen = office.requests().len();
    running.send(bob.bytes(Door::AuthRequest)).await;
    until("the slow login", || async { office.requests().len() > seen }).await;

    keyward.signal("TERM");
    until("readiness goes", || async { keyward.operator("/readyz").await.status == 503 }).await;
    assert_eq!(keyward.operator("/livez").await.status, 200);
    assert!(keyward.metrics().await.contains("keyward_backend_logins_in_flight{backend=\"office\"} 1"));
    for connection in &mut idle {
        assert!(connection.maybe_answer().await.is_none(), "idle connections are closed");
    }
    running.answer().await.assert_allows("bob");
    assert_eq!(keyward.ended().await.code(), Some(0));
}

#[tokio::test]
async fn draining_ends_in_time_whatever_hangs() {
    let house =
        House::with_back_ends("login_timeout = \"5m\"", "[limits]\ndrain_timeout = \"1s\"", |setup| setup).await;
    let House { mut keyward, office, post: _post } = house;
    office.misbehave(Some(Fault::Hang));
    let mut running = keyward.connect().await;
    running.send(Ask::get(INBOX).cookie(Ticket::of("bob").cookie()).bytes(Door::ForwardAuth)).await;
    until("the login", || async { !office.requests().is_empty() }).await;
    keyward.signal("TERM");
    assert_eq!(keyward.ended().await.code(), Some(0));
    assert!(running.maybe_answer().await.is_none_or(|answer| answer.status == 503));
}

#[tokio::test]
async fn a_reload_is_all_or_nothing() {
    let house = House::start().await;
    let (office, post) = (house.office.url(), house.post.url());
    let alice = Ask::get(INBOX).cookie(Ticket::of("alice").cookie());
    let keys =
        async || house.keyward.ask(Door::AuthRequest, &alice).await.assert_allows("alice").one("X-Upstream-Cookie");
    let before = keys().await;
    let new_host = Ask::get("https://new.example.test/");
    let route = "[[route]]\nhost = \"new.example.test\"\npublic = true\n";
    let good = format!("{}{route}", House::config(&office, &post, "idle_timeout = \"9m\"", "[limits]\nkeys = 77"));

    // The new route with a mistake elsewhere, in the file's syntax, or in what cannot change.
    for broken in [
        format!("{good}\n[[route]]\nhost = \"x\""),
        format!("{good}\n[[["),
        good.replace("keys = 77", "keys = 77\ndrain_timeout = \"1m\""),
        format!("{good}\n[log]\nlevel = \"debug\""),
        String::from("\0"),
    ] {
        house.keyward.rewrite(&broken);
        house.keyward.reload("refused").await;
        assert_eq!(house.keyward.ask(Door::AuthRequest, &new_host).await.reason(), "no_route");
        assert_eq!(keys().await, before);
    }
    let refusals =
        house.keyward.log_lines().into_iter().filter(|line| line["message"].as_str().unwrap().contains("not reloaded"));
    assert!(refusals.count() >= 5, "each mistake is logged");
    std::fs::remove_file(house.keyward.config()).unwrap();
    house.keyward.reload("refused").await;
    assert_eq!(keys().await, before);

    house.keyward.rewrite(&good);
    house.keyward.reload("applied").await;
    house.keyward.ask(Door::AuthRequest, &new_host).await.assert_allows("");
    assert_eq!(keys().await, before, "sessions go on when only limits change");
    assert_eq!(house.office.logins("alice"), 1);
    assert_eq!(house.keyward.operator("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_back_end_that_is_gone_after_a_reload_takes_its_sessions_with_it() {
    let house = House::start().await;
    let alice = Ask::get(INBOX).cookie(Ticket::of("alice").cookie());
    house.keyward.ask(Door::AuthRequest, &alice).await.assert_allows("alice");
    let other = mailboxes().await;
    house.keyward.rewrite(&House::config(&other.url(), &house.post.url(), "", ""));
    house.keyward.reload("applied").await;
    until("the logout", || async { house.office.sessions() == 0 }).await;
    let answer = house.keyward.ask(Door::AuthRequest, &alice).await;
    let cookie = answer.assert_allows("alice").one("X-Upstream-Cookie");
    assert_eq!(other.owner(cookie.strip_prefix("_hmail=").unwrap()).as_deref(), Some("alice"));
}

#[tokio::test]
async fn a_login_whose_back_end_goes_in_a_reload_is_no_sign_out() {
    let house = House::start().await;
    let alice = Ask::page(INBOX).cookie(Ticket::of("alice").cookie());
    house.office.misbehave(Some(Fault::Drip(Duration::from_millis(10))));
    let mut waiting = house.keyward.connect().await;
    waiting.send(alice.bytes(Door::AuthRequest)).await;
    until("the login", || async { house.office.sessions() == 1 }).await;
    let other = mailboxes().await;
    house.keyward.rewrite(&House::config(&other.url(), &house.post.url(), "", ""));
    house.keyward.reload("applied").await;
    let answer = waiting.answer().await;
    assert_eq!((answer.assert_refuses().status, answer.reason().as_str()), (503, "busy"));
    house.office.misbehave(None);
    until("the logout", || async { house.office.sessions() == 0 }).await;
    house.keyward.ask(Door::AuthRequest, &alice).await.assert_allows("alice");
    assert_eq!(other.logins("alice"), 1);
}

#[tokio::test]
async fn a_socket_that_a_dead_process_left_is_taken_over_and_a_living_one_is_not() {
    let mut first = Setup::new(SMALLEST).on_socket("").start().await;
    let config = first.config().to_owned();
    let directory = first.directory().to_owned();
    let second =
        std::fs::read_to_string(&config).unwrap().replace(&format!("ops = \"{}\"", first.ops), "ops = \"off\"");
    let file = directory.join("second.toml");
    std::fs::write(&file, second).unwrap();
    let file = file.to_str().unwrap();
    let output = keyward(&["serve", "-c", file]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(first.ask(Door::AuthRequest, &Ask::get(INBOX)).await.reason(), "no_route", "the first goes on");

    first.signal("KILL");
    assert!(!first.ended().await.success());
    let program = Path::new(env!("CARGO_BIN_EXE_keyward"));
    let workspace = Workspace::temporary().unwrap();
    let mut process = Process::start("second", program, &["serve", "-c", file], &workspace.with_our_rights()).unwrap();
    process.ready(&first.auth).await.unwrap();
    assert_eq!(first.ask(Door::AuthRequest, &Ask::get(INBOX)).await.reason(), "no_route");
}

#[tokio::test]
async fn reloading_under_load_loses_no_question() {
    let house = House::start().await;
    let config = House::config(&house.office.url(), &house.post.url(), "", "");
    let alice = Ask::get(INBOX).cookie(Ticket::of("alice").cookie());
    let asking = async {
        let mut connection = house.keyward.connect().await;
        for number in 0..1000 {
            connection.ask(DOORS[number % DOORS.len()], &alice).await.assert_allows("alice");
        }
    };
    let reloading = async {
        for round in 0..5 {
            house.keyward.rewrite(&if round % 2 == 0 { format!("{config}\n[nonsense]") } else { config.clone() });
            house.keyward.reload(if round % 2 == 0 { "refused" } else { "applied" }).await;
        }
    };
    futures_util::future::join(asking, reloading).await;
    assert_eq!(house.office.logins("alice"), 1);
}

#[tokio::test]
async fn more_connections_than_files_are_survived_and_no_no_comes_of_them() {
    let impatient = "failure_backoff = \"1ms\"";
    let house = House::with_back_ends(impatient, "", |setup| setup.before("ulimit -n 80")).await;
    let alice = Ask::get(INBOX).cookie(Ticket::of("alice").cookie());
    let mut first = house.keyward.connect().await;
    first.ask(Door::AuthRequest, &alice).await.assert_allows("alice");
    let mut many = Vec::new();
    for _ in 0..200 {
        many.push(house.keyward.connect().await);
    }
    first.ask(Door::AuthRequest, &alice).await.assert_allows("alice");
    // No file is left for a connection to the back-end.
    let bob = first.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(Ticket::of("bob").cookie())).await;
    if bob.status != 200 {
        assert_eq!((bob.assert_refuses().status, bob.reason().as_str()), (503, "backend_unavailable"));
    }
    drop(many);
    let bob = Ask::get(INBOX).cookie(Ticket::of("bob").cookie());
    until("the files are back", || async { house.keyward.ask(Door::ForwardAuth, &bob).await.status == 200 }).await;
    house.still_serves().await;
    assert_eq!(house.keyward.metric("keyward_panics_total").await, 0.0);
}

#[tokio::test]
async fn a_log_that_nobody_reads_any_more_stops_nobody() {
    let house = House::with("", |setup| setup.before("mkfifo log; (read -r _) < log & exec 2> log")).await;
    for _ in 0..20 {
        house.still_serves().await;
    }
    house.keyward.signal("HUP");
    house.still_serves().await;
    assert_eq!(house.keyward.metric("keyward_panics_total").await, 0.0);
}

#[tokio::test]
async fn the_operators_listener_can_be_off_and_nothing_of_it_is_elsewhere() {
    let house = House::start().await;
    let config = std::fs::read_to_string(house.keyward.config()).unwrap();
    let without = config.replace(&format!("ops = \"{}\"", house.keyward.ops), "ops = \"off\"");
    let without = without.replace(&format!("fastcgi = \"{}\"", house.keyward.fastcgi), "");
    let address = free_address().unwrap();
    let Address::Tcp(auth) = &house.keyward.auth else { panic!("a port") };
    let file = house.keyward.directory().join("off.toml");
    std::fs::write(&file, without.replace(&auth.to_string(), &address.to_string())).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_keyward"));
    let workspace = Workspace::temporary().unwrap();
    let arguments = ["serve", "-c", file.to_str().unwrap()];
    let started = Process::start("off", program, &arguments, &workspace.with_our_rights());
    let mut process = started.unwrap();
    process.ready(&Address::Tcp(address)).await.unwrap();
    for path in ["/metrics", "/livez", "/readyz"] {
        let mut connection = Connection::open(&Address::Tcp(address)).await;
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(connection.answer().await.status, 404);
    }
}
