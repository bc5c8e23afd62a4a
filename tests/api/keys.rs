//! Keys for portals that build their own links.

use serde_json::{Value, json};

use crate::fakes::server::{Fault, forward};
use crate::house::{CLUB_KEY, House, INBOX, OFFICE_KEY, SHOP_KEY, SID, but, cookie, problem, reason, session};
use crate::support::{Answer, Ticket, now};

fn given(answer: &Answer) -> Value {
    assert_eq!((answer.status, answer.one("Content-Type").as_str()), (200, "application/json"), "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn the_keys_open_the_application_where_they_say() {
    let house = House::start().await;
    let told = session("alice");
    house.put(SID, &told).await;
    let keys = given(&house.keys(SID, "mail").await);
    assert_eq!((&keys["host"], &keys["expires"]), (&json!("shop.example.test"), &told["expires"]));
    assert_eq!((&keys["idle_timeout"], keys.get("authorization")), (&json!(900), None));
    let (cookies, query) = (&keys["cookies"], &keys["query"]);
    assert_eq!(cookies.as_array().unwrap().len(), 1);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert_eq!(text(&keys["entry"]), format!("/?{}={}", text(&query["name"]), text(&query["value"])));
    let request = crate::fakes::server::Request {
        method: "GET".to_owned(),
        target: text(&keys["entry"]),
        headers: vec![(
            "cookie".to_owned(),
            format!("{}={}", text(&cookies[0]["name"]), text(&cookies[0]["value"])).into_bytes(),
        )],
        body: Vec::new(),
    };
    let address = house.mail.url().trim_start_matches("http://").parse().unwrap();
    let page = forward(address, &request).await.unwrap();
    assert!(String::from_utf8_lossy(&page.body).contains("Mailbox of alice"));
    // They are the same that a browser of the session is given.
    let upstream = house.ask(INBOX, &cookie(SID)).await.one("X-Upstream-Cookie");
    assert!(upstream.ends_with(&text(&cookies[0]["value"])));
    assert_eq!(given(&house.keys(SID, "mail").await), keys);
    assert_eq!(house.mail.logins("alice"), 1);
}

#[tokio::test]
async fn only_those_get_keys_whom_a_route_leads_there() {
    let house = House::start().await;
    house.register(SID, "alice").await;
    let answer = house.keys(SID, "post").await;
    assert_eq!((answer.status, reason(&answer).as_str()), (403, "role"));
    house.put(SID, &but(session("alice"), "roles", json!(["administrators", "Admin"]))).await;
    assert_eq!(reason(&house.keys(SID, "post").await), "role");
    house.put(SID, &but(session("alice"), "roles", json!(["admin"]))).await;
    assert_eq!(given(&house.keys(SID, "post").await)["host"], "shop.example.test");
    house.put_as(CLUB_KEY, SID, &but(session("alice"), "roles", json!(["admin"]))).await;
    let answer = house.keys_as(CLUB_KEY, SID, "post", &[]).await;
    assert_eq!((answer.status, problem(&answer)["title"].as_str()), (404, Some("no such back-end")));
    for backend in ["nothing", "", "mail%00", "MAIL", "%6dail/", "..", "ma%2fil"] {
        assert_eq!(house.keys(SID, backend).await.status, 404, "{backend}");
    }
    assert_eq!(house.keys(SID, "%6dail").await.status, 200, "an encoded letter is the letter");
}

#[tokio::test]
async fn no_and_dont_know_are_never_mixed_up() {
    let house = House::start().await;
    for (sid, told, status, word) in [
        ("with-the-wrong-password", but(session("alice"), "password", json!("wrong")), 403, "credentials_refused"),
        ("with-no-password-at-all", but(session("alice"), "password", Value::Null), 403, "no_credentials"),
    ] {
        house.put(sid, &told).await;
        for _ in 0..2 {
            let answer = house.keys(sid, "mail").await;
            assert_eq!((answer.status, reason(&answer).as_str(), answer.maybe("Retry-After")), (status, word, None));
        }
    }
    assert_eq!(house.mail.attempts("alice"), 1);
    house.register(SID, "bob").await;
    for fault in [Fault::CloseAtOnce, Fault::HalfAnswer, Fault::Garbage] {
        house.mail.misbehave(Some(fault));
        let answer = house.keys(SID, "mail").await;
        assert_eq!((answer.status, reason(&answer).as_str()), (503, "backend_unavailable"));
        assert!(answer.one("Retry-After").parse::<u64>().unwrap() >= 1);
    }
    let answer = house.keys("a-session-that-nobody-told-of", "mail").await;
    assert_eq!((answer.status, reason(&answer).as_str()), (404, "no_session"));
    house.delete(SID).await;
    let answer = house.keys(SID, "mail").await;
    assert_eq!((answer.status, reason(&answer).as_str()), (404, "revoked"));
}

#[tokio::test]
async fn a_tickets_session_is_vouched_for_by_the_ticket_alone() {
    let house = House::start().await;
    let sid = "the-sid-of-this-ticket";
    let ticket = Ticket::of("alice").sid(sid);
    let line = |ticket: &str| format!("X-Keyward-Ticket: {ticket}");
    let ask = async |line: &str| house.keys_as(OFFICE_KEY, sid, "post", &[line]).await;
    assert_eq!(house.keys_as(OFFICE_KEY, sid, "post", &[]).await.status, 422, "nobody vouches");
    let keys = given(&ask(&line(&ticket.mint())).await);
    assert!(keys["expires"].as_u64().unwrap() > now());
    let good = ticket.mint();
    for (shown, status, word) in [
        (Ticket::of("alice").mint(), 404, "forged"),
        (ticket.clone().portal(crate::support::MAIL_PORTAL).mint(), 404, "forged"),
        (good[..good.len() - 1].to_owned(), 404, "forged"),
        (String::new(), 404, "forged"),
        (sid.to_owned(), 404, "forged"),
        ("\u{ff}".to_owned(), 404, "forged"),
    ] {
        let answer = ask(&line(&shown)).await;
        assert_eq!((answer.status, reason(&answer).as_str()), (status, word), "{shown}");
    }
    let twice = format!("{}\r\n{}", line(&good), line(&good));
    assert_eq!(ask(&twice).await.status, 422);
    assert_eq!(house.keys(sid, "mail").await.status, 404, "with the key of a portal that knows no such session");
    let shown_elsewhere = house.keys_as(SHOP_KEY, sid, "mail", &[&line(&good)]).await;
    assert_eq!(shown_elsewhere.status, 404, "a ticket is nothing at a portal that registers its sessions");
    house.delete_as(OFFICE_KEY, sid).await;
    let answer = ask(&line(&good)).await;
    assert_eq!((answer.status, reason(&answer).as_str()), (404, "revoked"));
}

#[tokio::test]
async fn the_browsers_address_is_one_address() {
    let house = House::start().await;
    house.register(SID, "alice").await;
    for (lines, status) in [
        (&["X-Forwarded-For: 192.0.2.7"][..], 200),
        (&["X-Forwarded-For: 2001:db8::7", "X-Keyward-User-Agent: Browser/1"], 200),
        (&["X-Forwarded-For: ::ffff:192.0.2.7", "Accept-Language: de"], 200),
        (&["X-Forwarded-For: 192.0.2.7, 10.0.0.1"], 422),
        (&["X-Forwarded-For: 192.0.2.7:80"], 422),
        (&["X-Forwarded-For: unknown"], 422),
        (&["X-Forwarded-For: "], 422),
        (&["X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 192.0.2.7"], 422),
        (&["X-Keyward-User-Agent: a", "X-Keyward-User-Agent: a"], 422),
    ] {
        assert_eq!(house.keys_as(SHOP_KEY, SID, "mail", lines).await.status, status, "{lines:?}");
    }
}
