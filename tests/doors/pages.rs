//! The pages for people, and what is not there.

use crate::INBOX;
use crate::support::{Address, Ask, Connection, DOORS, Door, House, MAIL_PORTAL, Ticket, now, password_of, until};

#[tokio::test]
async fn whoami_tells_people_who_they_are_and_no_keys() {
    let house = House::start().await;
    let ticket = Ticket::of("alice").name("Alice A.").roles(&["staff"]);
    let answer = house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(ticket.cookie())).await;
    let key = answer.one("X-Upstream-Cookie");
    let answer = house.keyward.get("/.keyward/whoami", &[&format!("Cookie: a=1; {}", ticket.cookie())]).await;
    let person: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let seen = [&person["portal"], &person["user"], &person["name"], &person["email"]];
    assert_eq!(seen, ["office", "alice", "Alice A.", ""]);
    assert_eq!((&person["groups"], &person["backends"]), (&["staff"].into(), &["office"].into()));
    assert!(person["expires"].as_u64().unwrap() > now());
    let key = key.strip_prefix("_hmail=").unwrap();
    assert!(!answer.everything().contains(key) && !answer.everything().contains(&password_of("alice")));
    for cookie in ["Cookie: a=1", "Cookie: office_session=forged"] {
        let answer = house.keyward.get("/.keyward/whoami", &[cookie]).await;
        assert_eq!((answer.status, answer.text().as_str()), (401, r#"{"reason":"no_session"}"#));
        assert_eq!(answer.one("Referrer-Policy"), "no-referrer");
    }
}

#[tokio::test]
async fn signing_out_ends_the_session_everywhere_until_its_ticket_would_have() {
    let house = House::start().await;
    let cookies = format!("{}; {}", Ticket::of("alice").cookie(), Ticket::of("bob").portal(MAIL_PORTAL).cookie());
    let asks = [Ask::page(INBOX), Ask::get("https://mail.example.test/")].map(|ask| ask.cookie(&cookies));
    house.keyward.ask(Door::AuthRequest, &asks[0]).await.assert_allows("alice");
    house.keyward.ask(Door::AuthRequest, &asks[1]).await.assert_allows("bob");
    let other = Ask::get(INBOX).cookie(Ticket::of("alice").cookie());
    house.keyward.ask(Door::AuthRequest, &other).await.assert_allows("alice");

    let answer = house.keyward.get("/.keyward/logout", &[&format!("Cookie: {cookies}")]).await;
    assert!(answer.status == 200 && answer.text().contains("You are signed out"), "{answer:?}");
    assert_eq!(answer.one("Cache-Control"), "no-store");
    assert_eq!(answer.one("Referrer-Policy"), "no-referrer");
    for door in DOORS {
        for ask in &asks {
            let answer = house.keyward.ask(door, ask).await;
            assert_eq!(answer.assert_refuses().reason(), "revoked");
        }
        let gate = Ask::get("https://gate.example.test/").cookie(&cookies);
        assert_eq!(house.keyward.ask(door, &gate).await.assert_refuses().reason(), "revoked");
        let admin = Ask::get("https://app.example.test/admin").cookie(&cookies);
        assert_eq!(house.keyward.ask(door, &admin).await.assert_refuses().reason(), "revoked");
        house.keyward.ask(door, &other).await.assert_allows("alice");
    }
    let whoami = house.keyward.get("/.keyward/whoami", &[&format!("Cookie: {cookies}")]).await;
    assert_eq!(whoami.status, 401);
    // At the back-ends, too, but for the session of the other browser.
    until("the logouts", || async { (house.office.sessions(), house.post.sessions()) == (1, 0) }).await;
}

#[tokio::test]
async fn another_site_or_a_prefetch_signs_nobody_out() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    let cookie = format!("Cookie: {alice}");
    for lines in [
        &["Sec-Fetch-Site: cross-site"][..],
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"],
        &["Sec-Fetch-Site: cross-site", "Origin: http://app.example.test"],
        &["Sec-Fetch-Site: whatever"],
        &["Sec-Fetch-Site: same-origin", "Sec-Purpose: prefetch"],
        &["Sec-Fetch-Site: none", "Sec-Purpose: prefetch;prerender"],
        &["Origin: https://evil.test"],
        &["Origin: null"],
        &["Origin: http://app.example.test.evil.test"],
        &["Origin: https://evil.test", "X-Forwarded-Host: app.example.test"],
    ] {
        for method in ["GET", "POST"] {
            let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let head =
                format!("{method} /.keyward/logout HTTP/1.1\r\nHost: app.example.test\r\n{cookie}\r\n{lines}\r\n");
            let answer = house.keyward.exchange(head).await;
            assert!(answer.status == 200 && answer.text().contains("<h1>Sign out?</h1>"), "{lines} {answer:?}");
            // Else the answer to its own form would carry `Origin: null`, and it would ask for ever.
            assert_eq!(answer.one("Referrer-Policy"), "same-origin");
            house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(&alice)).await.assert_allows("alice");
        }
    }
    let lines = ["X-Forwarded-Proto: https", "X-Forwarded-Host: app.example.test", "Origin: https://app.example.test"];
    let own = house.keyward.get("/.keyward/logout", &[&lines[..], &[&cookie]].concat()).await;
    assert!(own.text().contains("You are signed out"), "{own:?}");
}

#[tokio::test]
async fn after_sign_out_the_browser_goes_only_where_the_operator_said() {
    let allowed = "https://portal.example.test/bye?x=1";
    let house = House::with(&format!("[logout]\nreturn_to = [\"{allowed}\"]"), |setup| setup).await;
    let to = |address: &str| {
        let encoded: String = url::form_urlencoded::byte_serialize(address.as_bytes()).collect();
        format!("/.keyward/logout?post_logout_redirect_uri={encoded}")
    };
    let answer = house.keyward.get(&to(allowed), &[]).await;
    assert_eq!((answer.status, answer.one("Location").as_str()), (303, allowed));
    assert_eq!(answer.one("Cache-Control"), "no-store");
    for other in ["https://portal.example.test/", "https://portal.example.test/bye", "", "/", "//evil.test", "x"] {
        let answer = house.keyward.get(&to(other), &[]).await;
        assert_eq!((answer.status, answer.maybe("Location")), (200, None), "{other}");
    }
    // The form of the page that asks leads there as well, and to nobody else.
    let foreign = ["Sec-Fetch-Site: cross-site"];
    let policy = house.keyward.get(&to(allowed), &foreign).await.one("Content-Security-Policy");
    assert!(policy.ends_with("; form-action 'self' https://portal.example.test"), "{policy}");
    let policy = house.keyward.get(&to("https://evil.test/"), &foreign).await.one("Content-Security-Policy");
    assert!(policy.ends_with("; form-action 'self'"), "{policy}");
    let twice = format!("{}&post_logout_redirect_uri=https://evil.test/", to(allowed));
    assert_eq!(house.keyward.get(&twice, &[]).await.maybe("Location"), None);
}

#[tokio::test]
async fn what_is_not_there_is_not_there_and_nothing_is_kept() {
    let house = House::start().await;
    for path in [
        "/",
        "/metrics",
        "/livez",
        "/readyz",
        "/debug",
        "/debug/pprof",
        "/v1/sessions/x",
        "/authz",
        "/authz/",
        "/authz/auth-request/",
        "/authz/auth-request/metrics",
        "/authz/nothing",
        "/authz/../metrics",
        "/authz/%2e%2e/metrics",
        "//metrics",
        "/.keyward",
        "/.keyward/",
        "/.keyward/nothing",
        "/.keyward/../metrics",
        "/.keyward/metrics",
    ] {
        for method in ["GET", "POST", "HEAD", "TRACE"] {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: keyward\r\nConnection: close\r\n\r\n");
            let mut connection = house.keyward.connect().await;
            connection.send(head).await;
            let answer = if method == "HEAD" { connection.answer_to_head().await } else { connection.answer().await };
            assert_eq!((answer.status, answer.body.len()), (404, 0), "{method} {path}");
            assert_eq!(answer.one("Cache-Control"), "no-store", "{method} {path}");
        }
    }
    for path in ["/authz/auth-request", "/.keyward/whoami", "/.keyward/logout", "/nothing"] {
        assert_eq!(house.keyward.operator(path).await.status, 404, "{path} for operators");
    }
}

#[tokio::test]
async fn a_method_that_a_page_does_not_know_is_refused_and_not_kept() {
    let house = House::start().await;
    let cookie = Ticket::of("alice").cookie();
    for (path, status) in [("/.keyward/whoami", 404), ("/.keyward/logout", 405), ("/.keyward/style.css", 404)] {
        for method in ["PUT", "DELETE", "TRACE", "OPTIONS"] {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: app.example.test\r\nCookie: {cookie}\r\n\r\n");
            let answer = house.keyward.exchange(head).await;
            assert_eq!(answer.status, status, "{method} {path}");
            assert_eq!(answer.one("Cache-Control"), "no-store", "{method} {path}");
        }
    }
    house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(&cookie)).await.assert_allows("alice");
}

#[tokio::test]
async fn head_is_answered_like_get_on_every_page() {
    let house = House::start().await;
    let operators = Address::Tcp(house.keyward.ops);
    for (address, path) in [
        (&house.keyward.auth, "/.keyward/whoami"),
        (&house.keyward.auth, "/.keyward/style.css"),
        (&operators, "/livez"),
        (&operators, "/readyz"),
        (&operators, "/metrics"),
    ] {
        let mut connection = Connection::open(address).await;
        let cookie = Ticket::of("alice").cookie();
        connection.send(format!("HEAD {path} HTTP/1.1\r\nHost: app.example.test\r\nCookie: {cookie}\r\n\r\n")).await;
        let answer = connection.answer_to_head().await;
        assert_eq!(answer.status, 200, "{path}");
        assert_ne!(answer.one("Content-Length"), "0", "{path}");
    }
}
