//! One host has one name.

use crate::support::{Ask, DOORS, House, MAIL_PORTAL, Ticket};
use crate::{MAIL, assert_refused_everywhere};

#[tokio::test]
async fn every_spelling_of_a_host_is_that_host() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    for host in [
        "app.example.test",
        "APP.example.test",
        "aPp.ExAmPlE.tEsT",
        "app.example.test.",
        "app.example.test:443",
        "app.example.test:80",
        "app.example.test:8443",
        "APP.EXAMPLE.TEST.:443",
    ] {
        for scheme in ["http", "https"] {
            for door in DOORS {
                let ask = |path: &str| Ask::get(format!("{scheme}://{host}{path}"));
                assert_eq!(house.keyward.ask(door, &ask("/admin/x")).await.reason(), "no_session", "{host}");
                let answer = house.keyward.ask(door, &ask("/admin/x").cookie(&alice)).await;
                assert_eq!(answer.assert_refuses().reason(), "role", "{host}");
                house.keyward.ask(door, &ask("/inbox").cookie(&alice)).await.assert_allows("alice");
                house.keyward.ask(door, &ask("/public/x")).await.assert_allows("");
            }
        }
    }
}

#[tokio::test]
async fn what_only_looks_like_a_host_is_refused() {
    let house = House::start().await;
    for host in [
        "",
        ".",
        "app.example.test..",
        ".app.example.test",
        "app..example.test",
        "app.example.test@mail.example.test",
        "mail.example.test@app.example.test",
        "user:x@app.example.test",
        "app.example.test:",
        "app.example.test:x",
        "app.example.test:+443",
        "app.example.test:-1",
        "app.example.test:99999",
        "app.example.test:443:443",
        "app.example.test%2e",
        "app%2eexample.test",
        "app.example.test%00",
        "app.example.test,mail.example.test",
        "app.example.test, mail.example.test",
        "app.example.test;x",
        "app．example．test",
        "app。example.test",
        "ａpp.example.test",
        "app.example.te\u{17f}t",
        "app.example.test\u{ad}",
        "[::1",
        "[app.example.test]",
        "[::1]x",
        "127.1",
        "0x7f.1",
        "app",
        "example.test",
        "xapp.example.test",
        "app.example.test.evil.test",
        "app-example.test",
        "*",
        "*.example.test",
    ] {
        for path in ["/inbox", "/public/x", "/"] {
            assert_refused_everywhere(&house, &Ask::get(format!("https://{host}{path}"))).await;
        }
    }
}

#[tokio::test]
async fn one_cookie_on_two_hosts_is_two_decisions() {
    let house = House::start().await;
    let office = Ticket::of("alice");
    let both = format!("{}; {}", office.cookie(), Ticket::of("bob").portal(MAIL_PORTAL).cookie());
    for door in DOORS {
        for (url, user) in
            [("https://app.example.test/", "alice"), (MAIL, "bob"), ("https://gate.example.test/", "alice")]
        {
            let answer = house.keyward.ask(door, &Ask::get(url).cookie(&both)).await;
            let cookie = answer.assert_allows(user).one("X-Upstream-Cookie");
            let key = cookie.strip_prefix("_hmail=").unwrap_or_default();
            let owners = [house.office.owner(key), house.post.owner(key)];
            match url {
                MAIL => assert_eq!(owners[1].as_deref(), Some("bob")),
                "https://app.example.test/" => assert_eq!(owners[0].as_deref(), Some("alice")),
                _ => assert_eq!(cookie, "", "no back-end, no key, no portal's cookie"),
            }
        }
        let answer = house.keyward.ask(door, &Ask::get(MAIL).cookie(office.cookie())).await;
        assert_eq!(answer.assert_refuses().reason(), "no_session");
        assert!(answer.login().starts_with("https://portal.example.test/post?"));
    }
}
