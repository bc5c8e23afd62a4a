//! Records: what the specification says of each, and what nobody should send.

use crate::fakes::server::Fault;
use crate::house::FastcgiHouse;
use crate::peer::{
    ABORT, AUTHORIZER, DATA, END, GET_VALUES, GET_VALUES_RESULT, KEEP, PARAMS, Params, RESPONDER, STDIN, UNKNOWN_TYPE,
    apache, begin, nginx, padded, pair, record,
};
use crate::support::{Ticket, until};

const INBOX: &str = "https://app.example.test/inbox";

fn alice() -> Params {
    apache(INBOX).cookie(&Ticket::of("alice").cookie())
}

/// The end of a request that got no answer: of the protocol's making.
fn end(request: u16, protocol_status: u8) -> Option<(u8, u16, Vec<u8>)> {
    Some((END, request, vec![0, 0, 0, 0, protocol_status, 0, 0, 0]))
}

#[tokio::test]
async fn variables_are_one_stream_however_they_are_cut() {
    let house = FastcgiHouse::start().await;
    let stream = alice().stream();
    for size in [1, 7, 100, 8000] {
        for padding in [0, 1, 255] {
            let pieces: Vec<u8> = stream.chunks(size).flat_map(|piece| padded(PARAMS, 9, piece, padding)).collect();
            let request = [begin(9, AUTHORIZER, 0), pieces, padded(PARAMS, 9, b"", padding)].concat();
            assert_eq!(house.ask(request).await.one("Variable-REMOTE_USER"), "alice", "{size} {padding}");
        }
    }
    // Nor does it matter how the bytes travel.
    let mut peer = house.connect().await;
    for byte in alice().by_lighttpd() {
        peer.send([byte]).await;
    }
    assert_eq!(peer.reply().await.answer().one("Variable-REMOTE_USER"), "alice");
}

#[tokio::test]
async fn bodies_and_what_else_comes_along_are_not_waited_for_and_not_read() {
    let house = FastcgiHouse::start().await;
    let hidden = nginx(INBOX).cookie(&Ticket::of("bob").cookie()).request(1, AUTHORIZER, KEEP);
    let mut peer = house.connect().await;
    for _ in 0..3 {
        peer.send(alice().request(1, AUTHORIZER, KEEP)).await;
        assert_eq!(peer.reply().await.answer().one("Variable-REMOTE_USER"), "alice", "without the end of a body");
        peer.send(record(STDIN, 1, &hidden)).await;
        peer.send([record(STDIN, 1, b""), record(DATA, 1, &hidden), record(77, 1, &hidden)].concat()).await;
    }
    // In the middle of a request, and more than the system holds.
    let body = record(STDIN, 1, &[b'x'; 65_535]).repeat(20);
    let request = alice().request(1, AUTHORIZER, 0);
    let (beginning, rest) = request.split_at(16);
    assert_eq!(peer.ask([beginning, &body, rest, &body].concat()).await.one("Variable-REMOTE_USER"), "alice");
    peer.assert_closed().await;
}

#[tokio::test]
async fn management_records_are_answered_beside_requests() {
    let house = FastcgiHouse::start().await;
    let mut peer = house.connect().await;
    let names = ["FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS", "SOMETHING_NEW"];
    let asked: Vec<u8> = names.iter().flat_map(|name| pair(name.as_bytes(), b"")).collect();
    let expected = [pair(b"FCGI_MAX_CONNS", b"8192"), pair(b"FCGI_MAX_REQS", b"8192"), pair(b"FCGI_MPXS_CONNS", b"0")];
    let values = Some((GET_VALUES_RESULT, 0, expected.concat()));
    peer.send(record(GET_VALUES, 0, &asked)).await;
    assert_eq!(peer.next().await, values);
    for kind in [0, 1, 12, 200] {
        peer.send(record(kind, 0, b"whatever")).await;
        assert_eq!(peer.next().await, Some((UNKNOWN_TYPE, 0, vec![kind, 0, 0, 0, 0, 0, 0, 0])));
    }
    let request = alice().request(1, AUTHORIZER, 0);
    peer.send(&request[..16]).await;
    peer.send(record(GET_VALUES, 0, &asked)).await;
    assert_eq!(peer.next().await, values);
    assert_eq!(peer.ask(&request[16..]).await.one("Variable-REMOTE_USER"), "alice");
    peer.assert_closed().await;
}

#[tokio::test]
async fn roles_that_are_no_decision_are_declined() {
    let house = FastcgiHouse::start().await;
    let mut peer = house.connect().await;
    for role in [0, 3, 4, 258, 65_535] {
        peer.send([begin(5, role, KEEP), record(PARAMS, 5, &alice().stream()), record(PARAMS, 5, b"")].concat()).await;
        assert_eq!(peer.next().await, end(5, 3), "role {role}");
    }
    peer.send(begin(5, 3, 0)).await;
    assert_eq!(peer.next().await, end(5, 3));
    peer.assert_closed().await;
}

#[tokio::test]
async fn a_second_request_beside_one_is_declined_and_the_first_is_answered() {
    let house = FastcgiHouse::start().await;
    let bob = apache(INBOX).cookie(&Ticket::of("bob").cookie()).request(2, AUTHORIZER, KEEP);
    let request = alice().request(1, AUTHORIZER, KEEP);
    let mut peer = house.connect().await;
    // While its variables come.
    peer.send([&request[..40], &[]].concat()).await;
    let mut other = house.connect().await;
    other.send([begin(1, AUTHORIZER, KEEP), bob.clone(), record(ABORT, 2, b""), request[16..].to_vec()].concat()).await;
    assert_eq!(other.next().await, end(2, 1));
    assert_eq!(other.reply().await.answer().one("Variable-REMOTE_USER"), "alice");
    peer.send(&request[40..]).await;
    assert_eq!(peer.reply().await.answer().one("Variable-REMOTE_USER"), "alice");
    // While it waits for its answer.
    house.house.office.misbehave(Some(Fault::Hang));
    let carol = apache(INBOX).cookie(&Ticket::of("carol").cookie()).request(1, AUTHORIZER, KEEP);
    peer.send(carol).await;
    until("the login", || async {
        house
            .house
            .office
            .requests()
            .iter()
            .any(|request| request.method == "POST" && String::from_utf8_lossy(&request.body).contains("carol"))
    })
    .await;
    peer.send(&bob).await;
    assert_eq!(peer.next().await, end(2, 1));
    house.house.office.misbehave(None);
    peer.send(record(ABORT, 1, b"")).await;
    assert_eq!(peer.next().await, end(1, 0));
    assert_eq!(peer.ask(bob).await.one("Variable-REMOTE_USER"), "bob");
}

#[tokio::test]
async fn an_aborted_request_ends_without_an_answer_wherever_it_was() {
    let house = FastcgiHouse::start().await;
    let mut peer = house.connect().await;
    let request = alice().request(3, AUTHORIZER, KEEP);
    // Of none, in the middle of its variables, and of one that is over.
    peer.send([record(ABORT, 3, b""), request[..60].to_vec()].concat()).await;
    let half = [begin(3, AUTHORIZER, KEEP), record(PARAMS, 3, &alice().stream()[..30]), record(ABORT, 3, b"")].concat();
    let mut other = house.connect().await;
    other.send(half).await;
    assert_eq!(other.next().await, end(3, 0));
    assert_eq!(other.ask(&request).await.one("Variable-REMOTE_USER"), "alice", "nothing is left of the half");
    other.send(record(ABORT, 3, b"")).await;
    peer.send(&request[60..]).await;
    assert_eq!(peer.reply().await.answer().one("Variable-REMOTE_USER"), "alice");

    // While it waits for a login, which goes on.
    house.house.office.misbehave(Some(Fault::Hang));
    let seen = house.house.office.requests().len();
    let bob = apache(INBOX).cookie(&Ticket::of("bob").cookie());
    other.send(bob.request(4, RESPONDER, 0)).await;
    until("the login", || async { house.house.office.requests().len() > seen }).await;
    other.send(record(ABORT, 4, b"")).await;
    assert_eq!(other.next().await, end(4, 0));
    other.assert_closed().await;
}

#[tokio::test]
async fn records_of_other_requests_are_not_taken_for_ones_own() {
    let house = FastcgiHouse::start().await;
    let foreign = apache("https://app.example.test/public/x").cookie(&Ticket::of("bob").cookie()).stream();
    for strange in [2, 0xffff] {
        let request = [
            record(PARAMS, strange, &foreign),
            record(PARAMS, strange, b""),
            begin(1, AUTHORIZER, 0),
            record(PARAMS, strange, &foreign),
            record(PARAMS, 1, &alice().stream()),
            record(PARAMS, strange, b""),
            record(PARAMS, 1, b""),
        ];
        assert_eq!(house.ask(request.concat()).await.one("Variable-REMOTE_USER"), "alice");
    }
}

#[tokio::test]
async fn what_is_no_fastcgi_ends_the_connection_and_nothing_else() {
    let house = FastcgiHouse::start().await;
    let whole = alice().request(1, AUTHORIZER, KEEP);
    for nonsense in [
        b"GET /authz/auth-request HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0; 64],
        vec![0xff; 64],
        [&[2][..], &whole[1..]].concat(),
        record(1, 1, b"\0\x02"),
        record(1, 1, b""),
        [begin(1, AUTHORIZER, KEEP), begin(1, AUTHORIZER, KEEP)].concat(),
    ] {
        let mut peer = house.connect().await;
        peer.send(&nonsense).await;
        peer.assert_closed().await;
        let mut kept = house.connect().await;
        assert_eq!(kept.ask(&whole).await.one("Variable-REMOTE_USER"), "alice");
        kept.send(&nonsense).await;
        kept.assert_closed().await;
    }
    // Half a record, and nobody there any more.
    for sent in [&whole[..3], &whole[..8], &whole[..20], &whole[..whole.len() - 1]] {
        let mut peer = house.connect().await;
        peer.send(sent).await;
        peer.half_close().await;
        peer.assert_closed().await;
    }
    assert_eq!(house.house.keyward.metric("keyward_panics_total").await, 0.0);
    house.house.still_serves().await;
}
