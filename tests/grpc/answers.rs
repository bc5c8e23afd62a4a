//! What Envoy is told, and that it is what is said at every other door.

use crate::envoy::Question;
use crate::house::GrpcHouse;
use crate::support::{APP_PORTAL, Ticket};
use crate::{ADMIN, INBOX};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allow_puts_keys_and_identity_in_the_place_of_what_the_client_said() {
    let house = GrpcHouse::start().await;
    let alice = Ticket::of("alice").email("alice@example.test").cookie();
    let question = Question::get("https://app.example.test/a%2Fb//c;d?x=%26&_h=evil&y")
        .cookie("theme=dark")
        .cookie(&alice)
        .cookie("_hmail=evil; last=1")
        .line("remote-user", "evil")
        .line("remote-user", "worse")
        .line("remote_groups", "evil")
        .line("x-upstream-cookie", "evil")
        .line("x_upstream_uri", "evil")
        .line("x-original-url", "evil")
        .line("x-custom", "mine");
    let verdict = house.ask(&question).await;
    verdict.assert_allows("alice");
    let path = verdict.maybe(":path").unwrap();
    let (rest, key) = path.rsplit_once("_h=").unwrap();
    assert_eq!(rest, "/a%2Fb//c;d?x=%26&y&");
    assert_eq!(key.len(), 32);
    let cookie = verdict.maybe("cookie").unwrap();
    let (rest, key) = cookie.rsplit_once("_hmail=").unwrap();
    assert_eq!(rest, "theme=dark; last=1; ");
    assert_eq!(house.house.office.owner(key).as_deref(), Some("alice"));
    assert_eq!(verdict.maybe("remote-email"), Some("alice@example.test"));
    for removed in
        ["remote-groups", "remote_groups", "x-upstream-cookie", "x_upstream_uri", "x-original-url", "authorization"]
    {
        assert_eq!(verdict.removed.iter().filter(|name| *name == removed).count(), 1, "{removed} in {verdict:?}");
    }
    assert!(!verdict.removed.iter().any(|name| name == "x-custom"), "{verdict:?}");
    assert!(verdict.to_browser.is_empty(), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_public_nobody_is_anybody() {
    let house = GrpcHouse::start().await;
    let spoofed = |question: Question| question.line("remote-user", "bob").line("remote-groups", "admin");
    let alice = Ticket::of("alice").cookie();
    for question in
        [Question::get("https://app.example.test/public/a"), Question::page("http://app.example.test/public/b")]
    {
        let verdict = house.ask(&spoofed(question).cookie(&alice)).await;
        verdict.assert_allows("");
        assert!(verdict.removed.iter().any(|name| name == "cookie"), "{verdict:?}");
        assert!(verdict.removed.iter().any(|name| name == "remote-groups"), "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_is_that_of_the_door_over_http() {
    let house = GrpcHouse::start().await;
    let whole = |path: &str| format!("https://app.example.test{path}");
    let mut questions: Vec<Question> = [
        "/inbox",
        "/",
        "/admin",
        "/admin/x",
        "/public/a",
        "/public/../admin/x",
        "/%61dmin",
        "//admin",
        "/a%2f..%2fadmin",
        "/read",
        "/a?b=%00&c",
        "/admin/x?y=/public/",
        "/a%0d%0aX:y",
        "/d%C3%ADa",
        "/a//b",
        "/.keyward/whoami",
    ]
    .iter()
    .flat_map(|path| [Question::get(&whole(path)), Question::page(&whole(path))])
    .collect();
    let method = |name: &str| Question::get(&whole("/read")).change(|http| name.clone_into(&mut http.method));
    questions.extend(["POST", "PROPFIND", "get", "HEAD", "OPTIONS"].map(method));
    questions.extend(
        ["http://app.example.test/inbox", "https://APP.example.test:8443/inbox", "https://app.example.test./inbox"]
            .map(Question::page),
    );
    questions.extend(
        ["https://nobody.example.test/", "https://mail.example.test/", "https://gate.example.test/x"]
            .map(Question::get),
    );
    let script = Question::get(INBOX).line("accept", "text/html").line("sec-fetch-mode", "cors");
    questions.extend([
        script,
        Question::page(INBOX).line("accept-language", "de"),
        Question::get(ADMIN).line("x-http-method-override", "GET"),
    ]);
    let cookies = [
        None,
        Some(Ticket::of("alice").cookie()),
        Some(Ticket::of("bob").roles(&["admin"]).cookie()),
        Some(format!("{}=kw1.x.y.z", APP_PORTAL.cookie)),
    ];
    for question in &questions {
        for cookie in &cookies {
            let question = cookie.iter().fold(question.clone(), |question, cookie| question.cookie(cookie));
            let (over_http, told) = (house.ask_over_http(&question).await, house.ask(&question).await);
            let joined = house.ask(&question.clone().joined()).await;
            for verdict in [&told, &joined] {
                assert_eq!(verdict.status, over_http.status, "{question:?}");
                if over_http.status == 200 {
                    verdict.assert_allows(&over_http.one("Remote-User"));
                    assert_eq!(verdict.maybe(":path").unwrap(), over_http.one("X-Upstream-Uri"));
                    let cookie = over_http.one("X-Upstream-Cookie");
                    assert_eq!(verdict.maybe("cookie").unwrap_or_default(), cookie, "{question:?}");
                    continue;
                }
                verdict.assert_refuses();
                for name in ["x-keyward-reason", "location", "x-keyward-login", "content-type", "www-authenticate"] {
                    assert_eq!(verdict.maybe(name).map(str::to_owned), over_http.maybe(name), "{question:?}");
                }
                if question.http.method != "HEAD" {
                    assert_eq!(verdict.body, over_http.text(), "{question:?}");
                }
            }
        }
    }
}
