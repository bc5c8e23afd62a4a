//! Scripts of portal pages: the hand-over by AJAX, and the line that keeps sessions alive.

use serde_json::{Value, json};

use crate::house::{Browser, House};
use crate::support::{Answer, Ask, Door, Setup, Ticket, until};
use crate::{MAIL, MAIL_ROUTE, PORTAL};

const ENTER: &str = "origins = [\"https://portal.example.test\", \"https://intranet.example.test\"]\nreturn_to = [\"https://portal.example.test/mail\"]";
const START: &str = "https://portal.example.test/.keyward/enter/mail";
const THERE: &str = "https://webmail.other.test/.keyward/enter/mail";
const BESIDE: &str = "url = \"https://webmail.other.test/\"\norigins = [\"https://portal.example.test\"]";
const BESIDE_ROUTE: &str = "host = \"portal.example.test\"\npath = \"/.keyward/enter/mail\"";
const ACROSS: &str = "Sec-Fetch-Site: cross-site";

fn told(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("no JSON: {answer:?}"))
}

/// A portal page's script calls, as its browser sends it.
async fn call(house: &House, browser: &mut Browser, at: &str, site: &str, body: &Value) -> Answer {
    let host = at.split('/').nth(2).unwrap();
    let answer =
        house.post(at, PORTAL, &[&browser.cookies(host), site, "Sec-Fetch-Mode: cors"], &body.to_string()).await;
    answer.all("Set-Cookie").iter().for_each(|line| browser.set(host, line));
    answer
}

#[tokio::test]
async fn a_script_of_the_portals_page_brings_the_session_and_gets_the_link_with_the_key() {
    for (enter, route) in [(ENTER, MAIL_ROUTE), (BESIDE, BESIDE_ROUTE)] {
        let house = House::start(enter, &[route]).await;
        let mut alice = Browser::of(&Ticket::of("alice"));
        let own = "Sec-Fetch-Site: same-origin";
        let first = call(&house, &mut alice, START, own, &json!({})).await;
        assert_eq!((first.status, told(&first)), (200, json!({"at": THERE})));
        let greeted = call(&house, &mut alice, THERE, ACROSS, &json!({})).await;
        let state = told(&greeted)["state"].as_str().unwrap().to_owned();
        let minted = call(&house, &mut alice, START, own, &json!({"state": state})).await;
        let token = told(&minted)["token"].as_str().unwrap().to_owned();
        assert_eq!((minted.maybe("Access-Control-Allow-Origin"), minted.all("Set-Cookie").len()), (None, 0));
        let redeemed = call(&house, &mut alice, THERE, ACROSS, &json!({"token": token})).await;
        let url = told(&redeemed)["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with("https://webmail.other.test/?_h="), "{url}");
        for answer in [&greeted, &redeemed] {
            assert_eq!(answer.one("Access-Control-Allow-Origin"), PORTAL);
            assert_eq!(answer.one("Access-Control-Allow-Credentials"), "true");
            assert_eq!(answer.one("Vary"), "Origin");
            let given = answer.all("Set-Cookie");
            let kept: Vec<_> = given.iter().filter(|line| !line.contains("Max-Age=0")).collect();
            assert_eq!(kept.len(), 1, "{given:#?}");
            assert!(
                kept[0].ends_with("; HttpOnly; SameSite=None; Secure"),
                "stored across sites in no other way: {kept:?}"
            );
        }
        let cookie = if enter == ENTER { "office_session" } else { "_hmail" };
        assert!(alice.cookie("webmail.other.test", cookie).is_some());
        if enter == ENTER {
            let ask = Ask::page(format!("{MAIL}/"))
                .cookie(alice.cookies("webmail.other.test").trim_start_matches("Cookie: "));
            house.keyward.ask(Door::AuthRequest, &ask).await.assert_allows("alice");
        }
        let replayed = call(&house, &mut alice, THERE, ACROSS, &json!({"token": token})).await;
        assert_eq!((replayed.status, replayed.all("Set-Cookie").len()), (409, 0));
    }
}

#[tokio::test]
async fn within_one_site_the_cookies_stay_there() {
    let house = House::start(ENTER, &[MAIL_ROUTE]).await;
    let mut alice = Browser::of(&Ticket::of("alice"));
    let greeted = call(&house, &mut alice, THERE, "Sec-Fetch-Site: same-site", &json!({})).await;
    assert!(greeted.one("Set-Cookie").ends_with("; HttpOnly; SameSite=Lax; Secure"));
    let plain = house.post("http://webmail.other.test/.keyward/enter/mail", PORTAL, &[ACROSS], "{}").await;
    assert!(plain.one("Set-Cookie").ends_with("; HttpOnly; SameSite=Lax"), "{plain:?}");
}

#[tokio::test]
async fn where_the_browser_keeps_no_cookies_the_script_is_told_the_way_by_redirect() {
    let house = House::start(ENTER, &[MAIL_ROUTE]).await;
    let mut alice = Browser::of(&Ticket::of("alice"));
    let own = "Sec-Fetch-Site: same-origin";
    let state = told(&call(&house, &mut alice, THERE, ACROSS, &json!({})).await)["state"].clone();
    let token = told(&call(&house, &mut alice, START, own, &json!({"state": state})).await)["token"].clone();
    let answer = call(&house, &mut Browser::default(), THERE, ACROSS, &json!({"token": token})).await;
    assert_eq!((answer.status, told(&answer)), (409, json!({"reason": "bad_request", "url": START})));
    assert_eq!(answer.one("Access-Control-Allow-Origin"), PORTAL, "the script may read it");
    assert_eq!(answer.all("Set-Cookie").len(), 0);
    let mut way = alice.clone();
    assert!(way.enter(&house, START).await.contains("_h="), "and that way works");
}

#[tokio::test]
async fn in_one_domain_one_call_is_enough() {
    let house = House::start("", &["host = \"webmail.example.test\""]).await;
    let cookie = format!("Cookie: {}", Ticket::of("alice").cookie());
    let at = "https://webmail.example.test/.keyward/enter/mail";
    let answer = house.post(at, "https://webmail.example.test", &[&cookie], "{}").await;
    assert!(told(&answer)["url"].as_str().unwrap().starts_with("https://webmail.example.test/?_h="));
    assert!(answer.all("Set-Cookie")[0].starts_with("_hmail="));
    let nobody = house.post(at, "https://webmail.example.test", &[], "").await;
    assert_eq!((nobody.status, &told(&nobody)["reason"]), (401, &json!("no_session")));
    assert!(told(&nobody)["login"].as_str().unwrap().starts_with("https://portal.example.test/login?next="));
}

#[tokio::test]
async fn a_page_of_another_origin_opens_nothing_and_learns_nothing() {
    let house = House::start(ENTER, &[MAIL_ROUTE]).await;
    let mut alice = Browser::of(&Ticket::of("alice"));
    alice.enter(&house, START).await;
    let before = house.mail.attempts("alice");
    for (lines, what) in [
        (&["Origin: https://evil.test"][..], "another"),
        (&["Origin: null"], "null"),
        (&["Origin: "], "empty"),
        (&[], "none"),
        (&["Origin: https://portal.example.test.evil.test"], "longer"),
        (&["Origin: https://evilportal.example.test"], "before"),
        (&["Origin: http://portal.example.test"], "another scheme"),
        (&["Origin: https://portal.example.test:8443"], "another port"),
        (&["Origin: https://PORTAL.example.test"], "capitals"),
        (&["Origin: https://portal.example.test/"], "a path"),
        (&["Origin: https://portal.example.test", "Origin: https://portal.example.test"], "twice"),
        (&["Origin: https://portal.example.test", "Origin: https://evil.test"], "two"),
        (&["Origin: https://evil.test", "Origin: https://portal.example.test"], "two, the other way round"),
        (&["Origin: https://portal.example.test https://evil.test"], "a list"),
        (&["Origin: https://webmail.other.test", "Sec-Fetch-Site: cross-site"], "its own, as no browser would say"),
    ] {
        for at in
            [THERE, START, "https://portal.example.test/.keyward/touch", "https://webmail.other.test/.keyward/touch"]
        {
            // So comes an image of a page of ours, where browsers do not tell of the site.
            if what == "none" && at.ends_with("touch") {
                continue;
            }
            for method in ["POST", "OPTIONS"] {
                let cookies = alice.cookies(at.split('/').nth(2).unwrap());
                let more = [cookies.as_str(), "Content-Type: application/json", "Access-Control-Request-Method: POST"];
                let answer = house.send(method, at, &[lines, &more].concat(), "{}").await;
                assert_eq!(answer.status, 403, "{method} {at} {what}: {answer:?}");
                assert_eq!(answer.all("Set-Cookie").len(), 0, "{at} {what}");
                assert!(
                    answer.headers.iter().all(|(name, _)| !name.starts_with("access-control-allow-origin")),
                    "{at} {what}"
                );
                assert_eq!(answer.one("Vary"), "Origin");
            }
        }
    }
    assert_eq!(house.mail.attempts("alice"), before);
}

#[tokio::test]
async fn the_question_ahead_is_answered_for_listed_origins_alone() {
    let house = House::start(ENTER, &[MAIL_ROUTE]).await;
    for origin in [PORTAL, "https://intranet.example.test"] {
        let line = format!("Origin: {origin}");
        let ask =
            [line.as_str(), "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"];
        let answer = house.send("OPTIONS", THERE, &ask, "").await;
        assert_eq!((answer.status, answer.one("Access-Control-Allow-Origin").as_str()), (204, origin));
        assert_eq!(answer.one("Access-Control-Allow-Credentials"), "true");
        assert_eq!(answer.one("Access-Control-Allow-Methods"), "POST");
        assert_eq!(answer.one("Access-Control-Allow-Headers"), "content-type");
        assert_eq!(answer.one("Vary"), "Origin");
        assert_eq!(house.send("OPTIONS", THERE, &ask[..1], "").await.status, 405, "no question ahead");
        let other = house.send("OPTIONS", "https://webmail.other.test/.keyward/enter/other", &ask, "").await;
        assert_eq!((other.status, other.maybe("Access-Control-Allow-Origin")), (403, None));
    }
}

#[tokio::test]
async fn what_a_form_could_send_and_what_is_no_request_is_refused() {
    let house = House::start(ENTER, &[MAIL_ROUTE]).await;
    let origin = format!("Origin: {PORTAL}");
    for kind in
        ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"]
    {
        let kind = format!("Content-Type: {kind}");
        assert_eq!(house.send("POST", THERE, &[&origin, &kind], "{}").await.status, 415, "{kind}");
    }
    let long = format!("{{\"token\": \"{}\"}}", "x".repeat(20_000));
    for (body, status) in [
        ("[]", 403),
        ("{", 403),
        ("null", 403),
        ("{\"token\": 1}", 403),
        ("{\"token\": \"x\", \"token\": \"y\"}", 403),
        ("{\"token\": \"x\", \"state\": \"y\"}", 403),
        ("{\"state\": \"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\"}", 403),
        ("{\"unknown\": true}", 403),
        ("{\"return_to\": \"https://evil.test/\"}", 403),
        ("{\"token\": \"x\"}", 409),
        (&long, 413),
    ] {
        let answer = house.post(THERE, PORTAL, &[ACROSS], body).await;
        assert_eq!((answer.status, answer.all("Set-Cookie").len()), (status, 0), "{body}");
    }
}

#[tokio::test]
async fn a_line_in_portal_pages_counts_as_use() {
    let house = House::start(ENTER, &["host = \"webmail.example.test\"", MAIL_ROUTE]).await;
    let cookie = format!("Cookie: {}", Ticket::of("alice").cookie());
    for (at, lines) in [
        (
            "https://portal.example.test",
            &["Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"][..],
        ),
        (
            "https://webmail.example.test",
            &["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"],
        ),
        ("https://webmail.example.test", &["Origin: https://portal.example.test", "Sec-Fetch-Site: same-site"]),
        ("http://webmail.example.test", &[]),
    ] {
        let answer = house.get(&format!("{at}/.keyward/touch"), &[lines, &[&cookie]].concat()).await;
        assert_eq!((answer.status, answer.body.len(), answer.all("Set-Cookie").len()), (204, 0, 0), "{lines:?}");
        let nobody = house.get(&format!("{at}/.keyward/touch"), lines).await;
        assert_eq!(nobody.status, 401);
        let listed = lines.iter().any(|line| line.starts_with("Origin"));
        assert_eq!(answer.maybe("Access-Control-Allow-Origin"), listed.then(|| PORTAL.to_owned()));
    }
    for lines in [
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"][..],
        &["Sec-Fetch-Site: cross-site", "Origin: https://evil.test"],
        &["Sec-Fetch-Site: same-site", "Origin: https://evil.example.test"],
        &["Sec-Purpose: prefetch"],
    ] {
        let answer = house.get("https://webmail.example.test/.keyward/touch", &[lines, &[&cookie]].concat()).await;
        assert_eq!(answer.status, 403, "{lines:?}");
    }
    for method in ["PUT", "DELETE"] {
        let answer = house.send(method, "https://webmail.example.test/.keyward/touch", &[&cookie], "").await;
        assert_eq!(answer.status, 405);
    }
    assert_eq!(house.mail.attempts("alice"), 0, "it opens nothing");
}

#[tokio::test]
async fn while_the_line_is_loaded_the_application_is_asked_to_keep_the_session() {
    let house = House::with("", &["host = \"webmail.example.test\""], |config| {
        let short = "kind = \"axigen\"\nkeep_alive_interval = \"1s\"\nlogin_timeout = \"2s\"\nidle_timeout = \"3s\"";
        Setup::new(&config.replace("kind = \"axigen\"", short))
    });
    let (house, cookie) = (house.await, format!("Cookie: {}", Ticket::of("alice").cookie()));
    house.get("https://webmail.example.test/.keyward/enter/mail", &[&cookie]).await;
    let keep_alives = || house.mail.requests().iter().filter(|request| request.target.starts_with("/?_h=")).count();
    until("keep-alives for longer than it may be idle", || async {
        let answer = house.get("https://webmail.example.test/.keyward/touch", &[&cookie]).await;
        assert_eq!(answer.status, 204);
        keep_alives() >= 4
    })
    .await;
    assert_eq!((house.mail.sessions(), house.mail.logins("alice")), (1, 1));
    until("its end once nobody looks", || async { house.mail.sessions() == 0 }).await;
}
