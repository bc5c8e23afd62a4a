//! Requests that no web server sends: each gets an answer of its own, and the next one is served.

use crate::support::{Ask, Connection, DOORS, Door, House, Ticket};
use crate::{APP, INBOX};

/// What some bytes got: the status of the first answer, or none where the connection just ended.
async fn first_status(house: &House, bytes: &[u8]) -> Option<u16> {
    let mut connection = house.keyward.connect().await;
    connection.send(bytes).await;
    connection.maybe_answer().await.map(|answer| answer.status)
}

fn with_lines(lines: &str) -> Vec<u8> {
    let mut head = Ask::get(INBOX).bytes(Door::AuthRequest);
    head.truncate(head.len() - 2);
    [&head, lines.as_bytes(), b"\r\n"].concat()
}

#[tokio::test]
async fn odd_heads_get_a_4xx_and_the_next_request_is_served() {
    let house = House::start().await;
    let many: String = (0..1000).map(|n| format!("X-Header-{n}: {n}\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "x".repeat(65_536));
    let huge = format!("X-Huge: {}\r\n", "x".repeat(300_000));
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(70_000));
    let heads: Vec<Vec<u8>> = vec![
        with_lines(&many),
        with_lines(&large),
        with_lines(&huge),
        with_lines(&format!("Cookie: {}\r\n", "a=b; ".repeat(12_000))),
        with_lines("no colon\r\n"),
        with_lines(": no name\r\n"),
        with_lines("Bad Name: x\r\n"),
        with_lines("X\0: y\r\n"),
        with_lines("X: \0\r\n"),
        with_lines(" folded: x\r\n"),
        with_lines("X: a\r\n b\r\n"),
        with_lines("Content-Length: -1\r\n"),
        with_lines("Content-Length: 1\r\nContent-Length: 2\r\n"),
        with_lines("Content-Length: 18446744073709551616\r\n"),
        with_lines("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
        with_lines("Transfer-Encoding: gzip\r\n"),
        with_lines("Transfer-Encoding: chunked, identity\r\n"),
        long_target.into_bytes(),
        b"\r\n\r\n\r\n \r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / \r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET / HTTP/0.9\r\n\r\n".to_vec(),
        b"get /authz/auth-request http/1.1\r\n\r\n".to_vec(),
        b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"GET \\ HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"GET authz/auth-request HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"CONNECT app.example.test:443 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
        vec![0; 1000],
        [0xff; 1000].to_vec(),
    ];
    for head in &heads {
        let status = first_status(&house, head).await;
        let shown = String::from_utf8_lossy(&head[..head.len().min(300)]).into_owned();
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{status:?} to {shown:?}");
        house.still_serves().await;
    }
}

#[tokio::test]
async fn every_method_at_every_path_gets_a_4xx() {
    let house = House::start().await;
    let paths = ["/", "/authz/auth-request", "/authz/forward-auth", "/authz/renew", "/metrics", "/nothing"];
    for path in paths {
        for method in
            ["GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "PATCH", "PROPFIND", "BREW", "M-SEARCH"]
        {
            for length in ["", "Content-Length: 0\r\n", "Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"] {
                let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n");
                let mut connection = house.keyward.connect().await;
                connection.send(head).await;
                let answer =
                    if method == "HEAD" { connection.answer_to_head().await } else { connection.answer().await };
                assert!((400..500).contains(&answer.status), "{method} {path}: {answer:?}");
            }
        }
    }
    house.still_serves().await;
}

#[tokio::test]
async fn random_bytes_never_get_a_yes() {
    let house = House::start().await;
    let whole = Ask::get("https://app.example.test/public/x").bytes(Door::AuthRequest);
    for round in 0..300_usize {
        let mut bytes = whole.clone();
        if round % 3 == 0 {
            bytes = (0..rand::random_range(1..400)).map(|_| rand::random()).collect();
        } else {
            // A good head with a few bytes changed, or cut.
            for _ in 0..rand::random_range(1..6) {
                let at = rand::random_range(0..bytes.len());
                bytes[at] = rand::random();
            }
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let mut connection = house.keyward.connect().await;
        connection.send(&bytes).await;
        // Only what still says the same gets the same; nothing breaks.
        if let Some(answer) = connection.maybe_answer().await
            && answer.status != 200
        {
            assert!((400..500).contains(&answer.status), "{shown:?}: {answer:?}");
        }
    }
    house.still_serves().await;
    assert_eq!(house.keyward.metric("keyward_panics_total").await, 0.0);
}

#[tokio::test]
async fn half_a_head_holds_up_nobody() {
    let house = House::start().await;
    let whole = Ask::get(INBOX).bytes(Door::AuthRequest);
    let mut halves = Vec::new();
    for number in 0..200 {
        let mut connection = house.keyward.connect().await;
        connection.send(&whole[..1 + number % (whole.len() - 1)]).await;
        halves.push(connection);
    }
    house.still_serves().await;
    // They are given up in the end, without a yes.
    let answers = futures_util::future::join_all(halves.iter_mut().map(Connection::maybe_answer)).await;
    assert!(answers.iter().flatten().all(|answer| answer.status == 408), "{answers:?}");
    house.still_serves().await;
}

#[tokio::test]
async fn half_a_body_is_given_up_in_the_end() {
    let house = House::start().await;
    let mut connection = house.keyward.connect().await;
    let head = "POST /.keyward/enter/mail HTTP/1.1\r\nHost: app.example.test\r\nSec-Fetch-Site: same-origin\r\n\
                Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"";
    connection.send(head).await;
    assert_eq!(connection.maybe_answer().await.map(|answer| answer.status), Some(408));
    house.still_serves().await;
}

#[tokio::test]
async fn long_values_in_every_place_are_no_crash() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    for length in [1000, 8000, 17_000, 60_000] {
        let long = "x".repeat(length);
        let asks = [
            Ask::get(format!("{APP}/{long}")),
            Ask::get(format!("{APP}/?{long}")),
            Ask::get(format!("{APP}/{}", "%2e/".repeat(length / 4))),
            Ask::get(format!("https://{long}.example.test/")),
            Ask::get(INBOX).method(&long),
            Ask::get(INBOX).header("User-Agent", &long),
            Ask::get(INBOX).header("X-Forwarded-For", "1.2.3.4, ".repeat(length / 9)),
            Ask::get(INBOX).cookie(format!("{long}={long}")),
            Ask::get(INBOX).cookie(";".repeat(length)),
            Ask::get(INBOX).cookie("office_session=; ".repeat(length / 17)),
            Ask::page(INBOX).header("Accept", &long),
        ];
        for ask in asks {
            for door in DOORS {
                let nobody = house.keyward.ask(door, &ask).await;
                assert!((400..500).contains(&nobody.status) || nobody.status == 302, "{length}: {}", nobody.status);
                let answer = house.keyward.ask(door, &ask.clone().cookie(&alice)).await;
                match answer.status {
                    200 => drop(answer.assert_allows("alice")),
                    503 => assert_eq!(answer.assert_refuses().reason(), "answer_too_large"),
                    status => assert!((400..500).contains(&status), "{length}: {status}"),
                }
            }
        }
    }
    house.still_serves().await;
}

#[tokio::test]
async fn where_the_request_is_the_question_what_is_no_request_gets_a_4xx() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    let targets =
        ["/public/x y", "/public/\u{fc}", "/public/\tx", "/public/\u{7f}", "public/x", "/authz\\x", "/x\"y<z>"];
    let asks = targets.map(|target| Ask::get(INBOX).target(target));
    let methods = ["", "G ET", "GET\t/x", "\u{fc}", "GET HTTP/1.1\r\nX:"].map(|method| Ask::get(INBOX).method(method));
    let hosts = ["", "app.example.test/public", "a b", "app.example.test@evil.test", "\u{fc}.test"];
    let hosts = hosts.map(|host| Ask::get(INBOX).authority(host));
    for ask in asks.into_iter().chain(methods).chain(hosts) {
        let bytes = ask.cookie(&alice).bytes(Door::ExtAuthz);
        let status = first_status(&house, &bytes).await;
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{status:?} to {shown:?}");
    }
    house.still_serves().await;
}
