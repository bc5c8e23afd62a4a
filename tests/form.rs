//! The kind `form`: what its descriptions do, against a small application with a script, and the
//! sample against the real Roundcube.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[path = "support/person.rs"]
mod person;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fakes::server::{Reply, Request, Server, forward};
use keyward::backend::{Attempt, Backend, KINDS, Liveness, Login, Outage, Refusal};
use keyward::config::Section;
use keyward::demo::Person;
use keyward::demo::process::{TemporaryWorkspace, Workspace};
use keyward::demo::roundcube::{Roundcube, RoundcubeOptions};
use keyward::domain::{Client, Secret, SessionKeys, SystemClock};
use keyward::wire::Wire;
use person::signed_in;

const SAMPLE: &str = include_str!("../examples/form/keyward.toml");
const RIGHT: &str = "correct horse";

fn connector(url: &str, text: &str) -> Box<dyn Backend> {
    let wire = Wire::new(url.parse().unwrap(), None, Duration::from_secs(5), Arc::new(SystemClock::new())).unwrap();
    let mut file = Section::from_toml(text).unwrap();
    let mut section = file.sections("backend", "name").pop().unwrap_or(file);
    let kind = KINDS.iter().find(|kind| kind.name == "form").unwrap();
    let backend = (kind.build)(&mut section, wire);
    assert_eq!(section.mistakes(), vec![]);
    backend
}

async fn login_from(backend: &dyn Backend, login: &str, password: &str, agent: &[u8]) -> Result<Login, Outage> {
    let client = Client {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        user_agent: Cow::Borrowed(agent),
        accept_language: Cow::Borrowed(b"de"),
    };
    let client = client.into_owned();
    let (password, person) = (Some(Secret::from(password)), signed_in("ana"));
    let attempt = Attempt { login: login.to_owned(), password, client, person, roles: Vec::new() };
    match backend.foresees(&attempt) {
        Some(refusal) => Ok(Login::Refused(refusal)),
        None => backend.login(&attempt).await,
    }
}

async fn login(backend: &dyn Backend, login: &str, password: &str) -> Result<Login, Outage> {
    login_from(backend, login, password, b"Mozilla/5.0 (test)").await
}

async fn keys(backend: &dyn Backend, name: &str, password: &str) -> SessionKeys {
    match login(backend, name, password).await {
        Ok(Login::Opened(keys)) => keys,
        other => panic!("{name} could not sign in: {other:?}"),
    }
}

fn protocol(outcome: &Result<Login, Outage>) -> &str {
    match outcome {
        Err(Outage::Protocol(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// A description in which one thing is particular.
const PLAIN: &str = r#"
[prefetch]
path = "/login"
take = { token = "meta:csrf" }
[submit]
path = "/session"
encoding = "json"
headers = { X-CSRF-Token = "{token}" }
fields = { userName = "{login}", password = "{password}", rememberLogin = 0, more = { device = ["x", true] } }
take = { bearer = "json:/session/token", leave = "header:X-Leave" }
[success]
status = [200]
json = { "/ok" = '^true$' }
[[refusal]]
status = [200]
json = { "/ok" = '^false$', "/code" = '^7$' }
[[refusal]]
means = "interactive"
status = [202]
[keys]
cookies = ["PHPSESSID"]
authorization = "Bearer {bearer}"
[keep_alive]
path = "/u/{login}/ping?leave={leave}"
alive = { status = [200] }
dead = { status = [302], location = '^/login' }
[logout]
method = "delete"
path = "/session"
fields = { leave = "{leave}" }
"#;

const PAGE: &str = "<meta name=csrf content=\"t&amp;k\">";

/// An application that answers a login with this.
async fn application(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    let server = Server::start(move |request| {
        let reply = match (request.method.as_str(), request.path()) {
            ("GET", "/login") => Reply::html(200, PAGE).with("Set-Cookie", "PHPSESSID=before; path=/"),
            ("POST", "/session") => answer(&request),
            ("DELETE", "/session") => Reply::new(204, ""),
            _ => Reply::new(302, "").with("Location", "/login?why=gone"),
        };
        async move { reply }
    });
    server.await.unwrap()
}

fn opened() -> Reply {
    let body = serde_json::json!({ "ok": true, "session": { "token": "abc.def" } });
    Reply::json(200, &body).with("X-Leave", "a b/c")
}

#[tokio::test]
async fn everything_that_is_described_is_sent_and_kept() {
    let server = application(|_| opened()).await;
    let backend = connector(&server.url(), &format!("bind = ['user-agent', 'accept-language']\n{PLAIN}"));
    let Ok(Login::Opened(keys)) = login_from(&*backend, "ána/..", "p\"w", b"Agent \xff").await else { panic!() };
    assert_eq!((keys.cookies(), keys.authorization()), ("PHPSESSID=before", "Bearer abc.def"));
    assert!(backend.takes_authorization() && backend.binding().user_agent && !backend.binding().address);
    assert!(matches!(backend.check(&keys).await, Ok(Liveness::Dead)));
    backend.logout(&keys).await.unwrap();

    let requests = server.requests();
    let [_, submit, check, logout] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(submit.header("x-csrf-token"), Some("t&k"), "decoded as in a browser");
    assert_eq!(submit.header("cookie"), Some("PHPSESSID=before"));
    assert_eq!(submit.header("accept-language"), Some("de"));
    let body: serde_json::Value = serde_json::from_slice(&submit.body).unwrap();
    let expected = serde_json::json!({
        "userName": "ána/..", "password": "p\"w", "rememberLogin": 0, "more": { "device": ["x", true] }
    });
    assert_eq!(body, expected);
    assert_eq!(check.target, "/u/%C3%A1na%2F../ping?leave=a%20b%2Fc");
    assert_eq!((logout.method.as_str(), logout.body.as_slice()), ("DELETE", &b"leave=a%20b%2Fc"[..]));
    for request in [check, logout] {
        assert_eq!(request.header("cookie"), Some("PHPSESSID=before"));
        assert_eq!(request.header("authorization"), Some("Bearer abc.def"));
        assert_eq!(request.header("x-forwarded-for"), Some("192.0.2.7"));
        let agent = request.headers.iter().find(|(name, _)| name == "user-agent").unwrap();
        assert_eq!(agent.1, b"Agent \xff", "byte for byte");
        assert_eq!(request.header("accept-language"), Some("de"));
    }
}

#[tokio::test]
async fn a_browser_that_cannot_be_kept_opens_no_session() {
    let server = application(|_| opened()).await;
    let backend = connector(&server.url(), &format!("bind = ['user-agent']\n{PLAIN}"));
    let outcome = login_from(&*backend, "ana", "x", &[b'x'; 1100]).await;
    assert!(matches!(outcome, Err(Outage::Locked { .. })) && server.requests().is_empty(), "{outcome:?}");
    let backend = connector(&server.url(), PLAIN);
    assert!(matches!(login_from(&*backend, "ana", "x", &[b'x'; 1100]).await, Ok(Login::Opened(_))));
}

#[tokio::test]
async fn an_answer_means_what_is_described_and_nothing_else() {
    let json = |status, text: &str| Reply::new(status, text).with("Content-Type", "application/json");
    for (reply, outcome) in [
        (json(200, "{\"ok\":false,\"code\":7}"), "refused"),
        (json(202, "{}"), "interactive"),
        (json(200, "{\"ok\":false,\"code\":70}"), "fits neither success nor a refusal"),
        (json(200, "{\"ok\":[true]}"), "fits neither"),
        (json(200, "{\"ok\":\"untrue\"}"), "fits neither"),
        (json(204, ""), "fits neither"),
        (json(401, "{\"ok\":false,\"code\":7}"), "fits neither"),
        (json(200, "{\"ok\":true}"), "has no bearer; see submit.take.bearer"),
        (json(200, "{\"ok\":true,\"session\":{\"token\":\"\"}}"), "has no bearer"),
        (json(200, "{\"ok\":true,\"session\":{\"token\":\"a\\nb\"}}"), "has no bearer"),
        (json(200, "{\"ok\":true,\"session\":{\"token\":{}}}"), "has no bearer"),
        (json(200, "{\"ok\":true,\"session\":{\"token\":\"é\"}}").with("X-Leave", "x"), "is not allowed"),
        (opened().with("Set-Cookie", "PHPSESSID=; Max-Age=0"), "it set no cookie PHPSESSID; see keys.cookies"),
        (opened().with("Set-Cookie", "PHPSESSID=a,b"), "is not allowed"),
        (json(302, "{\"ok\":true}").with("Location", "//elsewhere.example.test/"), "another scheme, host or port"),
    ] {
        let text = format!("{reply:?}");
        let server = application(move |_| reply.clone()).await;
        let outcome_is = login(&*connector(&server.url(), PLAIN), "ana", "secret-and-marked").await;
        match outcome {
            "refused" => assert!(matches!(outcome_is, Ok(Login::Refused(Refusal::Credentials))), "{text}"),
            "interactive" => assert!(matches!(outcome_is, Ok(Login::Refused(Refusal::Interactive))), "{text}"),
            told => {
                assert!(protocol(&outcome_is).contains(told), "{text}: {outcome_is:?}");
                for secret in ["marked", "before", "abc.def", "t&k"] {
                    assert!(!format!("{outcome_is:?}").contains(secret), "{outcome_is:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn success_and_refusal_at_once_are_an_outage() {
    let server = application(|_| opened()).await;
    let careless = PLAIN.replace("json = { \"/ok\" = '^false$', \"/code\" = '^7$' }", "");
    let outcome = login(&*connector(&server.url(), &careless), "ana", "x").await;
    assert!(protocol(&outcome).contains("fits success and refusal[1] alike"), "{outcome:?}");
}

#[tokio::test]
async fn a_value_that_a_header_cannot_carry_is_not_sent() {
    let server = application(|_| opened()).await;
    let backend = connector(&server.url(), &PLAIN.replace("\"{token}\"", "\"{token}{login}\""));
    for name in ["ana\r\nX-Admin: 1", "ana\nb", "ana\0"] {
        let outcome = login(&*backend, name, "x").await;
        assert_eq!(protocol(&outcome), "a value cannot stand in the header x-csrf-token");
    }
    assert!(server.requests().iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn an_answer_to_a_check_that_fits_both_or_neither_is_an_outage() {
    let server = application(|_| opened()).await;
    for (alive, dead, told) in [
        ("{ status = [302] }", "{ status = [302] }", "fits both"),
        ("{ status = [200] }", "{ status = [401] }", "fits neither"),
    ] {
        let text = PLAIN.replace("alive = { status = [200] }", &format!("alive = {alive}"));
        let text = text.replace("dead = { status = [302], location = '^/login' }", &format!("dead = {dead}"));
        let backend = connector(&server.url(), &text);
        let keys = keys(&*backend, "ana", "x").await;
        let outcome = backend.check(&keys).await;
        assert!(matches!(&outcome, Err(Outage::Protocol(text)) if text.contains(told)), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_session_of_an_earlier_description_is_dead_and_asks_nobody() {
    let server = application(|_| opened()).await;
    let earlier = PLAIN.replace("?leave={leave}", "").replace("{ leave = \"{leave}\" }", "{}");
    let earlier = earlier.replace(", leave = \"header:X-Leave\"", "");
    let keys = keys(&*connector(&server.url(), &earlier), "ana", "x").await;
    let asked = server.requests().len();
    let backend = connector(&server.url(), PLAIN);
    assert!(matches!(backend.check(&keys).await, Ok(Liveness::Dead)));
    assert!(matches!(backend.logout(&keys).await, Err(Outage::Protocol(_))));
    assert_eq!(server.requests().len(), asked);
}

#[tokio::test]
async fn no_pattern_and_no_page_takes_long() {
    let long = format!("{}!", "a".repeat(200_000));
    let server = application(move |_| Reply::html(200, long.clone())).await;
    let slow = "[[refusal]]\nbody = ['^(a+)+$', '(a|a)*b', '(x+x+)+y']\n[[refusal]]\nmeans";
    let backend = connector(&server.url(), &PLAIN.replace("[[refusal]]\nmeans", slow));
    let start = tokio::time::Instant::now();
    let outcome = login(&*backend, "ana", "x").await;
    assert!(protocol(&outcome).contains("fits neither"), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn logins_at_once_do_not_mix() {
    let server = application(|request| {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let name = body["userName"].as_str().unwrap().to_owned();
        let answer = serde_json::json!({ "ok": true, "session": { "token": format!("of-{name}") } });
        Reply::json(200, &answer).with("Set-Cookie", &format!("PHPSESSID=of-{name}")).with("X-Leave", &name)
    })
    .await;
    let backend = connector(&server.url(), PLAIN);
    let names: Vec<String> = (0..50).map(|number| format!("person{number}")).collect();
    let logins = names.iter().map(|name| keys(&*backend, name, "x"));
    for (name, keys) in names.iter().zip(futures_util::future::join_all(logins).await) {
        let expected = (format!("PHPSESSID=of-{name}"), format!("Bearer of-{name}"));
        assert_eq!((keys.cookies().to_owned(), keys.authorization().to_owned()), expected);
        assert!(keys.memo().contains(&format!("\"{name}\"")) && keys.memo().matches("person").count() == 2);
    }
}

#[test]
fn what_is_hardly_meant_is_warned_of() {
    let logout = "[backend.logout]\npath = \"/?_task=logout&_token={session_token}\"";
    let token = "take = { session_token = \"query:_token\" }";
    let success = "location = '\\?_task=mail&'\ncookies  = [\"roundcube_sessid\", \"roundcube_sessauth\"]";
    let submit = "[backend.submit]\npath = \"/?_task=login\"";
    for part in [logout, token, success, submit] {
        assert!(SAMPLE.contains(part), "{part}");
    }
    let no_logout = SAMPLE.replace(logout, "").replace(token, "");
    let told_in_path = SAMPLE.replace(submit, "[backend.submit]\npath = \"/?_task=login&p={password}\"");
    for (text, warning) in [
        (no_logout, "backend[application].logout: is left out"),
        (SAMPLE.replace(success, ""), "backend[application].success: tells a session by the status alone"),
        (told_in_path, "backend[application].submit.path: has the password in it"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keyward.toml");
        std::fs::write(&file, text).unwrap();
        let check = std::process::Command::new(env!("CARGO_BIN_EXE_keyward")).args(["check", "-c"]).arg(&file).output();
        let check = check.unwrap();
        let said = String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned();
        assert!(check.status.success() && said.contains(warning), "{warning} is not in {said}");
    }
}

struct Stage {
    backend: Box<dyn Backend>,
    servers: Roundcube,
    workspace: TemporaryWorkspace,
}

async fn roundcube() -> Stage {
    let names = ["anna.schmidt", "berta.mayer"].map(str::to_owned).into_iter().chain(LANGUAGES.map(person_of));
    let people: Vec<Person> =
        names.map(|name| Person { name, password: Secret::from(RIGHT), subject: "hello".to_owned() }).collect();
    let workspace = Workspace::temporary().unwrap();
    let servers = Roundcube::start(workspace.path(), &people, &RoundcubeOptions::default()).await;
    let servers = servers.expect("Roundcube and Dovecot are installed; tests/run does it");
    Stage { backend: connector(&servers.url(), SAMPLE), servers, workspace }
}

const LANGUAGES: [&str; 4] = ["en", "de", "fr", "it"];

fn person_of(language: &str) -> String {
    format!("anna.{language}")
}

impl Stage {
    /// The sample, for people who all speak this language.
    fn speaking(&self, language: &str) -> Box<dyn Backend> {
        let headers = format!("[backend.prefetch]\nheaders = {{ Accept-Language = \"{language}\" }}");
        connector(&self.servers.url(), &SAMPLE.replace("[backend.prefetch]", &headers))
    }
}

#[tokio::test]
async fn the_samples_sentences_are_roundcubes_and_no_other_answer_is_a_refusal() {
    let stage = roundcube().await;
    let refused_until_locked = async |language| {
        let (backend, name) = (stage.speaking(language), person_of(language));
        keys(&*backend, &name, RIGHT).await;
        for _ in 0..3 {
            let outcome = login(&*backend, &name, "wrong").await;
            assert!(matches!(outcome, Ok(Login::Refused(Refusal::Credentials))), "{language}: {outcome:?}");
        }
        let outcome = login(&*backend, &name, RIGHT).await;
        assert!(matches!(outcome, Err(Outage::Locked { .. })), "{language}: {outcome:?}");
    };
    futures_util::future::join_all(LANGUAGES.map(refused_until_locked)).await;
    let outcome = login(&*stage.speaking("pl"), "anna.schmidt", "wrong").await;
    assert!(protocol(&outcome).contains("fits neither"), "its sentence is not listed: {outcome:?}");
    let pid = std::fs::read_to_string(stage.workspace.path().join("imap/run/master.pid")).unwrap();
    assert!(std::process::Command::new("kill").args(["-TERM", pid.trim()]).status().unwrap().success());
    for language in LANGUAGES {
        let outcome = login(&*stage.speaking(language), "berta.mayer", RIGHT).await;
        assert!(protocol(&outcome).contains("fits neither"), "no mail server, {language}: {outcome:?}");
    }
}

#[tokio::test]
async fn roundcubes_rotated_cookie_is_kept_and_its_token_ends_the_session() {
    let stage = roundcube().await;
    let keys = keys(&*stage.backend, "anna.schmidt", RIGHT).await;
    // A cookie of the slot before, as it would look five minutes later.
    let (secret, slot) = keys.cookie("roundcube_sessauth").unwrap().rsplit_once('-').unwrap();
    let older = format!("{secret}-{}", slot.parse::<u64>().unwrap() - 300);
    let old = keys
        .without_cookies()
        .cookie("roundcube_sessid", keys.cookie("roundcube_sessid").unwrap())
        .and_then(|builder| builder.cookie("roundcube_sessauth", &older))
        .and_then(keyward::domain::SessionKeysBuilder::build)
        .unwrap();
    let Ok(Liveness::Renewed(renewed)) = stage.backend.check(&old).await else { panic!("not renewed") };
    assert_eq!((renewed.cookies(), renewed.memo()), (keys.cookies(), keys.memo()));
    assert!(matches!(stage.backend.check(&renewed).await, Ok(Liveness::Alive)));
    stage.backend.logout(&renewed).await.unwrap();
    assert!(matches!(stage.backend.check(&renewed).await, Ok(Liveness::Dead)));
}

#[tokio::test]
async fn a_name_that_roundcube_would_change_is_not_sent() {
    let stage = roundcube().await;
    for name in [" anna.schmidt", "anna.schmidt ", "<b>anna.schmidt", "anna<i>.schmidt", ""] {
        let outcome = login(&*stage.backend, name, RIGHT).await;
        assert!(matches!(outcome, Ok(Login::Refused(_))), "{name:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn below_a_path_and_with_the_browsers_own_properties() {
    let mut stage = roundcube().await;
    let real: SocketAddr = stage.servers.url().trim_start_matches("http://").parse().unwrap();
    let proxy = Server::start(move |mut request| async move {
        let Some(rest) = request.target.strip_prefix("/roundcube/").map(str::to_owned) else {
            return Reply::new(404, "");
        };
        request.target = format!("/{rest}");
        forward(real, &request).await.unwrap_or_else(|_| Reply::new(502, ""))
    });
    let proxy = proxy.await.unwrap();
    stage.backend = connector(&format!("{}/roundcube/", proxy.url()), SAMPLE);
    let keys = keys(&*stage.backend, "anna.schmidt", RIGHT).await;
    assert!(matches!(stage.backend.check(&keys).await, Ok(Liveness::Alive)));
    stage.backend.logout(&keys).await.unwrap();
    assert!(matches!(stage.backend.check(&keys).await, Ok(Liveness::Dead)));
    let requests = proxy.requests();
    for request in &requests {
        assert_eq!(request.header("x-forwarded-for"), Some("192.0.2.7"), "{}", request.target);
    }
    for request in &requests[..2] {
        assert_eq!(request.header("user-agent"), Some("Mozilla/5.0 (test)"), "{}", request.target);
        assert_eq!(request.header("accept-language"), Some("de"), "{}", request.target);
    }
}
