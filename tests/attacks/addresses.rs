//! Where the browser is sent: to the portal and back to where it was, nowhere else.

use url::Url;

use crate::APP;
use crate::support::{Ask, DOORS, House};

/// Beginnings of addresses that mean one host to one reader and another to the next.
fn addresses() -> Vec<String> {
    let schemes = [
        "",
        "http:",
        "https:",
        "HTTPS:",
        "javascript:",
        "data:",
        "file:",
        "https%3a",
        "\thttps:",
        "ht\ntps:",
        "//https:",
    ];
    let slashes =
        ["", "/", "//", "///", "\\", "\\\\", "/\\", "\\/", "/\t/", "/%2f", "/%5c", "/%09/", "/%0d%0a/", "/./", "/;@"];
    let hosts = [
        "evil.test",
        "portal.example.test@evil.test",
        "portal.example.test%40evil.test",
        "portal.example.test:443@evil.test",
        "evil.test#portal.example.test/bye",
        "evil.test?https://portal.example.test/bye",
        "evil.test\\@portal.example.test",
        "evil.test%00.portal.example.test",
        "portal.example.test.evil.test",
        "portal.example.test:8443",
        "portal.example.test%2eevil.test",
        "portal。example。test",
        "[::ffff:127.0.0.1]",
        "0x7f000001",
    ];
    let paths = ["/bye", "/bye%0d%0aSet-Cookie:x=1"];
    let mut all = Vec::new();
    for scheme in schemes {
        for slashes in slashes {
            for host in hosts {
                for path in paths {
                    all.push(format!("{scheme}{slashes}{host}{path}"));
                }
            }
        }
    }
    all
}

/// Everything printable that a query can hold, and the encodings of the rest.
fn asked_for() -> Vec<String> {
    let mut all: Vec<String> = [
        "/inbox?x=1&y=2",
        "/?next=//evil.test",
        "/&next=https://evil.test",
        "/?a=1&next=https%3A%2F%2Fevil.test&next=x",
        "/x%0d%0aSet-Cookie:x=1",
        "/x?%0d%0aSet-Cookie:%20x=1",
        "//evil.test/",
        "///evil.test",
        "/%2fevil.test",
        "/@evil.test",
        "/.evil.test",
        "/:443@evil.test/",
        "/x?y=\"><script>alert(1)</script>",
        "/x?%",
        "/caf\u{e9}?q=\u{e9}",
        "/x?a+b=c%20d%2Be",
    ]
    .map(str::to_owned)
    .to_vec();
    all.extend((0x21..0x7f_u8).filter(|byte| *byte != b'#').map(|byte| format!("/x?a{}b", char::from(byte))));
    all.extend((0..=255).map(|byte| format!("/x?a%{byte:02x}b")));
    all
}

#[tokio::test]
async fn the_way_back_is_the_whole_address_in_one_parameter() {
    let house = House::start().await;
    for door in DOORS {
        let mut connection = house.keyward.connect().await;
        for target in asked_for() {
            for make in [Ask::get, Ask::page] {
                let ask = make(format!("{APP}{target}"));
                if !ask.doors().any(|can| can == door) {
                    continue;
                }
                let answer = connection.ask(door, &ask).await;
                if answer.status == 403 {
                    assert_eq!(answer.maybe("Location"), None);
                    assert_eq!(answer.reason(), "ambiguous_path", "{target}");
                    continue;
                }
                let login = Url::parse(&answer.login()).unwrap();
                assert_eq!(login.origin().ascii_serialization(), "https://portal.example.test");
                assert_eq!((login.path(), login.fragment(), login.username()), ("/office", None, ""), "{target}");
                let parameters: Vec<_> = login.query_pairs().collect();
                assert_eq!(parameters.len(), 1, "{target}: {parameters:?}");
                assert_eq!(parameters[0], ("next".into(), format!("{APP}{target}").into()));
            }
        }
    }
}

#[tokio::test]
async fn the_way_back_leads_to_a_configured_host() {
    let house = House::start().await;
    for (asked, back) in [
        ("https://APP.example.test.:443/x", "https://app.example.test/x"),
        ("http://app.example.test:80/x", "http://app.example.test/x"),
        ("https://app.example.test:8443/x", "https://app.example.test:8443/x"),
    ] {
        for door in DOORS {
            let login = Url::parse(&house.keyward.ask(door, &Ask::page(asked)).await.login()).unwrap();
            assert_eq!(login.query_pairs().next().unwrap().1, back);
        }
    }
    for asked in ["https://evil.test/", "https://app.example.test.evil.test/", "https://app.example.test@evil.test/"] {
        for door in DOORS {
            let answer = house.keyward.ask(door, &Ask::page(asked)).await;
            assert_eq!((answer.assert_refuses().status, answer.maybe("Location")), (403, None));
            assert!(!answer.everything().contains("evil"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn sign_out_sends_nobody_to_an_address_that_only_looks_allowed() {
    let allowed = "https://portal.example.test/bye";
    let house = House::with(&format!("[logout]\nreturn_to = [\"{allowed}\"]"), |setup| setup).await;
    let mut connection = house.keyward.connect().await;
    for address in addresses() {
        let once: String = url::form_urlencoded::byte_serialize(address.as_bytes()).collect();
        let raw_bytes = address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        let raw = if raw_bytes { address.clone() } else { once.clone() };
        for query in [once, raw] {
            let target = format!("/.keyward/logout?post_logout_redirect_uri={query}");
            connection.send(format!("GET {target} HTTP/1.1\r\nHost: app.example.test\r\n\r\n")).await;
            let answer = connection.answer().await;
            // A browser would read some of them as the allowed one; then it goes there, as it was
            // configured.
            match answer.maybe("Location") {
                Some(location) => assert_eq!((answer.status, location.as_str()), (303, allowed), "{address:?}"),
                None => assert!(matches!(answer.status, 200 | 400), "{address:?}"),
            }
            assert!(!answer.everything().contains("evil"), "{address:?}");
        }
    }
    connection
        .send(format!("GET /.keyward/logout?post_logout_redirect_uri={allowed} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await;
    assert_eq!(connection.answer().await.one("Location"), allowed);
}

#[tokio::test]
async fn our_pages_show_what_they_were_given_as_text() {
    let house = House::start().await;
    for text in [
        "\"><script>alert(1)</script>",
        "'><img src=x onerror=alert(1)>",
        "</form><form action=//evil.test>",
        "{{7*7}}",
        "&quot;><b>",
    ] {
        let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        for query in [&encoded, text] {
            let query = query.replace(' ', "%20");
            let target = format!("/.keyward/logout?post_logout_redirect_uri={query}&x={query}");
            let answer = house.keyward.get(&target, &["Sec-Fetch-Site: cross-site"]).await;
            let page = answer.text();
            if answer.status == 400 {
                assert!(query.contains(['"', '<']), "not even a request line: {query}");
                continue;
            }
            assert!(answer.status == 200 && page.contains("<h1>Sign out?</h1>"), "{query}: {page}");
            for tag in ["<script", "<img", "<b>", "evil.test>"] {
                assert!(!page.contains(tag), "{page}");
            }
            assert_eq!(page.matches("<form").count(), 1, "{page}");
            let policy = answer.one("Content-Security-Policy");
            assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe-inline"), "{policy}");
            assert_eq!(answer.one("X-Content-Type-Options"), "nosniff");
        }
    }
}

#[tokio::test]
async fn a_long_address_fits_into_the_answer_and_the_applications_key_stays_out_of_the_portals_log() {
    let house = House::start().await;
    for length in [10, 1_000, 4_000, 5_400, 9_000, 15_000] {
        let address = format!("{APP}/inbox?q={}", "%".repeat(length));
        for door in DOORS {
            let answer = house.keyward.ask(door, &Ask::page(&address)).await;
            // The rest of the head takes less than what is left.
            assert!(answer.login().len() <= 16 * 1024 - 512, "{length}: {}", answer.login().len());
            let login = Url::parse(&answer.login()).unwrap();
            let back = login.query_pairs().next().unwrap().1.into_owned();
            // Whole where it fits, else the host's first page: never a piece.
            assert!(back == address || (length > 5_000 && back == format!("{APP}/")), "{length}: {back}");
        }
    }
    for query in ["_h=SECRETKEY", "a=1&_h=SECRETKEY&b=2", "%5fh=SECRETKEY", "a=1;_h=SECRETKEY", "_h%00=SECRETKEY"] {
        for door in DOORS {
            let answer = house.keyward.ask(door, &Ask::page(format!("{APP}/inbox?{query}"))).await;
            assert!(!answer.everything().contains("SECRETKEY"), "{query}: {answer:?}");
            assert!(answer.login().contains("inbox"), "{query}");
        }
    }
}
