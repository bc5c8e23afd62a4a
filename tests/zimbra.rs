//! The kind `zimbra` against a strict stand-in: what is peculiar to it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod fakes;
#[path = "support/person.rs"]
mod person;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use fakes::zimbra::{KEY, Zimbra};
use keyward::backend::{Attempt, Backend, KINDS, Liveness, Login, Outage, Refusal};
use keyward::config::Section;
use keyward::domain::{Client, SystemClock};
use keyward::wire::Wire;
use person::signed_in;

async fn zimbra() -> Zimbra {
    Zimbra::start(vec!["ana@example.test".to_owned()]).await.unwrap()
}

fn built(url: &str, settings: &str) -> (Box<dyn Backend>, Vec<String>) {
    let wire = Wire::new(url.parse().unwrap(), None, Duration::from_secs(5), Arc::new(SystemClock::new())).unwrap();
    let mut section = Section::from_toml(settings).unwrap();
    let kind = KINDS.iter().find(|kind| kind.name == "zimbra").unwrap();
    let backend = (kind.build)(&mut section, wire);
    (backend, section.mistakes().iter().map(ToString::to_string).collect())
}

fn connector(url: &str, settings: &str) -> Box<dyn Backend> {
    let (backend, mistakes) = built(url, &format!("preauth_key = '{KEY}'\n{settings}"));
    assert_eq!(mistakes, [""; 0]);
    backend
}

async fn login(backend: &dyn Backend) -> Result<Login, Outage> {
    let client = Client {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        user_agent: Cow::Borrowed(b"Mozilla/5.0 (test)"),
        accept_language: Cow::Borrowed(b"en"),
    };
    let (login, person) = ("ana@example.test".to_owned(), signed_in("ana@example.test"));
    backend.login(&Attempt { login, password: None, client, person, roles: Vec::new() }).await
}

fn told(outcome: &Result<Login, Outage>) -> String {
    match outcome {
        Ok(Login::Refused(refusal)) => format!("{refusal:?}"),
        Ok(Login::Opened(_)) => "opened".to_owned(),
        Err(outage) => outage.to_string(),
    }
}

#[tokio::test]
async fn an_account_of_another_server_is_followed_there_and_lives_there() {
    let (front, home) = (zimbra().await, zimbra().await);
    front.send_on_to(&home.url());
    let backend = connector(&front.url(), &format!("home_servers = ['{}']", home.url()));
    let outcome = login(&*backend).await;
    assert!(matches!(outcome, Ok(Login::Opened(_))), "{outcome:?}");
    assert!(home.requests()[0].target.starts_with("/service/preauth?isredirect=1&account=ana%40example.test&"));
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_the_configuration_does_not_name() {
    let (front, home) = (zimbra().await, zimbra().await);
    front.send_on_to(&home.url());
    for settings in ["", "home_servers = ['http://127.0.0.1:9', 'https://mail.example.test']"] {
        let outcome = login(&*connector(&front.url(), settings)).await;
        assert!(told(&outcome).contains("home_servers"), "{outcome:?}");
    }
    assert_eq!(home.requests().len(), 0);
    // Nor is anybody sent on for ever.
    home.send_on_to(&front.url());
    let outcome = login(&*connector(&front.url(), &format!("home_servers = ['{}']", home.url()))).await;
    assert!(matches!(outcome, Ok(Login::Opened(_))), "isredirect=1 ends it: {outcome:?}");
}

#[tokio::test]
async fn a_server_that_always_refers_is_asked_once_more() {
    let front = zimbra().await;
    front.send_on_to(&front.url());
    let outcome = login(&*connector(&front.url(), "")).await;
    assert!(matches!(outcome, Ok(Login::Opened(_))), "{outcome:?}");
    assert_eq!(front.requests().len(), 2);
}

#[tokio::test]
async fn clocks_that_differ_are_nobodys_refusal() {
    let front = zimbra().await;
    let backend = connector(&front.url(), "");
    for (ahead, outcome) in [(240, "opened"), (600, "its clock and ours are more than five minutes apart")] {
        front.set_ahead(ahead);
        let told = told(&login(&*backend).await);
        assert!(told.contains(outcome), "{ahead}: {told}");
    }
}

#[tokio::test]
async fn a_400_is_a_refusal_only_in_known_words() {
    let front = zimbra().await;
    let wrong_key = "preauth_key = 'ffff2233445566778899aabbccddeeff00112233445566778899aabbccddeeff'";
    let (backend, _) = built(&front.url(), wrong_key);
    assert!(matches!(login(&*backend).await, Ok(Login::Refused(Refusal::Credentials))));
    front.say("The plain HTTP request was sent to HTTPS port");
    let outcome = login(&*backend).await;
    assert!(told(&outcome).contains("refused_texts"), "{outcome:?}");
    let (backend, _) = built(&front.url(), &format!("{wrong_key}\nrefused_texts = ['plain http']"));
    assert!(matches!(login(&*backend).await, Ok(Login::Refused(_))));
}

#[tokio::test]
async fn a_directory_that_is_down_and_a_mailbox_that_moves_are_nobodys_refusal() {
    let front = zimbra().await;
    let (backend, _) = built(&front.url(), &format!("preauth_key = '{}'", "f".repeat(64)));
    front.say("system failure: unable to lookup account via query: (mail=account@example.test) message: LDAP error");
    let outcome = login(&*backend).await;
    assert!(matches!(outcome, Err(Outage::Unreachable(_))), "{outcome:?}");
    front.say("account is in maintenance mode");
    let outcome = login(&*backend).await;
    assert!(matches!(outcome, Err(Outage::Locked { retry_after: None })), "{outcome:?}");
    front.say("account is not active: ana@example.test");
    let outcome = login(&*backend).await;
    assert!(matches!(outcome, Ok(Login::Refused(Refusal::Credentials))), "{outcome:?}");
}

#[tokio::test]
async fn an_end_that_was_set_is_sent_and_kept() {
    let front = zimbra().await;
    let backend = connector(&front.url(), "expires = '12h'");
    let Ok(Login::Opened(keys)) = login(&*backend).await else { unreachable!("expires lies ahead") };
    assert!(matches!(backend.check(&keys).await, Ok(Liveness::Alive)));
    assert!(!front.requests()[0].target.contains("expires=0"));
}

#[test]
fn every_mistake_names_key_and_remedy() {
    for (settings, key, remedy) in [
        ("", "preauth_key: ", "zmprov generateDomainPreAuthKey"),
        ("preauth_key = ''", "preauth_key: ", "empty"),
        ("by = 'mail'", "by: ", "foreignPrincipal"),
        ("cookie = 'a b'", "cookie: ", "letters"),
        ("login_path = 'service?x'", "login_path: ", "/service/preauth"),
        ("refused_texts = []", "refused_texts: ", "at least one"),
        ("dead_codes = ['']", "dead_codes: ", "no empty one"),
        ("home_servers = ['mail.example.test']", "home_servers[1]: ", "https://"),
        ("expires = 0", "expires: ", "10s"),
    ] {
        let key_line = if key.starts_with("preauth") { "" } else { "preauth_key = 'k'\n" };
        let (_, mistakes) = built("http://127.0.0.1:9", &format!("{key_line}{settings}"));
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].contains(key) && mistakes[0].contains(remedy), "{mistakes:?}");
    }
}
