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

fn by_token(url: &str, settings: &str) -> Box<dyn Backend> {
    let mut backend = backend(url, &format!("{MAILBOX_API}\n{settings}"));
    assert!(backend.use_tokens());
    backend
}

#[tokio::test]
async fn every_answer_to_a_token_is_judged_for_what_it_is() {
    let cookie = "token_session = 'cookie'";
    for (variant, settings, login, token, judged) in [
        (Variant::Documented, "", ANA, "good", "opened"),
        (Variant::TokenSetsCookie, cookie, ANA, "good", "opened"),
        (Variant::Documented, cookie, ANA, "good", "protocol"),
        (Variant::Documented, "", ANA, "another", "Credentials"),
        (Variant::Documented, "", ANA, "", "Credentials"),
        // Who would open a mailbox of their own in the name of somebody else is found out.
        (Variant::Documented, "", "ben@example.test", "good", "protocol"),
        (Variant::WrongAccount, "", ANA, "good", "protocol"),
        (Variant::PasswordExpired, "", ANA, "good", "Expired"),
        // Nothing that breaks out of a header is ever sent.
        (Variant::Documented, "", ANA, "good\r\nX-Axigen-Session: 0", "Credentials"),
    ] {
        let axigen = axigen().await;
        axigen.accept("good", ANA);
        axigen.set(variant);
        let backend = by_token(&axigen.url(), settings);
        let outcome = backend.login(&attempt(login, Some(token))).await;
        assert_eq!(told(&outcome), judged, "{variant:?} {settings} {login} {token}: {outcome:?}");
        let tries = axigen.requests().iter().filter(|request| request.target == "/api/v1/login").count();
        assert_eq!(tries, 1, "{variant:?} {token}");
        let left = usize::from(judged == "opened" || settings == cookie && judged == "protocol");
        assert_eq!(axigen.sessions(), left, "{variant:?} {token}");
    }
}

#[tokio::test]
async fn a_token_opens_a_session_that_shows_it_in_every_call_and_ends_with_it() {
    let axigen = axigen().await;
    axigen.accept("first", ANA);
    axigen.accept("second", ANA);
    let backend = by_token(&axigen.url(), "");
    let open = async |token: &'static str| match backend.login(&attempt(ANA, Some(token))).await {
        Ok(Login::Opened(keys)) => keys,
        other => panic!("{other:?}"),
    };
    let first = open("first").await;
    assert_eq!((first.authorization(), first.cookies(), first.query()), ("Bearer first", "", ""));
    assert_eq!(first.session(), format!("{:032x}", 3));
    assert!(backend.takes_authorization());
    assert_eq!(backend.session_header(), Some("x-axigen-session"));
    let login = &axigen.requests()[0];
    assert_eq!((login.method.as_str(), login.target.as_str(), login.body.len()), ("POST", "/api/v1/login", 0));

    assert!(matches!(backend.check(&first).await, Ok(Liveness::Alive)));
    let second = open("second").await;
    axigen.expire("first");
    assert!(matches!(backend.check(&first).await, Ok(Liveness::Dead)));
    // The token of one session and the number of another are no session.
    let mixed = SessionKeys::builder().authorization("Bearer second").and_then(|keys| keys.session(first.session()));
    let mixed = mixed.and_then(keyward::domain::SessionKeysBuilder::build).unwrap();
    assert!(matches!(backend.check(&mixed).await, Ok(Liveness::Dead)));
    assert!(matches!(backend.check(&second).await, Ok(Liveness::Alive)));
    backend.logout(&second).await.unwrap();
    assert!(matches!(backend.check(&second).await, Ok(Liveness::Dead)));
    for request in axigen.requests() {
        assert!(!request.target.contains("first") && !request.target.contains("second"), "{}", request.target);
    }
}

#[tokio::test]
async fn a_session_by_cookie_shows_no_token_afterwards() {
    let axigen = axigen().await;
    axigen.set(Variant::TokenSetsCookie);
    axigen.accept("good", ANA);
    let backend = by_token(&axigen.url(), "token_session = 'cookie'");
    assert!(!backend.takes_authorization() && backend.session_header().is_none());
    let Ok(Login::Opened(keys)) = backend.login(&attempt(ANA, Some("good"))).await else { panic!("not opened") };
    assert_eq!((keys.authorization(), keys.session()), ("", ""));
    assert_eq!((keys.cookies(), keys.query()), (&*format!("_hmail={:032x}", 2), &*format!("_h={:032x}", 3)));
    axigen.expire("good");
    assert!(matches!(backend.check(&keys).await, Ok(Liveness::Alive)));
}

#[tokio::test]
async fn a_token_is_never_sent_on_to_where_a_redirect_leads() {
    let elsewhere = Server::start(|_| async { Reply::json(200, &serde_json::json!({ "sessid": "0".repeat(32) })) });
    let elsewhere = elsewhere.await.unwrap();
    for status in [301, 302, 303, 307, 308] {
        let to = format!("{}/api/v1/login", elsewhere.url());
        let server = Server::start(move |_| {
            let reply = Reply::new(status, "").with("Location", &to);
            async move { reply }
        });
        let server = server.await.unwrap();
        let outcome = by_token(&server.url(), "").login(&attempt(ANA, Some("good"))).await;
        assert_eq!(told(&outcome), "protocol", "{status}: {outcome:?}");
        assert_eq!((server.requests().len(), elsewhere.requests().len()), (1, 0), "{status}");
    }
}

#[tokio::test]
async fn keys_end_when_their_token_says_so() {
    use base64::Engine;
    let token = |claims: &str| {
        let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2lnbmVk", part("{\"alg\":\"RS256\"}"), part(claims))
    };
    let backend = by_token("http://127.0.0.1:1", "");
    for (token, end) in [
        (token("{\"exp\":1767225600}"), Some(1_767_225_600)),
        (token("{\"exp\":\"1767225600\"}"), None),
        (token("{}"), None),
        (token("[]"), None),
        ("opaque".to_owned(), None),
        ("a.b.c.d".to_owned(), None),
    ] {
        let keys = SessionKeys::builder().authorization(&format!("Bearer {token}")).unwrap().session("1").unwrap();
        assert_eq!(backend.keys_end(&keys.build().unwrap()), end, "{token}");
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
