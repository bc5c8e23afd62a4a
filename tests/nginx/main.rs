//! A real nginx with the very files of `examples/nginx/`, between a scripted decision service and a
//! scripted application: every trap that `auth_request` has laid for its users.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../real/mod.rs"]
mod real;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

mod axigen;
mod calendars;
mod credentials;
mod files;
mod house;
mod kinds;
mod pages;
mod programs;
mod renewal;
mod servers;
mod sogo;

use keyward::demo::nginx::Nginx;
use keyward::demo::process::free_address;

use house::{CUBE, House, MAIL, MAPPED, SHOP, SIGNED_OUT, allow, site};
use servers::{Message, Scripted, answer, send};

const IDENTITY: [&str; 4] = ["Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups"];

#[tokio::test]
async fn the_decision_is_asked_for_with_nothing_but_what_it_needs() {
    let house = House::allowing().await;
    let bytes = format!(
        "POST /a%2Fb/?x=%26&y HTTP/1.1\r\nHost: {MAIL}\r\nCookie: a=1\r\nCookie: portal=T\r\nContent-Length: 5\r\n\
         Range: bytes=0-1\r\nIf-None-Match: *\r\nIf-Modified-Since: x\r\nAuthorization: Basic Ym9iOng=\r\n\
         X-Original-URL: http://evil.test/\r\nX-Original-Method: GET\r\nX-Forwarded-Uri: /public\r\n\
         X-Forwarded-For: 10.9.8.7\r\nRemote-User: bob\r\nAccept-Encoding: gzip\r\nSec-Fetch-Mode: cors\r\n\r\nhello"
    );
    assert_eq!(send(house.address, &bytes).status(), 200);
    let asked = house.keyward.only();
    assert_eq!(asked.asked(), "GET /authz/auth-request");
    let port = house.address.port();
    assert_eq!(asked.header("X-Original-URL").unwrap(), format!("http://{MAIL}:{port}/a%2Fb/?x=%26&y"));
    assert_eq!(asked.header("X-Original-Method"), Some("POST"));
    assert_eq!(asked.header("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(asked.header("Cookie"), Some("a=1; portal=T"));
    let mut names = asked.names();
    names.sort_unstable();
    let expected =
        ["cookie", "host", "sec-fetch-mode", "x-forwarded-for", "x-original-method", "x-original-url", "x-request-id"];
    assert_eq!(names, expected, "a header more is a header that a client can set");
}

#[tokio::test]
async fn decisions_share_one_connection() {
    let house = House::allowing().await;
    for _ in 0..5 {
        assert_eq!(house.ask(MAIL, "POST /", &["Content-Length: 0"]).status(), 200);
    }
    // nginx here has several workers at most as the example says, each with connections of its own.
    assert_eq!(house.keyward.connections(), 1);
}

#[tokio::test]
async fn what_goes_upstream_is_what_keyward_says_and_nothing_of_the_client() {
    let house = House::allowing().await;
    let said = [
        "Cookie: portal=T; theme=dark; _hmail=evil",
        "Authorization: Basic Ym9iOng=",
        "Remote-User: bob",
        "remote-groups: admin",
        "Remote_Groups: admin",
        "REMOTE_USER: bob",
        "X-Forwarded-For: 10.9.8.7",
        "X-Forwarded-Host: evil.test",
        "X-Forwarded-Proto: https",
        "X-Real-IP: 10.9.8.7",
        "X-Rewrite-URL: /admin",
        "X-Original-URL: /admin",
        "Forwarded: for=10.9.8.7",
        "Proxy: http://evil.test",
        "X-Request-ID: chosen",
        "Accept-Language: de",
    ];
    assert_eq!(house.ask(MAIL, "GET /%20a%2Fb//c/./?q=%26+%zz&q", &said).body, "mail");
    let seen = house.application.only();
    assert_eq!(seen.asked(), "GET /%20a%2Fb//c/./?q=%26+%zz&q&_h=KEY", "byte for byte");
    assert_eq!(seen.header("Cookie"), Some("theme=dark; _hmail=COOKIEKEY"));
    assert_eq!(seen.header("Remote-User"), Some("ana"));
    assert_eq!(seen.header("Remote-Name"), Some("Ana Día"));
    assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(seen.header("X-Forwarded-Proto"), Some("http"));
    assert_eq!(seen.header("X-Forwarded-Host").unwrap(), format!("{MAIL}:{}", house.address.port()));
    assert_eq!(seen.header("Accept-Language"), Some("de"));
    for absent in ["Authorization", "Remote-Groups", "Remote_Groups", "REMOTE_USER", "X-Rewrite-URL", "Forwarded"] {
        assert_eq!(seen.header(absent), None, "{absent}");
    }
    assert_eq!(seen.header("X-Original-URL"), None);
    assert_eq!(seen.header("Proxy"), None);
    let id = seen.header("X-Request-ID").unwrap();
    assert_ne!(id, "chosen");
    assert_eq!(house.keyward.only().header("X-Request-ID"), Some(id), "one request, one id");
}

#[tokio::test]
async fn authorization_goes_upstream_when_keyward_gives_one() {
    let script =
        |asked: &Message| allow(asked).replacen("X-Keyward", "X-Upstream-Authorization: Bearer B\r\nX-Keyward", 1);
    let house = House::with(script, |_| answer(200, &[], "")).await;
    house.ask(MAIL, "GET /", &["Authorization: Basic Ym9iOng="]);
    assert_eq!(house.application.only().header("Authorization"), Some("Bearer B"));
}

#[tokio::test]
async fn a_host_in_the_request_line_does_not_split_decision_and_upstream() {
    let house = House::allowing().await;
    let port = house.address.port();
    let answered = send(house.address, &format!("GET http://{MAIL}/in HTTP/1.1\r\nHost: {CUBE}\r\n\r\n"));
    assert_eq!(answered.status(), 200);
    assert_eq!(house.keyward.only().header("X-Original-URL").unwrap(), format!("http://{MAIL}:{port}/in"));
    assert_eq!(house.application.only().header("Host").unwrap(), format!("{MAIL}:{port}"));
    for (start, status) in [("GET / HTTP/1.1\r\nHost: a\r\nHost: b", 400), ("GET / HTTP/1.1\r\nHost: evil.test", 421)] {
        assert_eq!(send(house.address, &format!("{start}\r\n\r\n")).status(), status, "{start}");
    }
    let answered = house.ask(&MAIL.to_uppercase(), "GET /", &[]);
    assert_eq!(answered.status(), 200);
    assert_eq!(house.keyward.only().header("X-Original-URL").unwrap(), format!("http://{MAIL}:{port}/"));
}

#[tokio::test]
async fn cookies_from_keyward_reach_the_browser_each_in_its_own_line() {
    let script = |asked: &Message| {
        allow(asked).replacen(
            "X-Keyward",
            "X-Set-Cookie-1: a=1; Path=/\r\nX-Set-Cookie-2: b=2; Expires=Thu, 01 Jan\r\nX-Keyward",
            1,
        )
    };
    let house = House::with(script, |_| answer(200, &[("Set-Cookie", "app=3")], "")).await;
    let answered = house.ask(MAIL, "GET /", &[]);
    assert_eq!(answered.all("Set-Cookie"), ["app=3", "a=1; Path=/", "b=2; Expires=Thu, 01 Jan"]);
}

#[tokio::test]
async fn large_keys_and_large_tickets_fit() {
    let script = |asked: &Message| allow(asked).replace("COOKIEKEY", &"k".repeat(14_000));
    let house = House::with(script, |_| answer(200, &[("Set-Cookie", &"s".repeat(9_000))], "")).await;
    let ticket = format!("Cookie: portal={}", "t".repeat(8_300));
    assert_eq!(house.ask(MAIL, "GET /", &[&ticket]).status(), 200);
    assert!(house.keyward.only().header("Cookie").unwrap().len() > 8_300);
    assert!(house.application.only().header("Cookie").unwrap().len() > 14_000);
}

#[tokio::test]
async fn a_page_is_sent_to_sign_in_and_a_script_is_told_so() {
    let script = |asked: &Message| {
        let login = "https://portal.example.test/login?next=x";
        let page = asked.header("Sec-Fetch-Mode") == Some("navigate");
        let mut headers = vec![("X-Keyward-Reason", "expired"), ("X-Keyward-Login", login)];
        headers.extend(page.then_some(("Location", login)));
        answer(401, &headers, "{}")
    };
    let house = House::with(script, |_| answer(200, &[], "mail")).await;
    let page = house.ask(MAIL, "GET /", &["Sec-Fetch-Mode: navigate"]);
    assert_eq!((page.status(), page.header("Location").unwrap()), (302, "https://portal.example.test/login?next=x"));
    assert_eq!(page.header("Cache-Control"), Some("no-store"));
    let program = house.ask(MAIL, "POST /", &["Content-Length: 0"]);
    assert_eq!((program.status(), program.header("Content-Type").unwrap()), (401, "application/json"));
    assert_eq!(program.body, "{\"reason\":\"expired\",\"login\":\"https://portal.example.test/login?next=x\"}\n");
    assert!(house.application.take().is_empty(), "nothing came through");
}

#[tokio::test]
async fn whoever_sends_a_form_and_is_signed_out_is_told_how_not_to_lose_it() {
    const LOGIN: &str = "https://portal.example.test/login?lang=en&next=x";
    let script = |_: &Message| answer(401, &[("X-Keyward-Reason", "expired"), ("X-Keyward-Login", LOGIN)], "page");
    let house = House::with(script, |_| answer(200, &[], "mail")).await;
    let body = "Content-Length: 5";
    for said in [&["Sec-Fetch-Mode: navigate", body][..], &["Accept: text/html,*/*", body]] {
        let page =
            send(house.address, &format!("POST /form HTTP/1.1\r\nHost: {MAIL}\r\n{}\r\n\r\nhello", said.join("\r\n")));
        assert_eq!((page.status(), page.header("Content-Type")), (401, Some("text/html; charset=utf-8")));
        assert!(page.body.contains("What you typed was not sent"), "{}", page.body);
        assert!(page.body.contains(&format!("<a href=\"{LOGIN}\" target=\"_blank\"")), "{}", page.body);
        assert!(page.body.contains("<code>expired</code>"), "{}", page.body);
        let policy = page.header("Content-Security-Policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
        assert_eq!((page.header("Location"), page.header("Cache-Control")), (None, Some("no-store")));
    }
    for said in [
        &["Accept: text/html", "X-Requested-With: XMLHttpRequest", "Content-Length: 0"][..],
        &["Accept: text/html", "Sec-Fetch-Mode: cors", "Content-Length: 0"],
        &["Accept: application/json", "Content-Length: 0"],
    ] {
        let program = house.ask(MAIL, "POST /form", said);
        assert_eq!((program.status(), program.header("Content-Type")), (401, Some("application/json")), "{said:?}");
    }
    assert_eq!(house.ask(MAIL, "PUT /form", &["Accept: text/html", "Content-Length: 0"]).status(), 401);
    assert!(house.application.take().is_empty(), "nothing came through");
}

#[tokio::test]
async fn an_outage_is_a_503_and_never_a_yes() {
    let down = |request: &Message| match request.header("User-Agent") {
        Some("silent") => String::new(),
        Some("garbage") => "garbage\r\n\r\n".to_owned(),
        Some("redirect") => answer(302, &[("Location", "/x")], ""),
        Some("huge") => answer(200, &[("X", &"x".repeat(40_000))], ""),
        Some(status) => answer(status.parse().unwrap(), &[("Retry-After", "17"), ("X-Keyward-Reason", "busy")], ""),
        None => answer(500, &[], ""),
    };
    // The trap: an error page of the whole server, which answers 200.
    let trap = "error_page 500 502 503 504 = /oops; location = /oops { return 200 oops; }";
    let house = House::with_extra(trap, down, |_| answer(200, &[], "mail")).await;
    for agent in ["503", "500", "429", "404", "silent", "garbage", "redirect", "huge"] {
        let agent_line = format!("User-Agent: {agent}");
        let answered = house.ask(MAIL, "GET /", &[&agent_line, "Accept: text/html"]);
        assert_eq!(answered.status(), 503, "{agent}");
        assert!(answered.body.contains("One moment"), "{agent}");
        let seconds = if agent.parse::<u16>().is_ok() { "17" } else { "5" };
        assert_eq!(answered.header("Retry-After"), Some(seconds), "{agent}");
        assert_eq!(house.ask(MAIL, "GET /", &[&agent_line]).status(), 503, "{agent}, for a program");
        assert!(house.application.take().is_empty(), "nothing came through: {agent}");
    }
    let program = house.ask(MAIL, "GET /", &["User-Agent: 503"]);
    assert_eq!(program.body, "{\"reason\":\"busy\"}\n");
}

#[tokio::test]
async fn settings_of_the_server_around_it_cannot_skip_or_reuse_a_decision() {
    let traps = "satisfy any; allow all; proxy_cache zone; proxy_cache_key x; proxy_cache_valid any 1h;
        proxy_ignore_headers Cache-Control Expires Set-Cookie;";
    let decide = |asked: &Message| match asked.header("Cookie") {
        Some(_) => allow(asked),
        None => answer(403, &[], ""),
    };
    let house = House::with_extra(traps, decide, |_| answer(200, &[], "mail")).await;
    for _ in 0..2 {
        assert_eq!(house.ask(MAIL, "GET /", &["Cookie: portal=T"]).status(), 200);
        assert_eq!(house.ask(MAIL, "GET /", &[]).status(), 403);
    }
    assert_eq!((house.keyward.take().len(), house.application.take().len()), (4, 2));
}

#[tokio::test]
async fn odd_framing_and_odd_methods_change_no_decision() {
    let house = House::allowing().await;
    let kind = format!("Host: {MAIL}\r\nTransfer-Encoding: chunked");
    let chunked = send(house.address, &format!("POST /up HTTP/1.1\r\n{kind}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
    assert_eq!(chunked.status(), 200);
    let asked = house.keyward.only();
    assert_eq!((asked.header("Transfer-Encoding"), asked.header("Content-Length")), (None, None));
    assert!(house.application.only().body.contains("hello"));
    for method in ["HEAD", "OPTIONS", "PROPFIND"] {
        let answered = house.ask(MAIL, &format!("{method} /"), &["If-None-Match: *"]);
        assert_eq!(answered.status(), 200, "{method}");
        assert_eq!(house.keyward.only().header("X-Original-Method"), Some(method));
    }
    for head in
        ["get / HTTP/1.1", "TRACE / HTTP/1.1", "CONNECT x:1 HTTP/1.1", "GET /%00 HTTP/1.1", "GET /../../x HTTP/1.1"]
    {
        let answered = send(house.address, &format!("{head}\r\nHost: {MAIL}\r\nConnection: close\r\n\r\n"));
        assert!(answered.status() >= 400, "{head}: {}", answered.start);
        assert!(house.keyward.take().is_empty(), "{head}");
    }
}

#[tokio::test]
async fn a_keyward_that_is_not_there_is_a_503() {
    let application = Scripted::start(true, |_| answer(200, &[], "mail"));
    let (address, directory) = (free_address().unwrap(), tempfile::tempdir().unwrap());
    let site = site(free_address().unwrap(), application.address, address, "");
    let _nginx = Nginx::start_shipped(directory.path(), &site, address).await.unwrap();
    let asked = format!("GET / HTTP/1.1\r\nHost: {MAIL}\r\n\r\n");
    assert_eq!(send(address, &asked).body, "{\"reason\":\"keyward_unreachable\"}\n");
    let page = send(address, &format!("GET /.keyward/logout HTTP/1.1\r\nHost: {MAIL}\r\nAccept: text/html\r\n\r\n"));
    assert_eq!((page.status(), page.header("Retry-After")), (503, Some("5")));
    assert!(application.take().is_empty());
}

#[tokio::test]
async fn the_applications_own_refusals_and_failures_are_passed_on_untouched() {
    let script = |request: &Message| {
        let status = request.asked().split(['/', '?']).nth(1).unwrap().parse().unwrap();
        answer(status, &[("X-Own", "yes")], "own words")
    };
    let house = House::with(allow, script).await;
    for (start, status) in
        [("GET /403", 403), ("GET /500", 500), ("GET /503", 503), ("POST /401", 401), ("GET /404", 404)]
    {
        let answered = house.ask(MAIL, start, &["Content-Length: 0"]);
        assert_eq!((answered.status(), answered.body.as_str()), (status, "own words"), "{start}");
        assert_eq!(answered.header("X-Own"), Some("yes"), "{start}");
    }
}

#[tokio::test]
async fn the_inner_doors_are_closed_from_outside() {
    let house = House::allowing().await;
    for path in [
        "/.keyward-internal/auth-request",
        "/.keyward-internal/renew",
        "/x/../.keyward-internal/renew",
        "/.keyward-internal/%72enew",
        "/@keyward_upstream",
    ] {
        let answered = house.ask(MAIL, &format!("GET {path}"), &[]);
        let decided = house.keyward.take().iter().all(|asked| asked.asked() == "GET /authz/auth-request");
        assert!(answered.status() == 404 || answered.body == "mail", "{path}: {}", answered.start);
        assert!(decided, "{path}");
    }
}

#[tokio::test]
async fn keywards_pages_are_asked_for_by_the_path_that_nginx_understood() {
    let house = House::with(
        |_| answer(200, &[("Set-Cookie", "k=1"), ("Set-Cookie", "l=2")], "page"),
        |_| answer(200, &[], "mail"),
    )
    .await;
    let said = ["X-Original-URL: http://x/", "X-Forwarded-Uri: /x", "X-Forwarded-Host: evil.test", "Cookie: portal=T"];
    for (path, asked) in [
        ("/.keyward/whoami?x=1", "GET /.keyward/whoami?x=1"),
        ("/authz/ext-authz/../../.keyward/whoami", "GET /.keyward/whoami"),
        ("/a/..%2f.keyward/whoami", "GET /.keyward/whoami"),
    ] {
        for host in [MAIL, CUBE, SHOP] {
            let answered = house.ask(host, &format!("GET {path}"), &said);
            assert_eq!(answered.all("Set-Cookie"), ["k=1", "l=2"], "{path}");
            let seen = house.keyward.only();
            assert_eq!(seen.asked(), asked);
            assert_eq!(seen.header("X-Original-URL"), None);
            assert_eq!(seen.header("X-Forwarded-Uri"), None);
            assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
            assert_eq!(seen.header("X-Forwarded-Host").unwrap(), format!("{host}:{}", house.address.port()));
            assert_eq!(seen.header("Cookie"), Some("portal=T"));
        }
    }
    let out = house.ask(MAIL, "GET /.keyward/..%2f..%2fauthz/renew", &[]);
    assert_eq!(out.status(), 400, "above the root is nowhere");
    house.ask(MAIL, "GET /.keyward/..%2fauthz/renew", &[]);
    assert!(house.keyward.take().iter().all(|asked| asked.asked() == "GET /authz/auth-request"));
}

#[tokio::test]
async fn behind_a_port_mapping_the_address_is_the_one_that_browsers_know() {
    let house = House::allowing().await;
    house.ask(MAPPED, "GET /in", &[]);
    assert_eq!(house.keyward.only().header("X-Original-URL").unwrap(), format!("https://{MAPPED}/in"));
    let seen = house.application.only();
    assert_eq!((seen.header("Host"), seen.header("X-Forwarded-Proto")), (Some(MAPPED), Some("https")));
}

#[tokio::test]
async fn the_portal_gets_its_own_cookie_and_no_identity_from_a_client() {
    let house = House::allowing().await;
    house.ask("portal.example.test", "GET /login?next=x", &["Cookie: portal=T", "Remote-User: bob"]);
    let seen = house.application.only();
    assert_eq!((seen.header("Cookie"), seen.header("Remote-User")), (Some("portal=T"), None));
    assert!(house.keyward.take().is_empty());
}

#[tokio::test]
async fn roundcubes_keys_stay_with_keyward() {
    let house = House::with(allow, |_| answer(200, &[("Set-Cookie", "roundcube_sessauth=S")], "mail")).await;
    let answered = house.ask(CUBE, "GET /?_task=mail", &[]);
    assert_eq!((answered.status(), answered.header("Set-Cookie")), (200, None));
}

#[tokio::test]
async fn the_applications_log_out_link_means_all_of_it() {
    let house = House::allowing().await;
    let back = format!("/.keyward/logout?post_logout_redirect_uri={SIGNED_OUT}");
    for (host, link, to) in
        [(CUBE, "/?_task=logout&_token=x", "/.keyward/logout"), (MAIL, "/?_h=KEY&action=logout", &back)]
    {
        let answered = house.ask(host, &format!("GET {link}"), &[]);
        assert_eq!((answered.status(), answered.header("Location")), (302, Some(to)));
        assert!(house.application.take().is_empty(), "{link}");
    }
}

#[tokio::test]
async fn a_websocket_opens_and_no_other_protocol_does() {
    let script = |request: &Message| match request.header("Upgrade") {
        Some("websocket") => "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".to_owned(),
        _ => answer(200, &[], "plain"),
    };
    let house = House::with(allow, script).await;
    let opened = house.ask(MAIL, "GET /live", &["Upgrade: WebSocket", "Connection: Upgrade"]);
    assert_eq!(opened.status(), 101);
    assert_eq!(house.keyward.take().len(), 1, "it was decided about");
    let plain = house.ask(MAIL, "GET /live", &["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"]);
    assert_eq!(plain.body, "plain");
}

#[tokio::test]
async fn an_application_cannot_steer_nginx() {
    let script = |_: &Message| answer(200, &[("X-Accel-Redirect", "/.keyward-internal/renew")], "mail");
    let house = House::with(allow, script).await;
    let answered = house.ask(MAIL, "GET /", &[]);
    assert_eq!(answered.body, "mail");
    assert_eq!(house.keyward.take().len(), 1);
}

#[tokio::test]
async fn the_access_log_holds_no_query_and_the_browser_is_told_to_keep_the_address() {
    let mut house = House::allowing().await;
    let answered =
        house.ask(MAIL, "GET /inbox?_h=SECRETKEY", &["Referer: http://x/?_h=SECRETKEY", "Cookie: p=SECRETKEY"]);
    assert_eq!(answered.header("Referrer-Policy"), Some("same-origin"));
    house.nginx.check().unwrap();
    drop(house.nginx);
    let log = std::fs::read_to_string(house.directory.path().join("mail.log")).unwrap();
    assert!(log.contains("\"GET /inbox HTTP/1.1\" 200"), "{log}");
    assert!(!log.contains("KEY"), "{log}");
}

#[tokio::test]
async fn a_token_arrives_whole_and_stays_out_of_the_log() {
    let script = |asked: &Message| {
        let cookie = [("Set-Cookie", "a=1; Path=/"), ("Location", "/mail/")];
        if asked.asked().starts_with("GET /sso/") { answer(303, &cookie, "") } else { answer(200, &[], "{}") }
    };
    let extra = "proxy_hide_header Set-Cookie; include keyward/one-time-token.inc;";
    let house = House::with_extra(extra, script, |_| answer(200, &[], "mail")).await;
    let sent = ["Cookie: keyward=S", "X-Forwarded-Proto: https", "Sec-Purpose: prefetch"];
    let arrived = house.ask(MAIL, "GET /sso/epixel/login?token=TOKEN%2B", &sent);
    assert_eq!((arrived.status(), arrived.header("Set-Cookie")), (303, Some("a=1; Path=/")));
    let asked = house.keyward.only();
    assert_eq!(asked.asked(), "GET /sso/epixel/login?token=TOKEN%2B");
    assert_eq!((asked.header("Cookie"), asked.header("X-Forwarded-Proto")), (Some("keyward=S"), Some("http")));
    assert_eq!(asked.header("Sec-Purpose"), Some("prefetch"));
    let ended = house.ask(MAIL, "POST /sso/epixel/logout", &["apikey: K", "Content-Length: 0"]);
    assert_eq!(ended.status(), 200);
    let asked = house.keyward.only();
    assert_eq!((asked.asked(), asked.header("apikey")), ("POST /sso/epixel/logout", Some("K")));
    drop(house.nginx);
    let log = std::fs::read_to_string(house.directory.path().join("mail.log")).unwrap();
    assert!(log.contains("/sso/epixel/login") && !log.contains("TOKEN"), "{log}");
}
