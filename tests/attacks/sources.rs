//! Who may say what the request is, and who it is from.

use crate::support::{APP_PORTAL, Ask, DOORS, Door, House, PortalKey, TOLD, Ticket};
use crate::{ADMIN, APP, INBOX, assert_refused_everywhere, everywhere};

/// Names under which some server somewhere hands on the original request, and what an attacker
/// would put there.
const OTHER_SOURCES: [(&str, &str); 18] = [
    ("X-Original-URI", "/public/x"),
    ("X-Original-Uri", "https://app.example.test/public/x"),
    ("X_Original_URL", "https://app.example.test/public/x"),
    ("X-Original_URL", "https://app.example.test/public/x"),
    ("XOriginalURL", "https://app.example.test/public/x"),
    ("X-Rewrite-URL", "/public/x"),
    ("X-Auth-Request-Redirect", "/public/x"),
    ("X_Forwarded_Uri", "/public/x"),
    ("X_Forwarded_Host", "app.example.test"),
    ("X_Original_Method", "OPTIONS"),
    ("X-HTTP-Method-Override", "OPTIONS"),
    ("X-Method-Override", "OPTIONS"),
    ("X-Forwarded-Path", "/public/x"),
    ("X-Forwarded-Prefix", "/public"),
    ("X-Envoy-Original-Path", "/public/x"),
    ("Forwarded", "host=app.example.test;proto=https"),
    ("X-Host", "app.example.test"),
    ("Referer", "https://app.example.test/public/x"),
];

fn the_other(door: Door) -> Door {
    if door == Door::AuthRequest { Door::ForwardAuth } else { Door::AuthRequest }
}

#[tokio::test]
async fn a_second_source_of_the_address_is_not_read() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    let public = Ask::get("https://app.example.test/public/x").method("OPTIONS");
    for door in DOORS {
        let mut sources: Vec<(&str, Vec<u8>)> = public.original(the_other(door));
        sources.extend(OTHER_SOURCES.map(|(name, value)| (name, value.as_bytes().to_vec())));
        let everything = sources.iter().fold(Ask::get(ADMIN), |ask, (name, value)| ask.header(name, value));
        let one_each = sources.iter().map(|(name, value)| Ask::get(ADMIN).header(name, value));
        for ask in one_each.chain([everything]) {
            assert_eq!(house.keyward.ask(door, &ask).await.reason(), "no_session", "{ask:?}");
            let answer = house.keyward.ask(door, &ask.cookie(&alice)).await;
            assert_eq!(answer.assert_refuses().reason(), "role");
        }
    }
}

#[tokio::test]
async fn without_the_doors_own_source_nothing_is_understood() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    for door in TOLD {
        let own = Ask::get("https://app.example.test/public/x").original(door);
        let other = Ask::get("https://app.example.test/public/x").original(the_other(door));
        let path = format!("GET /authz/{} HTTP/1.1\r\nHost: app.example.test\r\nCookie: {alice}\r\n", door.as_str());
        let head = |lines: &[(&str, Vec<u8>)]| {
            let lines = lines.iter().map(|(name, value)| format!("{name}: {}\r\n", String::from_utf8_lossy(value)));
            format!("{path}{}\r\n", lines.collect::<String>())
        };
        let mut heads = vec![head(&[]), head(&other)];
        for missing in 0..own.len() {
            let mut lines = own.clone();
            let (name, value) = lines.remove(missing);
            heads.push(head(&lines));
            // Whatever else somebody might take for it.
            for alias in [name.replace('-', "_"), format!("X-{name}"), format!("{name}s"), name.replace("X-", "")] {
                heads.push(head(&[&lines[..], &[(&alias, value.clone())]].concat()));
            }
            let every_other = OTHER_SOURCES.map(|(name, value)| (name, value.as_bytes().to_vec()));
            heads.push(head(&[&lines[..], &every_other].concat()));
        }
        for head in heads {
            let answer = house.keyward.exchange(&head).await;
            assert_eq!(answer.assert_refuses().reason(), "bad_request", "{head}");
        }
    }
}

#[tokio::test]
async fn a_source_that_is_there_twice_is_refused_whichever_comes_first() {
    let house = House::start().await;
    for door in TOLD {
        let (admin, public) = (Ask::get(ADMIN), Ask::get("https://app.example.test/public/x"));
        for (one, two) in [(&admin, &public), (&public, &admin), (&public, &public)] {
            for (name, value) in two.original(door) {
                for name in [name.to_owned(), name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
                    for ask in [one.clone(), one.clone().cookie(Ticket::of("alice").cookie())] {
                        let answer = house.keyward.ask(door, &ask.header(&name, &value)).await;
                        assert_eq!(answer.assert_refuses().reason(), "bad_request", "{name}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_malformed_address_is_never_answered_with_yes() {
    let house = House::start().await;
    let long = format!("https://app.example.test/public/{}", "x".repeat(70_000));
    let urls = [
        "://",
        "http://",
        "http://[::1/",
        "https:///public/x",
        "https:// /public/x",
        "https://app.example.test",
        "HTTPS://app.example.test/public/x",
        "file://app.example.test/public/x",
        "javascript://app.example.test/public/x",
        "https://app.example.test/public/x y",
        "https://app.example.test/public/x\ty",
        "https://app.example.test/public/x#",
        "https://app.example.test*/public/x",
        "https://%61pp.example.test/public/x",
        "https://app.example.test?/public/x",
        "https://app.example.test#/public/x",
        "https://app.example.test\\/public/x",
        &long,
    ];
    for url in urls {
        assert_refused_everywhere(&house, &Ask::get(url)).await;
    }
    for (alice, _, answer) in everywhere(&house, &Ask::get(INBOX).without_method()).await {
        assert_eq!(answer.assert_refuses().reason(), "bad_request", "{alice}");
    }
    house.still_serves().await;
}

#[tokio::test]
async fn nothing_the_client_says_of_itself_becomes_the_identity() {
    let house = House::start().await;
    let basic = "Basic Ym9iOnRoZSByaWdodCBwYXNzd29yZCBvZiBib2I=";
    let mut lines: Vec<(String, &str)> = Vec::new();
    for name in ["Remote-User", "Remote-Groups", "Remote-Name", "Remote-Email", "X-Upstream-Cookie", "X-Upstream-Uri"] {
        for name in
            [name.to_owned(), name.replace('-', "_"), name.to_uppercase(), format!("X-{name}"), format!("HTTP_{name}")]
        {
            lines.push((name, "bob"));
        }
    }
    for name in
        ["X-Forwarded-User", "X-Auth-Request-User", "X-WebAuth-User", "REMOTE_USER", "X-Keyward-Session-Seconds"]
    {
        lines.push((name.to_owned(), "bob"));
    }
    lines.extend([("Authorization".to_owned(), basic), ("Proxy-Authorization".to_owned(), basic)]);
    let all = lines.iter().fold(Ask::get(INBOX), |ask, (name, value)| ask.header(name, value));
    let alice = Ticket::of("alice").cookie();
    for door in DOORS {
        for method in ["GET", "POST", "PROPFIND", "REPORT", "OPTIONS"] {
            let ask = all.clone().method(method);
            house.keyward.ask(door, &ask).await.assert_refuses();
            let answer = house.keyward.ask(door, &ask.cookie(&alice)).await;
            answer.assert_allows("alice");
            assert!(!answer.everything().contains("bob"), "{answer:?}");
            let mut open = Ask::get("https://app.example.test/public/a").method(method);
            for (name, value) in &lines {
                open = open.header(name, value);
            }
            let answer = house.keyward.ask(door, &open).await;
            answer.assert_allows("");
            assert!(!answer.everything().contains("bob"), "{answer:?}");
        }
    }
    assert_eq!(house.office.attempts("bob"), 0);
}

#[tokio::test]
async fn credentials_that_may_count_are_nobodys_to_a_portal_that_takes_none() {
    let route = "[[route]]\nhost = \"dav.example.test\"\nportal = [\"office\", \"post\"]\nauthorization = true\n\
                 backend = \"office\"\n";
    let house = House::with(route, |setup| setup).await;
    let (alice, bob) = (Ticket::of("alice").cookie(), Ticket::of("bob").mint());
    let basic = "Basic Ym9iOnRoZSByaWdodCBwYXNzd29yZCBvZiBib2I=";
    let asks = |method: &str| Ask::get("https://dav.example.test/caldav/").method(method);
    let mut lines: Vec<Vec<Vec<u8>>> = vec![
        vec![basic.into()],
        vec![basic.into(), basic.into()],
        vec![format!("Bearer {bob}").into()],
        vec![bob.clone().into()],
        vec![format!("{}={bob}", APP_PORTAL.cookie).into()],
    ];
    for odd in
        ["", " ", "Basic", "basic", "Basic ", "Basic =", "Basic Ym9i", "Basic Om5vYm9keQ==", "Bearer", ",", "\u{fc}"]
    {
        lines.push(vec![odd.into()]);
    }
    lines.push(vec![b"Basic \xff\xfe".to_vec()]);
    lines.push(vec![format!("Basic {}", "QUJD".repeat(2048)).into()]);
    for door in DOORS {
        for method in ["GET", "PROPFIND", "OPTIONS", "REPORT"] {
            for values in &lines {
                let ask = values.iter().fold(asks(method), |ask, value| ask.header("Authorization", value));
                let answer = house.keyward.ask(door, &ask).await;
                assert_eq!(
                    (answer.assert_refuses().status, answer.reason().as_str()),
                    (401, "no_session"),
                    "{values:?}"
                );
                let answer = house.keyward.ask(door, &ask.cookie(&alice)).await;
                // Theirs goes no further, whatever the web server would do with it.
                assert_eq!(answer.assert_allows("alice").one("X-Upstream-Authorization"), "");
                assert!(!answer.everything().contains("Basic"), "nothing of it goes upstream: {answer:?}");
            }
        }
        let large = asks("GET").header("Authorization", format!("Basic {}", "A".repeat(64 * 1024))).cookie(&alice);
        let answer = house.keyward.ask(door, &large).await;
        assert!(answer.status == 200 || (400..500).contains(&answer.status), "{answer:?}");
    }
    assert_eq!(house.office.attempts("bob"), 0);
    house.still_serves().await;
}

#[tokio::test]
async fn a_probes_user_agent_opens_nothing() {
    let house = House::start().await;
    for agent in
        ["kube-probe/1.31", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Consul Health Check", "Prometheus/2.42", ""]
    {
        for door in DOORS {
            for url in [INBOX, ADMIN, APP] {
                let answer = house.keyward.ask(door, &Ask::get(url).header("User-Agent", agent)).await;
                assert!(matches!(answer.assert_refuses().status, 401 | 403), "{agent}");
            }
        }
    }
}

#[tokio::test]
async fn several_cookie_lines_are_one() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    for lines in
        [["a=1", &alice], [&alice, "a=1"], ["", &alice], ["office_session", &alice], ["office_session=bad", &alice]]
    {
        for door in DOORS {
            let ask = lines.iter().fold(Ask::get(INBOX), |ask, line| ask.cookie(line));
            house.keyward.ask(door, &ask).await.assert_allows("alice");
        }
    }
}

#[tokio::test]
async fn line_breaks_in_a_cookie_reach_nobody() {
    let house = House::start().await;
    let ticket = Ticket::of("alice").mint();
    let PortalKey { cookie, .. } = APP_PORTAL;
    for value in [
        format!("{ticket}%0d%0aRemote-User: bob"),
        format!("%0d%0a{ticket}"),
        format!("{ticket}\u{85}x"),
        format!("{ticket} x"),
        format!("{ticket}\tx"),
        format!("\"{ticket}\""),
    ] {
        for door in DOORS {
            let answer = house.keyward.ask(door, &Ask::get(INBOX).cookie(format!("{cookie}={value}"))).await;
            assert_eq!(answer.assert_refuses().reason(), "forged", "{value:?}");
        }
    }
    // Raw ones end the line, so the rest is a header of its own, or the head is none.
    for broken in ["\r\nRemote-User: bob", "\nRemote-User: bob", "\rRemote-User: bob", "\0x", "\x7f", "\x1b[2J"] {
        for door in DOORS {
            let ask = Ask::get(INBOX).cookie(format!("{cookie}={ticket}{broken}"));
            let answer = house.keyward.ask(door, &ask).await;
            if answer.status == 200 {
                answer.assert_allows("alice");
            }
            assert!(!answer.everything().contains("bob"), "{broken:?}");
        }
    }
    house.still_serves().await;
}
