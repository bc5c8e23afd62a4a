//! How questions travel: framing, connections, sockets, and who may ask.

use std::os::unix::fs::PermissionsExt;

use crate::INBOX;
use crate::fakes::server::Fault;
use crate::support::{Ask, DOORS, Door, HTTP_DOORS, House, Ticket, until};

#[tokio::test]
async fn framing_and_conditions_of_the_question_change_nothing() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    for door in DOORS {
        for (url, status) in [(INBOX, 200), ("https://app.example.test/admin", 403)] {
            let plain = || Ask::get(url).cookie(&alice);
            let asks = [
                plain().wire_method("HEAD"),
                plain().wire_method("POST"),
                plain().wire_method("PROPFIND"),
                plain().header("If-None-Match", "*"),
                plain().header("If-Modified-Since", "Sat, 01 Jan 2050 00:00:00 GMT"),
                plain().header("If-Match", "\"x\"").header("If-Range", "\"x\""),
                plain().header("Range", "bytes=0-0"),
                plain().header("Content-Length", "5"),
                plain().wire_method("POST").header("Content-Length", "100000"),
                plain().header("Transfer-Encoding", "chunked"),
                plain().header("Connection", "close"),
                plain().header("Accept-Encoding", "gzip, br").header("TE", "trailers"),
            ];
            for ask in asks {
                let answer = house.keyward.ask(door, &ask).await;
                assert_eq!(answer.status, status, "{door:?} {ask:?}");
                assert_eq!(answer.maybe("Content-Encoding"), None);
                assert_eq!(answer.one("Cache-Control"), "no-store");
            }
        }
    }
}

#[tokio::test]
async fn an_old_web_server_gets_the_same_answer_and_the_end_of_the_connection() {
    let house = House::start().await;
    let alice = Ask::get(INBOX).cookie(Ticket::of("alice").cookie());
    for door in HTTP_DOORS {
        let head = String::from_utf8(alice.bytes(door)).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
        let mut connection = house.keyward.connect().await;
        connection.send(&head).await;
        connection.answer().await.assert_allows("alice");
        assert!(connection.maybe_answer().await.is_none());
        let kept = head.replacen("\r\n", "\r\nConnection: keep-alive\r\n", 1);
        let mut connection = house.keyward.connect().await;
        for _ in 0..2 {
            connection.send(&kept).await;
            connection.answer().await.assert_allows("alice");
        }
    }
}

#[tokio::test]
async fn an_expectation_of_100_is_never_waited_for() {
    let house = House::start().await;
    let ask = Ask::get(INBOX).cookie(Ticket::of("alice").cookie()).wire_method("POST");
    let ask = ask.header("Expect", "100-continue").header("Content-Length", "3");
    for door in HTTP_DOORS {
        let mut connection = house.keyward.connect().await;
        connection.send(ask.bytes(door)).await;
        let mut answer = connection.answer().await;
        if answer.status == 100 {
            answer = connection.answer().await;
        }
        answer.assert_allows("alice");
    }
}

#[tokio::test]
async fn one_connection_serves_question_after_question_whatever_was_answered() {
    let house = House::start().await;
    let (alice, bob) = (Ticket::of("alice").cookie(), Ticket::of("bob").cookie());
    let mut connection = house.keyward.connect().await;
    for _ in 0..10 {
        for door in DOORS {
            connection.ask(door, &Ask::get(INBOX)).await.assert_refuses();
            connection.ask(door, &Ask::get(INBOX).cookie(&alice)).await.assert_allows("alice");
            connection.ask(door, &Ask::page("https://app.example.test/admin").cookie(&alice)).await.assert_refuses();
            connection.ask(door, &Ask::get(INBOX).cookie(&bob)).await.assert_allows("bob");
            connection.ask(door, &Ask::get("ftp://app.example.test/").cookie(&bob)).await.assert_refuses();
            connection.ask(door, &Ask::get(INBOX).wire_method("HEAD").cookie(&bob)).await.assert_allows("bob");
            connection.ask(door, &Ask::get("https://app.example.test/public/")).await.assert_allows("");
        }
    }
    // All at once, answered in their order.
    let users = ["alice", "bob", "bob", "alice", "bob"];
    let pipelined: Vec<u8> = users
        .iter()
        .flat_map(|user| Ask::get(INBOX).cookie(if *user == "bob" { &bob } else { &alice }).bytes(Door::AuthRequest))
        .collect();
    connection.send(pipelined).await;
    for user in users {
        connection.answer().await.assert_allows(user);
    }
}

#[tokio::test]
async fn a_body_is_never_taken_for_the_next_question() {
    let house = House::start().await;
    let hidden = Ask::get(INBOX).cookie(Ticket::of("bob").cookie()).bytes(Door::AuthRequest);
    let alice = Ask::get(INBOX).cookie(Ticket::of("alice").cookie()).wire_method("POST");
    let chunk = [format!("{:x}\r\n", hidden.len()).as_bytes(), &hidden, b"\r\n0\r\n\r\n"].concat();
    let bodies = [
        (alice.clone().header("Content-Length", hidden.len().to_string()), hidden),
        (alice.clone().header("Transfer-Encoding", "chunked"), chunk),
    ];
    for door in HTTP_DOORS {
        for (ask, body) in &bodies {
            let mut connection = house.keyward.connect().await;
            connection.send([ask.bytes(door), body.clone(), alice.bytes(door)].concat()).await;
            connection.answer().await.assert_allows("alice");
            // Either the body is read and thrown away, or the connection ends.
            if let Some(answer) = connection.maybe_answer().await {
                answer.assert_allows("alice");
            }
            assert!(connection.maybe_answer_at_once().await.is_none());
        }
    }
    house.still_serves().await;
}

/// As a web server writes several lines of cookies that should not be joined so. It may be a value with a comma in it,
/// too, so nobody is signed in by it, and nothing of the kind goes on.
#[tokio::test]
async fn cookies_joined_by_commas_sign_nobody_in_and_no_portals_cookie_goes_on() {
    let house = House::start().await;
    let ticket = Ticket::of("alice").cookie();
    for (joined, rest) in [
        ("a=1, {}", ""),
        ("{}, a=1", ""),
        ("a=1,{}", ""),
        ("b=2; a=1,{}; c=3,4; d=5, e=6", "b=2; c=3,4; d=5, e=6"),
        ("b=2; {}, a=1; {}x", "b=2"),
    ] {
        let cookies = joined.replace("{}", &ticket);
        for door in DOORS {
            let ask = |url: &str| Ask::get(url).cookie(&cookies);
            house.keyward.ask(door, &ask(INBOX)).await.assert_refuses();
            let answer = house.keyward.ask(door, &ask("https://app.example.test/public/x")).await;
            assert_eq!(answer.assert_allows("").one("X-Upstream-Cookie"), rest, "{joined}");
        }
    }
}

#[tokio::test]
async fn the_client_is_found_behind_trusted_proxies_only() {
    let debug = "[log]\nlevel = \"debug\"\nformat = \"json\"\n[trust]\nproxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";
    let house = House::with(debug, |setup| setup).await;
    let alice = Ticket::of("alice").cookie();
    let long = "10.1.1.1, ".repeat(400) + "198.51.100.9";
    for (index, (lines, expected)) in [
        (&["198.51.100.7"][..], "198.51.100.7"),
        (&["6.6.6.6, 198.51.100.7, 10.1.1.1"], "198.51.100.7"),
        (&["6.6.6.6", "198.51.100.7, 10.1.1.1"], "198.51.100.7"),
        (&["10.9.9.9, 10.1.1.1"], "10.9.9.9"),
        (&["6.6.6.6, unknown, 10.1.1.1"], "10.1.1.1"),
        (&[long.as_str()], "198.51.100.9"),
    ]
    .into_iter()
    .enumerate()
    {
        for door in DOORS {
            let path = format!("/{index}/{}", door.as_str());
            let ask = Ask::get(format!("https://app.example.test{path}")).cookie(&alice);
            let ask = lines.iter().fold(ask, |ask, line| ask.header("X-Forwarded-For", line));
            house.keyward.ask(door, &ask).await.assert_allows("alice");
            let lines = house.keyward.log_lines();
            let line = lines.iter().find(|line| line["path"] == path.as_str()).unwrap();
            assert_eq!(line["client"], expected, "{line}");
        }
    }
}

#[tokio::test]
async fn peers_that_are_no_proxies_are_refused_whatever_they_bring() {
    let house = House::with("[trust]\nproxies = [\"192.0.2.0/24\", \"unix\"]", |setup| setup).await;
    let bob = Ticket::of("bob").roles(&["admin"]).cookie();
    for door in DOORS {
        for url in [INBOX, "https://app.example.test/public/x", "https://app.example.test/admin", "ftp://nobody.test/"]
        {
            for ask in [Ask::get(url), Ask::page(url).cookie(&bob)] {
                let ask = ask.header("X-Forwarded-For", "127.0.0.1").header("X-Real-IP", "192.0.2.7");
                let answer = house.keyward.ask(door, &ask.header("Forwarded", "for=192.0.2.7")).await;
                answer.assert_refuses();
                assert_eq!(
                    (answer.status, answer.reason().as_str()),
                    (403, "untrusted_peer"),
                    "{ask_url}",
                    ask_url = url
                );
            }
        }
    }
    assert_eq!(house.office.requests().len(), 0);
}

#[tokio::test]
async fn a_unix_socket_has_its_mode_and_its_peers_are_proxies_if_that_is_said() {
    let house = House::with("", |setup| setup.on_socket("auth_mode = \"0606\"")).await;
    let socket = house.keyward.directory().join("auth.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o606);
    house.still_serves().await;

    let refusing = House::with("[trust]\nproxies = [\"127.0.0.0/8\"]", |setup| setup.on_socket("")).await;
    let socket = refusing.keyward.directory().join("auth.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let ask = Ask::get(INBOX).cookie(Ticket::of("alice").cookie());
    assert_eq!(refusing.keyward.ask(Door::AuthRequest, &ask).await.reason(), "untrusted_peer");
}

#[tokio::test]
async fn a_question_that_is_dropped_costs_nobody_anything() {
    let house = House::start().await;
    let ask = Ask::get(INBOX).cookie(Ticket::of("alice").cookie());
    house.office.misbehave(Some(Fault::Hang));
    let mut gone = house.keyward.connect().await;
    gone.send(ask.bytes(Door::AuthRequest)).await;
    until("the login", || async { !house.office.requests().is_empty() }).await;
    drop(gone);
    house.keyward.ask(Door::ForwardAuth, &Ask::get("https://app.example.test/public/")).await.assert_allows("");
    assert_eq!(house.office.requests().len(), 1);
}
