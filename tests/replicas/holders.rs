//! One login for one session, however many ask at however many replicas, and whatever becomes of who logs in.

use std::time::Duration;

use futures_util::future::join_all;

use crate::crowd::Seen;
use crate::fakes::axigen::Event;
use crate::house::{HOST, House, Plan, ask};
use crate::person::User;
use crate::replica::Replica;
use crate::stores::Store;
use crate::support::{Door, until};

/// Questions at once.
const BURST: usize = 200;

/// So that there is time to do something while somebody logs in.
const SLOW: Duration = Duration::from_millis(500);

async fn house_of(store: &Store) -> House {
    let house = House::start(
        &Plan::sharing(store.settings("")).backend("login_timeout = \"2s\"\nkeep_alive_interval = \"2s\""),
    )
    .await;
    house.store_is(true).await;
    house
}

/// What somebody sees through the web server.
async fn look(house: &House, user: &User) -> Seen {
    let mut connection = house.connect().await;
    connection.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\n\r\n", user.cookie)).await;
    Seen::of(&user.name, &connection.answer().await)
}

/// Somebody's keys at a replica. Whoever asks while a dead one's lease lasts may be told to come back.
async fn in_the_end(replica: &Replica, user: &User) -> String {
    loop {
        let answer = replica.ask(&ask(user)).await;
        if answer.status == 200 {
            return answer.assert_allows(&user.name).one("X-Upstream-Cookie");
        }
        assert_eq!(answer.assert_refuses().status, 503, "{answer:?}");
    }
}

/// Waits until somebody has as many sessions at the mailbox server, whether or not anybody has heard of them.
async fn opened(house: &House, user: &User, count: usize) {
    until("a login", || async { house.mail.logins(&user.name) >= count }).await;
}

async fn burst(store: Store) {
    let house = house_of(&store).await;
    house.mail.answer_logins_after(SLOW);
    let people = ["ana", "bea", "cem"].map(|name| house.user(name));
    let looks = people.iter().flat_map(|user| (0..BURST / 2).map(|_| look(&house, user)));
    let questions = people.iter().flat_map(|user| {
        let replicas = house.replicas.iter().cycle().take(BURST / 2);
        replicas.map(move |replica| async { replica.ask(&ask(user)).await.status })
    });
    let (seen, told) = tokio::join!(join_all(looks), join_all(questions));
    assert!(seen.iter().all(|seen| *seen == Seen::Mailbox), "{seen:?}");
    assert!(told.iter().all(|status| *status == 200), "{told:?}");
    for user in &people {
        assert_eq!(house.mail.attempts(&user.name), 1, "{}", user.name);
    }
    assert_eq!(house.leases_lost().await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_questions_at_once_are_one_login_with_one_server() {
    burst(Store::single().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_questions_at_once_are_one_login_with_sentinels() {
    burst(Store::sentinel().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_questions_at_once_are_one_login_with_a_cluster() {
    burst(Store::cluster().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_logs_in_and_is_killed_is_replaced() {
    let store = Store::single().await;
    let mut house = house_of(&store).await;
    house.mail.answer_logins_after(SLOW);
    let ana = house.user("ana");
    let [first, others @ ..] = &mut house.replicas[..] else { panic!("three") };
    let mut lost = first.connect().await;
    lost.send(ask(&ana).bytes(Door::AuthRequest)).await;
    until("a login", || async { house.mail.logins("ana") == 1 }).await;
    // They wait for a login that will never end.
    let waiting = async { tokio::join!(in_the_end(&others[0], &ana), in_the_end(&others[1], &ana)) };
    let ((one, two), ()) = tokio::join!(waiting, first.kill());
    assert_eq!(one, two);
    assert_eq!(house.mail.logins("ana"), 2, "the one that was lost, and one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_too_late_with_keys_throws_them_away() {
    let store = Store::single().await;
    let house = house_of(&store).await;
    house.mail.answer_logins_after(SLOW);
    let ana = house.user("ana");
    let mut late = house.replicas[0].connect().await;
    late.send(ask(&ana).bytes(Door::AuthRequest)).await;
    opened(&house, &ana, 1).await;
    // It gets its keys, and can tell nobody.
    store.stall(0);
    let answer = late.answer().await;
    assert!([200, 503].contains(&answer.status), "{answer:?}");
    let keys = in_the_end(&house.replicas[1], &ana).await;
    assert_eq!(house.mail.logins("ana"), 2, "the lease has ended, and somebody else has keys");
    store.heal(0);
    until("the same keys everywhere", || async {
        let answer = house.replicas[0].ask(&ask(&ana)).await;
        answer.status == 200 && answer.one("X-Upstream-Cookie") == keys
    })
    .await;
    let ended = |session| {
        let moments = house.mail.moments();
        moments.iter().any(|moment| moment.session == session && moment.event == Event::Ended)
    };
    until("the end of what came too late", || async { ended(1) }).await;
    assert!(!ended(2), "the one that is in use");
    assert_eq!(house.mail.logins("ana"), 2);
    assert_eq!(house.leases_lost().await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_slept_through_a_login_wakes_up_to_the_keys_of_others() {
    let store = Store::single().await;
    let house = house_of(&store).await;
    house.mail.answer_logins_after(SLOW);
    let ana = house.user("ana");
    let mut late = house.replicas[0].connect().await;
    late.send(ask(&ana).bytes(Door::AuthRequest)).await;
    opened(&house, &ana, 1).await;
    house.replicas[0].pause();
    let keys = in_the_end(&house.replicas[1], &ana).await;
    assert_eq!(house.mail.logins("ana"), 2);
    house.replicas[0].go_on();
    // Whoever waited there gets the right ones, or is told to come again.
    let answer = late.answer().await;
    assert!([200, 503].contains(&answer.status), "{answer:?}");
    assert_eq!(in_the_end(&house.replicas[0], &ana).await, keys);
    assert_eq!(house.mail.logins("ana"), 2);
}
