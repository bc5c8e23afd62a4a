//! The kind `roundcube` against the real Roundcube: what is peculiar to it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[path = "support/person.rs"]
mod person;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fakes::server::{Reply, Server, forward};
use keyward::backend::{Attempt, Backend, KINDS, Liveness, Login, Outage, Refusal};
use keyward::config::Section;
use keyward::demo::Person;
use keyward::demo::process::{TemporaryWorkspace, Workspace};
use keyward::demo::roundcube::{Roundcube, RoundcubeOptions};
use keyward::domain::{Client, Secret, SessionKeys, SystemClock};
use keyward::wire::Wire;
use person::signed_in;

const RIGHT: &str = "correct horse";

struct Stage {
    backend: Box<dyn Backend>,
    servers: Roundcube,
    workspace: TemporaryWorkspace,
}

async fn stage(settings: &str, session_lifetime: Duration) -> Stage {
    let people: Vec<Person> = ["anna.schmidt", "berta.mayer"]
        .map(|name| Person { name: name.to_owned(), password: Secret::from(RIGHT), subject: "hello".to_owned() })
        .to_vec();
    let workspace = Workspace::temporary().unwrap();
    let options = RoundcubeOptions { session_lifetime, ..RoundcubeOptions::default() };
    let servers = Roundcube::start(workspace.path(), &people, &options).await;
    let servers = servers.expect("Roundcube and Dovecot are installed; tests/run does it");
    let backend = connector(&servers.url(), settings);
    Stage { backend, servers, workspace }
}

fn connector(url: &str, settings: &str) -> Box<dyn Backend> {
    let wire = Wire::new(url.parse().unwrap(), None, Duration::from_secs(5), Arc::new(SystemClock::new())).unwrap();
    let mut section = Section::from_toml(settings).unwrap();
    let kind = KINDS.iter().find(|kind| kind.name == "roundcube").unwrap();
    let backend = (kind.build)(&mut section, wire);
    assert_eq!(section.mistakes(), vec![]);
    backend
}

impl Stage {
    async fn login(&self, login: &str, password: &str, language: &'static str) -> Result<Login, Outage> {
        let client = Client {
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            user_agent: Cow::Borrowed(b"Mozilla/5.0 (test)"),
            accept_language: Cow::Borrowed(language.as_bytes()),
        };
        let (password, person) = (Some(Secret::from(password)), signed_in(login));
        let attempt = Attempt { login: login.to_owned(), password, client, person, roles: Vec::new() };
        if let Some(refusal) = self.backend.foresees(&attempt) {
            return Ok(Login::Refused(refusal));
        }
        self.backend.login(&attempt).await
    }

    async fn keys(&self, login: &str, language: &'static str) -> SessionKeys {
        match self.login(login, RIGHT, language).await {
            Ok(Login::Opened(keys)) => keys,
            other => panic!("{login} could not sign in: {other:?}"),
        }
    }

    /// The mail server stops answering, and comes back.
    fn mail_server(&self, signal: &str) {
        let pid = self.workspace.path().join("imap/run/master.pid");
        let pid = std::fs::read_to_string(pid).unwrap();
        assert!(std::process::Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
    }

    async fn page(&self, keys: &SessionKeys) -> String {
        let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("{}/?_task=mail", self.servers.url())).header("Cookie", keys.cookies());
        request.send().await.unwrap().text().await.unwrap()
    }
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_refusal_is_understood_in_every_language() {
    let stage = stage("refused_texts = ['none']", TEN_MINUTES).await;
    for language in ["de-DE,de;q=0.9", "ja", "en", ""] {
        let outcome = stage.login("nobody", "wrong", language).await;
        assert!(matches!(outcome, Ok(Login::Refused(Refusal::Credentials))), "{language}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_locked_account_and_a_dead_mail_server_are_no_refusals_in_any_language() {
    let stage = stage("", TEN_MINUTES).await;
    // Only an account that Roundcube has seen can be locked.
    stage.keys("anna.schmidt", "de").await;
    for _ in 0..3 {
        let outcome = stage.login("anna.schmidt", "wrong", "de").await;
        assert!(matches!(outcome, Ok(Login::Refused(_))), "{outcome:?}");
    }
    for language in ["de", "en"] {
        let outcome = stage.login("anna.schmidt", RIGHT, language).await;
        assert!(matches!(outcome, Err(Outage::Locked { .. })), "{language}: {outcome:?}");
    }
    stage.keys("berta.mayer", "de").await;
    stage.mail_server("-TERM");
    for language in ["de", "en"] {
        let outcome = stage.login("berta.mayer", RIGHT, language).await;
        assert!(matches!(outcome, Err(Outage::Unreachable(_))), "{language}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_new_mailbox_speaks_the_persons_language() {
    let stage = stage("", TEN_MINUTES).await;
    let keys = stage.keys("anna.schmidt", "de-DE,de;q=0.9").await;
    assert!(stage.page(&keys).await.contains("\"locale\":\"de_DE\""));
    let keys = stage.keys("anna.schmidt", "en").await;
    assert!(stage.page(&keys).await.contains("\"locale\":\"de_DE\""), "the first login's language stays");
}

#[tokio::test]
async fn a_name_that_roundcube_would_change_is_not_signed_in() {
    let stage = stage("", TEN_MINUTES).await;
    for name in [" anna.schmidt", "anna.schmidt ", "<b>anna.schmidt", ""] {
        let outcome = stage.login(name, RIGHT, "en").await;
        assert!(matches!(outcome, Ok(Login::Refused(_))), "{name:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_rotated_cookie_is_kept() {
    let stage = stage("", TEN_MINUTES).await;
    let keys = stage.keys("anna.schmidt", "en").await;
    // A cookie of the slot before, as it would look five minutes later.
    let (secret, slot) = keys.cookie("roundcube_sessauth").unwrap().rsplit_once('-').unwrap();
    let older = format!("{secret}-{}", slot.parse::<u64>().unwrap() - 300);
    let old = SessionKeys::builder()
        .cookie("roundcube_sessid", keys.cookie("roundcube_sessid").unwrap())
        .and_then(|builder| builder.cookie("roundcube_sessauth", &older))
        .and_then(|builder| builder.memo(keys.memo().to_owned()))
        .and_then(keyward::domain::SessionKeysBuilder::build)
        .unwrap();
    let Ok(Liveness::Renewed(renewed)) = stage.backend.check(&old).await else { panic!("not renewed") };
    assert_eq!(renewed.cookies(), keys.cookies());
    assert_eq!(renewed.memo(), keys.memo());
    assert!(matches!(stage.backend.check(&renewed).await, Ok(Liveness::Alive)));
    stage.backend.logout(&renewed).await.unwrap();
    assert!(matches!(stage.backend.check(&renewed).await, Ok(Liveness::Dead)));
}

#[tokio::test]
async fn below_a_path_and_with_the_browsers_own_properties() {
    let mut stage = stage("", TEN_MINUTES).await;
    let real: SocketAddr = stage.servers.url().trim_start_matches("http://").parse().unwrap();
    let proxy = Server::start(move |mut request| async move {
        let Some(rest) = request.target.strip_prefix("/roundcube/").map(str::to_owned) else {
            return Reply::new(404, "");
        };
        request.target = format!("/{rest}");
        forward(real, &request).await.unwrap_or_else(|_| Reply::new(502, ""))
    });
    let proxy = proxy.await.unwrap();
    stage.backend = connector(&format!("{}/roundcube/", proxy.url()), "");
    let keys = stage.keys("anna.schmidt", "de").await;
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
