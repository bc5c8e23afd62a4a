//! Whose keys are these?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fakes::axigen::Person;
use crate::support::{
    APP_PORTAL, Answer, Ask, Connection, DOORS, Door, House, MAIL_PORTAL, Ticket, password_of, until,
};
use crate::{INBOX, MAIL};

fn key(answer: &Answer) -> String {
    let cookie = answer.one("X-Upstream-Cookie");
    cookie.rsplit_once("_hmail=").expect(&cookie).1.to_owned()
}

#[tokio::test]
async fn a_ticket_that_one_portal_takes_opens_nothing_at_the_other() {
    let house = House::start().await;
    let ticket = Ticket::of("alice");
    for door in DOORS {
        for _ in 0..2 {
            house.keyward.ask(door, &Ask::get(INBOX).cookie(ticket.cookie())).await.assert_allows("alice");
            let renamed = format!("{}={}", MAIL_PORTAL.cookie, ticket.mint());
            let answer = house.keyward.ask(door, &Ask::get(MAIL).cookie(renamed)).await;
            assert_eq!(answer.assert_refuses().reason(), "forged");
        }
    }
    assert_eq!(house.post.requests().len(), 0);
}

#[tokio::test]
async fn the_same_session_name_at_two_portals_is_two_sessions() {
    let house = House::start().await;
    let sid = "one-name-for-two-sessions";
    let office = Ticket::of("alice").sid(sid).cookie();
    let post = Ticket::of("bob").sid(sid).portal(MAIL_PORTAL).cookie();
    for door in DOORS {
        let at_office = house.keyward.ask(door, &Ask::get(INBOX).cookie(&office)).await;
        let at_post = house.keyward.ask(door, &Ask::get(MAIL).cookie(&post)).await;
        assert_eq!(house.office.owner(&key(at_office.assert_allows("alice"))).as_deref(), Some("alice"));
        assert_eq!(house.post.owner(&key(at_post.assert_allows("bob"))).as_deref(), Some("bob"));
    }
    house.keyward.get("/.keyward/logout", &[&format!("Cookie: {office}")]).await;
    assert_eq!(house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(&office)).await.reason(), "revoked");
    house.keyward.ask(Door::AuthRequest, &Ask::get(MAIL).cookie(&post)).await.assert_allows("bob");
}

#[tokio::test]
async fn names_that_run_together_are_different_people() {
    let house = House::start().await;
    for separator in ["|", ":", "/", "\u{1f}", " ", ",", ";", "=", "&", "."] {
        let tail = "0123456789abcdef";
        let pairs = [
            (format!("a{separator}b"), format!("c{separator}{tail}")),
            ("a".to_owned(), format!("b{separator}c{separator}{tail}")),
            (format!("a{separator}b{separator}c"), tail.to_owned()),
        ];
        for (user, sid) in &pairs {
            // A control character is no name; then nobody may be let in at all.
            let forbidden = separator.chars().any(char::is_control);
            house.office.add(Person::new(user, &password_of(user), user));
            let cookie = if forbidden {
                let iat = crate::support::now();
                let claims = serde_json::json!({"sid": sid, "sub": user, "iat": iat, "exp": iat + 60});
                format!("{}={}", APP_PORTAL.cookie, APP_PORTAL.sign(claims.to_string()))
            } else {
                Ticket::of(user).sid(sid).cookie()
            };
            for door in DOORS {
                let answer = house.keyward.ask(door, &Ask::get(INBOX).cookie(&cookie)).await;
                if forbidden {
                    assert_eq!(answer.assert_refuses().reason(), "forged");
                } else {
                    assert_eq!(house.office.owner(&key(answer.assert_allows(user))).as_deref(), Some(user.as_str()));
                }
            }
        }
    }
}

#[tokio::test]
async fn when_the_browser_changes_user_nothing_of_the_first_is_left() {
    let house = House::start().await;
    let sid = "kept-by-the-browser";
    let mut connection = house.keyward.connect().await;
    let mut keys = Vec::new();
    for user in ["alice", "bob", "alice", "carol", "bob"] {
        for door in DOORS {
            let ask = Ask::get(INBOX).cookie(Ticket::of(user).sid(sid).name(user).cookie());
            let answer = connection.ask(door, &ask).await;
            let key = key(answer.assert_allows(user));
            assert_eq!(house.office.owner(&key).as_deref(), Some(user));
            assert_eq!(answer.one("Remote-Name"), user);
            keys.push((user, key));
        }
        connection.ask(Door::AuthRequest, &Ask::get(INBOX)).await.assert_refuses();
    }
    for (user, key) in &keys {
        assert!(keys.iter().all(|(other, held)| (user == other) == (key == held)), "{keys:?}");
    }
    // Whoever of them signs out, the session they shared is over for all.
    let cookie = Ticket::of("bob").sid(sid).cookie();
    house.keyward.get("/.keyward/logout", &[&format!("Cookie: {cookie}")]).await;
    for user in ["alice", "bob", "carol"] {
        let ask = Ask::get(INBOX).cookie(Ticket::of(user).sid(sid).cookie());
        assert_eq!(connection.ask(Door::ForwardAuth, &ask).await.assert_refuses().reason(), "revoked");
    }
}

/// Everybody's requests, for the mixed load.
struct Crowd {
    asks: Vec<(Option<&'static str>, Ask)>,
    allowed: AtomicUsize,
    refused: AtomicUsize,
    busy: AtomicUsize,
}

const CONNECTIONS: usize = 24;
const ROUNDS: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_with_cancellations_and_a_tiny_cache_everybody_gets_their_own() {
    let house = House::with("[limits]\nkeys = 5", |setup| setup).await;
    let mut asks = vec![(None, Ask::get(INBOX)), (None, Ask::page(INBOX).cookie("office_session=forged"))];
    for user in ["alice", "bob"] {
        for number in 0..4 {
            let ticket = Ticket::of(user).sid(&format!("session-{number}-of-some-user"));
            asks.push((Some(user), Ask::get(INBOX).cookie(ticket.cookie())));
        }
    }
    let zero = || AtomicUsize::new(0);
    let crowd = Arc::new(Crowd { asks, allowed: zero(), refused: zero(), busy: zero() });
    let house = Arc::new(house);
    let walks = (0..CONNECTIONS).map(|walker| tokio::spawn(walk(walker, Arc::clone(&house), Arc::clone(&crowd))));
    for walk in futures_util::future::join_all(walks).await {
        walk.unwrap();
    }
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let (allowed, refused, busy) = (count(&crowd.allowed), count(&crowd.refused), count(&crowd.busy));
    assert!(allowed > 1000 && refused > 500, "allowed {allowed}, refused {refused}, busy {busy}");
    assert!(house.keyward.metric("keyward_evictions_total{backend=\"office\",cause=\"capacity\"}").await > 10.0);
    // Logins of those who left go on, and what they open too much is given up again.
    let held = || async { house.keyward.metric("keyward_keys{backend=\"office\"}").await };
    until("the limit is kept", || async { held().await <= 5.0 && house.office.sessions() <= 5 }).await;
    assert_eq!(house.keyward.metric("keyward_panics_total").await, 0.0);
}

/// Asks as anybody, now and then leaving before the answer comes.
async fn walk(walker: usize, house: Arc<House>, crowd: Arc<Crowd>) {
    let mut connection = house.keyward.connect().await;
    for round in 0..ROUNDS {
        let pick: usize = rand::random_range(0..crowd.asks.len());
        let (user, ask) = &crowd.asks[pick];
        let door = DOORS[(walker + round) % 2];
        if rand::random_ratio(1, 12) {
            connection.send(ask.bytes(door)).await;
            connection = Connection::open(&house.keyward.auth).await;
            continue;
        }
        let answer = connection.ask(door, ask).await;
        match (user, answer.status) {
            (Some(user), 200) => {
                assert_eq!(house.office.owner(&key(answer.assert_allows(user))).as_deref(), Some(*user));
                crowd.allowed.fetch_add(1, Ordering::Relaxed);
            }
            // All places are taken by logins under way.
            (Some(_), 503) => {
                assert_eq!(answer.assert_refuses().reason(), "busy");
                crowd.busy.fetch_add(1, Ordering::Relaxed);
            }
            (None, 401 | 302) => {
                answer.assert_refuses();
                crowd.refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => panic!("{user:?}: {answer:?}"),
        }
    }
}
