//! The demo as a person meets it: the program itself, a real nginx with the shipped example, a real
//! Roundcube, and a browser that keeps one cookie.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "nginx/servers.rs"]
#[expect(dead_code, reason = "only the client is needed here")]
mod servers;

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keyward::demo::process::free_port;
use servers::{Message, send};

struct Demo {
    program: Child,
    address: SocketAddr,
    metrics: SocketAddr,
    /// Where it puts its files; also open to the account that the servers run as.
    files: tempfile::TempDir,
}

impl Demo {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        std::fs::set_permissions(files.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let address = free_port(Ipv4Addr::LOCALHOST.into()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command.args(["demo", "--port", &address.port().to_string()]).env("TMPDIR", files.path());
        let mut program = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut said = Vec::new();
        said.extend(lines.by_ref().take_while(|line| !line.starts_with("Ctrl-C")));
        let open = format!("  Open  http://portal.demo.localhost:{}", address.port());
        assert!(said.contains(&open), "{said:#?}");
        for server in ["the stand-in for Axigen", "Dovecot", "PHP", "Keyward", "nginx"] {
            let told = |line: &String| line.starts_with("starting ") && line.contains(server);
            assert_eq!(said.iter().filter(|line| told(line)).count(), 1, "{server}: {said:#?}");
        }
        let metrics = said.iter().find_map(|line| line.strip_prefix("Keyward's metrics: http://")).unwrap();
        let metrics = metrics.strip_suffix("/metrics").unwrap().parse().unwrap();
        Self { program, address, metrics, files }
    }

    /// Opens a page as a browser does.
    fn open(&self, name: &str, path: &str, cookie: &str) -> Message {
        let host = format!("{name}.demo.localhost:{}", self.address.port());
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Mode: navigate\r\nCookie: {cookie}\r\n\r\n");
        send(self.address, &head)
    }

    /// Signs in at the portal; the cookie.
    fn sign_in(&self, person: &str) -> String {
        let host = format!("portal.demo.localhost:{}", self.address.port());
        let form = format!("person={person}&next=");
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let head =
            format!("POST /sign-in HTTP/1.1\r\nHost: {host}\r\n{kind}\r\nContent-Length: {}\r\n\r\n", form.len());
        let answer = send(self.address, &format!("{head}{form}"));
        assert_eq!(answer.status(), 303);
        answer.header("Set-Cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    fn logins(&self, backend: &str) -> String {
        let metrics = send(self.metrics, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").body;
        let wanted = format!("keyward_backend_logins_total{{backend=\"{backend}\",outcome=\"opened\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&wanted).map(str::to_owned)).unwrap()
    }

    /// Sends a signal to it, or to one of its servers.
    fn signal(signal: &str, process: &str) {
        let kill = format!("kill -{signal} {process}");
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn is_up(&self) -> bool {
        TcpStream::connect(self.address).is_ok() || TcpStream::connect(self.metrics).is_ok()
    }
}

/// Waits until nobody listens there: a connection ends with the server at its other end, at the
/// latest when the listener is closed.
fn nobody_listens(address: SocketAddr) -> bool {
    (0..10).any(|_| {
        let Ok(mut connection) = TcpStream::connect(address) else { return true };
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let ended = connection.read(&mut [0]);
        assert_ne!(ended.err().map(|error| error.kind()), Some(ErrorKind::WouldBlock), "{address} lives on");
        false
    })
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[test]
fn one_sign_in_opens_both_webmails_and_one_sign_out_closes_them() {
    let demo = Demo::start();
    let port = demo.address.port();
    let stranger = demo.open("axigen", "/?a=%26&b", "");
    assert_eq!(stranger.status(), 302);
    let next: String =
        url::form_urlencoded::byte_serialize(format!("http://axigen.demo.localhost:{port}/?a=%26&b").as_bytes())
            .collect();
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let location = stranger.header("Location").unwrap();
    let (login, returning) = location.split_once("?next=").unwrap();
    assert_eq!(login, format!("http://portal.demo.localhost:{port}/login"));
    assert_eq!(decoded(returning), decoded(&next));

    let ana = demo.sign_in("ana");
    let mailboxes = std::thread::scope(|scope| {
        let opening: Vec<_> = (0..20).map(|_| scope.spawn(|| demo.open("axigen", "/", &ana).body)).collect();
        opening.into_iter().map(|mailbox| mailbox.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(mailboxes.iter().all(|mailbox| mailbox.contains("Mailbox of Ana Díaz")), "{mailboxes:#?}");
    assert_eq!(demo.logins("axigen"), "1", "twenty first requests, one login");

    let roundcube = demo.open("roundcube", "/", &ana);
    assert_eq!((roundcube.status(), roundcube.header("Set-Cookie")), (200, None), "its keys stay with Keyward");
    assert!(roundcube.body.contains("\"request_token\"") && roundcube.body.contains("\"task\":\"mail\""));
    let list = demo.open("roundcube", "/?_task=mail&_action=list&_mbox=INBOX&_remote=1", &ana);
    assert!(list.body.contains("Welcome, Ana Díaz"), "{}", list.body);

    let ben = demo.sign_in("ben");
    assert!(demo.open("axigen", "/", &ben).body.contains("Mailbox of Ben Okafor"));

    let back = format!("http://portal.demo.localhost:{port}/signed-out");
    let out = demo.open("axigen", &format!("/.keyward/logout?post_logout_redirect_uri={back}"), &ana);
    assert_eq!((out.status(), out.header("Location")), (303, Some(back.as_str())));
    for webmail in ["axigen", "roundcube"] {
        assert_eq!(demo.open(webmail, "/", &ana).status(), 302, "{webmail} is closed to Ana");
    }
    assert!(demo.open("axigen", "/", &ben).body.contains("Mailbox of Ben Okafor"), "Ben stays");
}

/// The address in the page's link for logging out.
fn log_out(page: &str) -> String {
    let mut links = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let link = links.find(|link| link.contains("=logout")).unwrap().replace("&amp;", "&");
    link.trim_start_matches('.').to_owned()
}

#[test]
fn log_out_in_a_webmail_signs_out_at_the_portal_too() {
    let demo = Demo::start();
    for webmail in ["axigen", "roundcube"] {
        let ana = demo.sign_in("ana");
        let mailbox = demo.open(webmail, "/", &ana).body;
        let out = demo.open(webmail, &log_out(&mailbox), &ana);
        assert_eq!(out.status(), 302, "{webmail}");
        let home = demo.open(webmail, out.header("Location").unwrap(), &ana);
        assert_eq!(home.status(), 303, "{webmail}");
        let portal = format!("http://portal.demo.localhost:{}", demo.address.port());
        let path = home.header("Location").unwrap().strip_prefix(&portal).unwrap();
        let end = demo.open("portal", path, &ana);
        assert!(end.body.contains("<h1>You are signed out</h1>"), "{webmail}: {}", end.body);
        let cookie = end.header("Set-Cookie").unwrap();
        assert!(cookie.starts_with("portal_session=;") && cookie.contains("Max-Age=0"), "{webmail}: {cookie}");
        assert_eq!(demo.open(webmail, "/", &ana).status(), 302, "{webmail} is closed");
    }
}

#[test]
fn told_to_stop_it_ends_its_servers_and_removes_its_files() {
    for signal in ["TERM", "INT", "HUP"] {
        let mut demo = Demo::start();
        Demo::signal(signal, &demo.program.id().to_string());
        assert!(demo.program.wait().unwrap().success(), "{signal}");
        assert!(!demo.is_up(), "{signal}");
        assert_eq!(std::fs::read_dir(demo.files.path()).unwrap().count(), 0, "{signal}");
    }
}

#[test]
fn killed_outright_it_still_leaves_no_server_behind() {
    let mut demo = Demo::start();
    demo.program.kill().unwrap();
    demo.program.wait().unwrap();
    for address in [demo.address, demo.metrics] {
        assert!(nobody_listens(address), "servers outlive the demo");
    }
}

#[test]
fn a_server_that_dies_is_named_with_its_last_words_and_no_file_that_is_gone() {
    let mut demo = Demo::start();
    let files = std::fs::read_dir(demo.files.path()).unwrap().next().unwrap().unwrap().path();
    let dovecot = std::fs::read_to_string(files.join("webmail/imap/run/master.pid")).unwrap();
    Demo::signal("TERM", dovecot.trim());
    assert_eq!(demo.program.wait().unwrap().code(), Some(3));
    let mut said = String::new();
    demo.program.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.starts_with("keyward: dovecot ended by itself; it said last:\n"), "{said}");
    assert!(said.contains("signal 15") && !said.contains(".log"), "{said}");
    assert!(!demo.is_up());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_keyward")).args(["demo", "--port", &port]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&format!("port {port} of 127.0.0.1 cannot be used")), "{said}");
}
