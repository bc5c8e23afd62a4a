//! The contract of `Backend`, executed: every behaviour over every kind in the table.
//!
//! A kind stands here with a fixture, one line and a file: a strict stand-in, or the real application
//! where it can be installed, behind a proxy that breaks the answers. What could not run is printed.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod axigen;
mod bench;
mod epixel;
#[path = "../fakes/mod.rs"]
mod fakes;
mod form;
#[path = "../support/offered.rs"]
mod offered;
mod open_xchange;
#[path = "../support/person.rs"]
mod person;
#[path = "../real/mod.rs"]
mod real;
mod roundcube;
mod sogo;
mod websydian;
mod zimbra;

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use bench::{Application, Bench, Front, attempt};
use fakes::server::{Fault, Reply, Server};
use futures_util::future::BoxFuture;
use keyward::backend::{KINDS, Liveness, Login, Outage};
use keyward::domain::SessionKeys;

/// Longer than any of the real servers takes to say no.
const PATIENCE: Duration = Duration::from_secs(15);
/// For servers that will not answer.
const IMPATIENCE: Duration = Duration::from_millis(700);

/// Passwords that break careless encoders, and part of the names of those who have them.
const HOSTILE: [&str; 8] = [
    "a&b=c;d",
    "50% + #1 %41%00 %",
    "\"quotes\" 'and' \\back\\slashes\\",
    " blanks around ",
    "p&w #x?:/[]@!$()*,{}|^`~<b>tag</b>",
    "žluťoučký kůň 李 🦀🔑",
    "0",
    "+",
];

type Start = fn() -> BoxFuture<'static, Application>;

/// Kind, its settings (or a file with them, which says in its first line what it is), and how its application is started.
const FIXTURES: &[(&str, &str, Start)] = &[
    ("axigen", "", || Box::pin(axigen::start())),
    ("axigen", "login_method = 'get'\ninterface = 'standard'", || Box::pin(axigen::start())),
    ("axigen", "surface = 'mailbox-api'", || Box::pin(axigen::start())),
    ("axigen", axigen::TOKENS, || Box::pin(axigen::start_with_tokens())),
    ("epixel", epixel::SETTINGS, || Box::pin(epixel::start())),
    ("open-xchange", "", || Box::pin(open_xchange::start())),
    ("open-xchange", "login_action = 'formlogin'\napi_path = '/appsuite/api'", || Box::pin(open_xchange::start())),
    ("sogo", "", || Box::pin(sogo::start())),
    ("form", form::ROUNDCUBE, || Box::pin(form::start_roundcube())),
    ("form", form::URL_KEY, || Box::pin(form::start_axigen())),
    ("form", form::JSON, || Box::pin(form::start_axigen())),
    ("roundcube", "", || Box::pin(roundcube::start())),
    ("zimbra", zimbra::SETTINGS, || Box::pin(zimbra::start())),
    ("websydian", websydian::TICKETS, || Box::pin(websydian::start(true))),
    ("websydian", websydian::PASSWORDS, || Box::pin(websydian::start(false))),
];

fn pair(login: &str, password: &str) -> (String, String) {
    (login.to_owned(), password.to_owned())
}

async fn a_good_login_opens_a_page(bench: &Bench) {
    let keys = bench.keys(0).await;
    assert!(bench.shows(&keys, &bench.people[0].0).await);
}

async fn a_wrong_password_is_a_refusal_and_is_tried_once(bench: &Bench) {
    let outcome = bench.login(&bench.people[0].0, "wrong-and-marked").await;
    assert!(matches!(outcome, Ok(Login::Refused(_))), "{outcome:?}");
    let tries = bench.requests().into_iter().filter(|request| {
        request.target.contains("wrong-and-marked")
            || String::from_utf8_lossy(&request.body).contains("wrong-and-marked")
            || request.header("authorization").is_some_and(|shown| shown.contains("wrong-and-marked"))
    });
    assert_eq!(tries.count(), 1);
}

async fn an_unknown_user_is_a_refusal(bench: &Bench) {
    let outcome = bench.login("nobody@example.test", "whatever").await;
    assert!(matches!(outcome, Ok(Login::Refused(_))), "{outcome:?}");
}

async fn a_dead_back_end_is_an_outage(bench: &Bench) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    drop(listener);
    let outcome = bench.connector_to(&url, PATIENCE).login(&attempt("ana", "secret")).await;
    assert!(matches!(outcome, Err(Outage::Unreachable(_))), "{outcome:?}");
}

async fn a_broken_answer_is_an_outage_and_tells_no_secret(bench: &Bench) {
    let (login, password) = &bench.people[0];
    let keys = bench.keys(0).await;
    let page = "<!doctype html><h1>Down for maintenance</h1>";
    let instead = |status, body: &str| Fault::Instead(Reply::new(status, body));
    for fault in [
        Fault::CloseAtOnce,
        Fault::HalfAnswer,
        Fault::Hang,
        Fault::Drip(Duration::from_millis(50)),
        Fault::EndlessHeaders,
        Fault::EndlessBody,
        Fault::Garbage,
        Fault::ManyCookies(300),
        instead(500, ""),
        instead(502, page),
        instead(503, page),
        Fault::Instead(Reply::new(429, "").with("Retry-After", "7")),
        instead(404, page),
        instead(200, ""),
        instead(200, page),
        instead(200, "null"),
        instead(200, "{\"ok\":\"false\"}"),
        instead(204, ""),
        instead(302, ""),
    ] {
        bench.misbehave(Some(fault.clone()));
        let patience = if matches!(fault, Fault::Hang | Fault::Drip(_)) { IMPATIENCE } else { PATIENCE };
        let outcome = bench.connector(patience).login(&bench.attempt(login, password)).await;
        let Err(outage) = outcome else { panic!("{fault:?} is {outcome:?}") };
        if matches!(fault, Fault::Hang | Fault::Drip(_)) {
            assert_eq!(outage, Outage::TimedOut, "{fault:?}");
        }
        let said = format!("{outage} {outage:?} {keys:?}");
        let cookie = keys.cookies().rsplit('=').next().unwrap_or_default();
        let key = if cookie.is_empty() { keys.session() } else { cookie };
        for secret in [password, login, key, "_h=", "username"] {
            assert!(!said.contains(secret), "{said} holds {secret}");
        }
    }
    bench.misbehave(None);
}

async fn a_broken_check_is_an_outage_and_neither_alive_nor_dead(bench: &Bench) {
    let keys = bench.keys(0).await;
    for fault in [
        Fault::CloseAtOnce,
        Fault::HalfAnswer,
        Fault::Hang,
        Fault::EndlessHeaders,
        Fault::Garbage,
        Fault::Instead(Reply::new(500, "")),
        Fault::Instead(Reply::new(429, "")),
        Fault::Instead(Reply::new(302, "").with("Location", "https://elsewhere.example.test/")),
    ] {
        bench.misbehave(Some(fault.clone()));
        let outcome = bench.connector(IMPATIENCE).check(&keys).await;
        assert!(outcome.is_err(), "{fault:?} is {outcome:?}");
    }
    bench.misbehave(None);
}

async fn the_wish_to_be_left_alone_is_heard(bench: &Bench) {
    bench.misbehave(Some(Fault::Instead(Reply::new(429, "").with("Retry-After", "7"))));
    let outcome = bench.login(&bench.people[0].0, &bench.people[0].1).await;
    bench.misbehave(None);
    // Of everybody, or of this browser, where the application counts browsers.
    let (Err(Outage::Throttled { retry_after }) | Err(Outage::Locked { retry_after })) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

async fn the_login_page_again_is_never_a_session(bench: &Bench) {
    let keys = bench.keys(0).await;
    let names: Vec<&str> = keys.cookies().split("; ").filter_map(|pair| pair.split('=').next()).collect();
    let mut page = Reply::html(
        200,
        "<!doctype html><form><input type=\"hidden\" name=\"_token\" value=\"0123456789abcdef0123456789abcdef\">\
         <input name=\"_user\"><input type=\"password\" name=\"_pass\"></form>",
    );
    for name in names {
        page = page.with("Set-Cookie", &format!("{name}=0123456789abcdef0123456789abcdef; Path=/"));
    }
    bench.misbehave(Some(Fault::Instead(page)));
    let (login, password) = &bench.people[0];
    let outcome = bench.login(login, password).await;
    assert!(!matches!(outcome, Ok(Login::Opened(_))), "{outcome:?}");
    let check = bench.connector(PATIENCE).check(&keys).await;
    bench.misbehave(None);
    assert!(!matches!(check, Ok(Liveness::Alive | Liveness::Renewed(_))), "{check:?}");
}

async fn two_people_never_share_a_key(bench: &Bench) {
    let (ana, ben) = (bench.keys(0).await, bench.keys(1).await);
    assert!(bench.shows(&ana, &bench.people[0].0).await && !bench.shows(&ana, &bench.people[1].0).await);
    assert!(bench.shows(&ben, &bench.people[1].0).await && !bench.shows(&ben, &bench.people[0].0).await);
    let values = |keys: &SessionKeys| -> HashSet<String> {
        let beside = [keys.query(), keys.authorization(), keys.session()];
        keys.cookies().split("; ").chain(beside).filter(|pair| !pair.is_empty()).map(str::to_owned).collect()
    };
    assert!(values(&ana).is_disjoint(&values(&ben)));
}

async fn hostile_names_and_passwords_arrive_intact(bench: &Bench) {
    for person in 2..bench.people.len() {
        let keys = bench.keys(person).await;
        assert!(bench.shows(&keys, &bench.people[person].0).await, "{:?}", bench.people[person]);
    }
}

async fn a_session_lives_until_it_is_ended(bench: &Bench) {
    let (keys, other) = (bench.keys(0).await, bench.keys(0).await);
    let connector = bench.connector(PATIENCE);
    let alive = connector.check(&keys).await;
    assert!(matches!(alive, Ok(Liveness::Alive | Liveness::Renewed(_))), "{alive:?}");
    assert!(connector.logout(&keys, "logout").await.is_ok());
    assert!(!bench.shows(&keys, &bench.people[0].0).await);
    let dead = connector.check(&keys).await;
    assert!(matches!(dead, Ok(Liveness::Dead)), "{dead:?}");
    assert!(matches!(connector.check(&other).await, Ok(Liveness::Alive)), "another session of the same person");
    assert!(connector.logout(&keys, "logout").await.is_ok(), "once more does no harm");
}

async fn a_redirect_elsewhere_is_not_followed(bench: &Bench) {
    let trap = Server::start(|_| async { Reply::new(200, "") }).await.expect("loopback works");
    let (login, password) = &bench.people[0];
    for status in [301, 302, 303, 307, 308] {
        let reply = Reply::new(status, "").with("Location", &format!("{}/?_h={}", trap.url(), "0".repeat(32)));
        bench.misbehave(Some(Fault::Instead(reply.with("Set-Cookie", "_hmail=0123456789abcdef0123456789abcdef"))));
        let outcome = bench.login(login, password).await;
        assert!(matches!(outcome, Err(Outage::Protocol(_))), "{status} is {outcome:?}");
    }
    bench.misbehave(None);
    assert_eq!(trap.requests().len(), 0);
}

async fn keys_that_would_break_headers_are_no_session(bench: &Bench) {
    let (login, password) = &bench.people[0];
    let long = "0123456789abcdef".repeat(4096);
    for key in [
        "0123456789abcdef 0123456789",
        "0123456789\rabcdef012345",
        "\"0123456789abcdef\"",
        "0123456789abcdeé",
        "0123456789abcdef\\",
        &long,
    ] {
        bench.misbehave(Some(Fault::Keys(key.to_owned())));
        let outcome = bench.login(login, password).await;
        let shown = &key[..20.min(key.len())].escape_debug().to_string();
        assert!(matches!(outcome, Err(Outage::Protocol(_))), "{shown} is {outcome:?}");
    }
    bench.misbehave(None);
}

async fn the_applications_cookies_are_known_as_its_own(bench: &Bench) {
    let keys = bench.keys(0).await;
    let connector = bench.connector(PATIENCE);
    for pair in keys.cookies().split("; ").filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        for spelling in [name.to_owned(), format!(" {name}"), name.replace('_', "%5F")] {
            assert!(connector.owns_cookie(spelling.as_bytes()), "{spelling}");
        }
    }
    for name in ["portal_session", "theme", ""] {
        assert!(!connector.owns_cookie(name.as_bytes()), "{name}");
    }
    // One that a browser shows is cut also where the session has none.
    assert!(connector.query_key().is_some() || keys.query().is_empty());
    assert_eq!(connector.takes_authorization(), !keys.authorization().is_empty());
    assert_eq!(connector.session_header().is_some(), !keys.session().is_empty());
    if let Some(name) = connector.query_key().filter(|_| !keys.query().is_empty()) {
        assert!(keys.query().starts_with(&format!("{name}=")));
    }
}

macro_rules! table {
    ($($behaviour:ident),* $(,)?) => { &[$((stringify!($behaviour), |bench| Box::pin($behaviour(bench)))),*] };
}

type Behaviour = for<'a> fn(&'a Bench) -> BoxFuture<'a, ()>;

const BEHAVIOURS: &[(&str, Behaviour)] = table![
    a_good_login_opens_a_page,
    a_wrong_password_is_a_refusal_and_is_tried_once,
    an_unknown_user_is_a_refusal,
    a_dead_back_end_is_an_outage,
    a_broken_answer_is_an_outage_and_tells_no_secret,
    a_broken_check_is_an_outage_and_neither_alive_nor_dead,
    the_wish_to_be_left_alone_is_heard,
    the_login_page_again_is_never_a_session,
    two_people_never_share_a_key,
    hostile_names_and_passwords_arrive_intact,
    a_session_lives_until_it_is_ended,
    a_redirect_elsewhere_is_not_followed,
    keys_that_would_break_headers_are_no_session,
    the_applications_cookies_are_known_as_its_own,
];

/// What cannot be tried with a kind that lets people in without a password.
const WITH_PASSWORDS: [&str; 1] = ["a_wrong_password_is_a_refusal_and_is_tried_once"];

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_keeps_the_contract() {
    for (kind, settings, start) in FIXTURES {
        let bench = Bench { kind, settings, application: start().await };
        let title = match settings.strip_prefix("# ") {
            Some(file) => format!("{kind} ({})", file.lines().next().unwrap_or_default()),
            None => format!("{kind} ({})", settings.replace('\n', ", ")),
        };
        for left_out in &bench.left_out {
            println!("{title}: NOT TRIED: {left_out}");
        }
        let wants_password = bench.wants_password();
        for (sentence, behaviour) in BEHAVIOURS {
            let said = sentence.replace('_', " ");
            if !wants_password && WITH_PASSWORDS.contains(sentence) {
                println!("{title}: NOT TRIED: {said}, for want of a password");
                continue;
            }
            println!("{title}: {said}");
            behaviour(&bench).await;
        }
    }
}

#[test]
fn every_kind_has_a_fixture_and_examples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for kind in KINDS {
        assert!(FIXTURES.iter().any(|(fixture, ..)| *fixture == kind.name), "{} has no fixture here", kind.name);
        let name = kind.name;
        for file in [
            format!("examples/{name}/README.md"),
            format!("examples/{name}/keyward.toml"),
            format!("examples/nginx/keyward/{name}.inc"),
        ] {
            assert!(root.join(&file).is_file(), "{name} has no {file}");
        }
    }
}
