//! The kind `open-xchange` against its stand-in: every answer that is documented, read or to be feared;
//! and the whole way, browser to application, through a real nginx.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../support/person.rs"]
mod person;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

mod house;
mod logins;
mod nginx;
mod sessions;
mod stand_in;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fakes::open_xchange::{OpenXchange, Options, Variant};
use fakes::server::Request;
use keyward::backend::{Attempt, Backend, KINDS, Liveness, Login, Outage};
use keyward::config::Section;
use keyward::domain::{Client, Secret, SessionKeys, SystemClock};
use keyward::wire::Wire;
use person::signed_in;

const ANA: &str = "ana@example.test";
const RIGHT: &str = "p&w #x";
const BEN: &str = "ben@example.test";
const FORM: &str = "login_action = 'formlogin'";
const BROWSER: &[u8] = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:70.0) Gecko/20100101 Firefox/70.0";

fn wire(url: &str, host: Option<&str>) -> Wire {
    Wire::new(url.parse().unwrap(), host, Duration::from_secs(5), Arc::new(SystemClock::new())).unwrap()
}

fn build(section: &mut Section, wire: Wire) -> Box<dyn Backend> {
    let kind = KINDS.iter().find(|kind| kind.name == "open-xchange").unwrap();
    (kind.build)(section, wire)
}

fn backend_for_host(url: &str, host: Option<&str>, settings: &str) -> Box<dyn Backend> {
    let mut section = Section::from_toml(settings).unwrap();
    let backend = build(&mut section, wire(url, host));
    assert_eq!(section.mistakes(), vec![], "{settings}");
    section.finish();
    backend
}

fn backend(ox: &OpenXchange, settings: &str) -> Box<dyn Backend> {
    backend_for_host(&ox.url(), None, settings)
}

async fn open_xchange(options: Options) -> OpenXchange {
    OpenXchange::start(&[(ANA, RIGHT), (BEN, "x")], options).await.unwrap()
}

async fn with(variant: Variant) -> OpenXchange {
    let ox = open_xchange(Options::default()).await;
    ox.set(variant);
    ox
}

fn client(address: &str, user_agent: &'static [u8]) -> Client<'static> {
    let accept_language = Cow::Borrowed(&b"de-DE,de;q=0.9"[..]);
    Client { address: address.parse::<IpAddr>().unwrap(), user_agent: Cow::Borrowed(user_agent), accept_language }
}

fn attempt_from(client: Client<'static>, login: &str, password: &str) -> Attempt {
    let (password, person) = (Some(Secret::from(password.to_owned())), signed_in("ana"));
    Attempt { login: login.to_owned(), password, client, person, roles: Vec::new() }
}

fn attempt() -> Attempt {
    attempt_from(client("198.51.100.7", BROWSER), ANA, RIGHT)
}

/// Keys of Ana's.
async fn opened(backend: &dyn Backend) -> SessionKeys {
    opened_by(backend, &attempt()).await
}

async fn opened_by(backend: &dyn Backend, attempt: &Attempt) -> SessionKeys {
    match backend.login(attempt).await {
        Ok(Login::Opened(keys)) => keys,
        other => panic!("not opened: {other:?}"),
    }
}

fn told(outcome: &Result<Login, Outage>) -> String {
    match outcome {
        Ok(Login::Opened(_)) => "opened".to_owned(),
        Ok(Login::Refused(refusal)) => format!("{refusal:?}"),
        Err(outage) => told_outage(outage),
    }
}

fn told_outage(outage: &Outage) -> String {
    match outage {
        Outage::Protocol(_) => "protocol".to_owned(),
        Outage::Unreachable(_) => "unreachable".to_owned(),
        Outage::Throttled { .. } => "throttled".to_owned(),
        Outage::Locked { .. } => "locked".to_owned(),
        other => format!("{other:?}"),
    }
}

fn told_liveness(outcome: &Result<Liveness, Outage>) -> String {
    match outcome {
        Ok(Liveness::Alive) => "alive".to_owned(),
        Ok(Liveness::Renewed(_)) => "renewed".to_owned(),
        Ok(Liveness::Dead) => "dead".to_owned(),
        Err(outage) => told_outage(outage),
    }
}

/// The values of a header, in order.
fn all<'r>(request: &'r Request, name: &str) -> Vec<&'r [u8]> {
    request.headers.iter().filter(|(held, _)| held == name).map(|(_, value)| value.as_slice()).collect()
}

fn cookie_names(keys: &SessionKeys) -> Vec<&str> {
    keys.cookies().split("; ").filter_map(|pair| pair.split('=').next()).collect()
}
