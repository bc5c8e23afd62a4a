//! Questions that Envoy would never ask, and what browsers try through it.

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::Request;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use tonic::Code;

use crate::envoy::{self, Question, Verdict};
use crate::house::GrpcHouse;
use crate::support::Ticket;
use crate::{ADMIN, INBOX};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_question_is_refused_whoever_asks() {
    let house = GrpcHouse::start().await;
    let bob = Ticket::of("bob").roles(&["admin"]).cookie();
    let asked = |change: &dyn Fn(Question) -> Question| change(Question::get(INBOX).cookie(&bob)).message();
    let http = |change: fn(&mut envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest)| {
        asked(&|question| question.change(change))
    };
    let without_http = AttributeContext { request: Some(Request::default()), ..AttributeContext::default() };
    let both = {
        let question = Question::get(INBOX).cookie(&bob);
        asked(&|asked| asked.change(|http| http.headers = question.map()))
    };
    let messages = [
        CheckRequest::default(),
        CheckRequest { attributes: Some(AttributeContext::default()) },
        CheckRequest { attributes: Some(without_http) },
        both,
        http(|http| http.host.clear()),
        http(|http| http.host = "u@app.example.test".to_owned()),
        http(|http| http.host = "app.example.test/public".to_owned()),
        http(|http| http.path.clear()),
        http(|http| http.path = "inbox".to_owned()),
        http(|http| http.path = "*".to_owned()),
        http(|http| http.path = "https://app.example.test/inbox".to_owned()),
        http(|http| http.path = "/inbox#/public/".to_owned()),
        http(|http| http.path = "/in box".to_owned()),
        http(|http| http.query = "a=1".to_owned()),
        http(|http| http.fragment = "a".to_owned()),
        http(|http| http.method.clear()),
        http(|http| http.method = "GET /public".to_owned()),
        http(|http| http.method = "GET\r\nX: y".to_owned()),
        asked(&|question| question.without("x-forwarded-proto")),
        asked(&|question| question.line("x-forwarded-proto", "https")),
        asked(&|question| question.without("x-forwarded-proto").line("x-forwarded-proto", "ftp")),
        asked(&|question| {
            question
                .without("x-forwarded-proto")
                .line("x-forwarded-proto", "https")
                .line("x-forwarded-proto", "http")
                .joined()
        }),
        asked(&|question| question.line("Cookie", &bob)),
        asked(&|question| question.line("X-Any", "y").joined()),
        asked(&|question| question.line("x-any", "a\r\nb")),
        asked(&|question| question.line("x-any", "a\0")),
        asked(&|question| question.line("x any", "a")),
        asked(&|question| question.line("", "a")),
        asked(&|question| question.from("localhost")),
        asked(&|question| question.from("127.0.0.1, 6.6.6.6")),
        asked(&|question| question.from("")),
    ];
    let expected = messages.len();
    for (index, message) in messages.into_iter().enumerate() {
        let answer = house.envoy.clone().check(message).await.unwrap();
        let verdict = Verdict::of(answer.into_inner());
        verdict.assert_refuses();
        assert_eq!((verdict.status, verdict.reason()), (403, "bad_request"), "{index}");
    }
    assert_eq!(house.decisions("deny", "bad_request").await, expected as f64);
    house.ask(&Question::get(INBOX).cookie(&bob)).await.assert_allows("bob");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scheme_that_a_browser_wrote_is_not_believed() {
    let house = GrpcHouse::start().await;
    let question = Question::page("http://app.example.test/inbox");
    let verdict = house.ask(&question.change(|http| http.scheme = "https".to_owned())).await;
    assert!(verdict.maybe("location").unwrap().contains("next=http%3A"), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_dialects_headers_say_nothing() {
    let house = GrpcHouse::start().await;
    let alice = Ticket::of("alice").cookie();
    let others = [
        ("x-original-url", "https://app.example.test/public/x"),
        ("x-original-method", "GET"),
        ("x-forwarded-uri", "/public/x"),
        ("x-forwarded-host", "nobody.example.test"),
        ("x-forwarded-method", "GET"),
        ("x-http-method-override", "GET"),
        (":path", "/public/x"),
        (":authority", "mail.example.test"),
    ];
    let asked = others.iter().fold(Question::get(ADMIN), |asked, (name, value)| asked.line(name, value));
    assert_eq!(house.ask(&asked).await.status, 401);
    assert_eq!(house.ask(&asked.clone().cookie(&alice)).await.status, 403);
    assert_eq!(house.ask(&asked.cookie(&alice).joined()).await.status, 403);
}

/// `a=1,b=2` may be one cookie or two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_two_cookies_joined_by_a_comma_signs_nobody_in_and_no_session_goes_on_with_it() {
    let house = GrpcHouse::start().await;
    let ticket = Ticket::of("alice").cookie();
    let ask = async |url: &str, lines: &[&str]| {
        let lines = lines.iter().map(|line| line.replace("{}", &ticket));
        let question = lines.fold(Question::get(url), |question, line| question.cookie(&line));
        house.ask(&question.joined()).await
    };
    let public = "https://app.example.test/public/x";
    for lines in [&["a=1", "{}"][..], &["{}", "a=1"], &["a=1,{}"], &["{},a=1; b=2"], &["b=2; a=1,{}"], &["{}", "{}"]] {
        let verdict = ask(INBOX, lines).await;
        verdict.assert_refuses();
        assert_eq!(verdict.status, 401, "{lines:?}");
        let verdict = ask(public, lines).await;
        assert_eq!(verdict.status, 200, "{lines:?}");
        assert!(!format!("{verdict:?}").contains("kw1."), "the portal's session went on: {lines:?}: {verdict:?}");
    }
    for (lines, rest) in [
        (&["a=1; {}; b=2"][..], "a=1; b=2; "),
        (&["prefs=1,2,3; {}"], "prefs=1,2,3; "),
        (&["a=1,b=2; {}; c=3"], "a=1,b=2; c=3; "),
        (&["a=1,_hmail=evil; {}; c=3"], "c=3; "),
    ] {
        let verdict = ask(INBOX, lines).await;
        verdict.assert_allows("alice");
        let cookie = verdict.maybe("cookie").unwrap();
        assert_eq!(cookie.rsplit_once("_hmail=").unwrap().0, rest, "{lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_is_who_is_connected_to_envoy_unless_that_is_a_proxy_of_ours() {
    let debug =
        "[log]\nlevel = \"debug\"\nformat = \"json\"\n[trust]\nproxies = [\"127.0.0.0/8\", \"10.0.0.0/8\", \"unix\"]";
    let house = GrpcHouse::with(debug, |setup| setup).await;
    let alice = Ticket::of("alice").cookie();
    for (index, (source, forwarded, expected)) in [
        (Some("198.51.100.7"), &[][..], "198.51.100.7"),
        (Some("198.51.100.7"), &["6.6.6.6"], "198.51.100.7"),
        (Some("10.1.1.1"), &["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        (Some("10.1.1.1"), &["6.6.6.6", "198.51.100.7, 10.2.2.2"], "198.51.100.7"),
        (Some("127.0.0.1"), &["6.6.6.6, unknown, 10.1.1.1"], "10.1.1.1"),
        (Some("::ffff:198.51.100.7"), &["6.6.6.6"], "198.51.100.7"),
        (None, &["198.51.100.7"], "198.51.100.7"),
    ]
    .into_iter()
    .enumerate()
    {
        for joins in [false, true] {
            let path = format!("/{index}/{joins}");
            let question = Question::get(&format!("https://app.example.test{path}")).cookie(&alice);
            let question = forwarded.iter().fold(question, |question, line| question.line("x-forwarded-for", line));
            let question = match source {
                Some(ip) => question.from(ip),
                None => question.over(Address::Pipe(core::Pipe::default())),
            };
            let question = if joins { question.joined() } else { question };
            house.ask(&question).await.assert_allows("alice");
            let lines = house.house.keyward.log_lines();
            let line = lines.iter().find(|line| line["path"] == path.as_str()).unwrap();
            assert_eq!((&line["client"], &line["door"]), (&expected.into(), &"grpc".into()), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_beyond_all_measure_is_an_error_and_the_next_is_answered() {
    let house = GrpcHouse::start().await;
    let alice = Ticket::of("alice").cookie();
    let long = Question::get(INBOX).cookie(&alice).line("x-long", "x".repeat(200 * 1024));
    house.ask(&long).await.assert_allows("alice");
    let huge = Question::get(INBOX).cookie(&alice).line("x-long", "x".repeat(300 * 1024));
    let error = house.envoy.clone().check(huge.message()).await.unwrap_err();
    assert_ne!(error.code(), Code::Ok);
    let many = (0..3000).fold(Question::get(INBOX), |question, number| question.line(&format!("x-{number}"), "y"));
    assert_eq!(house.ask(&many).await.status, 401);
    house.ask(&Question::get(INBOX).cookie(&alice)).await.assert_allows("alice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_are_no_proxies_are_refused_whatever_they_bring() {
    let house = GrpcHouse::with("[trust]\nproxies = [\"192.0.2.0/24\", \"unix\"]", |setup| setup).await;
    let bob = Ticket::of("bob").roles(&["admin"]).cookie();
    for url in [INBOX, ADMIN, "https://app.example.test/public/x"] {
        for question in [Question::get(url), Question::page(url).cookie(&bob).from("192.0.2.7")] {
            let verdict = house.ask(&question.line("x-forwarded-for", "192.0.2.7")).await;
            verdict.assert_refuses();
            assert_eq!((verdict.status, verdict.reason()), (403, "untrusted_peer"), "{url}");
        }
    }
    let nothing = house.envoy.clone().check(CheckRequest::default()).await.unwrap();
    assert_eq!(Verdict::of(nothing.into_inner()).reason(), "untrusted_peer");
    assert_eq!(house.house.office.requests().len(), 0);
}

/// Questions are held until they are whole, so strangers have no room for many of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_no_proxy_has_no_room_to_talk() {
    let house = GrpcHouse::with("[trust]\nproxies = [\"192.0.2.0/24\"]", |setup| setup).await;
    let long = Question::get(INBOX).line("x-long", "x".repeat(200_000));
    let mut refused = 0;
    while house.envoy.clone().check(long.message()).await.is_ok() {
        refused += 1;
        assert!(refused < 8, "its connection was not ended");
    }
    assert!(refused > 0);
    // Nor does it keep others out, or itself for ever: a new connection is served. (A question on the old one may
    // still meet its end.)
    let again = house.connect_again().await;
    assert_eq!(envoy::ask(&again, &Question::get(INBOX)).await.reason(), "untrusted_peer");
}
