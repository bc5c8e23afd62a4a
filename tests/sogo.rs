//! The kind `sogo` against the real SOGo: what is peculiar to it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[path = "support/person.rs"]
mod person;
mod real;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use fakes::server::{Fault, Reply, Request, Server, forward};
use keyward::backend::{Attempt, Backend, KINDS, Liveness, Login, Outage, Refusal};
use keyward::config::Section;
use keyward::demo::Person;
use keyward::demo::process::{TemporaryWorkspace, Workspace};
use keyward::domain::{Client, Secret, SessionKeys, SystemClock};
use keyward::wire::Wire;
use person::signed_in;
use real::sogo::{Options, Sogo};

const RIGHT: &str = "correct horse";
const SESSION: &str = "0xHIGHFLYxSOGo";
const TOKEN: &str = "XSRF-TOKEN";

struct Stage {
    backend: Box<dyn Backend>,
    /// In front of the servers.
    proxy: Server,
    servers: Sogo,
    _workspace: TemporaryWorkspace,
}

async fn stage(options: Options) -> Stage {
    stage_with(options, "").await
}

async fn stage_with(options: Options, settings: &str) -> Stage {
    let people: Vec<Person> = ["anna.schmidt", "berta.mayer"]
        .map(|name| Person { name: name.to_owned(), password: Secret::from(RIGHT), subject: "hello".to_owned() })
        .to_vec();
    let workspace = Workspace::temporary().unwrap();
    let servers = Sogo::start(workspace.path(), &people, options).await;
    let servers = servers.expect("SOGo and MariaDB are installed; tests/run does it");
    let address = servers.address();
    let proxy = Server::start(move |request| async move { forward(address, &request).await.unwrap() }).await.unwrap();
    let backend = connector(&format!("{}/SOGo", proxy.url()), settings);
    Stage { backend, proxy, servers, _workspace: workspace }
}

fn connector(url: &str, settings: &str) -> Box<dyn Backend> {
    let wire = Wire::new(url.parse().unwrap(), None, Duration::from_secs(5), Arc::new(SystemClock::new())).unwrap();
    let kind = KINDS.iter().find(|kind| kind.name == "sogo").unwrap();
    let mut section = Section::from_toml(settings).unwrap();
    let backend = (kind.build)(&mut section, wire);
    assert_eq!(section.mistakes(), vec![]);
    backend
}

fn attempt(login: &str, password: &str) -> Attempt {
    let client = Client {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        user_agent: Cow::Borrowed(b"Mozilla/5.0 (test)"),
        accept_language: Cow::Borrowed(b"en"),
    };
    let (password, person) = (Some(Secret::from(password)), signed_in(login));
    Attempt { login: login.to_owned(), password, client, person, roles: Vec::new() }
}

impl Stage {
    async fn login(&self, login: &str, password: &str) -> Result<Login, Outage> {
        let attempt = attempt(login, password);
        if let Some(refusal) = self.backend.foresees(&attempt) {
            return Ok(Login::Refused(refusal));
        }
        self.backend.login(&attempt).await
    }

    async fn keys(&self, login: &str) -> SessionKeys {
        match self.login(login, RIGHT).await {
            Ok(Login::Opened(keys)) => keys,
            other => panic!("{login} could not sign in: {other:?}"),
        }
    }

    /// Asks SOGo itself, as its own scripts would.
    async fn ask(&self, target: &str, cookies: &str, token: Option<&str>, json: Option<&str>) -> Reply {
        let mut headers = vec![("host".to_owned(), b"sogo.example.test".to_vec())];
        headers.push(("cookie".to_owned(), cookies.as_bytes().to_vec()));
        headers.extend(token.map(|token| ("x-xsrf-token".to_owned(), token.as_bytes().to_vec())));
        let body = json.unwrap_or_default().as_bytes().to_vec();
        if json.is_some() {
            headers.push(("content-type".to_owned(), b"application/json".to_vec()));
            headers.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
        }
        let method = if json.is_some() { "POST" } else { "GET" }.to_owned();
        let request = Request { method, target: format!("/SOGo{target}"), headers, body };
        forward(self.servers.address(), &request).await.unwrap()
    }
}

fn is_json(reply: &Reply) -> bool {
    reply.status == 200 && serde_json::from_slice::<serde_json::Value>(&reply.body).is_ok()
}

#[tokio::test]
async fn a_session_is_a_long_cookie_and_a_token_for_everything_but_pages() {
    let stage = stage(Options::default()).await;
    let (anna, berta) = (stage.keys("anna.schmidt").await, stage.keys("berta.mayer").await);
    assert_eq!(anna.cookie(SESSION).unwrap().len(), 4053);
    assert_eq!(anna.memo(), "anna.schmidt");
    assert_eq!(stage.backend.entry(&anna), "/SOGo/");
    let date = async |token| stage.ask("/so/anna.schmidt/date", anna.cookies(), token, None).await;
    assert!(is_json(&date(anna.cookie(TOKEN)).await));
    for wrong in [None, berta.cookie(TOKEN), Some("")] {
        assert_eq!(date(wrong).await.status, 500, "{wrong:?}");
    }
    assert!(matches!(stage.backend.check(&anna).await, Ok(Liveness::Alive)));
    stage.backend.logout(&anna).await.unwrap();
    assert!(matches!(stage.backend.check(&anna).await, Ok(Liveness::Dead)));
    assert!(matches!(stage.backend.check(&berta).await, Ok(Liveness::Alive)));
    let connect = stage.proxy.requests().into_iter().find(|request| request.target == "/SOGo/connect").unwrap();
    assert_eq!(connect.header("x-forwarded-for"), Some("192.0.2.7"));
}

#[tokio::test]
async fn whatever_sogo_takes_for_its_cookie_is_known_as_its_own() {
    let stage = stage(Options::default()).await;
    let keys = stage.keys("anna.schmidt").await;
    let mut taken = 0;
    for spelling in [
        "0xHIGHFLYxSOGo",
        " 0xHIGHFLYxSOGo",
        "0xHIGHFLY%78SOGo",
        "%30%78%48IGHFLYxSOGo",
        "0xHIGHFLYxSOGo%00",
        "0xHIGHFLYxSOGo%00more",
        "0xHIGHFLYxSOGo%20",
        "%200xHIGHFLYxSOGo",
        "0xHIGHFLYxSOGo ",
        "+0xHIGHFLYxSOGo",
        "0xHIGHFLY%2578SOGo",
        "0xhighflyxsogo",
        "0xHIGHFLYxSOGo[0]",
        "\"0xHIGHFLYxSOGo\"",
        "$0xHIGHFLYxSOGo",
        "a,0xHIGHFLYxSOGo",
        "0xHIGHFLYxSOGo.",
        "theme",
    ] {
        // The first of a name counts for SOGo, and this one is nobody's.
        let cookies = format!("{spelling}=basic%20a2V5d2FyZDprZXl3YXJk; {}", keys.cookies());
        let lost = !is_json(&stage.ask("/so/anna.schmidt/date", &cookies, keys.cookie(TOKEN), None).await);
        let owned = stage.backend.owns_cookie(spelling.as_bytes());
        assert!(owned || !lost, "{spelling:?} takes the place of the session");
        taken += usize::from(lost);
    }
    assert!(taken >= 4, "only {taken} are taken: the test does not test");
    for name in ["portal_session", "SOGoLogin", "0xHIGHFLYxSOGo2", ""] {
        assert!(!stage.backend.owns_cookie(name.as_bytes()), "{name}");
    }
}

#[tokio::test]
async fn a_second_factor_is_for_the_person_to_answer() {
    let stage = stage(Options::default()).await;
    let keys = stage.keys("anna.schmidt").await;
    let wish = Some(r#"{"defaults":{"SOGoTOTPEnabled":1}}"#);
    let token = keys.cookie(TOKEN);
    let saved = stage.ask("/so/anna.schmidt/Preferences/save", keys.cookies(), token, wish).await;
    assert_eq!(saved.status, 200);
    let outcome = stage.login("anna.schmidt", RIGHT).await;
    assert!(matches!(outcome, Ok(Login::Refused(Refusal::Interactive))), "{outcome:?}");
    let outcome = stage.login("anna.schmidt", "wrong").await;
    assert!(matches!(outcome, Ok(Login::Refused(Refusal::Credentials))), "{outcome:?}");
}

#[tokio::test]
async fn a_changed_password_ends_the_session() {
    let stage = stage(Options::default()).await;
    let keys = stage.keys("anna.schmidt").await;
    let wish = format!(r#"{{"userName":"anna.schmidt","oldPassword":"{RIGHT}","newPassword":"another one"}}"#);
    let changed = stage.ask("/so/changePassword", keys.cookies(), keys.cookie(TOKEN), Some(&wish)).await;
    assert_eq!(changed.status, 204);
    assert!(matches!(stage.backend.check(&keys).await, Ok(Liveness::Dead)));
    let outcome = stage.login("anna.schmidt", RIGHT).await;
    assert!(matches!(outcome, Ok(Login::Refused(Refusal::Credentials))), "{outcome:?}");
    let outcome = stage.login("anna.schmidt", "another one").await;
    assert!(matches!(outcome, Ok(Login::Opened(_))), "{outcome:?}");
}

#[tokio::test]
async fn an_account_that_sogo_has_locked_is_no_refusal() {
    let stage = stage(Options { most_failures: 2, ..Options::default() }).await;
    for _ in 0..2 {
        let outcome = stage.login("anna.schmidt", "wrong").await;
        assert!(matches!(outcome, Ok(Login::Refused(Refusal::Credentials))), "{outcome:?}");
    }
    let outcome = stage.login("anna.schmidt", RIGHT).await;
    assert_eq!(outcome.err(), Some(Outage::Locked { retry_after: None }));
    stage.keys("berta.mayer").await;
}

#[tokio::test]
async fn a_mail_server_that_is_down_hinders_no_login() {
    let mut stage = stage(Options::default()).await;
    stage.servers.lose_mail();
    let keys = stage.keys("anna.schmidt").await;
    assert!(matches!(stage.backend.check(&keys).await, Ok(Liveness::Alive)));
}

#[tokio::test]
async fn with_a_witness_a_database_that_is_down_refuses_nobody() {
    let witness = format!("witness = 'berta.mayer'\nwitness_password = '{RIGHT}'");
    let mut stage = stage_with(Options::default(), &witness).await;
    let outcome = stage.login("anna.schmidt", "wrong").await;
    assert!(matches!(outcome, Ok(Login::Refused(Refusal::Credentials))), "{outcome:?}");
    let requests = stage.proxy.requests();
    let targets: Vec<&str> = requests.iter().map(|request| request.target.as_str()).collect();
    assert_eq!(targets, ["/SOGo/connect", "/SOGo/connect", "/SOGo/so/nobody/logoff"]);
    let held = requests[2].header("cookie").unwrap();
    let after = stage.ask("/so/berta.mayer/Mail/view", held, None, None).await;
    assert!(after.headers.iter().any(|(_, value)| value.contains("=discard")), "the witness's session is over");
    stage.servers.lose_database();
    // Each of its workers finds out by itself, and says different things before and after.
    for _ in 0..10 {
        for (name, password) in [("anna.schmidt", RIGHT), ("anna.schmidt", "wrong")] {
            let outcome = stage.login(name, password).await;
            assert!(matches!(outcome, Err(Outage::Unreachable(_))), "{outcome:?}");
        }
    }
    stage.servers.check().unwrap();
}

#[tokio::test]
async fn only_a_login_of_the_witness_confirms_a_refusal() {
    for (page, confirmed) in [("{\"cn\":\"W\"}", true), ("", false), ("null", false), ("<h1>Maintenance</h1>", false)] {
        let server = Server::start(move |request| async move {
            let asks_the_witness = String::from_utf8_lossy(&request.body).contains("keeper");
            match asks_the_witness {
                true => Reply::new(200, page),
                false => Reply::new(403, "{\"LDAPPasswordPolicyError\":-1}"),
            }
        });
        let server = server.await.unwrap();
        let backend = connector(&format!("{}/SOGo", server.url()), "witness = 'keeper'\nwitness_password = 'x'");
        let outcome = backend.login(&attempt("anna.schmidt", "wrong")).await;
        match outcome {
            Ok(Login::Refused(Refusal::Credentials)) => assert!(confirmed, "{page}"),
            Err(Outage::Unreachable(_)) => assert!(!confirmed, "{page}"),
            other => panic!("{page}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_session_whose_owner_cannot_be_found_out_is_ended() {
    for (location, uid) in [
        ("/SOGo/ana", Some("ana")),
        ("/SOGo/so/ana", Some("ana")),
        ("/SOGo/so/ana/Mail/view", Some("ana")),
        ("/SOGo/so//Mail", None),
        ("https://elsewhere.example.test/SOGo/ana", None),
    ] {
        let server = Server::start(move |request| async move {
            if request.target != "/SOGo/connect" {
                return Reply::new(302, "").with("location", location);
            }
            let session = Reply::new(200, "{\"cn\":\"Ana\"}").with("set-cookie", "0xHIGHFLYxSOGo=s; path=/SOGo/");
            session.with("set-cookie", "XSRF-TOKEN=t; path=/SOGo/")
        });
        let server = server.await.unwrap();
        let backend = connector(&format!("{}/SOGo", server.url()), "");
        let outcome = backend.login(&attempt("ana", RIGHT)).await;
        let asked = server.requests().into_iter().map(|request| request.target).collect::<Vec<_>>();
        let ended = asked.iter().any(|target| target == "/SOGo/so/nobody/logoff");
        let opened = match outcome {
            Ok(Login::Opened(keys)) => Some(keys.memo().to_owned()),
            other => {
                assert!(matches!(other, Err(Outage::Protocol(_))), "{location}: {other:?}");
                None
            }
        };
        assert_eq!((opened.as_deref(), ended), (uid, uid.is_none()), "{location}");
    }
}

#[test]
fn a_witness_has_a_name_and_a_password() {
    let mistakes = |settings: &str| {
        let url = "http://127.0.0.1:1/SOGo".parse().unwrap();
        let wire = Wire::new(url, None, Duration::from_secs(5), Arc::new(SystemClock::new())).unwrap();
        let kind = KINDS.iter().find(|kind| kind.name == "sogo").unwrap();
        let mut section = Section::from_toml(settings).unwrap();
        (kind.build)(&mut section, wire);
        section.mistakes().iter().map(ToString::to_string).collect::<String>()
    };
    assert!(mistakes("witness = 'w'").contains("witness_password: is missing"));
    assert!(mistakes("witness_password = 'marked'").contains("witness: is missing"));
    assert!(!mistakes("witness_password = 'marked'").contains("marked"));
}

/// Answers that the real one cannot be made to give here: their numbers are in its source.
#[tokio::test]
async fn every_answer_to_a_login_has_one_meaning() {
    let stage = stage(Options::default()).await;
    let cookies = |reply: Reply| {
        let long = "a".repeat(4053);
        reply.with("Set-Cookie", &format!("{SESSION}={long}; path=/SOGo/")).with("Set-Cookie", &format!("{TOKEN}=0f"))
    };
    let opened = "{\"cn\":\"Anna\",\"expire\":-1,\"grace\":-1}";
    for (reply, meaning) in [
        (Reply::new(403, "{\"LDAPPasswordPolicyError\":0}"), "Ok(Refused(Expired))"),
        (Reply::new(403, "{\"LDAPPasswordPolicyError\":2}"), "Ok(Refused(Expired))"),
        (Reply::new(403, "{\"LDAPPasswordPolicyError\":1}"), "Err(Locked"),
        (Reply::new(202, "{\"totpMissingKey\":1}"), "Ok(Refused(Interactive))"),
        (cookies(Reply::new(202, "{\"totpMissingKey\":1}")), "Ok(Refused(Interactive))"),
        (cookies(Reply::new(202, opened)), "Err(Protocol"),
        (cookies(Reply::new(201, opened)), "Err(Protocol"),
        (cookies(Reply::new(204, "")), "Err(Protocol"),
        (cookies(Reply::new(200, "{\"totpMissingKey\":1}")), "Err(Protocol"),
        (cookies(Reply::new(200, "{\"cn\":\"Anna\",\"LDAPPasswordPolicyError\":0}")), "Err(Protocol"),
        (cookies(Reply::new(200, opened)), "Err(Protocol"),
        (Reply::new(200, opened), "Err(Protocol"),
        (Reply::new(403, "<h1>Forbidden by a firewall</h1>"), "Err(Protocol"),
        (Reply::new(403, "{\"LDAPPasswordPolicyError\":\"0\"}"), "Err(Protocol"),
        (Reply::new(401, ""), "Err(Protocol"),
        (Reply::new(501, ""), "Err(Unreachable"),
    ] {
        stage.proxy.misbehave(Some(Fault::Instead(reply.clone())));
        let outcome = format!("{:?}", stage.login("anna.schmidt", RIGHT).await);
        assert!(outcome.starts_with(meaning), "{reply:?} is {outcome}");
    }
}

#[tokio::test]
async fn a_name_that_sogo_would_cut_is_not_signed_in() {
    let stage = stage(Options::default()).await;
    for name in ["anna.schmidt:", "anna.schmidt:x", ":"] {
        let outcome = stage.login(name, RIGHT).await;
        assert!(matches!(outcome, Ok(Login::Refused(Refusal::Credentials))), "{name:?}: {outcome:?}");
    }
    assert!(stage.proxy.requests().is_empty());
}
