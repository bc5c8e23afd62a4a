//! What is special about SOGo: a token for scripts, and a question before each page.

use super::house::{House, SOGO, allow};
use super::servers::{Message, answer};

const TOKEN_LINE: &str = "XSRF-TOKEN=0123abcdef; Path=/SOGo/; SameSite=Strict; Secure";

/// As Keyward has it: the browser's own cookies, then the keys, the token last; and the token for the browser.
fn with_token(asked: &Message) -> String {
    let keys = allow(asked).replace("_hmail=COOKIEKEY", "0xHIGHFLYxSOGo=basic%20KEY; XSRF-TOKEN=0123abcdef");
    keys.replacen("X-Keyward", &format!("X-Set-Cookie-1: {TOKEN_LINE}\r\nX-Keyward"), 1)
}

/// A SOGo that knows everybody, and sends them on from its first page.
fn sogo(asked: &Message) -> String {
    match asked.asked() {
        "GET /SOGo/" => answer(302, &[("Location", "/SOGo/ana"), ("Set-Cookie", "0xHIGHFLYxSOGo=x")], ""),
        _ => answer(200, &[("Set-Cookie", "0xHIGHFLYxSOGo=x")], "mail"),
    }
}

#[tokio::test]
async fn the_browser_gets_the_token_of_sogo_and_no_key() {
    let house = House::with(with_token, sogo).await;
    let answered = house.ask(SOGO, "GET /SOGo/so/ana/date", &[]);
    assert_eq!((answered.status(), answered.all("Set-Cookie")), (200, vec![TOKEN_LINE]));
}

#[tokio::test]
async fn before_a_page_sogo_is_asked_who_it_knows_and_before_nothing_else() {
    let house = House::with(with_token, sogo).await;
    let page = "Sec-Fetch-Mode: navigate";
    for (start, headers, seen) in [
        ("GET /SOGo/so/ana/Mail", vec![page], vec!["GET /SOGo/", "GET /SOGo/so/ana/Mail?_h=KEY"]),
        ("HEAD /SOGo/so/ana/Mail", vec![page], vec!["GET /SOGo/", "HEAD /SOGo/so/ana/Mail?_h=KEY"]),
        ("GET /SOGo/so/ana/date", vec![], vec!["GET /SOGo/so/ana/date?_h=KEY"]),
    ] {
        assert_eq!(house.ask(SOGO, start, &headers).status(), 200, "{start}");
        let asked = house.application.take();
        assert_eq!(asked.iter().map(Message::asked).collect::<Vec<_>>(), seen);
        for message in asked {
            let cookie = message.header("Cookie").unwrap_or_default();
            assert!(cookie.ends_with("0xHIGHFLYxSOGo=basic%20KEY; XSRF-TOKEN=0123abcdef"), "{cookie}");
            assert_eq!(
                message.header("X-Webobjects-Server-Url").unwrap(),
                format!("https://{SOGO}:{}", house.address.port())
            );
        }
    }
    let renewals = house.keyward.take().into_iter().filter(|asked| asked.asked() == "GET /authz/renew");
    assert_eq!(renewals.count(), 0);
}

#[tokio::test]
async fn only_a_stranger_to_sogo_is_renewed_and_each_request_is_sent_once() {
    for (status, renewals) in [(200, 1), (302, 0), (403, 0), (404, 0), (501, 0), (502, 0)] {
        let script = move |asked: &Message| match asked.asked() {
            "GET /SOGo/" => answer(status, &[], ""),
            // Nothing that SOGo says, but then it would be the renewal that sends it twice.
            _ if status == 302 => answer(401, &[], "mail"),
            _ => answer(200, &[], "mail"),
        };
        let house = House::with(with_token, script).await;
        let length = ["Sec-Fetch-Mode: navigate", "Content-Length: 0"];
        assert_eq!(house.ask(SOGO, "POST /SOGo/so/ana/save", &length).body, "mail", "{status}");
        let sent = house.application.take().into_iter().filter(|asked| asked.asked().starts_with("POST "));
        assert_eq!(sent.count(), 1, "{status}");
        let asked = house.keyward.take().into_iter().filter(|asked| asked.asked() == "GET /authz/renew");
        assert_eq!(asked.count(), renewals, "{status}");
    }
}

#[tokio::test]
async fn nobody_says_in_a_header_who_they_are_to_sogo() {
    let house = House::with(with_token, sogo).await;
    let said = ["x-webobjects-remote-user: ben", "X-WebObjects-Auth-Type: Basic", "X_Webobjects_Remote_User: ben"];
    let said = [&said[..], &["Authorization: Basic YmVuOng="]].concat();
    for (path, authorized) in [("/SOGo/so/ana/date", false), ("/SOGo/dav/ana/", true), ("/SOGo/dav", true)] {
        assert_eq!(house.ask(SOGO, &format!("GET {path}"), &said).status(), 200, "{path}");
        let seen = house.application.only();
        for name in ["X-Webobjects-Remote-User", "X-Webobjects-Auth-Type", "X_Webobjects_Remote_User"] {
            assert_eq!(seen.header(name), None, "{path}");
        }
        // Where Keyward is not asked, people sign in by themselves, and with nothing that Keyward has.
        assert_eq!(seen.header("Authorization").is_some(), authorized, "{path}");
        assert_eq!(seen.header("Cookie").is_none(), authorized, "{path}");
    }
}
