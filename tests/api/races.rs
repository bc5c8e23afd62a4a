//! What a portal says while a login is under way.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::fakes::axigen::Axigen;
use crate::fakes::server::{Request, Server, forward};
use crate::house::{House, INBOX, SHOP_KEY, SID, cookie, mailboxes, reason};
use crate::support::{Setup, Sidecar, until};

/// A back-end whose logins end only when they are let go.
struct Slow {
    house: House,
    door: Server,
    gate: Arc<Semaphore>,
}

impl Slow {
    async fn start() -> Self {
        let (mail, post) = (mailboxes().await, mailboxes().await);
        let gate = Arc::new(Semaphore::new(0));
        let (address, shared) = (mail.url().trim_start_matches("http://").parse().unwrap(), Arc::clone(&gate));
        let door = Server::start(move |request| {
            let gate = Arc::clone(&shared);
            async move {
                // The application has signed in already, and only its answer is late.
                let reply = forward(address, &request).await.unwrap();
                if request.target.contains("action=login") {
                    gate.acquire().await.unwrap().forget();
                }
                reply
            }
        });
        let door = door.await.unwrap();
        let keyward = start(&door, &post).await;
        Self { house: House { keyward, mail, post }, door, gate }
    }

    /// Waits until a login hangs, and two wait for it.
    async fn both_wait(&self) {
        let joined = "keyward_key_lookups_total{backend=\"mail\",result=\"joined\"}";
        until("the other one", || async { self.house.keyward.metric(joined).await > 0.0 }).await;
        let is_login = |request: &Request| request.target.contains("action=login");
        until("the login", || async { self.door.requests().iter().any(is_login) }).await;
    }
}

async fn start(mail: &Server, post: &Axigen) -> Sidecar {
    Setup::new(&House::config(&mail.url(), &post.url(), "")).with_api().start().await
}

#[tokio::test]
async fn a_login_that_ends_after_the_sign_out_is_thrown_away_and_signed_out() {
    let slow = Slow::start().await;
    let house = &slow.house;
    house.register(SID, "alice").await;
    let later = async {
        slow.both_wait().await;
        assert_eq!(house.delete(SID).await.status, 204);
        assert_eq!(house.ask(INBOX, &cookie(SID)).await.status, 401, "at once");
        slow.gate.add_permits(1);
    };
    let shown = cookie(SID);
    let (browser, portal, ()) = tokio::join!(house.ask(INBOX, &shown), house.keys(SID, "mail"), later);
    assert_eq!((browser.assert_refuses().status, browser.reason().as_str()), (401, "revoked"));
    assert_eq!((portal.status, reason(&portal).as_str()), (404, "revoked"));
    assert_eq!(house.mail.logins("alice"), 1);
    until("the sign-out at the application", || async { house.mail.sessions() == 0 }).await;
    assert_eq!(house.register(SID, "alice").await.status, 409);
}

#[tokio::test]
async fn a_login_of_the_one_before_is_nothing_for_the_one_after() {
    let slow = Slow::start().await;
    let house = &slow.house;
    house.register(SID, "alice").await;
    let later = async {
        slow.both_wait().await;
        assert_eq!(house.register(SID, "bob").await.status, 204);
        slow.gate.add_permits(2);
        house.ask(INBOX, &cookie(SID)).await
    };
    let shown = cookie(SID);
    let (browser, portal, after) = tokio::join!(house.ask(INBOX, &shown), house.keys(SID, "mail"), later);
    assert_eq!((browser.assert_refuses().status, browser.reason().as_str()), (503, "busy"));
    assert_eq!((portal.status, reason(&portal).as_str()), (503, "busy"));
    after.assert_allows("bob");
    let key = after.one("X-Upstream-Cookie").rsplit_once('=').unwrap().1.to_owned();
    assert_eq!(house.mail.owner(&key).as_deref(), Some("bob"));
    until("the sign-out of alice at the application", || async { house.mail.sessions() == 1 }).await;
    assert_eq!(house.touch(SHOP_KEY, SID).await.text(), "{\"sessions\":1}");
}

#[tokio::test]
async fn the_same_told_again_during_a_login_disturbs_nobody() {
    let slow = Slow::start().await;
    let house = &slow.house;
    house.register(SID, "alice").await;
    let later = async {
        slow.both_wait().await;
        assert_eq!(house.register(SID, "alice").await.status, 204);
        slow.gate.add_permits(1);
    };
    let shown = cookie(SID);
    let (browser, portal, ()) = tokio::join!(house.ask(INBOX, &shown), house.keys(SID, "mail"), later);
    browser.assert_allows("alice");
    assert_eq!(portal.status, 200);
    assert_eq!(house.mail.logins("alice"), 1);
}

#[tokio::test]
async fn a_session_that_is_told_of_and_signed_out_at_once_is_signed_out() {
    let house = House::start().await;
    for number in 0..40 {
        let sid = format!("told-and-signed-out-{number}");
        let (told, ended) = tokio::join!(house.register(&sid, "alice"), house.delete(&sid));
        assert!(matches!(told.status, 201 | 409) && ended.status == 204);
        assert_eq!(house.ask(INBOX, &cookie(&sid)).await.assert_refuses().status, 401);
        assert_eq!(house.register(&sid, "alice").await.status, 409);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_the_users_of_a_name_change_nobody_gets_anothers_keys() {
    let house = House::start().await;
    let (sids, people) = (["changing-session-0", "changing-session-1"], ["alice", "bob", "carol"]);
    let tells = (0..6).map(|portal| {
        let house = &house;
        async move {
            for round in 0..25 {
                let answer = house.register(sids[portal % 2], people[(portal + round) % 3]).await;
                assert!(matches!(answer.status, 201 | 204));
            }
        }
    });
    let asks = (0..6).map(|browser| {
        let house = &house;
        async move {
            let mut allowed = 0;
            for _ in 0..25 {
                let answer = house.ask(INBOX, &cookie(sids[browser % 2])).await;
                if answer.status != 200 {
                    assert!(matches!(answer.assert_refuses().reason().as_str(), "no_session" | "busy"), "{answer:?}");
                    continue;
                }
                allowed += 1;
                let key = answer.one("X-Upstream-Cookie").rsplit_once('=').unwrap().1.to_owned();
                assert_eq!(house.mail.owner(&key), Some(answer.one("Remote-User")), "{answer:?}");
            }
            allowed
        }
    });
    let (_, allowed) = tokio::join!(futures_util::future::join_all(tells), futures_util::future::join_all(asks));
    assert!(allowed.iter().sum::<i32>() > 0);
    for sid in sids {
        house.register(sid, "carol").await;
        house.ask(INBOX, &cookie(sid)).await.assert_allows("carol");
    }
    until("the sign-out of all others", || async { house.mail.sessions() == 2 }).await;
}
