//! The doors for web servers that copy a header of the answer under its own name only.

use crate::INBOX;
use crate::support::{Answer, Ask, Door, House, Ticket};

/// Each door, and the question for it in the words of the dialect at that path.
fn plainly(ask: &Ask) -> [(&'static str, Vec<u8>); 2] {
    [
        ("auth-request", ask.bytes_to("/authz/auth-request-plain", Door::AuthRequest)),
        ("forward-auth", ask.bytes_to("/authz/forward-auth-plain", Door::ForwardAuth)),
    ]
}

/// The names of an answer's headers that differ, less those that every answer has.
fn names(answer: &Answer) -> Vec<&str> {
    let mut names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.retain(|name| !["date", "content-length", "cache-control"].contains(name));
    names.sort_unstable();
    names
}

#[tokio::test]
async fn an_allow_has_the_headers_of_the_request_itself_in_the_place_of_ours() {
    let house = House::start().await;
    let ask = Ask::get(format!("{INBOX}?a=1")).cookie(format!("theme=dark; {}", Ticket::of("alice").cookie()));
    let ours = house.keyward.ask(Door::ForwardAuth, &ask).await;
    for (door, question) in plainly(&ask) {
        let answer = house.keyward.exchange(question).await;
        assert_eq!(answer.status, 200, "{door}: {answer:?}");
        assert_eq!(
            names(&answer),
            [
                "authorization",
                "cookie",
                "remote-email",
                "remote-groups",
                "remote-name",
                "remote-user",
                "x-keyward-session-seconds",
                "x-upstream-uri"
            ],
            "{door}: never both, the cookies may be long"
        );
        assert_eq!(answer.one("Cookie"), ours.one("X-Upstream-Cookie"));
        assert_eq!(answer.one("X-Upstream-Uri"), ours.one("X-Upstream-Uri"));
        assert_eq!(answer.one("Remote-User"), "alice");
    }
}

#[tokio::test]
async fn a_route_that_takes_authorization_has_that_replaced_too() {
    let more = "[[route]]\nhost = \"taking.example.test\"\nportal = \"office\"\nauthorization = true\n";
    let house = House::with(more, |setup| setup).await;
    let ask = Ask::get("https://taking.example.test/").cookie(Ticket::of("alice").cookie());
    for (door, question) in plainly(&ask.header("Authorization", "Basic of-the-portal")) {
        let answer = house.keyward.exchange(question).await;
        assert_eq!((answer.status, answer.one("Authorization").as_str()), (200, ""), "{door}");
        assert_eq!(answer.maybe("X-Upstream-Authorization"), None);
    }
}

#[tokio::test]
async fn refusals_are_those_of_the_door_beside() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    for (ask, statuses, reason) in [
        (Ask::page(INBOX), [401, 302], "no_session"),
        (Ask::get(INBOX), [401, 401], "no_session"),
        (Ask::get("https://app.example.test/admin").cookie(&alice), [403, 403], "role"),
        (Ask::get("https://nobody.example.test/").cookie(&alice), [403, 403], "no_route"),
        (Ask::get("gopher://app.example.test/").cookie(&alice), [403, 403], "bad_request"),
    ] {
        for ((door, question), status) in plainly(&ask).into_iter().zip(statuses) {
            let answer = house.keyward.exchange(question).await;
            answer.assert_refuses();
            assert_eq!((answer.status, answer.reason().as_str()), (status, reason), "{door} {ask:?}");
        }
    }
}

#[tokio::test]
async fn ext_authz_has_a_prefix_of_its_own_for_it() {
    let house = House::start().await;
    let cookie = Ticket::of("alice").cookie();
    let ask = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: app.example.test\r\nX-Forwarded-Proto: https\r\nCookie: {cookie}\r\n\r\n")
    };
    for (prefix, has, lacks) in
        [("/authz/ext-authz", "X-Upstream-Cookie", "Cookie"), ("/authz/ext-authz-plain", "Cookie", "X-Upstream-Cookie")]
    {
        let answer = house.keyward.exchange(ask(&format!("{prefix}/a%2Fb?c=1"))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.one("X-Upstream-Uri").starts_with("/a%2Fb?c=1&_h="), "{answer:?}");
        assert!(answer.one(has).starts_with("_hmail=") && answer.maybe(lacks).is_none(), "{answer:?}");
        let bare = house.keyward.exchange(ask(prefix)).await;
        assert_eq!((bare.assert_refuses().status, bare.reason().as_str()), (403, "bad_request"));
    }
    for path in [
        "/authz/ext-authz-plainly/a",
        "/authz/auth-request-plain/a",
        "/authz/forward-auth-plain/",
        "/authz/renew-plain",
    ] {
        assert_eq!(house.keyward.exchange(ask(path)).await.status, 404, "{path}");
    }
}
