//! What a portal tells one replica while another knows better, or nobody can hear, or nobody waits for the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::fakes::server::{Reply, Server};
use crate::house::{HOST, House, Plan};
use crate::portals::{API_KEY, call, registered};
use crate::replica::Replica;
use crate::stores::Store;
use crate::support::{Answer, Ask, now, password_of, until};

async fn house_of(store: &Store) -> House {
    let house = House::start(&Plan { instead: Some(registered()), ..Plan::sharing(store.settings("")) }).await;
    house.store_is(true).await;
    house
}

fn page(sid: &str) -> Ask {
    Ask::get(format!("http://{HOST}/")).cookie(format!("shop_session={sid}"))
}

/// The portal's word for whose a session is.
async fn put(replica: &Replica, sid: &str, user: &str) {
    let session = json!({ "user": user, "password": password_of(user), "expires": now() + 3600 });
    let status = call(replica, "PUT", sid, &session.to_string()).await;
    assert!([201, 204].contains(&status), "{status}");
}

/// Whose keys these are.
fn owner(house: &House, answer: &Answer) -> Option<String> {
    house.mail.owner(answer.one("X-Upstream-Cookie").rsplit_once('=')?.1)
}

async fn refused_everywhere(house: &House, sid: &str) {
    for replica in &house.replicas {
        until("the end everywhere", || async {
            let status = replica.ask(&page(sid)).await.status;
            assert!([200, 401, 503].contains(&status), "{status}");
            status == 401
        })
        .await;
    }
}

/// Says something, and is gone before there is an answer.
async fn say_and_hang_up(address: SocketAddr, request: String) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    // Nobody can see from outside that it has begun.
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Not in order: whoever ends their own side alone may still be waiting.
    connection.set_zero_linger().unwrap();
    drop(connection);
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_becomes_somebody_elses_at_one_replica_opens_nothing_of_the_first_at_any() {
    let store = Store::single().await;
    let house = house_of(&store).await;
    let _mailboxes = [house.user("ana"), house.user("ben")];
    for round in 0..6 {
        let sid = format!("a-session-of-the-portal-{round}");
        put(&house.replicas[round % 3], &sid, "ana").await;
        for replica in &house.replicas {
            let answer = replica.ask(&page(&sid)).await;
            assert_eq!(owner(&house, answer.assert_allows("ana")).as_deref(), Some("ana"));
        }
        put(&house.replicas[(round + 1) % 3], &sid, "ben").await;
        for replica in &house.replicas {
            until("the other everywhere", || async {
                let answer = replica.ask(&page(&sid)).await;
                let user = answer.one("Remote-User");
                assert_eq!(owner(&house, answer.assert_allows(&user)).as_deref(), Some(&*user), "keys are their own");
                user == "ben"
            })
            .await;
        }
        for replica in house.replicas.iter().cycle().take(9) {
            replica.ask(&page(&sid)).await.assert_allows("ben");
        }
        until("the end of the first", || async { house.mail.sessions() == 1 }).await;
        assert_eq!(call(&house.replicas[(round + 2) % 3], "DELETE", &sid, "").await, 204);
        refused_everywhere(&house, &sid).await;
        until("the end of both", || async { house.mail.sessions() == 0 }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_cannot_be_told_is_told_when_it_can() {
    let store = Store::single().await;
    let house = house_of(&store).await;
    let _mailbox = house.user("ana");
    let (known, unknown) = ("a-session-that-is-known-here", "a-session-that-others-know");
    for sid in [known, unknown] {
        put(&house.replicas[1], sid, "ana").await;
        house.replicas[2].ask(&page(sid)).await.assert_allows("ana");
    }
    house.replicas[0].ask(&page(known)).await.assert_allows("ana");
    store.cut(0);
    house.replicas[0].store_is(false).await;
    assert_eq!(call(&house.replicas[0], "DELETE", known, "").await, 204);
    assert_eq!(call(&house.replicas[0], "DELETE", unknown, "").await, 503, "the portal is to say it again");
    assert_eq!(house.replicas[0].ask(&page(known)).await.status, 401);
    assert_eq!(house.replicas[1].ask(&page(known)).await.status, 200, "nobody has heard");
    store.heal(0);
    // Although it says it to nobody again.
    refused_everywhere(&house, known).await;
    refused_everywhere(&house, unknown).await;
    until("the end at the mailbox server", || async { house.mail.sessions() == 0 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_signs_out_and_does_not_wait_is_signed_out() {
    let store = Store::single().await;
    let house = house_of(&store).await;
    let _mailbox = house.user("ana");
    let (by_browser, by_portal) = ("a-session-that-a-browser-ends", "a-session-that-the-portal-ends");
    for sid in [by_browser, by_portal] {
        put(&house.replicas[1], sid, "ana").await;
        house.replicas[2].ask(&page(sid)).await.assert_allows("ana");
    }
    store.stall(0);
    let api = format!(
        "DELETE /v1/sessions/{by_portal} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {API_KEY}\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let browser = format!(
        "GET /.keyward/logout HTTP/1.1\r\nHost: {HOST}\r\nCookie: shop_session={by_browser}\r\n\
         Sec-Fetch-Site: same-origin\r\n\r\n"
    );
    let here = &house.replicas[0];
    tokio::join!(say_and_hang_up(here.api, api), say_and_hang_up(here.auth, browser));
    store.heal(0);
    refused_everywhere(&house, by_portal).await;
    refused_everywhere(&house, by_browser).await;
    until("the end at the mailbox server", || async { house.mail.sessions() == 0 }).await;
}

/// A portal that is asked whose a session is, and takes its time where it is told to.
struct Asked {
    server: Server,
    /// Answers as long as there is one.
    answers: Arc<watch::Sender<bool>>,
}

impl Asked {
    async fn start() -> Self {
        let answers = Arc::new(watch::Sender::new(true));
        let held = Arc::clone(&answers);
        let server = Server::start(move |_| {
            let mut answers = held.subscribe();
            async move {
                let _ = answers.wait_for(|answers| *answers).await;
                Reply::json(200, &json!({ "active": true, "username": "ana", "sid": SID }))
            }
        });
        Self { server: server.await.unwrap(), answers }
    }

    async fn house(&self, store: &Store) -> House {
        let url = self.server.url();
        let settings = format!(
            "[[api.key]]\ncaller = \"shop\"\nsecret = \"{API_KEY}\"\nportal = \"shop\"\n\
             [[portal]]\nname = \"shop\"\nkind = \"introspect\"\ncookie = \"shop_session\"\n\
             login_url = \"{url}/?next={{url}}\"\nurl = \"{url}/who\"\nsecret = \"{API_KEY}\"\n\
             [[backend]]\nname = \"mail\"\nkind = \"axigen\"\nurl = \"MAIL\"\n\
             [[route]]\nhost = \"{HOST}\"\npath = \"/mail\"\nportal = \"shop\"\nbackend = \"mail\"\n\
             [[route]]\nhost = \"{HOST}\"\nportal = \"shop\"\n"
        );
        let house = House::start(&Plan { instead: Some(settings), ..Plan::sharing(store.settings("")) }).await;
        house.store_is(true).await;
        house
    }
}

/// The portal's own name for its sessions.
const SID: &str = "the-portals-own-name-of-it";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_for_which_the_portal_vouches_ends_everywhere_though_one_replica_alone_has_seen_it() {
    let (store, portal) = (Store::single().await, Asked::start().await);
    let house = portal.house(&store).await;
    let [one, two, three] = &house.replicas[..] else { panic!("three") };
    two.ask(&page("by-a-browser")).await.assert_allows("ana");
    let mut connection = one.connect().await;
    let lines = format!("Host: {HOST}\r\nCookie: shop_session=by-a-browser\r\nSec-Fetch-Site: same-origin\r\n");
    connection.send(format!("GET /.keyward/logout HTTP/1.1\r\n{lines}\r\n")).await;
    assert_eq!(connection.answer().await.status, 200);
    refused_everywhere(&house, "by-a-browser").await;
    two.ask(&page("by-the-portal")).await.assert_allows("ana");
    assert_eq!(call(one, "DELETE", SID, "").await, 204);
    for replica in [one, two, three] {
        let refused = || async { replica.ask(&page("by-the-portal")).await.status == 401 };
        until("the end everywhere", refused).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_under_way_at_one_replica_when_another_heard_of_the_end_lets_nobody_in() {
    let (store, portal) = (Store::single().await, Asked::start().await);
    let house = portal.house(&store).await;
    portal.answers.send_replace(false);
    let question = page("a-new-cookie");
    let (answer, ()) = tokio::join!(house.replicas[1].ask(&question), async {
        until("a question", || async { !portal.server.requests().is_empty() }).await;
        assert_eq!(call(&house.replicas[0], "DELETE", SID, "").await, 204);
        portal.answers.send_replace(true);
    });
    assert_eq!(answer.status, 401, "{answer:?}");
    // Whoever signs in there once more is let in.
    until("the next", || async { house.replicas[1].ask(&page("another-cookie")).await.status == 200 }).await;
}
