//! Where the hand-over sends browsers: addresses that only look like ours are none of ours.

use crate::house::{Browser, House};
use crate::support::Ticket;

const LISTED: &str = "https://portal.example.test/mail?a=1";
const START: &str = "https://portal.example.test/.keyward/enter/mail";

/// Spellings of addresses that lead elsewhere, or that somebody could take for one that is allowed.
fn crooked() -> Vec<String> {
    let schemes =
        ["https:", "http:", "HTTPS:", "javascript:", "data:", "file:", "ftp:", "view-source:https:", "", "\u{0}https:"];
    let slashes = ["//", "/", "///", "\\\\", "/\\", "\\/", "", "/%2f", "%2f%2f", "/\t/", "//\u{0}"];
    let users = [
        "",
        "webmail.other.test@",
        "portal.example.test%40",
        "a:b@",
        "webmail.other.test\\@",
        "webmail.other.test#@",
        "webmail.other.test%00@",
    ];
    let hosts = [
        "evil.test",
        "webmail.other.test.evil.test",
        "evilwebmail.other.test",
        "webmail.other.test:8443",
        "portal.example.test",
        "[::1]",
        "127.1",
        "webmail.other.test%2eevil.test",
        "webmail。other.test.evil.test",
    ];
    let paths =
        ["", "/", "/mail?a=1", "/\r\nSet-Cookie: a=b", "/%0d%0aSet-Cookie:%20a=b", "/?x=https://webmail.other.test/"];
    let mut all = Vec::new();
    for scheme in schemes {
        for slash in slashes {
            for user in users {
                for (index, host) in hosts.iter().enumerate() {
                    let path = paths[(index + slash.len() + user.len()) % paths.len()];
                    all.push(format!("{scheme}{slash}{user}{host}{path}"));
                }
            }
        }
    }
    all
}

#[tokio::test]
async fn a_crooked_return_address_never_becomes_a_location() {
    let house = House::start(
        &format!("origins = [\"https://portal.example.test\"]\nreturn_to = [\"{LISTED}\"]"),
        &["host = \"webmail.other.test\""],
    )
    .await;
    let alice = Browser::of(&Ticket::of("alice"));
    let cookie = alice.cookies("portal.example.test");
    let all = crooked();
    assert!(all.len() > 5000);
    let mut connection = house.keyward.connect().await;
    for (number, address) in all.iter().enumerate() {
        let parsed = url::Url::parse(address).ok();
        if parsed.as_ref().is_some_and(|url| url.as_str() == LISTED) {
            continue;
        }
        let is_ours = parsed.is_some_and(|url| url.origin().ascii_serialization() == "https://webmail.other.test");
        let encoded: String = url::form_urlencoded::byte_serialize(address.as_bytes()).collect();
        let (host, start) = if number % 2 == 0 {
            ("portal.example.test", START)
        } else {
            ("webmail.other.test", "x/x/x/.keyward/enter/mail")
        };
        let path = start.splitn(4, '/').nth(3).unwrap();
        let head = format!(
            "GET /{path}?return_to={encoded} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: {host}\r\n{cookie}\r\nAccept: text/html\r\n\r\n"
        );
        connection.send(head).await;
        let answer = connection.answer().await;
        if is_ours {
            // Every browser reads it as a page of the application. It goes on in the one spelling it has then.
            let location = url::Url::parse(&answer.one("Location")).unwrap();
            let host = location.host_str().unwrap();
            assert!(host == "webmail.other.test" || host == "portal.example.test", "{address:?}: {location}");
            let (_, goes_on) = location.query_pairs().find(|(name, _)| name == "return_to").unwrap();
            assert!(goes_on.starts_with("https://webmail.other.test/") && !goes_on.contains('\\'), "{goes_on}");
            continue;
        }
        assert_eq!(
            (answer.status, answer.maybe("Location"), answer.all("Set-Cookie").len()),
            (403, None, 0),
            "{address:?}"
        );
    }
    assert_eq!(house.mail.attempts("alice"), 0);
}

#[tokio::test]
async fn what_is_allowed_is_given_back_as_it_was_configured_or_as_one_address() {
    let enter = format!("origins = [\"https://portal.example.test\"]\nreturn_to = [\"{LISTED}\"]");
    let house = House::start(&enter, &["host = \"webmail.other.test\"\npath = \"/app\""]).await;
    for (asked, expected) in [
        (LISTED, Some(LISTED)),
        ("HTTPS://PORTAL.example.test:443/x/../mail?a=1", Some(LISTED)),
        ("https://portal.example.test/mail?a=2", None),
        ("https://webmail.other.test/app", Some("https://webmail.other.test/app")),
        ("https://webmail.other.test/app/x?y=1#z", Some("https://webmail.other.test/app/x?y=1#z")),
        ("https://webmail.other.test/app/\"><script>", Some("https://webmail.other.test/app/%22%3E%3Cscript%3E")),
        ("https://webmail.other.test/app/\r\n/x", Some("https://webmail.other.test/app//x")),
        ("https://webmail.other.test/other", None),
        ("https://webmail.other.test/application", None),
        ("https://webmail.other.test/app/../other", None),
        ("https://a:b@webmail.other.test/app", None),
        ("http://webmail.other.test/app", None),
    ] {
        let encoded: String = url::form_urlencoded::byte_serialize(asked.as_bytes()).collect();
        let mut alice = Browser::of(&Ticket::of("alice"));
        let start = format!("{START}?return_to={encoded}");
        match expected {
            Some(expected) => assert_eq!(alice.enter(&house, &start).await, expected, "{asked}"),
            None => assert_eq!(alice.step(&house, &start).await.status, 403, "{asked}"),
        }
    }
}

#[tokio::test]
async fn our_own_pages_are_no_pages_of_the_application() {
    let house = House::start("", &["host = \"webmail.other.test\""]).await;
    let mut alice = Browser::default();
    alice.set("webmail.other.test", &Ticket::of("alice").cookie());
    for path in ["/.keyward/logout", "/.keyward/", "/.keyward"] {
        let start =
            format!("https://webmail.other.test/.keyward/enter/mail?return_to=https://webmail.other.test{path}");
        assert_eq!(alice.step(&house, &start).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn the_way_back_from_the_portal_leads_to_hosts_of_ours_alone() {
    let house = House::start("origins = [\"https://portal.example.test\"]", &["host = \"webmail.other.test\""]).await;
    for host in [
        "evil.test",
        "webmail.other.test.evil.test",
        "webmail.other.test@evil.test",
        "evil.test:443",
        "[::1]",
        "",
        "a b",
    ] {
        let head = format!(
            "GET /.keyward/enter/mail HTTP/1.1\r\nHost: keyward\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: {host}\r\nAccept: text/html\r\n\r\n"
        );
        let answer = house.keyward.exchange(head).await;
        assert_eq!((answer.status, answer.maybe("Location")), (403, None), "{host}");
    }
}
