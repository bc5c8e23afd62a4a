//! The portal's API, over a real socket.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

use support::{SMALLEST, Setup};

const KEY: &str = "00112233445566778899aabbccddeeff";

#[tokio::test]
async fn whoever_knows_no_key_learns_nothing() {
    let setup = format!("[[api.key]]\ncaller = \"portal\"\nsecret = {KEY:?}\n{SMALLEST}");
    let sidecar = Setup::new(&setup).with_api().start().await;
    for (line, status) in [
        (String::new(), 401),
        (format!("Authorization: Bearer {KEY}0\r\n"), 401),
        (format!("Authorization: Basic {KEY}\r\n"), 401),
        (format!("Authorization: Bearer {KEY}\r\nAuthorization: Bearer {KEY}\r\n"), 401),
        (format!("Authorization: Bearer {KEY}\r\n"), 404),
    ] {
        let answer = sidecar.call(format!("GET /v1/nothing HTTP/1.1\r\nHost: api\r\n{line}\r\n")).await;
        assert_eq!(answer.status, status, "{line}");
        assert_eq!(answer.maybe("content-type").as_deref(), Some("application/problem+json"));
        assert_eq!(answer.one("cache-control"), "no-store");
    }
    let answer = sidecar.get("/v1/nothing", &[&format!("Authorization: Bearer {KEY}")]).await;
    assert_eq!(answer.status, 404, "the API is not on the listener for decisions");
    assert_ne!(answer.maybe("content-type").as_deref(), Some("application/problem+json"));
}
