//! Who may call, and how a call must be made.

use serde_json::json;

use crate::fakes::axigen::Person;
use crate::house::{CLUB_KEY, House, KEY, OFFICE_KEY, SHOP_KEY, SID, encoded, problem, session};
use crate::support::{SMALLEST, Setup, Ticket, now};

#[tokio::test]
async fn whoever_knows_no_key_learns_nothing() {
    let house = House::start().await;
    let authorization = |value: &str| format!("Authorization: {value}\r\n");
    for (method, path) in [
        ("GET", "/v1/nothing"),
        ("GET", "/v1/openapi.json"),
        ("PUT", "/v1/sessions/0123456789abcdef"),
        ("PATCH", "/v1/sessions/0123456789abcdef"),
        ("GET", "/v1/sessions/0123456789abcdef/keys/mail"),
    ] {
        for line in [
            String::new(),
            authorization(&format!("Bearer {SHOP_KEY}0")),
            authorization(&format!("Bearer {}", &SHOP_KEY[1..])),
            authorization(&format!("Basic {SHOP_KEY}")),
            authorization(SHOP_KEY),
            authorization("Bearer "),
            authorization("Bearer \u{e4}"),
            authorization(&format!("Bearer {SHOP_KEY}")).repeat(2),
        ] {
            let answer = house.keyward.call(format!("{method} {path} HTTP/1.1\r\nHost: api\r\n{line}\r\n")).await;
            assert_eq!(answer.status, 401, "{method} {path} {line}");
            assert!(answer.one("WWW-Authenticate").starts_with("Bearer"));
            assert_eq!(problem(&answer)["title"], "no known key");
        }
    }
    let answer = house.keyward.get("/v1/openapi.json", &[&format!("Authorization: Bearer {KEY}")]).await;
    assert_eq!((answer.status, answer.body.len()), (404, 0), "the API is not on the listener for decisions");
}

#[tokio::test]
async fn no_key_is_good_where_none_is_configured() {
    let keyward = Setup::new(SMALLEST).with_api().start().await;
    for line in ["", "Authorization: Bearer \r\n", "Authorization: Bearer x\r\n"] {
        let answer = keyward.call(format!("GET /v1/openapi.json HTTP/1.1\r\nHost: api\r\n{line}\r\n")).await;
        assert_eq!(answer.status, 401);
    }
}

#[tokio::test]
async fn keys_are_exchanged_by_reloading_while_several_are_good() {
    let house = House::start().await;
    let config = House::config(&house.mail.url(), &house.post.url(), "");
    let new = "another-key-of-thirty-two-bytes-and-more";
    let known = async |key: &str| house.call(key, "GET", "/v1/openapi.json", &[], "").await.status == 200;
    assert!(known(SHOP_KEY).await && !known(new).await);
    let both = format!("[[api.key]]\ncaller = \"shop\"\nsecret = \"{new}\"\nportal = \"shop\"\n{config}");
    house.keyward.rewrite(&both);
    house.keyward.reload("applied").await;
    assert!(known(SHOP_KEY).await && known(new).await);
    house.register(SID, "alice").await;
    house.keyward.rewrite(&config.replace(SHOP_KEY, new));
    house.keyward.reload("applied").await;
    assert!(!known(SHOP_KEY).await && known(new).await);
    let again = house.put_as(new, SID, &session("alice")).await;
    assert_eq!(again.status, 204, "what was registered with the old key is still there");
}

#[tokio::test]
async fn a_key_is_good_for_the_sessions_of_its_own_portal_alone() {
    let house = House::start().await;
    house.register(SID, "alice").await;
    assert_eq!(house.keys_as(CLUB_KEY, SID, "mail", &[]).await.status, 404);
    assert_eq!(house.touch(CLUB_KEY, SID).await.status, 404);
    assert_eq!(house.delete_as(CLUB_KEY, SID).await.status, 204, "of its own portal's session, which may be unknown");
    house.ask("https://shop.example.test/", &format!("shop_session={SID}")).await.assert_allows("alice");
    assert_eq!(house.put_as(OFFICE_KEY, SID, &session("alice")).await.status, 403, "tickets are not registered");
    for answer in [
        house.put_as(KEY, SID, &session("alice")).await,
        house.delete_as(KEY, SID).await,
        house.touch(KEY, SID).await,
        house.keys_as(KEY, SID, "mail", &[]).await,
    ] {
        assert_eq!(problem(&answer)["title"], "a key without a portal", "three portals, and nobody says which");
    }
}

#[tokio::test]
async fn a_key_without_a_portal_is_for_the_only_one_that_can_be_meant() {
    let key = format!("[[api.key]]\ncaller = \"portal\"\nsecret = \"{KEY}\"\n");
    let ticket = "[[portal]]\nname = \"t\"\nkind = \"ticket\"\ncookie = \"t\"\nlogin_url = \"https://p.test/\"\n\
                  [[portal.key]]\nid = \"k\"\nsecret = \"fedcba9876543210fedcba9876543210\"\n";
    let registered =
        "[[portal]]\nname = \"r\"\nkind = \"registered\"\ncookie = \"r\"\nlogin_url = \"https://p.test/\"\n";
    for (portals, put, delete) in [
        (registered.to_owned(), 201, 204),
        (format!("{ticket}{registered}"), 201, 204),
        (ticket.to_owned(), 403, 204),
        (String::new(), 403, 403),
    ] {
        let keyward = Setup::new(&format!("{key}{portals}{SMALLEST}")).with_api().start().await;
        let body = json!({ "user": "ana", "expires": now() + 60 }).to_string();
        let head = "/v1/sessions/0123456789abcdef HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\n";
        let rest = format!("Authorization: Bearer {KEY}\r\nContent-Length");
        let answer = keyward.call(format!("PUT {head}{rest}: {}\r\n\r\n{body}", body.len())).await;
        assert_eq!(answer.status, put, "{portals}");
        assert_eq!(keyward.call(format!("DELETE {head}{rest}: 0\r\n\r\n")).await.status, delete, "{portals}");
    }
}

#[tokio::test]
async fn every_wrong_call_is_told_as_a_problem() {
    let house = House::start().await;
    let session_path = format!("/v1/sessions/{}", encoded(SID));
    let good = session("alice").to_string();
    let large = "x".repeat(64 * 1024 + 1);
    for (method, path, body, status) in [
        ("GET", "/", "", 404),
        ("GET", "/v1", "", 404),
        ("GET", "/v1/", "", 404),
        ("GET", "/v1/sessions", "", 404),
        ("GET", "/v1/sessions/", "", 405),
        ("PUT", "/v1/sessions/", &good, 422),
        ("PUT", "/v1/sessions/x/y", &good, 404),
        ("PUT", "/v1/sessions/../sessions/0123456789abcdef", &good, 404),
        ("PUT", "/v1/sessions/0123456789abcdef/", &good, 404),
        ("PUT", "/v1//sessions/0123456789abcdef", &good, 404),
        ("PUT", "/%76%31/sessions/0123456789abcdef", &good, 404),
        ("PUT", "/v1/sessions/0123456789abcd%ff", &good, 422),
        ("PUT", "/v1/sessions/0123456789abcd%0d%0a", &good, 422),
        ("PUT", "/v1/sessions/0123456789abcde%e2%80%a8", &good, 422),
        ("DELETE", "/v1/sessions/short", "", 422),
        ("POST", &session_path, &good, 405),
        ("TRACE", &session_path, "", 405),
        ("OPTIONS", &session_path, "", 405),
        ("PUT", &session_path, &large, 413),
        ("DELETE", &session_path, &large, 413),
        ("DELETE", &session_path, "{}", 400),
        ("GET", "/metrics", "", 404),
        ("GET", "/authz/auth-request", "", 404),
        ("GET", "/.keyward/whoami", "", 404),
    ] {
        let answer = house.call(SHOP_KEY, method, path, &[], body).await;
        assert_eq!(answer.status, status, "{method} {path}");
        let allow = (status == 405).then_some("PUT, DELETE");
        assert_eq!(answer.maybe("Allow").as_deref(), allow, "{method} {path}");
    }
    let mut head = house.keyward.call_connection().await;
    head.send(format!("HEAD /v1/openapi.json HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {KEY}\r\n\r\n")).await;
    assert_eq!(head.answer_to_head().await.status, 405);
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let house = House::start().await;
    let body = session("alice").to_string();
    for (lines, status) in [
        ("", 415),
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: application/x-www-form-urlencoded\r\n", 415),
        ("Content-Type: application/json; charset=latin1\r\n", 415),
        ("Content-Type: application/json\r\nContent-Type: application/json\r\n", 415),
        ("Content-Type: application/json\r\n", 201),
        ("Content-Type: Application/JSON ; charset=UTF-8\r\n", 204),
    ] {
        let head = "PUT /v1/sessions/0123456789abcdef HTTP/1.1\r\nHost: api\r\n";
        let rest = format!("Authorization: Bearer {SHOP_KEY}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = house.keyward.call(format!("{head}{lines}{rest}")).await;
        assert_eq!(answer.status, status, "{lines}");
    }
}

#[tokio::test]
async fn a_call_that_is_odd_on_the_wire_harms_nobody() {
    let house = House::start().await;
    let key = format!("Authorization: Bearer {SHOP_KEY}\r\n");
    for bytes in [
        format!("GET /v1/openapi.json HTTP/1.1\r\nHost: api\r\nX: {}\r\n\r\n", "x".repeat(200_000)),
        "no HTTP at all\r\n\r\n".to_owned(),
        format!("PUT /v1/sessions/{} HTTP/1.1\r\nHost: api\r\n{key}Content-Length: x\r\n\r\n", "0".repeat(32)),
        format!("PUT /v1/sessions/{} HTTP/1.1\r\nHost: api\r\n{key}\r\n", "0".repeat(60_000)),
        format!("PUT /v1/sessions/{}\u{1} HTTP/1.1\r\nHost: api\r\n{key}\r\n", "0".repeat(32)),
        format!("GET /v1/openapi.json HTTP/1.1\r\nHost: api\r\n{key}{}\r\n", "A: b\r\n".repeat(500)),
    ] {
        let mut connection = house.keyward.call_connection().await;
        connection.send(&bytes).await;
        if let Some(answer) = connection.maybe_answer().await {
            assert!((400..500).contains(&answer.status), "{answer:?}");
        }
    }
    // In pieces, as is everybody's right.
    let body = session("alice").to_string();
    let (one, two) = body.split_at(9);
    let chunks = format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
    let kind = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let answer = house
        .keyward
        .call(format!("PUT /v1/sessions/in-pieces-0123456789 HTTP/1.1\r\nHost: api\r\n{key}{kind}\r\n{chunks}"));
    assert_eq!(answer.await.status, 201);
    let endless = format!("{:x}\r\n{}\r\n", 40_000, "x".repeat(40_000)).repeat(3);
    let answer = house
        .keyward
        .call(format!("PUT /v1/sessions/in-pieces-0123456789 HTTP/1.1\r\nHost: api\r\n{key}{kind}\r\n{endless}"));
    assert_eq!(answer.await.status, 413, "however it is announced");
    // An announced body that breaks off.
    let mut connection = house.keyward.call_connection().await;
    let kind = "Content-Type: application/json\r\nContent-Length: 500\r\n";
    connection.send(format!("PUT /v1/sessions/{SID} HTTP/1.1\r\nHost: api\r\n{key}{kind}\r\n{{\"user\"")).await;
    drop(connection);
    assert_eq!(house.register("0123456789abcdef", "alice").await.status, 201);
}

#[tokio::test]
async fn every_call_is_counted_and_has_its_line_with_caller_and_without_secrets() {
    let house = House::started("", |setup| setup.environment("RUST_LOG", "trace")).await;
    let (sid, password) = ("marked-session-id-4711", "marked password 0815");
    house.mail.add(Person::new("dora", password, "Dora"));
    let told = json!({ "user": "dora", "name": "Dora A", "password": password, "expires": now() + 60 });
    house.put(sid, &told).await;
    house.put(sid, &json!({ "user": "dora", "password": password, "expires": "soon", "x": sid })).await;
    house.keys(sid, "mail").await;
    house.ask("https://shop.example.test/", &format!("shop_session={sid}")).await.assert_allows("dora");
    house.touch(SHOP_KEY, sid).await;
    house.call(SHOP_KEY, "PATCH", &format!("/v1/sessions/{sid}"), &["X-Request-ID: r-1"], "").await;
    house.delete(sid).await;
    house.put(sid, &told).await;
    house.call("unknown-key-of-some-length-or-other", "DELETE", &format!("/v1/sessions/{sid}"), &[], "").await;
    let ticket = Ticket::of("alice").sid(sid).mint();
    house.keys_as(OFFICE_KEY, sid, "post", &[&format!("X-Keyward-Ticket: {ticket}")]).await;
    for (call, outcome, times) in [
        ("put_session", "done", 1.0),
        ("put_session", "malformed", 1.0),
        ("put_session", "refused", 1.0),
        ("get_keys", "done", 2.0),
        ("touch_session", "done", 1.0),
        ("unknown", "malformed", 1.0),
        ("delete_session", "done", 1.0),
        ("delete_session", "unauthorized", 1.0),
    ] {
        let series = format!("keyward_api_calls_total{{call=\"{call}\",outcome=\"{outcome}\"}}");
        assert!((house.keyward.metric(&series).await - times).abs() < 0.1, "{series}");
    }
    let log = house.keyward.log();
    let mine = house.keyward.log_lines().into_iter().filter(|line| line.to_string().contains("\"called\""));
    assert!(log.contains("\"level\":\"DEBUG\""), "the most talkative level");
    let callers: Vec<_> = mine.map(|line| find(&line, "caller").unwrap_or_default()).collect();
    assert_eq!(callers, ["shop", "shop", "shop", "shop", "shop", "shop", "shop", "", "office"], "{log}");
    assert!(log.contains("r-1") && log.contains("session registered"), "{log}");
    let parts = ticket.split('.').skip(2);
    for secret in [sid, password, SHOP_KEY, OFFICE_KEY, "unknown-key"].into_iter().chain(parts) {
        assert!(!log.contains(secret), "{secret} stands in {log}");
        assert!(!house.keyward.metrics().await.contains(secret));
    }
}

/// A text field of a log line, wherever it stands in it.
fn find(line: &serde_json::Value, field: &str) -> Option<String> {
    let fields = line.get("fields").unwrap_or(line);
    fields.get(field).and_then(|value| value.as_str()).map(str::to_owned)
}
