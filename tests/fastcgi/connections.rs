//! Connections: kept or not, over ports and sockets, from whom, and how they end.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::fakes::server::Fault;
use crate::house::FastcgiHouse;
use crate::peer::{
    AUTHORIZER, GET_VALUES, GET_VALUES_RESULT, KEEP, Peer, UNKNOWN_TYPE, apache, lighttpd, nginx, record,
};
use crate::support::{Address, House, Ticket, until};

const INBOX: &str = "https://app.example.test/inbox";

#[tokio::test]
async fn a_connection_that_is_kept_answers_question_after_question() {
    let house = FastcgiHouse::start().await;
    let (alice, bob) = (Ticket::of("alice").cookie(), Ticket::of("bob").cookie());
    let mut peer = house.connect().await;
    for number in 1..=12 {
        let ask = |cookie: &str, role| nginx(INBOX).cookie(cookie).request(number, role, KEEP);
        peer.ask(ask(&alice, 1)).await.assert_allows("alice");
        assert_eq!(peer.ask(nginx(INBOX).request(number, 1, KEEP)).await.reason(), "no_session");
        peer.ask(ask(&bob, 1)).await.assert_allows("bob");
        assert_eq!(peer.ask(ask(&alice, AUTHORIZER)).await.one("Variable-REMOTE_USER"), "alice");
        assert_eq!(peer.ask(nginx("ftp://app.example.test/").request(number, 1, KEEP)).await.reason(), "bad_request");
    }
    let last = peer.ask(nginx(INBOX).cookie(&alice).by_nginx(0)).await;
    last.assert_allows("alice");
    peer.assert_closed().await;
}

#[tokio::test]
async fn a_connection_has_an_end_however_it_is_used() {
    let house = FastcgiHouse::start().await;
    let alice = Ticket::of("alice").cookie();
    let mut peer = house.connect().await;
    for _ in 0..1000 {
        peer.ask(apache(INBOX).cookie(&alice).request(1, AUTHORIZER, KEEP)).await.one("Variable-REMOTE_USER");
    }
    peer.assert_closed().await;
    let mut peer = house.connect().await;
    for _ in 0..500 {
        peer.send([record(GET_VALUES, 0, b""), record(99, 0, b"")].concat()).await;
        assert_eq!(peer.next().await.unwrap().0, 10);
        assert_eq!(peer.next().await.unwrap().0, UNKNOWN_TYPE);
    }
    peer.assert_closed().await;
}

#[tokio::test]
async fn a_peer_that_sends_no_more_gets_its_answer_if_it_is_there_and_waits_for_none() {
    let house = FastcgiHouse::start().await;
    let (alice, bob) = (Ticket::of("alice").cookie(), Ticket::of("bob").cookie());
    house.ask(lighttpd(INBOX).cookie(&alice).request(1, AUTHORIZER, 0)).await.one("Variable-REMOTE_USER");
    house.house.office.misbehave(Some(Fault::Hang));
    for flags in [0, KEEP] {
        let mut peer = house.connect().await;
        peer.send(lighttpd(INBOX).cookie(&alice).request(1, AUTHORIZER, flags)).await;
        peer.half_close().await;
        assert_eq!(peer.reply().await.answer().one("Variable-REMOTE_USER"), "alice");
        peer.assert_closed().await;
        let mut peer = house.connect().await;
        peer.send(lighttpd(INBOX).cookie(&bob).request(1, AUTHORIZER, flags)).await;
        peer.half_close().await;
        peer.assert_closed().await;
    }
}

#[tokio::test]
async fn a_peer_that_goes_away_costs_nobody_anything() {
    let house = FastcgiHouse::start().await;
    let alice = Ticket::of("alice").cookie();
    house.house.office.misbehave(Some(Fault::Hang));
    let mut gone = house.connect().await;
    gone.send(nginx(INBOX).cookie(&alice).by_nginx(0)).await;
    until("the login", || async { !house.house.office.requests().is_empty() }).await;
    drop(gone);
    // As nginx does with every kept connection: it reads the headers and hangs up.
    for _ in 0..50 {
        let mut peer = house.connect().await;
        peer.send(nginx("https://app.example.test/public/x").by_nginx(KEEP)).await;
        drop(peer);
    }
    house.ask(nginx("https://app.example.test/public/x").by_nginx(0)).await.assert_allows("");
    assert_eq!(house.house.office.requests().len(), 1);
    assert!(!house.house.keyward.log().contains("ERROR"), "{}", house.house.keyward.log());
}

#[tokio::test]
async fn first_logins_of_many_wait_beside_each_other_and_stop_nobody() {
    let house = FastcgiHouse::start().await;
    let (alice, bob) = (Ticket::of("alice").cookie(), Ticket::of("bob").cookie());
    house.ask(apache(INBOX).cookie(&bob).by_apache()).await.one("Variable-REMOTE_USER");
    house.house.office.misbehave(Some(Fault::Hang));
    let seen = house.house.office.requests().len();
    let mut waiting = Vec::new();
    for _ in 0..300 {
        let mut peer = house.connect().await;
        peer.send(apache(INBOX).cookie(&alice).by_apache()).await;
        waiting.push(peer);
    }
    until("the login", || async { house.house.office.requests().len() > seen }).await;
    house.ask(apache(INBOX).cookie(&bob).by_apache()).await.one("Variable-REMOTE_USER");
    assert_eq!(house.house.office.requests().len(), seen + 1, "one login for all");
}

/// Leaves a process so many more files than it has open.
fn leave_files(pid: u32, more: usize) {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let limit = format!("--nofile={0}:{0}", open + more);
    let limited = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
    assert!(limited.expect("prlimit, of util-linux").success());
}

#[tokio::test]
async fn hung_connections_beyond_the_systems_limit_end_and_others_are_served() {
    let house = FastcgiHouse::start().await;
    house.ask(apache(INBOX).cookie(&Ticket::of("bob").cookie()).by_apache()).await.one("Variable-REMOTE_USER");
    leave_files(house.house.keyward.pid(), 16);
    let mut hung = Vec::new();
    for _ in 0..24 {
        hung.push(house.connect().await);
    }
    let line = "no connection can be taken";
    until("the end of its files", || async { house.house.keyward.log().contains(line) }).await;
    // It waits in the queue until those before it have run out of time.
    let alice = apache(INBOX).cookie(&Ticket::of("alice").cookie()).by_apache();
    house.ask(alice).await.one("Variable-REMOTE_USER");
    assert_eq!(house.house.keyward.log().matches(line).count(), 1, "told once");
    hung[0].assert_closed().await;
}

#[tokio::test]
async fn peers_that_are_no_proxies_are_refused_whatever_they_bring() {
    let house = FastcgiHouse::with("[trust]\nproxies = [\"192.0.2.0/24\", \"unix\"]", |setup| setup).await;
    let bob = Ticket::of("bob").roles(&["admin"]).cookie();
    for url in [INBOX, "https://app.example.test/public/x", "ftp://nobody.test/"] {
        for params in [apache(url), apache(url).cookie(&bob).page().set("REMOTE_ADDR", "192.0.2.7")] {
            let answer = house.ask(params.by_apache()).await;
            assert_eq!((answer.status, answer.reason().as_str()), (403, "untrusted_peer"), "{url}");
            answer.assert_refuses();
        }
    }
    assert_eq!(house.decisions("deny", "untrusted_peer").await, 6.0);
    assert_eq!(house.house.office.requests().len(), 0);
    assert!(house.house.keyward.log().contains("decision refused to a peer that is not in [trust] proxies"));
}

#[tokio::test]
async fn strangers_take_nobodys_place() {
    let refusing = FastcgiHouse::with("[trust]\nproxies = [\"192.0.2.0/24\"]", |setup| setup).await;
    let mut strangers = Vec::new();
    for _ in 0..32 {
        let mut peer = refusing.connect().await;
        // That it has a place, and is no longer in the system's queue.
        peer.send(record(99, 0, b"")).await;
        assert_eq!(peer.next().await.unwrap().0, UNKNOWN_TYPE);
        strangers.push(peer);
    }
    refusing.connect().await.assert_closed().await;
    strangers.truncate(1);
    assert_eq!(strangers[0].ask(apache(INBOX).by_apache()).await.reason(), "untrusted_peer");
}

#[tokio::test]
async fn a_unix_socket_has_its_mode_and_its_peers_are_proxies_if_that_is_said() {
    for (trust, mode, reason) in [
        ("", None, None),
        ("", Some(0o606), None),
        ("[trust]\nproxies = [\"127.0.0.0/8\"]", None, Some("untrusted_peer")),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fastcgi.sock");
        let house = House::with(trust, |setup| {
            let setup = setup.environment("KEYWARD__LISTEN__FASTCGI", &format!("unix:{}", path.display()));
            match mode {
                Some(mode) => setup.environment("KEYWARD__LISTEN__FASTCGI_MODE", &format!("0{mode:o}")),
                None => setup,
            }
        });
        let house = house.await;
        let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode.unwrap_or(0o660));
        let mut peer = Peer::connect(&Address::Unix(path)).await;
        let answer = peer.ask(lighttpd(INBOX).cookie(&Ticket::of("alice").cookie()).by_lighttpd()).await;
        match reason {
            None => assert_eq!(answer.one("Variable-REMOTE_USER"), "alice"),
            Some(reason) => assert_eq!(answer.assert_refuses().reason(), reason),
        }
        peer.assert_closed().await;
        drop(house);
    }
}

#[tokio::test]
async fn draining_answers_what_waits_and_closes_what_is_idle() {
    let mut house = FastcgiHouse::with("[limits]\ndrain_timeout = \"5m\"", |setup| setup).await;
    let (alice, bob) = (Ticket::of("alice").cookie(), Ticket::of("bob").cookie());
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut peer = house.connect().await;
        peer.ask(apache(INBOX).cookie(&alice).request(1, AUTHORIZER, KEEP)).await.one("Variable-REMOTE_USER");
        idle.push(peer);
    }
    house.house.office.misbehave(Some(Fault::Drip(std::time::Duration::from_millis(10))));
    let seen = house.house.office.requests().len();
    let mut running = house.connect().await;
    running.send(apache(INBOX).cookie(&bob).request(1, AUTHORIZER, KEEP)).await;
    until("the slow login", || async { house.house.office.requests().len() > seen }).await;
    let half_asked = apache(INBOX).cookie(&alice).request(1, AUTHORIZER, KEEP);
    let mut asking = house.connect().await;
    asking.send([&half_asked[..16], &record(GET_VALUES, 0, b"")].concat()).await;
    assert_eq!(asking.next().await.unwrap().0, GET_VALUES_RESULT);

    house.house.keyward.signal("TERM");
    for peer in &mut idle {
        peer.assert_closed().await;
    }
    assert_eq!(asking.ask(&half_asked[16..]).await.one("Variable-REMOTE_USER"), "alice");
    asking.assert_closed().await;
    assert_eq!(running.reply().await.answer().one("Variable-REMOTE_USER"), "bob");
    running.assert_closed().await;
    assert_eq!(house.house.keyward.ended().await.code(), Some(0));
}

#[tokio::test]
async fn draining_ends_in_time_whatever_hangs() {
    let house = FastcgiHouse::with("[limits]\ndrain_timeout = \"1s\"", |setup| setup).await;
    let FastcgiHouse { mut house, address } = house;
    house.office.misbehave(Some(Fault::Hang));
    let mut running = Peer::connect(&address).await;
    running.send(apache(INBOX).cookie(&Ticket::of("bob").cookie()).by_apache()).await;
    until("the login", || async { !house.office.requests().is_empty() }).await;
    house.keyward.signal("TERM");
    assert_eq!(house.keyward.ended().await.code(), Some(0));
}
