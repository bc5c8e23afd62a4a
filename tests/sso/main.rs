//! Epixel's single sign-on, both sides of it: each against a strict stand-in of the other, and both
//! against each other.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod client;
mod ends;
#[path = "../fakes/mod.rs"]
mod fakes;
mod host;
mod pair;
#[path = "../real/redis/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod redis;
mod replicas;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

use serde_json::Value;
use support::{APP_PORTAL, Answer, Sidecar};

/// The key of the first client service.
const KEY: &str = "00112233445566778899aabbccddeeff";
/// Of another.
const OTHER_KEY: &str = "ffeeddccbbaa99887766554433221100";

/// The portal of the host's people.
fn ticket_portal() -> String {
    let support::PortalKey { name, cookie, id, secret } = APP_PORTAL;
    format!(
        "[[portal]]\nname = \"{name}\"\nkind = \"ticket\"\ncookie = \"{cookie}\"\n\
         login_url = \"https://portal.example.test/?next={{url}}\"\n\
         [[portal.key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n"
    )
}

/// A request in bytes, with these lines in its head.
fn request(method: &str, target: &str, host: &str, lines: &[String], body: &str) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{lines}\r\n{body}")
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.text()).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// Status and the word of the error, which comes with a sentence and is not kept.
fn told(answer: &Answer) -> (u16, String) {
    let body = json(answer);
    assert_eq!(answer.one("cache-control"), "no-store");
    assert!(body.get("message").is_none_or(|message| message.as_str().is_some_and(|text| !text.is_empty())));
    (answer.status, body.get("error").and_then(Value::as_str).unwrap_or_default().to_owned())
}

/// The browser's cookie of an answer, as it is sent back.
fn cookie_of(answer: &Answer) -> String {
    answer.one("set-cookie").split(';').next().unwrap().to_owned()
}

fn assert_logs_hold_none(sidecar: &Sidecar, secrets: &[&str]) {
    let log = sidecar.log();
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}
