//! What programs without cookies sign in with: whom it reaches, and what they are asked for.

use super::house::{House, MAIL, allow};
use super::servers::{Message, answer, send};

/// A location where Keyward may go by the header, and one where the application answers with a 401.
const DAV: &str = "location /dav/ { set $keyward_credentials $http_authorization; include keyward/protected.inc; }";
const BASIC: &str = "Authorization: Basic Ym9iOng=";

#[tokio::test]
async fn credentials_reach_keyward_only_where_they_are_wanted_and_the_application_never() {
    let house = House::with_extra(DAV, allow, |_| answer(200, &[], "mail")).await;
    for (start, seen) in [
        ("PROPFIND /dav/ana/", Some("Basic Ym9iOng=")),
        ("GET /dav/ana/?x", Some("Basic Ym9iOng=")),
        ("PROPFIND /", None),
        ("GET /davx", None),
        ("GET /x/..%2fdav", None),
        ("GET /dav", None),
    ] {
        assert_eq!(house.ask(MAIL, start, &[BASIC, "Cookie: portal=T"]).status(), 200, "{start}");
        assert_eq!(house.keyward.only().header("Authorization"), seen, "{start}");
        assert_eq!(house.application.only().header("Authorization"), None, "{start}");
    }
    // nginx finds the location by the path that it understood; the decision is about the one that came.
    assert_eq!(house.ask(MAIL, "GET /x/../dav/", &[BASIC]).status(), 200);
    assert!(house.keyward.only().header("X-Original-URL").unwrap().ends_with("/x/../dav/"));
}

#[tokio::test]
async fn a_renewal_is_asked_for_with_the_same_credentials() {
    let script = |asked: &Message| match asked.asked() {
        "GET /authz/renew" => allow(asked).replace("KEY", "NEWKEY"),
        _ => allow(asked),
    };
    let strict = |asked: &Message| match asked.asked().ends_with("_h=NEWKEY") {
        true => answer(200, &[], "calendar"),
        false => answer(401, &[("WWW-Authenticate", "Basic realm=app")], ""),
    };
    let house = House::with_extra(DAV, script, strict).await;
    for (path, seen) in [("/dav/x", Some("Basic Ym9iOng=")), ("/x", None)] {
        assert_eq!(house.ask(MAIL, &format!("GET {path}"), &[BASIC]).body, "calendar");
        let asked = house.keyward.take();
        assert_eq!(
            asked.iter().map(Message::asked).collect::<Vec<_>>(),
            ["GET /authz/auth-request", "GET /authz/renew"]
        );
        assert!(asked.iter().all(|asked| asked.header("Authorization") == seen), "{path}");
    }
}

#[tokio::test]
async fn a_challenge_reaches_programs_beside_what_they_are_told() {
    const CHALLENGE: &str = "Basic realm=\"mail\", charset=\"UTF-8\"";
    let script = |asked: &Message| {
        let login = ("X-Keyward-Login", "https://portal.example.test/");
        let mut headers = vec![("X-Keyward-Reason", "no_session"), login];
        match asked.header("User-Agent") {
            Some("browser") => headers.push(("Location", login.1)),
            Some("script") => {}
            _ => headers.push(("WWW-Authenticate", CHALLENGE)),
        }
        answer(401, &headers, "{}")
    };
    let house = House::with_extra(DAV, script, |_| answer(200, &[], "mail")).await;
    for start in ["PROPFIND /dav/", "GET /dav/", "OPTIONS /dav/", "REPORT /dav/"] {
        let program = house.ask(MAIL, start, &["Content-Length: 0"]);
        assert_eq!((program.status(), program.all("WWW-Authenticate")), (401, vec![CHALLENGE]), "{start}");
        assert!(program.body.starts_with("{\"reason\":\"no_session\""), "{}", program.body);
    }
    for (agent, status) in [("browser", 302), ("script", 401)] {
        let answered = house.ask(MAIL, "GET /dav/", &[&format!("User-Agent: {agent}"), "Sec-Fetch-Mode: cors"]);
        assert_eq!((answered.status(), answered.header("WWW-Authenticate")), (status, None), "{agent}");
    }
}

#[tokio::test]
async fn strange_credentials_change_nothing_but_what_keyward_says_of_them() {
    let house = House::with_extra(DAV, allow, |_| answer(200, &[], "mail")).await;
    let twice = house.ask(MAIL, "PROPFIND /dav/", &[BASIC, "Authorization: Basic YW5hOng="]);
    for asked in house.keyward.take() {
        // Refused by newer ones; older ones take one of the two, and only that one is judged.
        assert!(asked.all("Authorization").len() <= 1, "{asked:?}");
    }
    assert!(matches!(twice.status(), 200 | 400), "{}", twice.start);
    assert!(house.application.take().iter().all(|seen| seen.header("Authorization").is_none()));
    let large = format!("Authorization: Basic {}", "A".repeat(64 * 1024));
    assert_eq!(house.ask(MAIL, "PROPFIND /dav/", &[&large]).status(), 400);
    assert!(house.keyward.take().is_empty() && house.application.take().is_empty());
    for odd in ["Authorization:", "Authorization: Basic", "Authorization: \u{fc}", "Authorization: a b c"] {
        let bytes = format!("PROPFIND /dav/ HTTP/1.1\r\nHost: {MAIL}\r\n{odd}\r\n\r\n");
        assert_eq!(send(house.address, &bytes).status(), 200, "{odd:?}");
        assert_eq!(house.application.only().header("Authorization"), None);
        house.keyward.take();
    }
}
