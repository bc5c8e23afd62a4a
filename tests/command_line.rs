//! The program as people and scripts call it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/command.rs"]
mod command;

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};

use command::{keyward, run};
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn run_with_input(arguments: &[&str], input: &str) -> Output {
    let mut child = keyward(arguments).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The reference configuration, changed.
fn configuration(directory: &Path, from: &str, to: &str) -> String {
    let reference = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/conf/keyward.toml")).unwrap();
    assert!(reference.contains(from), "{from}");
    let path = directory.join("keyward.toml");
    std::fs::write(&path, reference.replace(from, to)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn secret_file(directory: &Path, secret: &str) -> String {
    let path = directory.join(format!("{}.secret", secret.len()));
    std::fs::write(&path, format!("{secret}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn check_says_yes_with_0_and_no_with_1_and_all_mistakes() {
    let directory = tempfile::tempdir().unwrap();
    let right = configuration(directory.path(), "8420", "8430");
    let output = run(&["check", "-c", &right]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout), format!("{right} is right: routes 1, portals 1, back-ends 1\n"));
    assert_eq!(
        text(&output.stderr),
        format!(
            "keyward: warning: {right}: portal[customer-portal].key[2026a].secret: is the one from the examples, \
             which everybody knows; make your own: openssl rand -base64 48\n"
        )
    );

    let wrong = configuration(directory.path(), "max_logins = 8", "max_logins = 0\nlogin_tiemout = \"10s\"");
    let output = keyward(&["check", "-c", &wrong]).env("KEYWARD__LIMITS__ANSWER", "7").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines = text(&output.stdout);
    assert!(lines.contains(&format!("{wrong}: backend[mail].max_logins: must be a whole number")), "{lines}");
    assert!(lines.contains(&format!("{wrong}: backend[mail].login_tiemout: is not a known key")), "{lines}");
    assert!(lines.contains("the environment: limits.answer: must be a whole number"), "{lines}");
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert!(!lines.contains(SECRET));

    let output = run(&["check", "-c", "/nowhere/keyward.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("/nowhere/keyward.toml: cannot be read"), "{output:?}");
}

#[test]
fn a_system_that_trusts_nobody_is_a_mistake_only_where_somebody_speaks_tls() {
    let directory = tempfile::tempdir().unwrap();
    for (scheme, code) in [("http", 0), ("https", 1)] {
        let config = configuration(directory.path(), "http://127.0.0.1:8000", &format!("{scheme}://127.0.0.1:8000"));
        let output = keyward(&["check", "-c", &config])
            .env("SSL_CERT_FILE", directory.path().join("nowhere.pem"))
            .env("SSL_CERT_DIR", directory.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{scheme}: {output:?}");
        let told = text(&output.stdout).contains("backend[mail].host: the system's certificates");
        assert_eq!(told, code == 1, "{scheme}: {output:?}");
    }
}

#[test]
fn a_minted_ticket_is_explained_with_the_same_key_and_rejected_with_another() {
    let directory = tempfile::tempdir().unwrap();
    let config = configuration(directory.path(), "8420", "8430");
    let secret = secret_file(directory.path(), SECRET);
    let other = secret_file(directory.path(), "another secret of thirty-two bytes");

    let mint =
        ["ticket", "mint", "--secret-file", &secret, "--key-id", "2026a", "--sub", "ana", "--password-file", "-"];
    let minted = run_with_input(&mint, "marked\n");
    assert_eq!(minted.status.code(), Some(0), "{minted:?}");
    let ticket = text(&minted.stdout);
    assert!(ticket.starts_with("kw1.2026a.") && ticket.ends_with('\n') && !ticket.contains("marked"), "{ticket}");

    let explained = run_with_input(&["ticket", "inspect", "-c", &config, "--portal", "customer-portal"], &ticket);
    assert_eq!(explained.status.code(), Some(0), "{explained:?}");
    let lines = text(&explained.stdout);
    assert!(lines.contains("sealed in it, and this key opens it") && lines.contains("verdict   genuine"), "{lines}");
    assert!(!lines.contains("marked"), "{lines}");

    let inspect = ["ticket", "inspect", "--secret-file", &other, "--key-id", "2026a", ticket.trim()];
    let explained = run(&inspect);
    assert_eq!(explained.status.code(), Some(1), "{explained:?}");
    assert!(text(&explained.stdout).contains("mac       wrong"), "{explained:?}");
    assert_eq!(run(&["ticket", "inspect", ticket.trim()]).status.code(), Some(1), "without any key");
}

#[test]
fn tickets_of_a_portal_have_random_sessions() {
    let directory = tempfile::tempdir().unwrap();
    let config = configuration(directory.path(), "8420", "8430");
    let mint = || {
        let minted = run(&["ticket", "mint", "-c", &config, "--portal", "customer-portal", "--sub", "ana"]);
        let ticket = text(&minted.stdout);
        let explained = text(&run(&["ticket", "inspect", ticket.trim()]).stdout);
        explained.lines().find(|line| line.starts_with("sid ")).unwrap().to_owned()
    };
    let (one, two) = (mint(), mint());
    // A label, quotes, and 128 bits in hexadecimal digits.
    assert!(one.len() == two.len() && one.len() == 10 + 2 + 32, "{one}");
    assert_ne!(one, two);
}

#[test]
fn a_command_line_that_is_not_understood_ends_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let config = configuration(directory.path(), "8420", "8430");
    let secret = secret_file(directory.path(), SECRET);
    let portal = ["-c", &config, "--portal", "customer-portal"];
    for arguments in [
        vec!["nonsense"],
        vec!["demo", "--port", "0"],
        vec!["ticket", "mint", "--sub", "ana"],
        vec!["ticket", "mint", "--sub", "ana", "--key-id", "2026a"],
        vec!["ticket", "mint", "--sub", "ana", "--secret-file", &secret],
        [&["ticket", "mint", "--sub", "ana", "--secret-file", &secret, "--key-id", "2026a"], &portal[..]].concat(),
        [&["ticket", "mint", "--sub", "ana", "--valid", "soon"], &portal[..]].concat(),
        [&["ticket", "inspect", "--key-id", "2026a"], &portal[..]].concat(),
        vec!["ticket", "inspect", "--key-id", "2026a"],
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_minted_ends_with_1_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let config = configuration(directory.path(), "8420", "8430");
    let short = secret_file(directory.path(), "short");
    let portal = ["-c", &config, "--portal", "customer-portal"];
    let from_file = |file: &'static str| ["--key-id", "2026a", "--secret-file", file];
    let no_portal = format!("{config} has no portal \"nobody\"; there is customer-portal");
    let too_short = format!("{short}: the secret must be at least 32 bytes long");
    for (arguments, message) in [
        (&["-c", &config, "--portal", "nobody"][..], no_portal.as_str()),
        (&[&portal[..], &["--key-id", "2020"]].concat(), "the portal has no key of this id; there is 2026a"),
        (&[&portal[..], &["--sid", "short"]].concat(), "sid must have 16 to 128 characters"),
        (&[&portal[..], &["--role", "a,b"]].concat(), "its claims cannot be used: a role holds a comma"),
        (&["--key-id", "2026a", "--secret-file", &short], &too_short),
        (&from_file("/nowhere/secret"), "/nowhere/secret: cannot be read"),
        (&["--key-id", "a.b", "--secret-file", &short], "--key-id: the id must have"),
    ] {
        let output = run(&[&["ticket", "mint", "--sub", "ana"], arguments].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {said}");
        assert!(said.starts_with("keyward: ") && said.contains(message), "{arguments:?} {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_password_is_asked_for_at_a_terminal_only() {
    let directory = tempfile::tempdir().unwrap();
    let secret = secret_file(directory.path(), SECRET);
    let mint = ["ticket", "mint", "--sub", "ana", "--secret-file", &secret, "--key-id", "2026a", "--ask-password"];
    // A session of its own has no terminal, wherever the tests are run.
    let output = Command::new("setsid").args(["--wait", env!("CARGO_BIN_EXE_keyward")]).args(mint).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        text(&output.stderr),
        "keyward: there is no terminal to ask at; use --password-file FILE, or - for standard input\n"
    );
}

/// A running `serve` on ports that the system chooses; ended when dropped.
struct Serving(Child, Lines<BufReader<ChildStderr>>);

impl Serving {
    fn start(config: &str) -> Self {
        let mut command = keyward(&["serve", "-c", config]);
        let free = "127.0.0.1:0";
        let command =
            command.env("KEYWARD__LISTEN__AUTH", free).env("KEYWARD__LISTEN__OPS", free).env_remove("RUST_LOG");
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self(child, lines)
    }

    fn log_line(&mut self) -> Value {
        serde_json::from_str(&self.1.next().unwrap().unwrap()).unwrap()
    }

    /// Ends it as an operator does, and gives back its last words.
    fn stop(mut self) -> (ExitStatus, Vec<Value>) {
        let kill = format!("kill {}", self.0.id());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
        let rest = std::iter::from_fn(|| self.1.next()).map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        let rest = rest.collect();
        (self.0.wait().unwrap(), rest)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_log_tells_where_it_listens_and_that_it_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let config = configuration(directory.path(), "\"info\"", "\"trace\"");
    let mut serving = Serving::start(&config);
    let warning = serving.log_line();
    assert_eq!(warning["level"], "WARN");
    assert!(warning["warning"].as_str().unwrap().contains("is the one from the examples"), "{warning}");
    let listening = serving.log_line();
    assert_eq!((&listening["message"], &listening["file"]), (&json!("listening"), &json!(config)));
    let counts = ["routes", "portals", "backends"].map(|what| listening[what].as_u64());
    assert_eq!((counts, &listening["version"]), ([Some(1); 3], &json!(env!("CARGO_PKG_VERSION"))));
    for listener in ["auth", "ops"] {
        let mut connection = TcpStream::connect(listening[listener].as_str().unwrap()).unwrap();
        connection.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{listener}: {answer}");
    }
    let (status, rest) = serving.stop();
    assert!(status.success(), "{status}");
    let messages: Vec<&Value> = rest.iter().map(|line| &line["message"]).collect();
    assert_eq!(messages, ["draining: no new connections, running requests finish", "stopped"]);
}

#[test]
fn a_start_that_fails_is_told_with_its_cause() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = configuration(directory.path(), "127.0.0.1:8420", &taken.local_addr().unwrap().to_string());
    let output = keyward(&["serve", "-c", &config]).env_remove("RUST_LOG").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let last: Value = serde_json::from_str(text(&output.stderr).lines().last().unwrap()).unwrap();
    assert_eq!((&last["level"], &last["message"]), (&json!("ERROR"), &json!("could not start")));
    assert!(last["error"].as_str().unwrap().contains(&taken.local_addr().unwrap().to_string()), "{last}");

    let config = configuration(directory.path(), "max_logins = 8", "max_logins = 0");
    let output = run(&["serve", "-c", &config]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with(&format!("keyward: {config}: backend[mail].max_logins: ")), "{said}");
    assert_eq!(lines[1..], ["keyward: could not start: the configuration has mistakes"]);
}
