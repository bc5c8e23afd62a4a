//! `url_key = "address"`: a page is asked for at an address with the application's key in it, for web servers that
//! cannot change a query.

use url::Url;

use crate::INBOX;
use crate::support::{Answer, Ask, DOORS, Door, House, MAIL_PORTAL, Setup, Ticket, mailboxes};

/// The house of the other tests, where everybody signed in at `app` has the key in the address.
async fn house(more: &str) -> House {
    let (office, post) = (mailboxes().await, mailboxes().await);
    let config = House::config(&office.url(), &post.url(), "", more);
    let before = "path = \"/\"\nportal = \"office\"\nbackend";
    assert_eq!(config.matches(before).count(), 1);
    let config = config.replace(before, "path = \"/\"\nportal = \"office\"\nurl_key = \"address\"\nbackend");
    House { keyward: Setup::new(&config).start().await, office, post }
}

/// Where a page is sent with the owner's key in its address.
fn sent_to(answer: &Answer, door: Door) -> String {
    let status = if door == Door::AuthRequest { 401 } else { 302 };
    assert_eq!((answer.status, answer.reason().as_str()), (status, "ok"), "{answer:?}");
    assert_eq!((answer.one("Referrer-Policy").as_str(), answer.text().as_str()), ("no-referrer", ""));
    assert_eq!(answer.assert_refuses().maybe("X-Keyward-Login"), None, "nobody need sign in");
    answer.one("Location")
}

#[tokio::test]
async fn a_page_is_sent_to_its_own_address_with_the_key_in_it_once() {
    let house = house("").await;
    let cookie = Ticket::of("alice").cookie();
    for door in DOORS {
        let page = |url: &str| Ask::page(url).cookie(&cookie);
        let first = sent_to(&house.keyward.ask(door, &page(INBOX)).await, door);
        let key = first.strip_prefix("https://app.example.test/inbox?_h=").expect(&first).to_owned();
        let there = house.keyward.ask(door, &page(&first)).await;
        there.assert_allows("alice");
        assert_eq!(there.one("X-Upstream-Uri"), format!("/inbox?_h={key}"));
        for (target, expected) in [
            ("/", Some("/?_h=KEY")),
            ("/?", Some("/?_h=KEY")),
            ("/a?b=c", Some("/a?b=c&_h=KEY")),
            ("/a?_h=stale&b", Some("/a?b&_h=KEY")),
            ("/a?_h=KEY&_h=KEY", Some("/a?_h=KEY")),
            ("/a?_H=KEY", Some("/a?_h=KEY")),
            ("/a?_h=KEY;%5fh=x", Some("/a?_h=KEY")),
            ("/a?_h=KEYx", Some("/a?_h=KEY")),
            ("/a?_h=KEY", None),
            ("/a?_h=KEY&b=1", None),
            ("/a?b=1;_h=KEY&", None),
        ] {
            for method in ["GET", "HEAD"] {
                let url = format!("https://app.example.test{}", target.replace("KEY", &key));
                let answer = house.keyward.ask(door, &page(&url).method(method)).await;
                match expected {
                    Some(expected) => {
                        let expected = format!("https://app.example.test{}", expected.replace("KEY", &key));
                        assert_eq!(sent_to(&answer, door), expected);
                    }
                    None => drop(answer.assert_allows("alice")),
                }
            }
        }
    }
    assert!(!house.keyward.log().contains("_h="), "no key in any line");
    let redirects =
        house.keyward.metric("keyward_decisions_total{decision=\"redirect\",door=\"forward-auth\",reason=\"ok\"}");
    assert!(redirects.await >= 16.0);
}

#[tokio::test]
async fn nothing_but_a_page_of_somebody_who_may_pass_is_sent_anywhere() {
    let house = house("").await;
    let alice = Ticket::of("alice").cookie();
    for door in DOORS {
        for ask in [
            Ask::get(INBOX),
            Ask::page(INBOX).method("POST"),
            Ask::get(INBOX).method("PROPFIND"),
            Ask::page(INBOX).header("Sec-Fetch-Mode", "cors"),
            Ask::page(INBOX).header("X-Requested-With", "XMLHttpRequest"),
            Ask::get(INBOX).header("Sec-Fetch-Dest", "image"),
            Ask::get(INBOX).header("Connection", "x").header("Sec-Fetch-Mode", "websocket"),
        ] {
            let answer = house.keyward.ask(door, &ask.cookie(&alice)).await;
            assert!(answer.assert_allows("alice").one("X-Upstream-Uri").starts_with("/inbox?_h="), "{answer:?}");
        }
        let admin = Ask::page("https://app.example.test/admin").cookie(&alice);
        assert_eq!(house.keyward.ask(door, &admin).await.assert_refuses().status, 403);
        // The way back from the sign-in is without the key.
        let stranger = house.keyward.ask(door, &Ask::page(format!("{INBOX}?_h=stale"))).await;
        assert!(stranger.login().ends_with("%2Finbox"), "{stranger:?}");
        let elsewhere = Ask::page("https://mail.example.test/").cookie(Ticket::of("bob").portal(MAIL_PORTAL).cookie());
        house.keyward.ask(door, &elsewhere).await.assert_allows("bob");
    }
}

#[tokio::test]
async fn everybody_gets_their_own_key_and_a_new_one_after_a_renewal() {
    let house = house("").await;
    let cookies = ["alice", "bob"].map(|user| (user, Ticket::of(user).cookie()));
    let cookie = |user: &str| &cookies.iter().find(|(name, _)| *name == user).unwrap().1;
    let ask = |user: &str, url: &str| Ask::page(url).cookie(cookie(user));
    let door = Door::ForwardAuth;
    let alices = sent_to(&house.keyward.ask(door, &ask("alice", INBOX)).await, door);
    let bobs = sent_to(&house.keyward.ask(door, &ask("bob", &alices)).await, door);
    assert_ne!(alices, bobs, "a link with another's key leads to one's own");
    house.office.drop_sessions();
    let renewal = ask("alice", &alices).bytes_to("/authz/renew", Door::AuthRequest);
    let new = sent_to(&house.keyward.exchange(renewal).await, Door::AuthRequest);
    assert_ne!(new, alices);
    assert_eq!(sent_to(&house.keyward.ask(door, &ask("alice", &alices)).await, door), new, "the old one is stale");
    house.keyward.ask(door, &ask("alice", &new)).await.assert_allows("alice");
}

#[tokio::test]
async fn whatever_is_asked_for_the_browser_stays_at_its_host_and_is_sent_once() {
    let house = house("").await;
    let cookie = Ticket::of("alice").cookie();
    let mut targets: Vec<String> = [
        "//evil.test/",
        "///evil.test",
        "//evil.test/%2e%2e",
        "/.//evil.test",
        "/@evil.test/",
        "/?%0d%0aLocation:%20https://evil.test",
        "/?next=https://evil.test&_h=x",
        "/?_h=x?_h=y",
        "/?&&_h&&",
        "/caf\u{e9}?q=\u{e9}&_h",
        "/a%2Fb?c=\"<>`{}|^'\\",
        "/%C3%A9?%zz",
    ]
    .map(str::to_owned)
    .to_vec();
    targets
        .extend((0x21..0x7f_u8).filter(|byte| *byte != b'#').map(|byte| format!("/x?{0}_h{0}=a{0}", char::from(byte))));
    for door in DOORS {
        for target in &targets {
            let ask = Ask::page(format!("https://app.example.test{target}")).cookie(&cookie);
            if !ask.doors().any(|can| can == door) {
                continue;
            }
            let answer = house.keyward.ask(door, &ask).await;
            let location = sent_to(&answer, door);
            // A query alone may have what is like a key and none.
            assert!(location.starts_with("https://app.example.test/"), "{target}: {location}");
            assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{target}: {location}");
            // As a browser reads it.
            let url = Url::parse(&location).unwrap();
            assert_eq!((url.host_str(), url.port(), url.scheme()), (Some("app.example.test"), None, "https"));
            let again = house.keyward.ask(door, &Ask::page(url.as_str()).cookie(&cookie)).await;
            again.assert_allows("alice");
        }
        for target in ["/\\evil.test", "/a#b", "/\u{85}", "/public/../x", "/x%0d%0aSet-Cookie:x=1", "/%2e%2e/public/x"]
        {
            let ask = Ask::page(format!("https://app.example.test{target}")).cookie(&cookie);
            if !ask.doors().any(|can| can == door) {
                continue;
            }
            let answer = house.keyward.ask(door, &ask).await;
            assert_eq!((answer.assert_refuses().status, answer.maybe("Location")), (403, None), "{target}");
        }
    }
}

#[tokio::test]
async fn an_address_that_no_web_server_would_take_is_unavailable_and_no_loop() {
    let house = house("[limits]\nanswer = 4096").await;
    let cookie = Ticket::of("alice").cookie();
    for door in DOORS {
        let mut largest = 0;
        for length in (3000..4200).step_by(50) {
            let url = format!("{INBOX}?{}", "x".repeat(length));
            let answer = house.keyward.ask(door, &Ask::page(&url).cookie(&cookie)).await;
            if answer.status == 503 {
                assert_eq!(answer.assert_refuses().reason(), "answer_too_large");
                continue;
            }
            assert!(answer.head_length <= 4096, "{}", answer.head_length);
            largest = answer.head_length;
            let there = sent_to(&answer, door);
            let again = house.keyward.ask(door, &Ask::page(&there).cookie(&cookie)).await;
            assert!(again.status == 200 || again.reason() == "answer_too_large", "{again:?}");
        }
        assert!(largest > 3500, "the limit is used, not guessed: {largest}");
    }
}
