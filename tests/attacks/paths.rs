//! The path that is judged is the path that goes on, under every reading of it.

use crate::support::{Ask, DOORS, HTTP_DOORS, House, Ticket};
use crate::{APP, everywhere};

/// What may stand before a segment without changing, to somebody, where it leads.
const WAYS: [&str; 20] = [
    "/",
    "//",
    "///",
    "/./",
    "/.//",
    "/%2e/",
    "/%2E%2f",
    "/%2f",
    "/%252f",
    "/public/../",
    "/public//../",
    "/public/..//",
    "/public/%2e%2e/",
    "/public/.%2E/",
    "/public/..%2f",
    "/public/%252e%252e/",
    "/public/%252e%252e%252f",
    "/public/..;/",
    "/public/..;a=b/",
    "/public/x/../../",
];

/// Spellings of `admin`.
const NAMES: [&str; 9] = [
    "admin",
    "%61dmin",
    "a%64min",
    "%61%64%6d%69%6e",
    "%61%64%6D%69%6E",
    "%2561dmin",
    "%2561%2564min",
    "admi%256e",
    "admin;x=/public/",
];

/// What may follow.
const TAILS: [&str; 14] = [
    "",
    "/",
    "/x",
    "//x",
    "%2fx",
    "%252fx",
    ";p=1/x",
    "/.",
    "/x/..",
    "?y=/public/",
    "?/../public/",
    "%3f/../public/",
    "%23/public/",
    "/x%23/public/",
];

#[tokio::test]
async fn no_disguise_of_a_closed_path_is_open() {
    let house = House::start().await;
    let (alice, bob) = (Ticket::of("alice").cookie(), Ticket::of("bob").roles(&["admin"]).cookie());
    for door in DOORS {
        let mut connection = house.keyward.connect().await;
        for (way, name, tail) in disguises() {
            let target = format!("{way}{name}{tail}");
            let ask = Ask::get(format!("{APP}{target}"));
            let nobody = connection.ask(door, &ask).await;
            assert!(matches!(nobody.assert_refuses().status, 401 | 403), "{target}");
            let answer = connection.ask(door, &ask.clone().cookie(&alice)).await;
            assert_eq!(answer.assert_refuses().status, 403, "{target}: {answer:?}");
            let answer = connection.ask(door, &ask.cookie(&bob)).await;
            if answer.status == 200 {
                let uri = answer.assert_allows("bob").one("X-Upstream-Uri");
                assert!(uri.starts_with(&target), "{uri} is not {target}");
            } else {
                assert_eq!((answer.status, answer.reason().as_str()), (403, "ambiguous_path"), "{target}");
            }
        }
    }
}

fn disguises() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    WAYS.into_iter().flat_map(|way| NAMES.into_iter().flat_map(move |name| TAILS.map(|tail| (way, name, tail))))
}

#[tokio::test]
async fn what_no_server_should_be_sent_is_refused() {
    let house = House::start().await;
    let odd = [
        "\\",
        "%5c",
        "%5C",
        "%255c",
        "%00",
        "%2500",
        "%0a",
        "%0d%0a",
        "%09",
        "%1b",
        "%7f",
        "%",
        "%4",
        "%zz",
        "%u002f",
        "%ff",
        "%c0%ae",
        "%C0%AF",
        "%e0%80%af",
        "%c2%85",
        "%c2%9b",
        "%E2%80%A8",
        "\u{85}",
        "\u{9b}",
        "\u{2028}",
        "\u{7f}",
        "#",
    ];
    for odd in odd {
        for path in
            [format!("/public/{odd}"), format!("/public/x{odd}y"), format!("/{odd}public/x"), format!("/public{odd}")]
        {
            for (alice, door, answer) in everywhere(&house, &Ask::get(format!("{APP}{path}"))).await {
                // One that no header may hold does not even get past the parser.
                if answer.status == 400 {
                    continue;
                }
                let reason = answer.assert_refuses().reason();
                let known = reason == "ambiguous_path" || reason == "bad_request";
                assert!(answer.status < 500 && known, "{path:?} {door:?} alice: {alice} {reason}");
            }
        }
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let house = House::start().await;
    for bytes in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"caf\xe9"] {
        let url = [b"https://app.example.test/public/", bytes].concat();
        for (_, _, answer) in everywhere(&house, &Ask::get(url)).await {
            assert_eq!(answer.assert_refuses().reason(), "bad_request");
        }
    }
}

#[tokio::test]
async fn what_only_looks_odd_goes_on_byte_for_byte() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    for target in [
        "/",
        "/?",
        "/a//b",
        "/a/./b",
        "/a/b/../c",
        "/a%20b/%C3%A9",
        "/caf\u{e9}",
        "/files/100%25.txt",
        "/files/100%2525",
        "/a;b=c/d",
        "/a:b@c!$&'()*+,=~",
        "/%41%42",
        "/administrator",
        "/x?y=/admin/",
        "/x?y=%2e%2e/admin/%00%ff%zz\\",
        "/x?a=1&&b;c?d/../e",
        "/publicity",
    ] {
        let ask = Ask::get(format!("{APP}{target}")).cookie(&alice);
        for door in ask.doors() {
            let answer = house.keyward.ask(door, &ask).await;
            let uri = answer.assert_allows("alice").one("X-Upstream-Uri");
            let (before, key) = uri.split_once("_h=").unwrap();
            assert_eq!(before.trim_end_matches(['?', '&']), target.trim_end_matches(['?', '&']), "{uri}");
            assert_eq!(key.len(), 32);
        }
    }
}

#[tokio::test]
async fn the_clients_own_url_key_is_gone_in_every_spelling() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    let names = ["_h", "_H", "%5fh", "%5F%68", "_%48", "%255fh", "%25%35%66h", "+_h", "_h+", "%20_h", "%09_h"];
    for name in names {
        for query in
            ["{}=evil", "{}", "{}=", "a=1&{}=evil&b=2", "a=1;{}=evil;b=2", "&{}=evil&", "{}=evil&{}=evil;{}=evil"]
        {
            for door in DOORS {
                let target = format!("/x?{}", query.replace("{}", name));
                let answer = house.keyward.ask(door, &Ask::get(format!("{APP}{target}")).cookie(&alice)).await;
                let uri = answer.assert_allows("alice").one("X-Upstream-Uri");
                assert!(!uri.contains("evil") && uri.matches("_h=").count() == 1, "{target}: {uri}");
                for kept in ["a=1", "b=2"] {
                    assert_eq!(uri.contains(kept), target.contains(kept), "{target}: {uri}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_rule_for_get_is_for_get() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    let read = || Ask::get(format!("{APP}/read/x")).cookie(&alice);
    for door in DOORS {
        house.keyward.ask(door, &read()).await.assert_allows("alice");
        for method in ["get", "Get", "GET ", "HEAD", "POST", "GET,POST", "GETX", "PUT", "QUERY", "*"] {
            let ask = read().method(method).header("X-HTTP-Method-Override", "GET").header("X-HTTP-Method", "GET");
            if !ask.doors().any(|can| can == door) {
                continue;
            }
            let answer = house.keyward.ask(door, &ask.wire_method("GET")).await;
            // Blanks around a value of a header are no part of it, so this one is GET.
            if method == "GET " && HTTP_DOORS.contains(&door) {
                answer.assert_allows("alice");
            } else {
                assert_eq!(answer.assert_refuses().status, 403, "{method}");
            }
        }
        for method in ["", "G ET", "GET\t/x"] {
            let ask = read().method(method);
            if ask.doors().any(|can| can == door) {
                let answer = house.keyward.ask(door, &ask).await;
                assert_eq!(answer.assert_refuses().reason(), "bad_request", "{method:?}");
            }
        }
    }
    let absent = read().without_method();
    for door in absent.doors() {
        assert_eq!(house.keyward.ask(door, &absent).await.assert_refuses().reason(), "bad_request");
    }
}
