//! The kind `axigen` against its stand-in: every answer that is documented, seen or to be feared.
#![expect(clippy::unwrap_used, reason = "tests")]

mod fakes;
#[path = "support/person.rs"]
mod person;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use fakes::axigen::{Axigen, Person, Variant};
use fakes::server::{Fault, Reply, Server};
use keyward::backend::{Attempt, Backend, KINDS, Liveness, Login, Outage, Refusal};
use keyward::config::Section;
use keyward::domain::{Client, Secret, SessionKeys, SystemClock};
use keyward::wire::Wire;
use person::signed_in;

const ANA: &str = "ana@example.test";
const RIGHT: &str = "p&w #x";
const MAILBOX_API: &str = "surface = 'mailbox-api'";

fn backend(url: &str, settings: &str) -> Box<dyn Backend> {
    let wire = Wire::new(url.parse().unwrap(), None, Duration::from_secs(5), Arc::new(SystemClock::new())).unwrap();
    let mut section = Section::from_toml(settings).unwrap();
    let kind = KINDS.iter().find(|kind| kind.name == "axigen").unwrap();
    let backend = (kind.build)(&mut section, wire);
    assert_eq!(section.mistakes(), vec![], "{settings}");
    section.finish();
    backend
}

async fn axigen() -> Axigen {
    Axigen::start(vec![Person::new(ANA, RIGHT, "Ana"), Person::new("ben@example.test", "x", "Ben")]).await.unwrap()
}

fn attempt(login: &str, password: Option<&str>) -> Attempt {
    let client = Client {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        user_agent: Cow::Borrowed(b""),
        accept_language: Cow::Borrowed(b""),
    };
    let (login, password, person) = (login.to_owned(), password.map(Secret::from), signed_in(login));
    Attempt { login, password, client, person, roles: Vec::new() }
}

async fn login(axigen: &Axigen, settings: &str) -> Result<Login, Outage> {
    backend(&axigen.url(), settings).login(&attempt(ANA, Some(RIGHT))).await
}

fn told(outcome: &Result<Login, Outage>) -> String {
    match outcome {
        Ok(Login::Opened(_)) => "opened".to_owned(),
        Ok(Login::Refused(refusal)) => format!("{refusal:?}"),
        Err(Outage::Protocol(_)) => "protocol".to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

#[tokio::test]
async fn every_legacy_answer_is_judged_for_what_it_is() {
    for (variant, judged) in [
        (Variant::Documented, "opened"),
        (Variant::OkWithJson, "opened"),
        (Variant::KeyOnlyInBody, "opened"),
        (Variant::AbsoluteLocation, "opened"),
        (Variant::RenamedCookie, "opened"),
        (Variant::RedirectToLoginPage, "Credentials"),
        (Variant::LoginPage, "Credentials"),
        (Variant::SaysNo, "Credentials"),
        (Variant::PasswordExpired, "Expired"),
        (Variant::OnlyCookie, "protocol"),
        (Variant::OnlyKey, "protocol"),
    ] {
        let axigen = axigen().await;
        axigen.set(variant);
        let outcome = login(&axigen, "").await;
        assert_eq!(told(&outcome), judged, "{variant:?}: {outcome:?}");
        assert_eq!(axigen.attempts(ANA), 1, "{variant:?}");
    }
}

#[tokio::test]
async fn every_mailbox_api_answer_is_judged_for_what_it_is() {
    for (variant, judged) in [
        (Variant::Documented, "opened"),
        (Variant::RenamedCookie, "opened"),
        (Variant::SecondStep, "Interactive"),
        (Variant::PasswordExpired, "Expired"),
        (Variant::WrongAccount, "protocol"),
        (Variant::OnlyKey, "protocol"),
    ] {
        let axigen = axigen().await;
        axigen.set(variant);
        let outcome = login(&axigen, MAILBOX_API).await;
        assert_eq!(told(&outcome), judged, "{variant:?}: {outcome:?}");
        assert_eq!(axigen.attempts(ANA), 1, "{variant:?}");
    }
}

#[tokio::test]
async fn a_session_that_nobody_will_use_is_ended() {
    for (variant, sessions) in [(Variant::Documented, 1), (Variant::PasswordExpired, 0), (Variant::WrongAccount, 0)] {
        let axigen = axigen().await;
        axigen.set(variant);
        let _ = login(&axigen, MAILBOX_API).await;
        assert_eq!(axigen.sessions(), sessions, "{variant:?}");
    }
}

#[tokio::test]
async fn the_key_in_the_address_goes_before_the_one_in_the_body() {
    let axigen = axigen().await;
    let Ok(Login::Opened(keys)) = login(&axigen, "").await else { panic!("not opened") };
    assert_eq!(keys.query(), format!("_h={:032x}", 3));
    assert_eq!(keys.cookies(), format!("_hmail={:032x}", 2));
}

#[tokio::test]
async fn secrets_stand_in_the_body_unless_asked_otherwise() {
    for (settings, method, target) in [
        ("", "POST", "/?action=login&custom=ajax"),
        ("interface = 'standard'", "POST", "/?action=login"),
        ("login_method = 'get'", "GET", "/?action=login&custom=ajax&username=ana%40example.test&password=p%26w%20%23x"),
    ] {
        let axigen = axigen().await;
        assert_eq!(told(&login(&axigen, settings).await), "opened");
        let request = &axigen.requests()[0];
        assert_eq!((request.method.as_str(), request.target.as_str()), (method, target));
    }
}

#[tokio::test]
async fn without_a_password_nothing_is_sent() {
    let axigen = axigen().await;
    for settings in ["", MAILBOX_API] {
        let outcome = backend(&axigen.url(), settings).login(&attempt(ANA, None)).await;
        assert!(matches!(outcome, Ok(Login::Refused(Refusal::Credentials))));
    }
    assert_eq!(axigen.requests().len(), 0);
}

#[tokio::test]
async fn each_login_has_a_connection_of_its_own_and_is_never_sent_twice() {
    let axigen = axigen().await;
    let backend = backend(&axigen.url(), "");
    let Ok(Login::Opened(keys)) = backend.login(&attempt(ANA, Some(RIGHT))).await else { panic!("not opened") };
    assert!(matches!(backend.check(&keys).await, Ok(Liveness::Alive)));
    axigen.misbehave(Some(Fault::CloseAtOnce));
    let before = axigen.requests().len();
    assert!(matches!(backend.login(&attempt(ANA, Some(RIGHT))).await, Err(Outage::Unreachable(_))));
    assert_eq!(axigen.requests().len(), before + 1);
    assert!(backend.check(&keys).await.is_err());
    assert_eq!(axigen.requests().len(), before + 3, "a check is asked once more");
}

#[tokio::test]
async fn sessions_that_axigen_forgot_are_dead() {
    for settings in ["", MAILBOX_API] {
        let axigen = axigen().await;
        let backend = backend(&axigen.url(), settings);
        let Ok(Login::Opened(keys)) = backend.login(&attempt(ANA, Some(RIGHT))).await else { panic!("not opened") };
        assert!(matches!(backend.check(&keys).await, Ok(Liveness::Alive)));
        axigen.drop_sessions();
        assert!(matches!(backend.check(&keys).await, Ok(Liveness::Dead)), "{settings}");
    }
}

#[tokio::test]
async fn one_half_of_another_pair_opens_nothing() {
    let axigen = axigen().await;
    let backend = backend(&axigen.url(), "");
    let Ok(Login::Opened(ana)) = backend.login(&attempt(ANA, Some(RIGHT))).await else { panic!("not opened") };
    let Ok(Login::Opened(ben)) = backend.login(&attempt("ben@example.test", Some("x"))).await else {
        panic!("not opened")
    };
    let mixed = SessionKeys::builder()
        .cookie("_hmail", ana.cookie("_hmail").unwrap())
        .and_then(|builder| builder.query("_h", ben.query().strip_prefix("_h=").unwrap()))
        .and_then(keyward::domain::SessionKeysBuilder::build)
        .unwrap();
    assert!(matches!(backend.check(&mixed).await, Ok(Liveness::Dead)));
}

#[tokio::test]
async fn a_redirect_to_https_says_what_to_change() {
    let server = Server::start(|_| async {
        Reply::new(302, "").with("Location", "https://webmail.example.test/?_h=0123456789abcdef0123456789abcdef")
    });
    let server = server.await.unwrap();
    let outcome = backend(&server.url(), "").login(&attempt(ANA, Some(RIGHT))).await;
    let Err(Outage::Protocol(message)) = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("UrlRedirects"), "{message}");
}

#[tokio::test]
async fn a_redirect_that_cannot_be_read_is_no_session() {
    let server = Server::start(|_| async {
        let reply = Reply::new(303, "{ success: true, sessionKey: \"0123456789abcdef\" }");
        reply.with("Location", "http://[").with("Set-Cookie", "_hmail=0123456789abcdef")
    });
    let server = server.await.unwrap();
    let outcome = backend(&server.url(), "").login(&attempt(ANA, Some(RIGHT))).await;
    assert_eq!(told(&outcome), "protocol", "{outcome:?}");
}

#[tokio::test]
async fn every_spelling_of_a_session_cookie_is_axigens() {
    let axigen = axigen().await;
    let backend = backend(&axigen.url(), "cookie = 'axi_session'");
    for (name, owned) in [
        ("_hmail", true),
        ("_HMAIL", true),
        ("%5fhmail", true),
        ("_hadea", true),
        (" _hmail", true),
        ("axi_session", true),
        ("AXI%5fSESSION", true),
        ("hmail", false),
        ("portal_session", false),
    ] {
        assert_eq!(backend.owns_cookie(name.as_bytes()), owned, "{name}");
    }
}

#[tokio::test]
async fn settings_that_would_break_logins_are_mistakes() {
    for (settings, key) in [
        ("cookie = 'a;b'", "cookie"),
        ("url_key = 'a b'", "url_key"),
        ("login_path = 'index.hsp'", "login_path"),
        ("login_page_marks = []", "login_page_marks"),
        ("surface = 'auto'", "surface"),
    ] {
        let wire = Wire::new(
            "http://127.0.0.1:1".parse().unwrap(),
            None,
            Duration::from_secs(1),
            Arc::new(SystemClock::new()),
        );
        let mut section = Section::from_toml(settings).unwrap();
        let kind = KINDS.iter().find(|kind| kind.name == "axigen").unwrap();
        let _ = (kind.build)(&mut section, wire.unwrap());
        assert_eq!(section.mistakes().iter().map(|mistake| mistake.key.as_str()).collect::<Vec<_>>(), [key]);
    }
}
