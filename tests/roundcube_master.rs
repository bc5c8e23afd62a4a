//! `credentials = "master"` with the real Roundcube and Dovecot: the master user signs people in, and
//! each of them keeps one account under their own name.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/person.rs"]
mod person;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use keyward::backend::{Attempt, Backend, KINDS, Liveness, Login, Outage, Refusal};
use keyward::config::Section;
use keyward::demo::process::{TemporaryWorkspace, Workspace};
use keyward::demo::roundcube::{Roundcube, RoundcubeOptions};
use keyward::demo::{Master, Person};
use keyward::domain::{Client, Secret, SessionKeys, SystemClock};
use keyward::wire::Wire;
use person::signed_in;

const OWN: &str = "their own password";
const MASTER: &str = "the master's \"only\" #1 password";
const ANNA: &str = "anna.schmidt";
const BERTA: &str = "berta@example.test";

struct Stage {
    servers: Roundcube,
    workspace: TemporaryWorkspace,
}

impl Stage {
    async fn start() -> Self {
        let person = |name: &str| Person {
            name: name.to_owned(),
            password: Secret::from(OWN),
            subject: format!("for {name} alone"),
        };
        let workspace = Workspace::temporary().unwrap();
        let master = Master { name: "keyward".to_owned(), password: Secret::from(MASTER) };
        let options = RoundcubeOptions { master: Some(master), ..RoundcubeOptions::default() };
        let servers = Roundcube::start(workspace.path(), &[person(ANNA), person(BERTA)], &options).await;
        Self { servers: servers.expect("Roundcube and Dovecot are installed; tests/run does it"), workspace }
    }

    fn connector(&self, settings: &str) -> Box<dyn Backend> {
        let url = self.servers.url().parse().unwrap();
        let wire = Wire::new(url, None, Duration::from_secs(5), Arc::new(SystemClock::new())).unwrap();
        let mut section = Section::from_toml(settings).unwrap();
        let kind = KINDS.iter().find(|kind| kind.name == "roundcube").unwrap();
        let backend = (kind.build)(&mut section, wire);
        assert_eq!(section.mistakes(), vec![]);
        backend
    }

    /// As Keyward signs somebody in.
    async fn keys(&self, login: &str) -> SessionKeys {
        match sign_in(&*self.connector(&settings(MASTER)), login, None).await {
            Ok(Login::Opened(keys)) => keys,
            other => panic!("{login} could not sign in: {other:?}"),
        }
    }

    async fn get(&self, keys: &SessionKeys, query: &str) -> String {
        let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("{}/?{query}", self.servers.url())).header("Cookie", keys.cookies());
        request.header("X-Requested-With", "XMLHttpRequest").send().await.unwrap().text().await.unwrap()
    }

    /// One column of Roundcube's own tables.
    fn database(&self, query: &str) -> Vec<String> {
        let file = self.workspace.path().join("roundcube/roundcube.sqlite");
        let script = "foreach ((new PDO('sqlite:' . $argv[1]))->query($argv[2]) as $row) echo $row[0], \"\\n\";";
        let output = Command::new("php").args(["-r", script, "--"]).arg(file).arg(query).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// What the mail server wrote of sign-ins.
    fn mail_log(&self) -> String {
        std::fs::read_to_string(self.workspace.path().join("imap/dovecot.log")).unwrap()
    }
}

fn settings(password: &str) -> String {
    format!("[master]\nuser = \"keyward\"\nsecret = {password:?}")
}

async fn sign_in(backend: &dyn Backend, login: &str, password: Option<&str>) -> Result<Login, Outage> {
    let client = Client {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        user_agent: Cow::Borrowed(b"Mozilla/5.0 (test)"),
        accept_language: Cow::Borrowed(b"en"),
    };
    let (password, person) = (password.map(Secret::from), signed_in(login));
    let attempt = Attempt { login: login.to_owned(), password, client, person, roles: Vec::new() };
    if let Some(refusal) = backend.foresees(&attempt) {
        return Ok(Login::Refused(refusal));
    }
    backend.login(&attempt).await
}

#[tokio::test]
async fn the_master_opens_each_persons_own_mailbox_under_their_own_name() {
    let stage = Stage::start().await;
    for (login, other) in [(ANNA, BERTA), (BERTA, ANNA)] {
        let keys = stage.keys(login).await;
        // Each of these requests signs in at the mail server again.
        let list = stage.get(&keys, "_task=mail&_action=list&_mbox=INBOX&_remote=1").await;
        assert!(list.contains(&format!("for {login} alone")), "{list}");
        assert!(!list.contains(&format!("for {other} alone")), "{list}");
        assert!(matches!(stage.connector(&settings(MASTER)).check(&keys).await, Ok(Liveness::Alive)));
        let page = stage.get(&keys, "_task=settings&_action=identities").await;
        assert!(page.contains(login) && !page.contains("*keyward"), "{page}");
    }
    let names = || stage.database("SELECT username FROM users ORDER BY username");
    assert_eq!(names(), [ANNA, BERTA]);
    let addresses = stage.database("SELECT email FROM identities ORDER BY email");
    assert!(addresses.iter().all(|address| !address.contains('*')), "{addresses:?}");
    assert_eq!(addresses.len(), 2);
    // Who signs in with their own password comes to the same account.
    let own = sign_in(&*stage.connector(""), ANNA, Some(OWN)).await;
    let Ok(Login::Opened(keys)) = own else { panic!("{own:?}") };
    let list = stage.get(&keys, "_task=mail&_action=list&_mbox=INBOX&_remote=1").await;
    assert!(list.contains(&format!("for {ANNA} alone")), "{list}");
    assert_eq!(names(), [ANNA, BERTA]);
}

#[tokio::test]
async fn nobody_becomes_somebody_else_by_a_name_with_a_master_in_it() {
    let stage = Stage::start().await;
    stage.keys(BERTA).await;
    let form = stage.connector("");
    let berta = |rest: &str| format!("{BERTA}{rest}");
    for (login, password) in [
        // With their own password.
        (berta("*keyward"), OWN),
        (berta("*anna.schmidt"), OWN),
        (berta("*"), OWN),
        // Even the master's password opens nothing in a name that is not quite right.
        (berta("*other"), MASTER),
        (berta("*KEYWARD"), MASTER),
        (berta("**keyward"), MASTER),
        (berta("*keyward*keyward"), MASTER),
        ("*keyward".to_owned(), MASTER),
        ("nobody*keyward".to_owned(), MASTER),
        (berta(""), MASTER),
        ("keyward".to_owned(), MASTER),
    ] {
        let outcome = sign_in(&*form, &login, Some(password)).await;
        assert!(!matches!(outcome, Ok(Login::Opened(_))), "{login}: {outcome:?}");
    }
    assert_eq!(stage.database("SELECT username FROM users"), [BERTA]);
    // The mail server names the master in its log, where it was asked about one.
    let log = stage.mail_log();
    assert!(log.contains("<keyward>"), "{log}");
    assert!(!log.contains("<other>") && !log.contains("<anna.schmidt>"), "asked about another master: {log}");
}

#[tokio::test]
async fn a_name_that_means_a_master_is_not_asked_for() {
    let stage = Stage::start().await;
    let before = stage.mail_log();
    for login in ["anna.schmidt*keyward", "anna.schmidt*", "*"] {
        let outcome = sign_in(&*stage.connector(&settings(MASTER)), login, None).await;
        assert!(matches!(outcome, Ok(Login::Refused(Refusal::Credentials))), "{login}: {outcome:?}");
    }
    assert_eq!(stage.mail_log(), before);
    let outcome = sign_in(&*stage.connector(&settings("not it")), ANNA, None).await;
    assert!(matches!(outcome, Ok(Login::Refused(_))), "{outcome:?}");
    let outcome = sign_in(&*stage.connector(""), ANNA, None).await;
    assert!(matches!(outcome, Ok(Login::Refused(_))), "without a master there is no login without a password");
}
