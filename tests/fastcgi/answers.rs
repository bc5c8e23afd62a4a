//! Decisions, in the words of CGI.

use crate::house::FastcgiHouse;
use crate::peer::{END, STDOUT, apache, lighttpd, nginx};
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
