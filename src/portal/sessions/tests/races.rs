//! What happens to a session at two replicas at once, and while the store has lost something.

use std::time::Duration;

use super::replicas::{HOUR, Replica, named, until};
use super::session;
use crate::domain::{Clock, Moment};
use crate::portal::HeldSession;
use crate::store::Event;
use crate::store::scratch::Scratch;

const ENDS: u64 = 1000 + HOUR;

impl Replica {
    fn id(&self, shown: &str) -> String {
        self.sessions.id_of("p", shown)
    }

    /// Whether something is remembered to be on its way.
    fn waits_for_something(&self) -> bool {
        !self.sessions.shared.get().unwrap().on_the_way.lock().is_empty()
    }

    fn is_recovering(&self) -> bool {
        self.sessions.shared.get().unwrap().is_recovering()
    }
}

#[tokio::test]
async fn nothing_is_remembered_of_what_was_asked_for_in_vain() {
    let server = Scratch::start().await;
    let one = Replica::of(&server, 10);
    one.sessions.keep("p", "ended", session("ana", ENDS)).await.unwrap();
    one.sessions.end("p", &one.id("ended"));
    for shown in ["made up", "ended"] {
        assert_eq!(one.who(&[shown]).await, Err("no_session"));
    }
    assert!(!one.waits_for_something());
    server.stop();
    assert_eq!(one.who(&["another"]).await, Err("unreachable"));
    assert!(!one.waits_for_something());
}

#[tokio::test]
async fn what_is_heard_of_a_session_while_it_is_written_counts() {
    let server = Scratch::start().await;
    let one = Replica::of(&server, 10);
    let (kept, ()) = tokio::join!(one.sessions.keep("p", "shown", session("ana", ENDS)), async { one.hears("shown") });
    assert!(kept.is_ok() && !one.has("shown"), "another replica may have had the last word");
    assert_eq!(one.who(&["shown"]).await.as_deref(), Ok("ana"), "but it had not");
    let (id, held) = one.sessions.find("p", "shown", 1000).unwrap();
    let renewed = one.sessions.renew("p", &id, &held, session("ana", ENDS + 1));
    let (renewed, ()) = tokio::join!(renewed, async { one.hears("shown") });
    assert!(renewed.is_some() && !one.has("shown"));
    assert_eq!(one.who(&["shown"]).await.as_deref(), Ok("ana"));
    assert!(!one.waits_for_something());
}

#[tokio::test]
async fn a_session_that_was_prolonged_elsewhere_does_not_outlive_its_end() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    one.sessions.keep("p", "shown", session("ana", 1010)).await.unwrap();
    assert_eq!(other.who(&["shown"]).await.as_deref(), Ok("ana"));
    let (id, held) = other.sessions.find("p", "shown", 1000).unwrap();
    assert!(other.sessions.renew("p", &id, &held, session("ana", ENDS)).await.is_some());
    // It has not heard of that.
    assert_eq!(one.sessions.end("p", &id).map(|ended| ended.expires), Some(1010));
    let key = server.say(&["KEYS", "*:s"]);
    until("the stone", async || server.say(&["HGET", key.trim(), "v"]).trim().is_empty()).await;
    let left: u64 = server.say(&["PTTL", key.trim()]).trim().parse().unwrap();
    assert!(left > HOUR * 900, "{left}");
    other.sessions.hear(&Event::Lost);
    until("the end", async || !other.has("shown")).await;
}

#[tokio::test]
async fn who_was_signed_in_without_the_store_takes_nobodys_place_who_came_later() {
    let mut server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::when_down("login", &server, 10));
    server.stop();
    one.sessions.keep("p", "shown", session("ana", ENDS)).await.unwrap();
    server.start_again().await;
    one.clock.advance(Duration::from_secs(10));
    other.clock.advance(Duration::from_secs(5));
    other.sessions.keep("p", "shown", session("ben", ENDS)).await.unwrap();
    until("the later one", async || {
        one.hears("shown");
        one.who(&["shown"]).await.as_deref() == Ok("ben")
    })
    .await;
    other.hears("shown");
    assert_eq!(other.who(&["shown"]).await.as_deref(), Ok("ben"));
}

#[tokio::test]
async fn what_was_ended_by_somebody_who_did_not_know_it_has_ended_for_good() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    for shown in ["a", "b"] {
        one.sessions.keep("p", shown, session("ana", ENDS)).await.unwrap();
    }
    let ended =
        |shown: &str, until| Event::SessionEnded { portal: "p".to_owned(), session: one.id(shown), until, asked: 0 };
    one.sessions.hear(&ended("b", ENDS));
    assert!(one.has("b"), "whoever decides knows of its end for as long as it would last");
    one.sessions.hear(&ended("a", 1060));
    assert!(!one.has("a"));
    until("the end", async || {
        other.hears("a");
        other.who(&["a"]).await == Err("no_session")
    })
    .await;
}

#[tokio::test]
async fn a_full_memory_hides_no_session_from_whoever_ends_them_all() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 3));
    for number in 0..7 {
        let memo = if number < 3 { "sub" } else { "many" };
        one.sessions.keep("p", &number.to_string(), named("ana", memo)).await.unwrap();
    }
    for number in 4..7 {
        assert_eq!(other.who(&[&number.to_string()]).await.as_deref(), Ok("ana"));
    }
    other.clock.advance(Duration::from_secs(1));
    let called = other.sessions.called("p", "sub").await;
    assert_eq!((called.ids.len(), called.outage), (3, None));
    let called = other.sessions.called("p", "many").await;
    assert!(called.ids.len() < 4 && called.outage.is_some(), "more than there is room for");
}

#[tokio::test]
async fn while_nobody_can_tell_nothing_is_the_newest() {
    let server = Scratch::start().await;
    let [one, alone] = [Replica::of(&server, 10), Replica::when_down("login", &server, 10)];
    one.sessions.keep("p", "shown", session("ana", ENDS)).await.unwrap();
    let (id, other) = (one.id("shown"), one.id("other"));
    assert!(one.sessions.newest("p", &id, 1000).await.is_ok_and(|newest| newest.is_some()));
    assert!(one.sessions.newest("p", &other, 1000).await.is_ok_and(|newest| newest.is_none()));
    server.say(&["FLUSHALL"]);
    assert!(one.sessions.newest("p", &id, 1000).await.is_err(), "the store has lost something");
    until("what was lost", async || one.sessions.newest("p", &id, 1000).await.is_ok()).await;
    server.stop();
    assert!(one.sessions.newest("p", &id, 1000).await.is_err(), "another replica may have renewed it");
    alone.sessions.keep("p", "shown", session("ana", ENDS)).await.unwrap();
    assert!(alone.sessions.newest("p", &id, 1000).await.is_ok_and(|newest| newest.is_some()), "nobody else has it");
}

#[tokio::test]
async fn what_was_told_last_is_told_again_to_a_server_that_takes_over() {
    let mut server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    one.sessions.keep("p", "ends", session("ana", ENDS)).await.unwrap();
    server.say(&["SAVE"]);
    one.sessions.keep("p", "begins", session("ben", ENDS)).await.unwrap();
    one.sessions.end("p", &one.id("ends"));
    until("the end", async || one.sessions.untold() == 0).await;
    server.stop();
    server.start_again().await;
    let who = async |shown| {
        // It finds out that the store is another one.
        let _ = one.sessions.newest("p", &one.id("nobody's"), 1000).await;
        other.hears(shown);
        other.who(&[shown]).await
    };
    until("the session", async || who("begins").await.as_deref() == Ok("ben")).await;
    until("the end", async || who("ends").await == Err("no_session")).await;
}

#[tokio::test]
async fn a_loss_is_not_over_before_everything_is_put_back() {
    let server = Scratch::start().await;
    let one = Replica::of(&server, 10);
    one.sessions.keep("p", "shown", session("ana", ENDS)).await.unwrap();
    server.say(&["FLUSHALL"]);
    one.sessions.hear(&Event::Lost);
    // However long it takes.
    one.clock.advance(Duration::from_secs(60));
    assert!(one.is_recovering());
    until("the session", async || !server.say(&["KEYS", "*:s"]).trim().is_empty()).await;
    until("the end of it", async || {
        one.clock.advance(Duration::from_secs(1));
        !one.is_recovering()
    })
    .await;
}

#[tokio::test]
async fn a_copy_that_has_ended_here_may_go_on_elsewhere() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    let known = |expires| HeldSession { known_as: Some("id".into()), ..session("ana", expires) };
    for shown in ["used elsewhere", "left alone"] {
        assert_eq!(one.sessions.keep_first("p", shown, known(1100)).await, Ok(true));
    }
    assert_eq!(other.who(&["used elsewhere"]).await.as_deref(), Ok("ana"));
    let (id, held) = other.sessions.find("p", "used elsewhere", 1000).unwrap();
    let fresh_until = Moment::from_millis(60_000);
    let renewed = HeldSession { fresh_until, ..known(ENDS) };
    assert!(other.sessions.renew_quietly("p", &id, &held, renewed).is_some());
    let longest = async || {
        let all = server.say(&[
            "EVAL",
            "local m = 0 for _, k in ipairs(redis.call('KEYS', '*:s')) do \
                                        m = math.max(m, redis.call('PTTL', k)) end return m",
            "0",
        ]);
        all.trim().trim_start_matches("(integer) ").parse::<u64>().unwrap() > HOUR * 900
    };
    until("the store's knowledge", longest).await;
    one.clock.advance(Duration::from_secs(200));
    let mut ended = Vec::new();
    for _ in 0..100 {
        ended.extend(one.sessions.next_ended(one.clock.unix()).map(|person| person.expires));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ended, [1100], "one of them");
    assert!(one.has("used elsewhere") && !one.has("left alone"));
}
