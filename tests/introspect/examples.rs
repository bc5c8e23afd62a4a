//! The portals of the examples, each in its real runtime, with the configuration that stands beside them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use keyward::demo::process::{Address, Process, TemporaryWorkspace, Workspace, find_program, free_address};
use serde_json::Value;

use crate::fakes::axigen::{Axigen, Person};
use crate::fakes::server::{Reply, Request, forward};
use crate::support::{Answer, Ask, Door, Setup, Sidecar, until};

const INBOX: &str = "https://webmail.example.test/";
const INTRANET: &str = "https://intranet.example.test/";
/// As it stands in people.json.
const PASSWORD: &str = "correct horse battery";
const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// How a portal is started.
struct Runtime {
    program: &'static str,
    file: &'static str,
    /// Comes before the file.
    option: Option<&'static str>,
    address_first: bool,
}

const PHP: Runtime = Runtime { program: "php", file: "php/portal.php", option: Some("-S"), address_first: true };
/// Debian's own, which has Debian's Flask.
const FLASK: Runtime =
    Runtime { program: "/usr/bin/python3", file: "flask/portal.py", option: None, address_first: false };
const NODE: Runtime = Runtime { program: "node", file: "node/portal.js", option: None, address_first: false };

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/introspect").join(name)
}

struct Town {
    keyward: Sidecar,
    mail: Axigen,
    portal: SocketAddr,
    _process: Process,
    _workspace: TemporaryWorkspace,
}

impl Town {
    async fn start(runtime: &Runtime, hands_over: bool) -> Self {
        let mail = Axigen::start(vec![Person::new("ana", PASSWORD, "Ana Día")]).await.unwrap();
        let portal = free_address().unwrap();
        let workspace = Workspace::temporary().unwrap();
        let process = start(runtime, portal, hands_over, &workspace).await;
        let config = std::fs::read_to_string(example("keyward.toml")).unwrap();
        for (line, times) in [("127.0.0.1:8080", 2), ("http://127.0.0.1:8000", 1), ("cache_for = \"30s\"", 1)] {
            assert_eq!(config.matches(line).count(), times, "{line}");
        }
        let config = config
            .replace("127.0.0.1:8080", &portal.to_string())
            .replace("http://127.0.0.1:8000", &mail.url())
            .replace("cache_for = \"30s\"", "cache_for = \"1s\"");
        let keyward = Setup::new(&config).start().await;
        Self { keyward, mail, portal, _process: process, _workspace: workspace }
    }

    async fn call(&self, method: &str, target: &str, lines: &[(&str, &str)], body: &str) -> Reply {
        let mut headers = vec![("host".to_owned(), self.portal.to_string().into_bytes())];
        headers.extend(lines.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())));
        if !body.is_empty() {
            headers.push(("content-type".to_owned(), b"application/x-www-form-urlencoded".to_vec()));
        }
        headers.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
        let (method, target) = (method.to_owned(), target.to_owned());
        forward(self.portal, &Request { method, target, headers, body: body.as_bytes().to_vec() }).await.unwrap()
    }

    /// Sends the sign-in form, and gives the answer and the cookie that is left.
    async fn sign_in(&self, password: &str, next: &str, cookie: &str) -> (Reply, String) {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("user", "ana").append_pair("password", password).append_pair("next", next);
        let answer = self.call("POST", "/login", &[("cookie", cookie)], &form.finish()).await;
        let lines = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        let last = lines.map(|(_, line)| line.split(';').next().unwrap().to_owned()).next_back();
        (answer, last.unwrap_or_default())
    }

    async fn ask(&self, url: &str, cookie: &str) -> Answer {
        self.keyward.ask(Door::AuthRequest, &Ask::get(url).cookie(cookie)).await
    }

    /// What the portal says to whoever knows the secret.
    async fn says(&self, cookie: &str) -> Value {
        let bearer = format!("Bearer {SECRET}");
        let answer = self.call("GET", "/session", &[("authorization", &bearer), ("cookie", cookie)], "").await;
        assert_eq!(answer.status, 200);
        serde_json::from_slice(&answer.body).unwrap()
    }
}

async fn start(runtime: &Runtime, address: SocketAddr, hands_over: bool, workspace: &Workspace) -> Process {
    let program =
        if runtime.program.starts_with('/') { Some(runtime.program.into()) } else { find_program(runtime.program) };
    let program: PathBuf = program.unwrap_or_else(|| panic!("{} is missing; see tests/run", runtime.program));
    // It runs without rights, so it gets a copy that it may read.
    let folder = runtime.file.split('/').next().unwrap();
    workspace.directory(folder).unwrap();
    for name in [runtime.file, "people.json"] {
        workspace.write(name, &std::fs::read_to_string(example(name)).unwrap()).unwrap();
    }
    let (address_text, sessions) = (address.to_string(), workspace.directory("sessions").unwrap());
    let save_path = format!("session.save_path={}", sessions.path().display());
    let hand_over = format!("HAND_OVER_PASSWORD={}", if hands_over { "yes" } else { "no" });
    let secret = format!("KEYWARD_SECRET={SECRET}");
    let file = workspace.path().join(runtime.file);
    let file = file.to_str().unwrap();
    let mut arguments = vec![secret.as_str(), hand_over.as_str(), program.to_str().unwrap()];
    if runtime.program == "php" {
        arguments.extend(["-d", save_path.as_str()]);
    }
    arguments.extend(runtime.option);
    arguments.extend(if runtime.address_first { [address_text.as_str(), file] } else { [file, address_text.as_str()] });
    let mut process = Process::start("portal", Path::new("/usr/bin/env"), &arguments, workspace).unwrap();
    process.ready(&Address::Tcp(address)).await.unwrap();
    process
}

async fn walk(runtime: &Runtime) {
    let town = Town::start(runtime, true).await;
    // Nobody is signed in, whatever they make up.
    for cookie in ["x=1", "portal_session=d41d8cd98f00b204e9800998ecf8427e", "portal_session=../../etc/passwd"] {
        let answer = town.ask(INBOX, cookie).await;
        assert_eq!((answer.status, answer.reason().as_str()), (401, "no_session"), "{cookie}");
        assert!(answer.login().starts_with("https://portal.example.test/login?next=https%3A%2F%2Fwebmail"));
    }
    let page = town.call("GET", "/login?next=%22%3E%3Cscript%3E", &[], "").await;
    let text = String::from_utf8(page.body).unwrap();
    assert!(page.status == 200 && text.contains("type=\"password\"") || text.contains("type=password"), "{text}");
    assert!(!text.contains("<script>"), "{text}");
    let (answer, cookie) = town.sign_in("wrong", INBOX, "").await;
    assert_eq!(answer.status, 403);
    assert_eq!(town.ask(INBOX, &cookie).await.status, 401);

    // She signs in, and is in.
    for (next, location) in
        [(INBOX, INBOX), ("https://evil.test/", "/"), ("//evil.test", "/"), ("http://webmail.example.test/", "/")]
    {
        let (answer, _) = town.sign_in(PASSWORD, next, "").await;
        let to = answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("location"));
        assert_eq!((answer.status, to.map(|(_, to)| to.as_str())), (303, Some(location)), "{next}");
    }
    let (_, cookie) = town.sign_in(PASSWORD, INBOX, "portal_session=planted").await;
    assert!(cookie.starts_with("portal_session=") && cookie.len() > 35 && !cookie.contains("planted"), "{cookie}");
    let answer = town.ask(INBOX, &cookie).await;
    answer.assert_allows("ana");
    assert_eq!((answer.one("Remote-Groups"), answer.one("Remote-Name")), ("staff".to_owned(), "Ana Día".to_owned()));
    let keys = answer.one("X-Upstream-Cookie");
    assert!(!keys.contains("portal_session"), "{keys}");
    assert_eq!((town.mail.logins("ana"), town.mail.sessions()), (1, 1));
    let left: u64 = answer.one("X-Keyward-Session-Seconds").parse().unwrap();
    assert!((8 * 3600 - 60..=8 * 3600).contains(&left), "{left}");

    // What Keyward is told is for Keyward.
    assert_eq!(town.says(&cookie).await["password"], PASSWORD);
    for shown in ["", "Bearer ", "Bearer 00112233", SECRET] {
        let answer = town.call("GET", "/session", &[("authorization", shown), ("cookie", &cookie)], "").await;
        assert_eq!((answer.status, answer.body.as_slice()), (403, &b""[..]), "{shown}");
    }

    // She signs out at the portal.
    assert_eq!(town.call("POST", "/logout", &[("cookie", &cookie)], "").await.status, 303);
    until("the end at Keyward", || async { town.ask(INBOX, &cookie).await.status == 401 }).await;
    until("the end at the mailbox", || async { town.mail.sessions() == 0 }).await;

    // And once more, out at Keyward this time.
    let (_, cookie) = town.sign_in(PASSWORD, INBOX, &cookie).await;
    town.ask(INBOX, &cookie).await.assert_allows("ana");
    assert_eq!(town.says(&cookie).await["active"], true);
    assert_eq!(town.keyward.get("/.keyward/logout", &[&format!("Cookie: {cookie}")]).await.status, 200);
    assert_eq!(town.ask(INBOX, &cookie).await.status, 401, "at once");
    until("the end at the portal", || async { town.says(&cookie).await["active"] == false }).await;
    until("the end at the mailbox", || async { town.mail.sessions() == 0 }).await;
    for secret in [SECRET, PASSWORD, cookie.split_once('=').unwrap().1] {
        assert!(!town.keyward.log().contains(secret));
    }
}

async fn walk_without_password(runtime: &Runtime) {
    let town = Town::start(runtime, false).await;
    let (_, cookie) = town.sign_in(PASSWORD, INTRANET, "").await;
    assert!(town.says(&cookie).await.get("password").is_none());
    town.ask(INTRANET, &cookie).await.assert_allows("ana");
    let answer = town.ask(INBOX, &cookie).await;
    assert_eq!((answer.status, answer.reason().as_str()), (403, "no_credentials"));
    assert_eq!(town.mail.attempts("ana"), 0);
    assert_eq!(town.call("POST", "/logout", &[("cookie", &cookie)], "").await.status, 303);
    until("the end at Keyward", || async { town.ask(INTRANET, &cookie).await.status == 401 }).await;
}

#[tokio::test]
async fn the_portal_in_php_leads_in_and_out() {
    walk(&PHP).await;
    walk_without_password(&PHP).await;
}

#[tokio::test]
async fn the_portal_with_flask_leads_in_and_out() {
    walk(&FLASK).await;
    walk_without_password(&FLASK).await;
}

#[tokio::test]
async fn the_portal_in_node_leads_in_and_out() {
    walk(&NODE).await;
    walk_without_password(&NODE).await;
}
