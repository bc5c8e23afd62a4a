//! Connections: many questions on one, those that are taken back, sockets, and the end.

use std::os::unix::fs::PermissionsExt;

use tonic::Code;

use crate::envoy::{self, Question, Verdict};
use crate::fakes::server::Fault;
use crate::house::{GrpcHouse, connect};
use crate::support::{Connection, House, Ticket, until};
use crate::{ADMIN, INBOX};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_on_one_connection_get_their_own_answers() {
    let house = GrpcHouse::start().await;
    let users = ["alice", "bob", "carol", "dave"];
    let cookies = users.map(|user| Ticket::of(user).cookie());
    let asked = (0..1000).map(|number: usize| {
        let (client, person) = (house.envoy.clone(), number % 5);
        let question =
            cookies.get(person).iter().fold(Question::get(INBOX), |question, cookie| question.cookie(cookie));
        tokio::spawn(async move { (person, envoy::ask(&client, &question).await) })
    });
    for answered in asked.collect::<Vec<_>>() {
        let (person, verdict) = answered.await.unwrap();
        match users.get(person) {
            Some(user) => drop(verdict.assert_allows(user)),
            None => assert_eq!(verdict.status, 401),
        }
    }
    assert_eq!(house.house.logins("office", "opened").await, 4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_that_are_taken_back_cost_nobody_anything() {
    let house = GrpcHouse::start().await;
    house.house.office.misbehave(Some(Fault::Hang));
    let question = Question::get(INBOX).cookie(&Ticket::of("alice").cookie());
    let asked: Vec<_> = (0..200)
        .map(|_| {
            let (client, question) = (house.envoy.clone(), question.clone());
            tokio::spawn(async move { envoy::ask(&client, &question).await })
        })
        .collect();
    until("the login", || async { !house.house.office.requests().is_empty() }).await;
    asked.iter().for_each(tokio::task::JoinHandle::abort);
    // On the same connection, which goes on.
    house.ask(&Question::get("https://app.example.test/public/x")).await.assert_allows("");
    assert_eq!(house.ask(&Question::get(ADMIN)).await.status, 401);
    assert_eq!(house.house.office.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_speaks_something_else_gets_no_answer_that_allows() {
    let house = GrpcHouse::start().await;
    for bytes in [
        &b"GET /envoy.service.auth.v3.Authorization/Check HTTP/1.1\r\nHost: keyward\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let mut connection = Connection::open(&house.address).await;
        connection.send(bytes).await;
        drop(connection);
    }
    house.ask(&Question::get(INBOX)).await.assert_refuses();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_has_its_mode_and_its_peers_are_proxies_if_that_is_said() {
    for (trust, status) in [("", 200), ("[trust]\nproxies = [\"127.0.0.0/8\"]", 403)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grpc.sock");
        let listen = format!("unix:{}", path.display());
        let house = House::with(trust, |setup| {
            setup.environment("KEYWARD__LISTEN__GRPC", &listen).environment("KEYWARD__LISTEN__GRPC_MODE", "0606")
        });
        let _house = house.await;
        let client = connect(&format!("unix://{}", path.display())).await;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o606);
        let question = Question::get(INBOX).cookie(&Ticket::of("alice").cookie());
        assert_eq!(envoy::ask(&client, &question).await.status, status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_nobody_new_is_taken_and_the_question_under_way_does_not_hold_it_up_for_ever() {
    let mut house = GrpcHouse::with("[limits]\ndrain_timeout = \"1s\"", |setup| setup).await;
    house.house.office.misbehave(Some(Fault::Hang));
    let (client, question) = (house.envoy.clone(), Question::get(INBOX).cookie(&Ticket::of("alice").cookie()));
    let asked = tokio::spawn(async move { client.clone().check(question.message()).await });
    until("the login", || async { !house.house.office.requests().is_empty() }).await;
    house.house.keyward.signal("TERM");
    assert!(house.house.keyward.ended().await.success());
    let answer = asked.await.unwrap().map(|answer| Verdict::of(answer.into_inner()));
    assert!(answer.is_err_and(|error| error.code() != Code::Ok), "nobody could know");
}
