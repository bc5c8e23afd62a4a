//! The catalogue of attacks, as far as it is told in variables: who may say what the request is, and who it is from.

use crate::house::FastcgiHouse;
use crate::peer::{AUTHORIZER, PARAMS, Params, RESPONDER, apache, begin, lighttpd, nginx, pair, record};
use crate::support::{Answer, Ticket};

const INBOX: &str = "https://app.example.test/inbox";
const ADMIN: &str = "https://app.example.test/admin/x";

/// Asks as authorizer and as responder; both must come to the same.
async fn both(house: &FastcgiHouse, params: &Params) -> Answer {
    let authorized = house.ask(params.request(1, AUTHORIZER, 0)).await;
    let responded = house.ask(params.request(1, RESPONDER, 0)).await;
    assert_eq!(authorized.maybe("X-Keyward-Reason"), responded.maybe("X-Keyward-Reason"), "{params:?}");
    responded
}

async fn assert_not_understood(house: &FastcgiHouse, params: &Params) {
    let answer = both(house, params).await;
    assert_eq!((answer.assert_refuses().status, answer.reason().as_str()), (403, "bad_request"), "{params:?}");
}

#[tokio::test]
async fn two_names_that_fold_into_one_variable_refuse_the_request() {
    let house = FastcgiHouse::start().await;
    let alice = Ticket::of("alice").cookie();
    for (one, other) in [
        ("HTTP_REMOTE_GROUPS", "HTTP_REMOTE_GROUPS"),
        ("HTTP_REMOTE_USER", "HTTP_REMOTE-USER"),
        ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_FOR"),
        ("HTTP_HOST", "HTTP_HOST"),
        ("REMOTE_USER", "REMOTE_USER"),
        ("REQUEST_URI", "REQUEST_URI"),
        ("REQUEST_METHOD", "REQUEST_METHOD"),
        ("REQUEST_SCHEME", "REQUEST_SCHEME"),
        ("REMOTE_ADDR", "REMOTE_ADDR"),
        ("SERVER_NAME", "SERVER_NAME"),
        ("FCGI_ROLE", "FCGI_ROLE"),
    ] {
        // What stands there already counts as one of them.
        let held = |params: &Params| params.0.iter().find(|(name, _)| name == one).map(|(_, value)| value.clone());
        let params = apache("https://app.example.test/public/x").cookie(&alice);
        let value = held(&params).unwrap_or_else(|| b"admin".to_vec());
        let params = params.without(one).with(one, &value);
        assert_eq!(both(&house, &params).await.status, 200, "{one} once");
        for second in [&value[..], b"other"] {
            assert_not_understood(&house, &params.clone().with(other, second)).await;
        }
    }
    assert_eq!(house.decisions("deny", "bad_request").await, 44.0);
    // So that whoever wrote the web server's configuration finds it.
    assert!(house.house.keyward.log().contains("REQUEST_URI is there twice"));
}

#[tokio::test]
async fn several_lines_of_cookies_are_read_as_over_http() {
    let house = FastcgiHouse::start().await;
    let alice = Ticket::of("alice").cookie();
    // nginx before 1.23 sends each line of a client's on its own.
    let params = nginx(INBOX).cookie("theme=dark").cookie(&alice).cookie("b=2");
    let answer = both(&house, &params).await;
    assert!(answer.assert_allows("alice").one("X-Upstream-Cookie").starts_with("theme=dark; b=2; "), "{answer:?}");
    let planted = params.cookie(&Ticket::of("bob").cookie());
    assert_eq!(both(&house, &planted).await.reason(), "forged");
}

/// Apache joins several lines by commas; other servers do not, and there a comma is part of a value.
#[tokio::test]
async fn lines_of_cookies_that_apache_joined_are_apart_and_no_portals_cookie_goes_on() {
    let house = FastcgiHouse::start().await;
    let ticket = Ticket::of("alice").cookie();
    for (joined, rest) in [
        ("a=1, {}", "a=1; "),
        ("{}, a=1", "a=1; "),
        ("a=1; b=2, {}, c=3; d=x, y", "a=1; b=2; c=3; d=x, y; "),
        ("a=1, _hmail=evil, {}", "a=1; "),
    ] {
        let line = joined.replace("{}", &ticket);
        let answer = both(&house, &apache(INBOX).cookie(&line)).await;
        let cookies = answer.assert_allows("alice").one("X-Upstream-Cookie");
        assert_eq!(cookies.rsplit_once("_hmail=").unwrap().0, rest, "{joined}");
        let public = "https://app.example.test/public/x";
        for params in [apache(public), lighttpd(public), nginx(public)] {
            let answer = both(&house, &params.cookie(&line)).await;
            assert!(!answer.assert_allows("").one("X-Upstream-Cookie").contains("kw1."), "{joined}: {answer:?}");
        }
        let elsewhere = both(&house, &lighttpd(INBOX).cookie(&line)).await;
        assert!(!format!("{elsewhere:?}").contains("kw1."), "{joined}: {elsewhere:?}");
    }
}

#[tokio::test]
async fn a_clients_own_identity_is_never_anybodys() {
    let house = FastcgiHouse::start().await;
    let alice = Ticket::of("alice").cookie();
    let claims = |params: Params| {
        params
            .with("HTTP_REMOTE_USER", "bob")
            .with("HTTP_REMOTE_GROUPS", "admin")
            .with("HTTP_X_UPSTREAM_COOKIE", "k=bob")
            .with("HTTP_AUTHORIZATION", "Basic Ym9iOnBhc3N3b3Jk")
            // The answer to Apache's first call of two, or whatever else the server holds for true.
            .with("REMOTE_USER", "bob")
            .with("UPSTREAM_COOKIE", "k=bob")
            .with("AUTH_TYPE", "Basic")
    };
    let answer = both(&house, &claims(apache(INBOX).cookie(&alice))).await;
    assert_eq!(answer.assert_allows("alice").one("Remote-Groups"), "");
    assert!(!answer.everything().contains("bob"), "{answer:?}");
    let public = both(&house, &claims(lighttpd("https://app.example.test/public/x"))).await;
    public.assert_allows("");
    assert_eq!(both(&house, &claims(nginx(ADMIN).cookie(&alice))).await.reason(), "role");
    assert_eq!(both(&house, &claims(nginx(INBOX))).await.reason(), "no_session");
}

/// Names under which an original request is told elsewhere, and what somebody would put there.
const OTHER_SOURCES: [(&str, &str); 17] = [
    ("HTTP_X_ORIGINAL_URL", "https://app.example.test/public/x"),
    ("HTTP_X_ORIGINAL_URI", "/public/x"),
    ("HTTP_X_ORIGINAL_METHOD", "OPTIONS"),
    ("HTTP_X_FORWARDED_URI", "/public/x"),
    ("HTTP_X_FORWARDED_HOST", "app.example.test"),
    ("HTTP_X_FORWARDED_METHOD", "OPTIONS"),
    ("HTTP_X_FORWARDED_PROTO", "https"),
    ("HTTP_X_REWRITE_URL", "/public/x"),
    ("HTTP_REQUEST_URI", "/public/x"),
    ("HTTP_REQUEST_METHOD", "OPTIONS"),
    ("SCRIPT_NAME", "/public/x"),
    ("PATH_INFO", "/public/x"),
    ("DOCUMENT_URI", "/public/x"),
    ("REDIRECT_URL", "/public/x"),
    ("REDIRECT_REQUEST_URI", "/public/x"),
    ("UNENCODED_URL", "/public/x"),
    ("SERVER_NAME", "gate.example.test"),
];

#[tokio::test]
async fn a_second_source_of_the_address_is_not_read() {
    let house = FastcgiHouse::start().await;
    let alice = Ticket::of("alice").cookie();
    let plain = || nginx(ADMIN).without("SCRIPT_NAME").without("DOCUMENT_URI").without("SERVER_NAME");
    let everything = OTHER_SOURCES.iter().fold(plain(), |params, (name, value)| params.with(name, value));
    let one_each = OTHER_SOURCES.iter().map(|(name, value)| plain().with(name, value));
    for params in one_each.chain([everything]) {
        assert_eq!(both(&house, &params).await.reason(), "no_session", "{params:?}");
        assert_eq!(both(&house, &params.cookie(&alice)).await.assert_refuses().reason(), "role");
    }
}

#[tokio::test]
async fn without_the_doors_own_sources_nothing_is_understood() {
    let house = FastcgiHouse::start().await;
    let alice = Ticket::of("alice").cookie();
    let public = || apache("https://app.example.test/public/x").cookie(&alice);
    assert_eq!(both(&house, &public()).await.status, 200);
    let others = OTHER_SOURCES.iter().filter(|(name, _)| *name != "SERVER_NAME");
    let told_otherwise = others.fold(public(), |params, (name, value)| params.with(name, value));
    for missing in ["REQUEST_URI", "HTTP_HOST", "REQUEST_METHOD", "REMOTE_ADDR"] {
        assert_not_understood(&house, &public().without(missing)).await;
        assert_not_understood(&house, &told_otherwise.clone().without(missing)).await;
    }
    for (name, strange) in [
        ("REQUEST_URI", "public/x"),
        ("REQUEST_URI", "https://app.example.test/public/x"),
        ("REQUEST_URI", "*"),
        ("REQUEST_URI", ""),
        ("REQUEST_URI", "/public/x y"),
        ("REQUEST_URI", "/public/x\r\nX: y"),
        ("REQUEST_METHOD", ""),
        ("REQUEST_METHOD", "GET /"),
        ("HTTP_HOST", ""),
        ("HTTP_HOST", "app.example.test, gate.example.test"),
        ("HTTP_HOST", "a@app.example.test"),
        ("REQUEST_SCHEME", "gopher"),
        ("REMOTE_ADDR", "somewhere"),
    ] {
        assert_not_understood(&house, &public().set(name, strange)).await;
    }
    assert_not_understood(&house, &Params::default()).await;
    assert_not_understood(&house, &public().with("HTTP_X_ANY", "a\r\nX-Upstream-Cookie: b")).await;
    assert_not_understood(&house, &public().with("HTTP_X_ANY", "a\0b")).await;
}

#[tokio::test]
async fn only_the_address_that_the_web_server_saw_counts_unless_it_is_a_proxys() {
    let debug = "[log]\nlevel = \"debug\"\nformat = \"json\"\n[trust]\nproxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";
    let house = FastcgiHouse::with(debug, |setup| setup).await;
    let alice = Ticket::of("alice").cookie();
    for (index, (address, forwarded, expected)) in [
        ("198.51.100.7", None, "198.51.100.7"),
        ("198.51.100.7", Some("6.6.6.6"), "198.51.100.7"),
        ("198.51.100.7", Some("127.0.0.1"), "198.51.100.7"),
        ("::ffff:198.51.100.7", Some("6.6.6.6"), "198.51.100.7"),
        ("2001:db8::7", Some("6.6.6.6"), "2001:db8::7"),
        ("10.1.1.1", Some("6.6.6.6, 198.51.100.7"), "198.51.100.7"),
        ("10.1.1.1", None, "10.1.1.1"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{index}");
        let params = apache(&format!("https://app.example.test{path}")).cookie(&alice).set("REMOTE_ADDR", address);
        let params = forwarded.into_iter().fold(params, |params, line| params.with("HTTP_X_FORWARDED_FOR", line));
        both(&house, &params).await.assert_allows("alice");
        let lines = house.house.keyward.log_lines();
        let line = lines.iter().find(|line| line["path"] == path.as_str()).unwrap();
        assert_eq!((&line["client"], &line["door"]), (&expected.into(), &"fastcgi".into()), "{line}");
    }
}

#[tokio::test]
async fn lengths_without_bytes_behind_them_are_refused_and_cost_nothing() {
    let house = FastcgiHouse::start().await;
    let usual = apache(INBOX).cookie(&Ticket::of("alice").cookie()).stream();
    let before = house.house.keyward.memory();
    for tail in [
        &b"\x80\0\0\0\x80\0\0\0"[..],
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff\xff",
        b"\x01\xff\xff\xff\xffA",
        b"\x80",
        b"\x01",
        b"\x05\x05HTTP_",
        b"\0\0",
        b"\0\x05value",
    ] {
        for stream in [[&usual[..], tail].concat(), [tail, &usual].concat(), tail.to_vec()] {
            for _ in 0..20 {
                let request = [begin(1, AUTHORIZER, 0), record(PARAMS, 1, &stream), record(PARAMS, 1, b"")].concat();
                assert_eq!(house.ask(request).await.assert_refuses().reason(), "bad_request", "{tail:?}");
            }
        }
    }
    let after = house.house.keyward.memory();
    assert!(after < before + 16 * 1024 * 1024, "{before} bytes grew to {after}");
    assert!(house.house.keyward.log().contains("the variables of a FastCGI request are not believed"));
}

#[tokio::test]
async fn there_is_an_end_to_variables() {
    let house = FastcgiHouse::with("[limits]\nanswer = 1048576", |setup| setup).await;
    let usual = apache(INBOX).cookie(&Ticket::of("alice").cookie()).stream();
    let with = |stream: Vec<u8>| {
        let records: Vec<u8> = stream.chunks(65_535).flat_map(|piece| record(PARAMS, 1, piece)).collect();
        [begin(1, AUTHORIZER, 0), records, record(PARAMS, 1, b"")].concat()
    };
    // 256 KiB in all, less what the usual ones and the framing of this one take.
    let fitting = 256 * 1024 - usual.len() - 5 - "BALLAST".len();
    let fits = with([&usual[..], &pair(b"BALLAST", &vec![b'x'; fitting])].concat());
    assert_eq!(house.ask(fits).await.one("Variable-REMOTE_USER"), "alice");
    for too_much in [fitting + 1, 1024 * 1024, 20 * 1024 * 1024] {
        let request = with([&usual[..], &pair(b"BALLAST", &vec![b'x'; too_much])].concat());
        assert_eq!(house.ask(request).await.reason(), "bad_request", "{too_much}");
    }
    let many: Vec<u8> = (0..2000).flat_map(|number| pair(format!("N{number}").as_bytes(), b"")).collect();
    assert_eq!(house.ask(with([usual, many].concat())).await.reason(), "bad_request");
}
