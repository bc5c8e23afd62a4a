//! Decisions, in the words of CGI.

use crate::fakes::server::{Fault, Reply as Answered, Server};
use crate::house::FastcgiHouse;
use crate::peer::{AUTHORIZER, END, PARAMS, Params, RESPONDER, Reply, STDOUT, apache, begin, lighttpd, nginx, record};
use crate::support::Ticket;

const INBOX: &str = "https://app.example.test/inbox?a=1&b=%2F";

#[tokio::test]
async fn an_authorizer_gets_variables_and_nothing_else() {
    let house = FastcgiHouse::start().await;
    let cookie = format!("theme=dark; {}", Ticket::of("alice").cookie());
    for request in [apache(INBOX).cookie(&cookie).by_apache(), lighttpd(INBOX).cookie(&cookie).by_lighttpd()] {
        let mut peer = house.connect().await;
        peer.send(&request).await;
        let reply = peer.reply().await;
        let kinds: Vec<u8> = reply.records.iter().map(|(kind, ..)| *kind).collect();
        assert_eq!(kinds, [STDOUT, STDOUT, END]);
        assert!(reply.records.iter().all(|(_, request, _)| *request == 1));
        peer.assert_closed().await;

        let answer = reply.answer();
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        assert!(reply.stdout.starts_with(b"Status: 200 OK\r\nVariable-"), "{answer:?}");
        for (name, _) in &answer.headers {
            assert!(name.starts_with("variable-"), "{name} reaches the browser: {answer:?}");
        }
        assert_eq!(answer.one("Variable-REMOTE_USER"), "alice");
        assert_eq!(answer.one("Variable-REMOTE_GROUPS"), "");
        let upstream = answer.one("Variable-UPSTREAM_COOKIE");
        assert!(upstream.starts_with("theme=dark; ") && !upstream.contains("kw1."), "{upstream}");
        let uri = answer.one("Variable-UPSTREAM_URI");
        assert!(uri.starts_with("/inbox?a=1&b=%2F&"), "{uri}");
        assert_eq!(Some(answer.one("Variable-UPSTREAM_QUERY").as_str()), uri.strip_prefix("/inbox?"));
        answer.one("Variable-KEYWARD_SESSION_SECONDS");
    }
    assert_eq!(house.decisions("allow", "ok").await, 2.0);
    assert_eq!(house.house.office.requests().iter().filter(|request| request.method == "POST").count(), 1);
}

#[tokio::test]
async fn a_responder_gets_what_it_would_over_http() {
    let house = FastcgiHouse::start().await;
    let alice = Ticket::of("alice").cookie();
    let answer = house.ask(nginx(INBOX).cookie(&alice).by_nginx(0)).await;
    answer.assert_allows("alice");
    assert!(answer.one("X-Upstream-Uri").starts_with("/inbox?a=1&b=%2F&"));
}

/// Every way to send a question, with whether it is an authorizer's.
fn dialects(url: &str) -> [(&'static str, bool, Params); 3] {
    [("Apache", true, apache(url)), ("lighttpd", true, lighttpd(url)), ("nginx", false, nginx(url))]
}

fn sent(name: &str, params: &Params) -> Vec<u8> {
    match name {
        "Apache" => params.by_apache(),
        "lighttpd" => params.by_lighttpd(),
        _ => params.by_nginx(0),
    }
}

/// One record with all of the answer, the end of its stream, and the end of the request: Apache drops a body that
/// comes apart from its headers.
fn assert_in_one_record(reply: &Reply) {
    let kinds: Vec<u8> = reply.records.iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds, [STDOUT, STDOUT, END], "{reply:?}");
    assert!(reply.records[1].2.is_empty());
    assert_eq!(reply.records[2].2, [0; 8]);
}

#[tokio::test]
async fn whoever_must_sign_in_is_told_in_the_way_of_the_server() {
    let house = FastcgiHouse::start().await;
    for (name, is_authorizer, params) in dialects(INBOX) {
        let mut peer = house.connect().await;
        peer.send(sent(name, &params.clone().page())).await;
        let reply = peer.reply().await;
        assert_in_one_record(&reply);
        let page = reply.answer();
        assert_eq!(page.status, if is_authorizer { 302 } else { 401 }, "{name}");
        let login = page.login();
        assert!(login.starts_with("https://portal.example.test/"), "{login}");
        assert!(login.contains("https%3A%2F%2Fapp%2Eexample%2Etest%2Finbox"), "{login}");

        let script = house.ask(sent(name, &params.with("HTTP_X_REQUESTED_WITH", "XMLHttpRequest"))).await;
        assert_eq!((script.status, script.reason().as_str()), (401, "no_session"), "{name}");
        let body: serde_json::Value = serde_json::from_slice(&script.body).unwrap();
        assert_eq!(body["reason"], "no_session");
        assert_eq!(script.one("X-Keyward-Login"), login);
        assert_eq!(script.one("Content-Type"), "application/json");
    }
}

#[tokio::test]
async fn refusals_carry_a_page_that_every_server_can_show() {
    let house = FastcgiHouse::start().await;
    let alice = Ticket::of("alice").cookie();
    for (name, is_authorizer, params) in dialects("https://app.example.test/admin/x") {
        let params = params.cookie(&alice).page().with("HTTP_ACCEPT_LANGUAGE", "de");
        let mut peer = house.connect().await;
        peer.send(sent(name, &params)).await;
        let reply = peer.reply().await;
        assert_in_one_record(&reply);
        let answer = reply.answer();
        assert_eq!((answer.status, answer.assert_refuses().reason().as_str()), (403, "role"), "{name}");
        let page = answer.text();
        // Apache would take a body that starts with a slash or an address for the way to another page, says
        // ISO-8859-1 of it, and takes 8 KiB.
        assert!(page.starts_with('<') && page.len() < 8192 && page.contains("lang=\"de\""), "{name}: {page}");
        assert_eq!(page.is_ascii(), is_authorizer, "{name}: {page}");
        assert_eq!(page.contains("&#252;"), is_authorizer, "{name}: {page}");
        let length = if is_authorizer { None } else { Some(page.len().to_string()) };
        assert_eq!(answer.maybe("Content-Length"), length);
    }
}

#[tokio::test]
async fn an_outage_is_unavailable_and_nothing_else() {
    let house = FastcgiHouse::start().await;
    house.house.office.misbehave(Some(Fault::CloseAtOnce));
    for (name, _, params) in dialects(INBOX) {
        let answer = house.ask(sent(name, &params.cookie(&Ticket::of("alice").cookie()).page())).await;
        assert_eq!((answer.status, answer.reason().as_str()), (503, "backend_unavailable"), "{name}");
        answer.assert_refuses().one("Retry-After");
    }
    assert_eq!(house.decisions("unavailable", "backend_unavailable").await, 3.0);
}

#[tokio::test]
async fn cookies_for_the_browser_come_as_such_and_numbered() {
    let application = Server::start(|request| async move {
        match request.target.as_str() {
            "/login" => Answered::new(200, "welcome")
                .with("set-cookie", "sid=S1; HttpOnly")
                .with("set-cookie", "csrf=C1")
                .with("set-cookie", "lang=en"),
            _ => Answered::new(200, "here"),
        }
    });
    let application = application.await.unwrap();
    let more = format!(
        "[[backend]]\nname = \"scripted\"\nkind = \"form\"\nurl = \"{}\"\n\
         [backend.submit]\npath = \"/login\"\nfields = {{ user = \"{{login}}\", password = \"{{password}}\" }}\n\
         [backend.success]\ncookies = [\"sid\"]\n\
         [[backend.refusal]]\nmeans = \"refused\"\nstatus = [401]\n\
         [backend.keys]\ncookies = [\"sid\", \"csrf\", \"lang\"]\nscript_cookies = [\"csrf\", \"lang\"]\n\
         [backend.keep_alive]\npath = \"/alive\"\n[backend.keep_alive.alive]\nbody = [\"here\"]\n\
         [backend.keep_alive.dead]\nstatus = [401]\n\
         [[route]]\nhost = \"scripted.example.test\"\nportal = \"office\"\nbackend = \"scripted\"\n",
        application.url()
    );
    let house = FastcgiHouse::with(&more, |setup| setup).await;
    let lines = ["csrf=C1; Path=/; SameSite=Strict; Secure", "lang=en; Path=/; SameSite=Strict; Secure"];
    for (name, is_authorizer, params) in dialects("https://scripted.example.test/") {
        let answer = house.ask(sent(name, &params.cookie(&Ticket::of("alice").cookie()))).await;
        assert_eq!(answer.all("Set-Cookie"), lines, "{name}: {answer:?}");
        let numbered = if is_authorizer { "Variable-SET_COOKIE_" } else { "X-Set-Cookie-" };
        assert_eq!([1, 2].map(|number| answer.one(&format!("{numbered}{number}"))), lines, "{name}");
    }
}

#[tokio::test]
async fn an_answer_beyond_a_record_arrives_whole() {
    let house = FastcgiHouse::with("[limits]\nanswer = 1048576", |setup| setup).await;
    let long = format!("long={}; {}", "x".repeat(100_000), Ticket::of("alice").cookie());
    for (name, is_authorizer, params) in dialects(INBOX) {
        let answer = house.ask(sent_in_pieces(name, &params.cookie(&long))).await;
        let upstream = if is_authorizer { "Variable-UPSTREAM_COOKIE" } else { "X-Upstream-Cookie" };
        assert!(answer.one(upstream).starts_with(&long[..100_005]), "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_with_the_query_in_it_twice_is_none() {
    let house = FastcgiHouse::with("[limits]\nanswer = 4096", |setup| setup).await;
    let alice = Ticket::of("alice").cookie();
    for (length, status) in [(1000, 200), (2500, 503)] {
        let asked = nginx(&format!("{INBOX}?q={}", "x".repeat(length))).cookie(&alice);
        let answer = house.ask(asked.by_nginx(0)).await;
        assert_eq!(answer.status, status, "{length}");
        assert_eq!(answer.maybe("X-Keyward-Reason").is_some_and(|reason| reason == "answer_too_large"), status == 503);
    }
}

/// Variables that do not fit into one record.
fn sent_in_pieces(name: &str, params: &Params) -> Vec<u8> {
    let role = if name == "nginx" { RESPONDER } else { AUTHORIZER };
    let pieces: Vec<u8> = params.stream().chunks(60_000).flat_map(|piece| record(PARAMS, 1, piece)).collect();
    [begin(1, role, 0), pieces, record(PARAMS, 1, b"")].concat()
}
