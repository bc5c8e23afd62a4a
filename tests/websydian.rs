//! The kind `websydian` against its stand-in: what is peculiar to it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[path = "support/offered.rs"]
mod offered;
#[path = "support/person.rs"]
mod person;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use fakes::server::{Fault, Reply};
use fakes::websydian::{Asks, COOKIE, END, Key, SITE, Slip, Spelling, Websydian};
use keyward::backend::{Attempt, Backend, Guarded, KINDS, Liveness, Login, Outage, Profile, Refusal};
use keyward::config::Section;
use keyward::domain::{BackendLimits, Client, CredentialSource, LoginName, Secret, SessionKeys, SystemClock};
use keyward::observe::Metrics;
use keyward::wire::Wire;
use offered::Offered;
use person::signed_in;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const PATH: &str = "/sso/websydian/authorize";
const ANA: &str = "ANA";
/// The least that a site with tickets needs.
const LEAST: &str =
    "site = '/express/site/shop'\nsigned_in_texts = ['Signed in as']\nservice_key = '0123456789abcdef0123456789abcdef'";
const PASSWORDS: &str = "site = '/express/site/shop'\nsigned_in_texts = ['Signed in as']\nproof = 'password'";

fn build(url: &str, settings: &str) -> (Box<dyn Backend>, Vec<String>) {
    let wire = Wire::new(url.parse().unwrap(), None, Duration::from_secs(5), Arc::new(SystemClock::new())).unwrap();
    let mut section = Section::from_toml(settings).unwrap();
    let kind = KINDS.iter().find(|kind| kind.name == "websydian").unwrap();
    let backend = (kind.build)(&mut section, wire);
    let mistakes = section.mistakes().iter().map(|mistake| mistake.key.clone()).collect();
    (backend, mistakes)
}

/// A site, a connector, and the way from the one to the other.
struct Stage {
    express: Websydian,
    connector: Arc<Guarded>,
    offered: Offered,
}

impl Stage {
    async fn new(settings: &str) -> Self {
        Self::with(settings, Spelling::Soap, PATH, Key::Header("x-service-key".to_owned(), KEY.to_owned())).await
    }

    async fn with(settings: &str, spelling: Spelling, path: &str, key: Key) -> Self {
        let offered = Offered::start().await;
        let asks = Asks::Service { spelling, address: offered.address(), path: path.to_owned(), key };
        let express = Websydian::start(asks).await.unwrap();
        let (backend, mistakes) = build(&express.url(), settings);
        assert_eq!(mistakes, [] as [&str; 0], "{settings}");
        let profile = Profile {
            name: "shop".to_owned(),
            kind: "websydian".to_owned(),
            url: express.url().parse().unwrap(),
            credentials: CredentialSource::None,
            login: LoginName::parse("{sub}").unwrap(),
            limits: BackendLimits::default(),
            roles: Vec::new(),
        };
        let connector = Guarded::new(profile, backend, &Metrics::new(), Arc::new(SystemClock::new()));
        offered.of(&connector);
        Self { express, connector, offered }
    }

    async fn login(&self, login: &str, roles: &[&str]) -> Result<Login, Outage> {
        self.connector.login(&attempt(login, None, roles)).await
    }

    async fn keys(&self, login: &str) -> SessionKeys {
        match self.login(login, &[]).await {
            Ok(Login::Opened(keys)) => keys,
            other => panic!("{login} could not sign in: {other:?}"),
        }
    }

    /// Why a login failed that nobody understands.
    async fn puzzle(&self) -> String {
        match self.login(ANA, &[]).await {
            Err(Outage::Protocol(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn attempt(login: &str, password: Option<&str>, roles: &[&str]) -> Attempt {
    let client = Client {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        user_agent: Cow::Borrowed(b"Mozilla/5.0 (test)"),
        accept_language: Cow::Borrowed(b"en"),
    };
    let (login, password, person) = (login.to_owned(), password.map(Secret::from), signed_in("ana"));
    Attempt { login, password, client, person, roles: roles.iter().map(|role| (*role).to_owned()).collect() }
}

#[tokio::test]
async fn a_ticket_signs_in_by_every_spelling_and_with_the_key_in_every_place() {
    let in_path = format!("{PATH}/{KEY}");
    let header = || Key::Header("x-service-key".to_owned(), KEY.to_owned());
    for (spelling, settings, path, key) in [
        (Spelling::Soap, "", PATH, header()),
        (Spelling::Xml, "", PATH, header()),
        (Spelling::Json, "", PATH, header()),
        (Spelling::Soap, "\nservice_key_header = 'X-Shop'", PATH, Key::Header("x-shop".to_owned(), KEY.to_owned())),
        (Spelling::Soap, "\nservice_key_in = 'basic'", PATH, Key::Basic(KEY.to_owned())),
        (Spelling::Xml, "\nservice_key_in = 'path'", &in_path, Key::InPath),
        (Spelling::Json, "\nservice_path = '/sso'", "/sso", header()),
    ] {
        let stage = Stage::with(&format!("{LEAST}{settings}"), spelling, path, key).await;
        let keys = stage.keys(ANA).await;
        assert!(keys.cookies().starts_with(&format!("{COOKIE}=1.")), "{spelling:?}{settings}");
        assert_eq!(stage.express.sessions(), (1, 0));
        assert_eq!(stage.connector.entry(&keys), SITE);
    }
}

#[tokio::test]
async fn the_first_request_carries_the_ticket_and_no_other_does() {
    let stage = Stage::new(LEAST).await;
    let keys = stage.keys(ANA).await;
    stage.connector.check(&keys).await.unwrap();
    let requests = stage.express.requests();
    let first = &requests[0];
    let fields = first.query();
    assert_eq!((first.method.as_str(), first.path(), fields[0].1.as_str()), ("GET", SITE, ANA));
    assert_eq!(first.header("cookie"), None, "a live session would be restored, and nobody signed in");
    assert_eq!(first.header("x-forwarded-for"), Some("192.0.2.7"));
    let ticket = fields[1].1.as_str();
    assert!(ticket.len() == 32 && ticket.bytes().all(|byte| byte.is_ascii_hexdigit()), "{ticket}");
    assert_eq!(requests.len(), 3);
    for request in &requests[1..] {
        assert_eq!((request.target.as_str(), request.header("cookie")), (SITE, Some(keys.cookies())));
        assert_eq!(request.header("x-forwarded-for"), Some("192.0.2.7"));
    }
}

#[tokio::test]
async fn roles_come_most_important_first_each_once_and_twenty_at_most() {
    let many: Vec<String> = (0..25).map(|number| format!("R{number}")).collect();
    let mut mapped: Vec<&str> = many.iter().map(String::as_str).collect();
    mapped.extend(["BOSS", "R3", "R&D"]);
    let stage = Stage::new(&format!("{LEAST}\nrole_order = ['R&D', 'BOSS', 'UNUSED']")).await;
    assert!(matches!(stage.login(ANA, &mapped).await, Ok(Login::Opened(_))));
    let expected: Vec<&str> = ["R&D", "BOSS"].into_iter().chain(mapped[..18].iter().copied()).collect();
    assert_eq!(stage.express.roles(ANA), expected);
}

#[tokio::test]
async fn a_site_that_did_not_ask_is_an_outage_and_says_what_to_look_at() {
    let wrong_key = Key::Header("x-service-key".to_owned(), "wrong".to_owned());
    let nowhere = Some("127.0.0.1:1".parse().unwrap());
    // The last one asks others, and they say yes: still, nobody redeemed what we gave it.
    for (asked, address, path, key) in [
        (true, None, PATH, wrong_key),
        (true, None, "/elsewhere", Key::InPath),
        (true, nowhere, PATH, Key::InPath),
        (false, None, "", Key::InPath),
    ] {
        let stage = Stage::new(LEAST).await;
        let address = address.unwrap_or_else(|| stage.offered.address());
        let service = Asks::Service { spelling: Spelling::Soap, address, path: path.to_owned(), key };
        stage.express.ask(if asked { service } else { Asks::Anything });
        let why = stage.puzzle().await;
        assert!(why.contains("did not redeem") && why.contains("service_path"), "{path}: {why}");
    }
    let stage = Stage::new(LEAST).await;
    stage.express.ask(Asks::Nobody);
    assert!(stage.puzzle().await.contains("did not redeem"));
    assert_eq!(stage.express.sessions(), (0, 1));
}

#[tokio::test]
async fn a_name_that_was_changed_on_the_way_burns_the_ticket() {
    let stage = Stage::new(LEAST).await;
    stage.express.slip(Some(Slip::Capitals));
    let outcome = stage.login("ana", &[]).await;
    assert!(matches!(&outcome, Err(Outage::Protocol(why)) if why.contains("another login")), "{outcome:?}");
}

#[tokio::test]
async fn fields_of_a_fixed_length_do_no_harm() {
    let stage = Stage::new(LEAST).await;
    stage.express.slip(Some(Slip::Padded));
    stage.keys(ANA).await;
}

#[tokio::test]
async fn a_ticket_that_is_asked_about_twice_is_good_once() {
    let stage = Stage::new(LEAST).await;
    stage.express.slip(Some(Slip::Twice));
    let outcome = stage.login(ANA, &[]).await;
    assert!(matches!(outcome, Ok(Login::Refused(Refusal::Credentials))), "{outcome:?}");
    assert_eq!(stage.express.sessions(), (0, 1));
}

#[tokio::test]
async fn with_good_proof_and_yet_anonymous_the_site_has_refused_the_person() {
    for slip in [true, false] {
        let stage = Stage::new(&format!("{LEAST}\nlogout_path = '{END}'")).await;
        if slip {
            stage.express.slip(Some(Slip::NoUser));
        } else {
            stage.express.know_only(&["BEN"]);
        }
        let outcome = stage.login(ANA, &[]).await;
        assert!(matches!(outcome, Ok(Login::Refused(Refusal::Credentials))), "{outcome:?}");
        assert_eq!(stage.express.sessions(), (0, 0), "the anonymous session is of no use, so it is ended");
    }
}

#[tokio::test]
async fn a_page_of_somebody_else_is_nobodys_session() {
    let named = LEAST.replace("['Signed in as']", "['Signed in as {login}<a', 'Never']");
    let stage = Stage::new(&named).await;
    let (keys, odd) = (stage.keys(ANA).await, stage.keys("Zoë & <b>").await);
    for keys in [&keys, &odd] {
        assert!(matches!(stage.connector.check(keys).await, Ok(Liveness::Alive)));
    }
    for (page, alive) in [
        ("Signed in as ANA<a", true),
        ("Signed in as ANABEL<a", false),
        ("Signed in as BEN<a", false),
        ("Sign in", false),
    ] {
        stage.express.misbehave(Some(Fault::Instead(Reply::html(200, page))));
        let liveness = stage.connector.check(&keys).await;
        assert_eq!(matches!(liveness, Ok(Liveness::Alive)), alive, "{page}: {liveness:?}");
        assert!(alive || matches!(liveness, Ok(Liveness::Dead)));
    }
}

#[tokio::test]
async fn an_unknown_person_is_created_where_the_function_does_that() {
    let stage = Stage::new(LEAST).await;
    stage.keys("Zoë & <b>").await;
    assert_eq!(stage.express.created(), ["Zoë & <b>"]);
}

#[tokio::test]
async fn a_password_is_sent_where_the_site_asks_somebody_else() {
    let stage = Stage::new(PASSWORDS).await;
    stage.express.ask(Asks::Passwords(vec![(ANA.to_owned(), "50% & #1".to_owned())]));
    assert!(stage.connector.service().is_none());
    let login = |password| {
        let connector = Arc::clone(&stage.connector);
        async move { connector.login(&attempt(ANA, password, &[])).await }
    };
    assert!(matches!(login(Some("50% & #1")).await, Ok(Login::Opened(_))));
    assert!(matches!(login(Some("wrong")).await, Ok(Login::Refused(Refusal::Credentials))));
    let before = stage.express.requests().len();
    assert!(matches!(login(None).await, Ok(Login::Refused(Refusal::Credentials))));
    assert_eq!(stage.express.requests().len(), before, "without a password nothing is sent");
}

#[tokio::test]
async fn names_that_the_site_would_find_somebody_else_by_are_not_sent() {
    let stage = Stage::new(LEAST).await;
    for login in ["", " ", "ANA ", "\u{a0}ANA", "A\nNA", "A\u{85}"] {
        assert!(matches!(stage.login(login, &[]).await, Ok(Login::Refused(Refusal::Credentials))), "{login:?}");
    }
    assert_eq!(stage.express.requests().len(), 0);
}

#[tokio::test]
async fn a_session_that_timed_out_is_dead_and_another_login_opens_another() {
    let stage = Stage::new(LEAST).await;
    let keys = stage.keys(ANA).await;
    assert!(matches!(stage.connector.check(&keys).await, Ok(Liveness::Alive)));
    stage.express.drop_sessions();
    assert!(matches!(stage.connector.check(&keys).await, Ok(Liveness::Dead)));
    assert_ne!(stage.keys(ANA).await.cookies(), keys.cookies());
}

#[tokio::test]
async fn without_a_way_to_end_it_a_session_is_left_to_its_time_out() {
    let stage = Stage::new(LEAST).await;
    let keys = stage.keys(ANA).await;
    let before = stage.express.requests().len();
    assert!(stage.connector.logout(&keys, "logout").await.is_ok());
    assert_eq!((stage.express.requests().len(), stage.express.sessions()), (before, (1, 0)));
}

#[tokio::test]
async fn a_session_is_ended_by_an_address_or_by_an_event_with_its_in_page_key() {
    let event = "/express/events?WSYD_EVENT=LogOff&WSYD_SID={sid}";
    for (settings, asked) in [
        (format!("logout_path = '{END}'"), format!("GET {END}")),
        (format!("logout_path = '{event}'\nlogout_method = 'post'"), "POST /express/events".to_owned()),
    ] {
        let stage = Stage::new(&format!("{LEAST}\n{settings}")).await;
        let (keys, other) = (stage.keys(ANA).await, stage.keys("BEN").await);
        assert!(stage.connector.logout(&keys, "logout").await.is_ok());
        let last = stage.express.requests().pop().unwrap();
        assert_eq!(format!("{} {}", last.method, last.target), asked);
        assert_eq!(stage.express.sessions(), (1, 0));
        assert!(matches!(stage.connector.check(&keys).await, Ok(Liveness::Dead)));
        assert!(matches!(stage.connector.check(&other).await, Ok(Liveness::Alive)));
    }
}

#[tokio::test]
async fn a_cookie_of_another_site_path_is_taken_if_it_is_the_only_one() {
    let stage = Stage::new(LEAST).await;
    stage.express.rename_cookie("WSYID1/express20/site/shop");
    assert!(stage.keys(ANA).await.cookies().starts_with("WSYID1/express20/site/shop="));
    stage.express.rename_cookie("shop");
    let why = stage.puzzle().await;
    assert!(why.contains("set no cookie WSYID1/express/site/shop"), "{why}");
    let named = Stage::new(&format!("{LEAST}\ncookie = 'shop'")).await;
    named.express.rename_cookie("shop");
    assert!(named.keys(ANA).await.cookies().starts_with("shop="));
}

#[tokio::test]
async fn a_page_that_is_blank_or_cut_off_tells_of_nobody() {
    let stage = Stage::new(LEAST).await;
    let keys = stage.keys(ANA).await;
    let filler = "<p>filler</p>".repeat(40_000);
    for (page, known) in [
        (String::new(), None),
        (" \r\n".to_owned(), None),
        (filler.clone(), None),
        (format!("Signed in as ANA{filler}"), Some(true)),
        ("<p>Please sign in</p>".to_owned(), Some(false)),
    ] {
        stage.express.misbehave(Some(Fault::Instead(Reply::html(200, page))));
        let outcome = stage.connector.check(&keys).await;
        let fits = match (&outcome, known) {
            (Ok(Liveness::Alive), Some(true)) | (Ok(Liveness::Dead), Some(false)) => true,
            (Err(Outage::Protocol(why)), None) => why.contains("check_path"),
            _ => false,
        };
        assert!(fits, "{known:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_cookie_that_the_site_renews_is_taken_over() {
    let stage = Stage::new(LEAST).await;
    let keys = stage.keys(ANA).await;
    let page = Reply::html(200, "Signed in as ANA").with("Set-Cookie", &format!("{COOKIE}=new; Path=/"));
    stage.express.misbehave(Some(Fault::Instead(page)));
    let Ok(Liveness::Renewed(keys)) = stage.connector.check(&keys).await else { panic!("not renewed") };
    assert_eq!(keys.cookies(), format!("{COOKIE}=new"));
}

#[tokio::test]
async fn every_spelling_of_a_session_cookie_is_the_sites() {
    let (backend, _) = build("http://127.0.0.1:1", &format!("{LEAST}\ncookie = 'shop/session'"));
    for (name, owned) in [
        (COOKIE, true),
        ("wsyid1/EXPRESS/site/shop", true),
        ("WSYID1%2Fexpress%2Fsite%2Fshop", true),
        ("%57SYID1/express", true),
        (" WSYID1/express/site/admin", true),
        ("shop/session", true),
        ("SHOP/session", true),
        ("shop", false),
        ("shop/sessions", false),
        ("WSYI", false),
        ("portal_session", false),
    ] {
        assert_eq!(backend.owns_cookie(name.as_bytes()), owned, "{name}");
    }
}

#[tokio::test]
async fn settings_that_would_break_logins_are_mistakes() {
    let least = |key: &str, line: &str| {
        let kept: String =
            LEAST.lines().filter(|held| !held.starts_with(key)).map(|held| format!("{held}\n")).collect();
        format!("{kept}{line}")
    };
    for (key, line) in [
        ("site", ""),
        ("site", "site = 'express'"),
        ("site", "site = '/'"),
        ("site", "site = '/a;b'"),
        ("site", "site = '/a?b'"),
        ("signed_in_texts", ""),
        ("signed_in_texts", "signed_in_texts = []"),
        ("signed_in_texts", "signed_in_texts = ['']"),
        ("signed_in_texts", "signed_in_texts = [' {login}']"),
        ("signed_in_texts", "signed_in_texts = 'Log out'"),
        ("service_key", ""),
        ("service_key", "service_key = 'short'"),
        ("service_key", "service_key_in = 'path'\nservice_key = '0123456789abcdef/123456789abcdef'"),
        ("service_key_in", "service_key_in = 'query'"),
        ("service_path", "service_path = '/v1/sessions'"),
        ("service_path", "service_path = 'sso'"),
        ("service_header", "service_key_header = 'X Y'"),
        ("cookie", "cookie = 'a b'"),
        ("login_parameter", "login_parameter = 'a=b'"),
        ("check_path", "check_path = 'page'"),
        ("logout_path", "logout_path = 'http://elsewhere/'"),
        ("logout_method", "logout_method = 'put'"),
        ("proof", "proof = 'oath'"),
    ] {
        let (_, mistakes) = build("http://127.0.0.1:1", &least(key, line));
        let expected = if key == "service_header" { "service_key_header" } else { key };
        assert_eq!(mistakes, [expected], "{line}");
    }
}
