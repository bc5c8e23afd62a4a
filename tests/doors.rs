//! One suite of questions through every door, against the program itself: the same decisions,
//! answered as each dialect wants it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[expect(dead_code, reason = "other tests use more of them")]
mod fakes;
#[expect(dead_code, reason = "other tests use more of it")]
mod support;

use std::os::unix::fs::PermissionsExt;

use fakes::server::Fault;
use support::{Address, Ask, Connection, Door, House, MAIL_PORTAL, Setup, Ticket, password_of};

const INBOX: &str = "https://app.example.test/inbox";

/// What must be answered to a question at `auth-request` and at `forward-auth`, and why.
struct Row {
    ask: Ask,
    statuses: (u16, u16),
    reason: &'static str,
}

fn row(ask: Ask, statuses: (u16, u16), reason: &'static str) -> Row {
    Row { ask, statuses, reason }
}

#[tokio::test]
async fn every_ruling_is_answered_in_each_doors_own_way() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    let wrong = Ticket::of("carol").password("wrong").cookie();
    let rows = [
        row(Ask::page(INBOX), (401, 302), "no_session"),
        row(Ask::page(INBOX).cookie("office_session=x"), (401, 302), "forged"),
        row(Ask::page(INBOX).method("HEAD"), (401, 302), "no_session"),
        row(Ask::get(INBOX).header("Sec-Fetch-Mode", "navigate"), (401, 302), "no_session"),
        row(Ask::page(INBOX).header("Sec-Fetch-Mode", "cors"), (401, 401), "no_session"),
        row(Ask::page(INBOX).header("X-Requested-With", "XMLHttpRequest"), (401, 401), "no_session"),
        row(Ask::page(INBOX).method("POST"), (401, 401), "no_session"),
        row(Ask::get(INBOX).method("PROPFIND"), (401, 401), "no_session"),
        row(Ask::get(INBOX), (401, 401), "no_session"),
        row(Ask::get("https://app.example.test/admin").cookie(&alice), (403, 403), "role"),
        row(Ask::page("https://app.example.test/admin").cookie(&alice), (403, 403), "role"),
        row(Ask::get("https://app.example.test/%61dmin").cookie(&alice), (403, 403), "ambiguous_path"),
        row(Ask::get("https://nobody.example.test/").cookie(&alice), (403, 403), "no_route"),
        row(Ask::get("gopher://app.example.test/").cookie(&alice), (403, 403), "bad_request"),
        row(Ask::get(INBOX).cookie(wrong), (403, 403), "credentials_refused"),
        row(Ask::get(INBOX).cookie(Ticket::of("alice").without_password().cookie()), (403, 403), "no_credentials"),
    ];
    for Row { ask, statuses, reason } in rows {
        for (door, status) in [(Door::AuthRequest, statuses.0), (Door::ForwardAuth, statuses.1)] {
            let answer = house.keyward.ask(door, &ask).await;
            assert_eq!((answer.status, answer.reason().as_str()), (status, reason), "{door:?} {ask:?}");
            answer.assert_refuses();
            assert_eq!(answer.maybe("Retry-After"), None);
            // What sends a browser away says so in `Location`, everything else in the body.
            let is_redirect = statuses == (401, 302);
            assert_eq!(answer.maybe("Location").is_some(), is_redirect, "{door:?} {ask:?}");
            if reason == "no_session" || reason == "forged" {
                assert!(answer.login().starts_with("https://portal.example.test/office?next=https%3A%2F%2Fapp"));
                let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!((&body["reason"], &body["login"]), (&reason.into(), &answer.login().into()));
            }
        }
    }
    for door in Door::ALL {
        house.keyward.ask(door, &Ask::get(INBOX).cookie(&alice)).await.assert_allows("alice");
    }
}

#[tokio::test]
async fn an_outage_is_unavailable_and_never_a_no() {
    let house = House::start().await;
    for (fault, user) in [(Fault::CloseAtOnce, "alice"), (Fault::Garbage, "bob")] {
        house.office.misbehave(Some(fault));
        for door in Door::ALL {
            for ask in [Ask::get(INBOX), Ask::page(INBOX)] {
                let answer = house.keyward.ask(door, &ask.cookie(Ticket::of(user).cookie())).await;
                answer.assert_refuses();
                assert_eq!((answer.status, answer.reason().as_str()), (503, "backend_unavailable"));
                assert!(answer.one("Retry-After").parse::<u64>().unwrap() >= 1);
                assert_eq!(answer.maybe("Location"), None, "an outage is no reason to sign in");
            }
        }
    }
}

#[tokio::test]
async fn people_see_a_page_and_programs_see_json() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    for door in Door::ALL {
        let program = house.keyward.ask(door, &Ask::get("https://app.example.test/admin").cookie(&alice)).await;
        assert_eq!(program.one("Content-Type"), "application/json");
        assert_eq!(program.text(), r#"{"reason":"role"}"#);
        let person = house.keyward.ask(door, &Ask::page("https://app.example.test/admin").cookie(&alice)).await;
        assert_eq!(person.one("Content-Type"), "text/html; charset=utf-8");
        assert!(person.text().contains("<h1>You may not open this page</h1>"), "{}", person.text());
        let policy = person.one("Content-Security-Policy");
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn an_allow_is_complete_and_hands_everything_on_byte_for_byte() {
    let house = House::start().await;
    let ticket = Ticket::of("alice").name("Zoë 李").email("zoe@example.test").roles(&["staff", "x y"]);
    let target = "/a%2Fb/./c%20d/%C3%A9?x=1&y=%zz&_h=evil;z;;&q=/public/&_H=evil&end";
    let cookies = format!("theme=dark;{};  odd;_hmail=evil; q=\"a b\"; =; post_session=y", ticket.cookie());
    for door in Door::ALL {
        let ask = Ask::get(format!("https://app.example.test{target}"))
            .cookie(&cookies)
            .cookie("last=\u{fc}")
            .header("Remote-User", "bob")
            .header("Remote-Groups", "admin");
        let answer = house.keyward.ask(door, &ask).await;
        answer.assert_allows("alice");
        let mut names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let expected = [
            "cache-control",
            "content-length",
            "date",
            "remote-email",
            "remote-groups",
            "remote-name",
            "remote-user",
            "x-keyward-session-seconds",
            "x-upstream-cookie",
            "x-upstream-uri",
        ];
        assert_eq!(names, expected);
        assert_eq!(answer.one("Remote-Name"), "Zoë 李");
        assert_eq!(answer.one("Remote-Email"), "zoe@example.test");
        assert_eq!(answer.one("Remote-Groups"), "staff,x y");
        let cookie = answer.one("X-Upstream-Cookie");
        let key = cookie.strip_prefix("theme=dark; odd; q=\"a b\"; =; last=\u{fc}; _hmail=").expect(&cookie);
        assert_eq!(house.office.owner(key).as_deref(), Some("alice"));
        let uri = answer.one("X-Upstream-Uri");
        let kept = "/a%2Fb/./c%20d/%C3%A9?x=1&y=%zz;z;;&q=/public/&end&_h=";
        assert_eq!(uri.strip_prefix(kept).expect(&uri).len(), 32, "{uri}");
        let seconds: u64 = answer.one("X-Keyward-Session-Seconds").parse().unwrap();
        assert!((3500..=3600).contains(&seconds), "{seconds}");
    }
    assert_eq!(house.office.logins("alice"), 1);
}

#[tokio::test]
async fn what_has_no_value_is_there_and_empty() {
    let house = House::start().await;
    for door in Door::ALL {
        let bare = Ask::get(INBOX).cookie(Ticket::of("alice").cookie()).header("Remote-Groups", "admin");
        let answer = house.keyward.ask(door, &bare).await;
        answer.assert_allows("alice");
        for name in ["Remote-Name", "Remote-Email", "Remote-Groups"] {
            assert_eq!(answer.one(name), "", "{name}");
        }
    }
}

#[tokio::test]
async fn a_public_route_is_open_to_everybody_and_carries_nobody() {
    let house = House::start().await;
    let someone = format!("{}; _hmail=evil; a=1", Ticket::of("alice").cookie());
    for door in Door::ALL {
        for cookies in ["a=1; _hmail=evil", &someone] {
            let ask = Ask::get("https://app.example.test/public/a?_h=evil&b").cookie(cookies);
            let answer = house.keyward.ask(door, &ask.header("Remote-User", "bob")).await;
            answer.assert_allows("");
            assert_eq!(answer.one("X-Upstream-Cookie"), "a=1");
            assert_eq!(answer.one("X-Upstream-Uri"), "/public/a?b");
            assert_eq!(answer.one("X-Keyward-Session-Seconds"), "0");
        }
    }
    assert_eq!(house.office.requests().len(), 0, "nobody is signed in for an open page");
}

#[tokio::test]
async fn a_route_without_back_end_gates_and_passes_the_identity() {
    let house = House::start().await;
    let alice = Ticket::of("alice").without_password().roles(&["staff"]);
    for door in Door::ALL {
        let url = "https://gate.example.test/x?_h=mine";
        house.keyward.ask(door, &Ask::get(url)).await.assert_refuses();
        let ask = Ask::get(url).cookie(format!("{}; _hmail=mine", alice.cookie()));
        let answer = house.keyward.ask(door, &ask).await;
        answer.assert_allows("alice");
        assert_eq!(answer.one("Remote-Groups"), "staff");
        assert_eq!(answer.one("X-Upstream-Uri"), "/x?_h=mine");
        assert_eq!(answer.one("X-Upstream-Cookie"), "_hmail=mine");
    }
}

#[tokio::test]
async fn a_role_map_translates_and_drops_what_it_does_not_know() {
    let roles = "[backend.roles]\n\"head of all\" = \"boss\"\nstaff = \"worker\"";
    let house = House::with_back_ends(roles, "", |setup| setup).await;
    for door in Door::ALL {
        let ticket = Ticket::of("alice").roles(&["other", "staff", "boss", "head of all"]);
        let answer = house.keyward.ask(door, &Ask::get(INBOX).cookie(ticket.cookie())).await;
        assert_eq!(answer.assert_allows("alice").one("Remote-Groups"), "worker,boss");
    }
}

#[tokio::test]
async fn identity_headers_have_the_configured_names() {
    let house = House::with("[headers]\nuser = \"X-User\"\ngroups = \"X-Groups\"", |setup| setup).await;
    let answer = house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(Ticket::of("alice").cookie())).await;
    assert_eq!((answer.one("X-User"), answer.one("X-Groups")), ("alice".to_owned(), String::new()));
    assert_eq!((answer.maybe("Remote-User"), answer.one("Remote-Name")), (None, String::new()));
}

#[tokio::test]
async fn framing_and_conditions_of_the_question_change_nothing() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    for door in Door::ALL {
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
async fn an_expectation_of_100_is_never_waited_for() {
    let house = House::start().await;
    let ask = Ask::get(INBOX).cookie(Ticket::of("alice").cookie()).wire_method("POST");
    let ask = ask.header("Expect", "100-continue").header("Content-Length", "3");
    for door in Door::ALL {
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
        for door in Door::ALL {
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
    for door in Door::ALL {
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
        for door in Door::ALL {
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
async fn what_does_not_fit_the_web_servers_buffers_is_unavailable_and_said_so() {
    let house = House::with("[limits]\nanswer = 4096", |setup| setup).await;
    let alice = Ticket::of("alice").cookie();
    for door in Door::ALL {
        let mut largest = 0;
        for length in (3000..4200).step_by(50) {
            let ask = Ask::get(INBOX).cookie(format!("{alice}; big={}", "x".repeat(length)));
            let answer = house.keyward.ask(door, &ask).await;
            if answer.status == 200 {
                assert!(answer.head_length <= 4096, "{}", answer.head_length);
                largest = answer.head_length;
            } else {
                answer.assert_refuses();
                assert_eq!((answer.status, answer.reason().as_str()), (503, "answer_too_large"), "{length}");
            }
        }
        assert!(largest > 3500, "the limit is used, not guessed: {largest}");
        house.keyward.ask(door, &Ask::get(INBOX).cookie(&alice)).await.assert_allows("alice");
    }
    assert!(house.keyward.log().contains("raise it and the web server's header buffers"));
}

#[tokio::test]
async fn peers_that_are_no_proxies_are_refused_whatever_they_bring() {
    let house = House::with("[trust]\nproxies = [\"192.0.2.0/24\", \"unix\"]", |setup| setup).await;
    let bob = Ticket::of("bob").roles(&["admin"]).cookie();
    for door in Door::ALL {
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
async fn a_renewal_replaces_dead_keys_once_and_joins_what_is_under_way() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    let ask = Ask::get(INBOX).cookie(&alice);
    let before = house.keyward.ask(Door::AuthRequest, &ask).await.one("X-Upstream-Cookie");
    house.office.drop_sessions();
    let renew = ask.bytes_to("/authz/renew", Door::AuthRequest);
    let renewals = futures_util::future::join_all((0..20).map(|_| house.keyward.exchange(&renew))).await;
    let after = renewals[0].assert_allows("alice").one("X-Upstream-Cookie");
    assert_ne!(before, after);
    for renewal in &renewals {
        assert_eq!(renewal.assert_allows("alice").one("X-Upstream-Cookie"), after);
    }
    assert_eq!(house.office.logins("alice"), 2, "one renewal an interval, whoever asks");
    assert_eq!(house.keyward.ask(Door::ForwardAuth, &ask).await.one("X-Upstream-Cookie"), after);

    for (url, cookie, status, reason) in [
        (INBOX, "", 401, "no_session"),
        ("https://app.example.test/admin", alice.as_str(), 403, "role"),
        ("https://nobody.example.test/", &alice, 403, "no_route"),
    ] {
        let answer =
            house.keyward.exchange(Ask::get(url).cookie(cookie).bytes_to("/authz/renew", Door::AuthRequest)).await;
        assert_eq!((answer.assert_refuses().status, answer.reason().as_str()), (status, reason));
    }
    let others = house.keyward.exchange(ask.bytes_to("/authz/renew", Door::ForwardAuth)).await;
    assert_eq!(others.reason(), "bad_request", "renewals speak the dialect of auth-request");
}

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
    assert!(person["expires"].as_u64().unwrap() > support::now());
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
    for door in Door::ALL {
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
    support::until("the logouts", || async { (house.office.sessions(), house.post.sessions()) == (1, 0) }).await;
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

#[tokio::test]
async fn a_question_that_is_dropped_costs_nobody_anything() {
    let house = House::start().await;
    let ask = Ask::get(INBOX).cookie(Ticket::of("alice").cookie());
    house.office.misbehave(Some(Fault::Hang));
    let mut gone = house.keyward.connect().await;
    gone.send(ask.bytes(Door::AuthRequest)).await;
    support::until("the login", || async { !house.office.requests().is_empty() }).await;
    drop(gone);
    house.keyward.ask(Door::ForwardAuth, &Ask::get("https://app.example.test/public/")).await.assert_allows("");
    assert_eq!(house.office.requests().len(), 1);
}

#[tokio::test]
async fn the_smallest_configuration_denies_everything() {
    let sidecar = Setup::new("").start().await;
    for door in Door::ALL {
        let answer = sidecar.ask(door, &Ask::get(INBOX)).await;
        assert_eq!((answer.assert_refuses().status, answer.reason().as_str()), (403, "no_route"));
    }
}
