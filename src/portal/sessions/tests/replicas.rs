//! What is kept by one replica and asked of another, with a real server between them.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Kept, Sessions, Turn};
use super::session;
use crate::config::{Document, Draft};
use crate::domain::{Clock, ManualClock, Moment};
use crate::observe::Metrics;
use crate::pages::Pages;
use crate::portal::{HeldSession, NotKept, Portal, PortalPlan, Shown, Verdict};
use crate::store::scratch::Scratch;
use crate::store::{Event, Store};
use crate::wire::Errands;

pub(super) const HOUR: u64 = 3600;

/// One replica: its own memory and its own clock.
pub(super) struct Replica {
    pub sessions: Arc<Sessions>,
    portal: Arc<Portal>,
    pub clock: Arc<ManualClock>,
    store: Arc<Store>,
}

impl Replica {
    pub(super) fn of(server: &Scratch, limit: usize) -> Self {
        Self::when_down("refuse", server, limit)
    }

    pub(super) fn when_down(when_down: &str, server: &Scratch, limit: usize) -> Self {
        let clock = Arc::new(ManualClock::at(1000));
        let store = server.store_when_down(when_down, clock.clone());
        let sessions = Sessions::new(limit);
        sessions.share(&store);
        let text = "[[route]]\nhost = \"h\"\nportal = \"p\"\n[[portal]]\nname = \"p\"\nkind = \"registered\"\n\
                    cookie = \"c\"\nlogin_url = \"https://p.test/in?next={url}\"\n";
        let mut draft = Draft::read(Document::parse("k.toml", text).unwrap());
        let at: Arc<dyn Clock> = clock.clone();
        let plan = PortalPlan::read(draft.portals.remove(0), &sessions, &Errands::new(), &Pages::shipped(), &at);
        Self { sessions, portal: plan.unwrap().build(&Metrics::new()), clock, store }
    }

    /// Whose this is, by the portal.
    pub(super) async fn who(&self, shown: &[&str]) -> Result<String, &'static str> {
        let shown = Shown { values: shown.iter().copied().collect(), ..Shown::only("") };
        match self.portal.identify(&shown, self.clock.unix()).await {
            Verdict::Genuine(session) => Ok(session.identity().user().to_owned()),
            Verdict::Rejected(reason) => Err(reason.as_str()),
            Verdict::Unreachable { .. } => Err("unreachable"),
            Verdict::Unasked => Err("unasked"),
        }
    }

    pub(super) fn has(&self, shown: &str) -> bool {
        self.sessions.find("p", shown, self.clock.unix()).is_some()
    }

    /// Hears that a session has changed.
    pub(super) fn hears(&self, shown: &str) {
        let id = self.sessions.id_of("p", shown);
        self.sessions.hear(&Event::SessionChanged { portal: "p".to_owned(), id });
    }
}

pub(super) fn named(user: &str, memo: &str) -> HeldSession {
    HeldSession { memos: [memo.to_owned()].into(), ..session(user, 1000 + HOUR) }
}

pub(super) async fn until(what: &str, so: impl AsyncFn() -> bool) {
    for _ in 0..1000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} does not come");
}

#[tokio::test]
async fn what_one_replica_keeps_another_finds_and_nobody_else_can_read() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    let password = Some("pässword".into());
    let kept = one.sessions.keep("p", "shown", HeldSession { password, ..named("ana", "memo") }).await;
    assert!(matches!(kept, Ok(Kept::New)));
    assert_eq!(one.sessions.id_of("p", "shown"), other.sessions.id_of("p", "shown"));
    assert_eq!(one.sessions.mark("p", &["a"]), other.sessions.mark("p", &["a"]));
    let sealed = one.sessions.seal_to_show("flow", b"text").unwrap();
    assert_eq!(other.sessions.unseal_shown("flow", sealed.clone()).as_deref(), Some(&b"text"[..]));
    assert_eq!(other.sessions.unseal_shown("other flow", sealed), None);
    assert!(!other.has("shown"), "looking it up asks nobody");
    assert_eq!(other.who(&["shown"]).await.as_deref(), Ok("ana"));
    assert!(other.has("shown"));
    assert_eq!(other.who(&["made up"]).await, Err("no_session"));
    let mut all = String::new();
    for key in server.say(&["--raw", "KEYS", "*"]).lines() {
        all += key;
        all += &server.say(&["--raw", "HGETALL", key]);
        all += &server.say(&["--raw", "ZRANGE", key, "0", "-1"]);
    }
    assert!(all.len() > 100, "{all}");
    for secret in ["ana", "shown", "memo", "pässword"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[tokio::test]
async fn forty_who_show_the_same_have_the_store_asked_once() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    one.sessions.keep("p", "shown", session("ana", 1000 + HOUR)).await.unwrap();
    server.say(&["CONFIG", "RESETSTAT"]);
    let all = futures_util::future::join_all((0..40).map(|_| other.who(&["shown"]))).await;
    assert!(all.iter().all(|who| who.as_deref() == Ok("ana")));
    let read = |stats: &str| stats.lines().filter(|line| line.starts_with("cmdstat_hmget:calls=1,")).count();
    assert_eq!(read(&server.say(&["INFO", "commandstats"])), 1);
}

#[tokio::test]
async fn what_ends_at_one_replica_is_gone_at_all_and_stays_gone() {
    let server = Scratch::start().await;
    let [one, other, third] = [(); 3].map(|()| Replica::of(&server, 10));
    one.sessions.keep("p", "shown", session("ana", 1000 + HOUR)).await.unwrap();
    assert_eq!(other.who(&["shown"]).await.as_deref(), Ok("ana"));
    assert!(one.sessions.end("p", &one.sessions.id_of("p", "shown")).is_some());
    assert_eq!(one.who(&["shown"]).await, Err("no_session"), "at once, whatever the store has heard");
    until("the end", async || {
        third.hears("shown");
        third.who(&["shown"]).await == Err("no_session")
    })
    .await;
    let id = other.sessions.id_of("p", "shown");
    if let Some(copy) = other.sessions.of_id(&id, 1000) {
        assert!(other.sessions.renew("p", &id, &copy, session("ana", 9000)).await.is_none(), "nothing revives it");
    }
    other.hears("shown");
    assert_eq!(other.who(&["shown"]).await, Err("no_session"));
    one.sessions.keep("p", "shown", session("ben", 1000 + HOUR)).await.unwrap();
    assert_eq!(other.who(&["shown"]).await.as_deref(), Ok("ben"), "it is another session");
}

#[tokio::test]
async fn what_was_read_before_every_change_is_heard_is_read_again() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    one.sessions.keep("p", "shown", session("ana", 1000 + HOUR)).await.unwrap();
    assert_eq!(other.who(&["shown"]).await.as_deref(), Ok("ana"));
    one.sessions.keep("p", "shown", session("ben", 1000 + HOUR)).await.unwrap();
    assert_eq!(other.who(&["shown"]).await.as_deref(), Ok("ana"), "it has heard nothing");
    other.sessions.hear(&Event::Listening);
    assert_eq!(other.who(&["shown"]).await.as_deref(), Ok("ben"));
}

#[tokio::test]
async fn a_renewed_session_is_renewed_everywhere_and_an_older_one_does_not_take_its_place() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    other.clock.advance(Duration::from_secs(77));
    one.sessions.keep("p", "shown", session("ana", 1000 + HOUR)).await.unwrap();
    let id = one.sessions.id_of("p", "shown");
    assert_eq!(other.who(&["shown"]).await.as_deref(), Ok("ana"));
    let [mine, theirs] = [&one, &other].map(|replica| replica.sessions.of_id(&id, 1000).unwrap());
    let fresh_until = Moment::from_millis(60_000);
    let sealed = one.sessions.seal(&id, b"new tokens");
    let renewed = HeldSession { fresh_until, sealed, ..session("ana", 1000 + HOUR) };
    assert!(one.sessions.renew("p", &id, &mine, renewed).await.is_some());
    let late = HeldSession { sealed: other.sessions.seal(&id, b"late"), ..session("ana", 1000 + HOUR) };
    let now = other.sessions.renew("p", &id, &theirs, late).await.unwrap();
    assert_eq!(other.sessions.unseal(&id, now.sealed.as_ref().unwrap()).as_deref(), Some(&b"new tokens"[..]));
    let left = now.fresh_until.since(other.clock.now());
    assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(1), "{left:?} on its own time line");
}

#[tokio::test]
async fn one_replica_has_its_turn_and_the_others_hear_when_it_is_done() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    one.sessions.keep("p", "shown", session("ana", 1000 + HOUR)).await.unwrap();
    let (id, life) = (one.sessions.id_of("p", "shown"), Duration::from_secs(60));
    let Ok(Turn::Ours(mark)) = one.sessions.turn("p", &id, life).await else { panic!("nobody has it") };
    assert!(matches!(other.sessions.turn("p", &id, life).await, Ok(Turn::Theirs)));
    let news = async {
        until("somebody who waits", async || !other.sessions.shared.get().unwrap().waiting.is_empty()).await;
        other.hears("shown");
    };
    tokio::join!(other.sessions.wait_for_news(&id, Duration::from_secs(3600)), news);
    assert!(other.sessions.shared.get().unwrap().waiting.is_empty());
    one.sessions.done("p", &id, mark).await;
    assert!(matches!(other.sessions.turn("p", &id, life).await, Ok(Turn::Ours(_))));
}

#[tokio::test]
async fn whoever_took_too_long_gives_back_nobody_elses_turn() {
    let server = Scratch::start().await;
    let [one, other, third] = [(); 3].map(|()| Replica::of(&server, 10));
    let (id, life) = (one.sessions.id_of("p", "shown"), Duration::from_secs(60));
    let Ok(Turn::Ours(late)) = one.sessions.turn("p", &id, Duration::from_millis(1)).await else { panic!("nobody") };
    let takes = async || matches!(other.sessions.turn("p", &id, life).await, Ok(Turn::Ours(_)));
    until("the end of a turn", takes).await;
    one.sessions.done("p", &id, late).await;
    assert!(matches!(third.sessions.turn("p", &id, life).await, Ok(Turn::Theirs)));
}

#[tokio::test]
async fn what_comes_late_does_not_take_the_place_of_what_is_newer() {
    let server = Scratch::start().await;
    let one = Replica::of(&server, 10);
    let name = one.sessions.name("p", "shown");
    let take_in = |user: &str, version| {
        let taken = session(user, 1000 + HOUR);
        taken.stands_as(version, 1000 + HOUR);
        one.sessions.take_in(name, one.sessions.place("p", Arc::new(taken)));
        one.sessions.find("p", "shown", 1000).unwrap().1.identity.user().to_owned()
    };
    assert_eq!([take_in("ben", 9), take_in("ana", 8), take_in("cleo", 10)], ["ben", "ben", "cleo"]);
}

#[tokio::test]
async fn an_end_that_another_replica_noted_ends_what_it_could_not_find() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    one.sessions.keep("p", "a", named("ana", "sid:s")).await.unwrap();
    one.sessions.keep("p", "b", named("ana", "sid:t")).await.unwrap();
    server.say(&["FLUSHALL"]);
    assert!(other.sessions.called("p", "sid:s").await.ids.is_empty());
    for note in ["p\nsub:s", "q\nsid:s", "p\nsid:s"] {
        assert!(one.has("a"), "{note}");
        one.sessions.hear(&Event::Noted { name: note.to_owned(), time: 1000, until: 1000 + HOUR });
    }
    assert!(!one.has("a") && one.has("b"));
    other.sessions.hear(&Event::Lost);
    assert!(other.sessions.called("p", "sid:u").await.outage.is_some(), "some may be on their way back");
}

#[tokio::test]
async fn sessions_are_found_by_their_memo_wherever_they_are() {
    let server = Scratch::start().await;
    let [one, other, third] = [(); 3].map(|()| Replica::of(&server, 10));
    one.sessions.keep("p", "a", named("ana", "sub")).await.unwrap();
    other.sessions.keep("p", "b", named("ana", "sub")).await.unwrap();
    other.sessions.keep("p", "c", named("ben", "other")).await.unwrap();
    let called = third.sessions.called("p", "sub").await;
    let mut expected = ["a", "b"].map(|shown| third.sessions.id_of("p", shown));
    let mut ids = called.ids;
    ids.sort();
    expected.sort();
    assert!(called.outage.is_none() && ids == expected);
    assert!(third.has("a") && third.has("b") && !third.has("c"), "whoever ends them has them");
    third.sessions.end("p", &third.sessions.id_of("p", "a"));
    until("the end", async || {
        one.hears("a");
        one.sessions.called("p", "sub").await.ids == [one.sessions.id_of("p", "b")]
    })
    .await;
    assert!(third.sessions.called("q", "sub").await.ids.is_empty());
}

#[tokio::test]
async fn two_cookies_are_told_apart_whatever_lies_in_memory() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    one.sessions.keep("p", "victim", session("ana", 1000 + HOUR)).await.unwrap();
    other.sessions.keep("p", "planted", session("eve", 1000 + HOUR)).await.unwrap();
    assert_eq!(other.who(&["planted", "victim"]).await, Err("forged"));
    assert_eq!(one.who(&["victim", "left over"]).await.as_deref(), Ok("ana"));
}

#[tokio::test]
async fn what_was_swapped_in_the_store_is_nobodys_session() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    one.sessions.keep("p", "a", session("ana", 1000 + HOUR)).await.unwrap();
    one.sessions.keep("p", "b", session("ben", 1000 + HOUR)).await.unwrap();
    let keys = server.say(&["KEYS", "*:s"]);
    let [first, second] = keys.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
    server.say(&["COPY", first, second, "REPLACE"]);
    let mut seen = [other.who(&["a"]).await, other.who(&["b"]).await];
    seen.sort();
    assert!(matches!(&seen, [Ok(_), Err("unreachable")]), "{seen:?}");
}

#[tokio::test]
async fn an_outage_is_no_sign_out() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    one.sessions.keep("p", "shown", session("ana", 1000 + HOUR)).await.unwrap();
    drop(server);
    assert_eq!(other.who(&["shown"]).await, Err("unreachable"));
    assert_eq!(one.who(&["shown"]).await.as_deref(), Ok("ana"), "what is in memory goes on");
    assert_eq!(one.who(&["shown", "unknown"]).await.as_deref(), Ok("ana"));
    assert_eq!(other.who(&[]).await, Err("no_session"), "nobody has shown anything");
    let kept = one.sessions.keep("p", "new", session("ben", 1000 + HOUR)).await;
    assert_eq!(kept.err(), Some(NotKept::Outage));
    assert!(one.sessions.called("p", "sub").await.outage.is_some());
    let id = one.sessions.id_of("p", "shown");
    assert!(one.sessions.turn("p", &id, Duration::from_secs(1)).await.is_err());
    let held = one.sessions.of_id(&id, 1000).unwrap();
    let renewed = one.sessions.renew("p", &id, &held, session("ana", 9000)).await;
    assert_eq!(renewed.map(|renewed| renewed.expires), Some(9000), "what was given for it must not be lost");
    assert!(one.sessions.end("p", &id).is_some());
    assert_eq!(one.who(&["shown"]).await, Err("no_session"), "it was ended here");
}

#[tokio::test]
async fn who_is_signed_in_without_the_store_is_signed_in_everywhere_when_it_is_back() {
    let mut server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::when_down("login", &server, 10));
    server.stop();
    one.sessions.keep("p", "shown", named("ana", "sub")).await.unwrap();
    assert_eq!(one.who(&["shown"]).await.as_deref(), Ok("ana"));
    assert_eq!(other.who(&["shown"]).await, Err("unreachable"), "it cannot know");
    assert!(matches!(
        one.sessions.turn("p", &one.sessions.id_of("p", "shown"), Duration::from_secs(9)).await,
        Ok(Turn::Ours(_))
    ));
    server.start_again().await;
    until("the session", async || other.who(&["shown"]).await.as_deref() == Ok("ana")).await;
    assert_eq!(other.sessions.called("p", "sub").await.ids.len(), 1);
}

#[tokio::test]
async fn what_the_store_has_lost_is_put_back_and_nothing_that_was_ended() {
    let server = Scratch::start().await;
    let [one, other, third] = [(); 3].map(|()| Replica::of(&server, 10));
    one.sessions.keep("p", "a", named("ana", "sub")).await.unwrap();
    one.sessions.keep("p", "b", session("ben", 1000 + HOUR)).await.unwrap();
    assert_eq!(other.who(&["b"]).await.as_deref(), Ok("ben"));
    server.say(&["FLUSHALL"]);
    one.sessions.end("p", &one.sessions.id_of("p", "b"));
    until("the stone", async || server.say(&["KEYS", "*:s"]).contains(":s")).await;
    third.sessions.hear(&Event::Lost);
    assert_eq!(third.who(&["a"]).await, Err("unreachable"), "it may be on its way back");
    one.sessions.hear(&Event::Lost);
    other.sessions.hear(&Event::Lost);
    until("what was lost", async || third.who(&["a"]).await.as_deref() == Ok("ana")).await;
    assert_eq!(third.sessions.called("p", "sub").await.ids.len(), 1);
    until("the end of the copy", async || !other.has("b")).await;
    assert_eq!(third.who(&["b"]).await, Err("no_session"));
}

#[tokio::test]
async fn a_full_memory_refuses_nobody_whose_session_is_in_the_store() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 3));
    for number in 0..10_u32 {
        one.sessions.keep("p", &number.to_string(), session(&number.to_string(), 1000 + HOUR)).await.unwrap();
    }
    for number in (0..10_u32).chain(0..10) {
        assert_eq!(other.who(&[&number.to_string()]).await, Ok(number.to_string()));
    }
    for replica in [&one, &other] {
        assert_eq!((replica.sessions.held.len(), replica.sessions.by_end.lock().len()), (3, 3));
    }
    assert_eq!(one.store.clock().unix(), 1000);
}

#[tokio::test]
async fn what_is_asked_first_counts_for_all_replicas() {
    let server = Scratch::start().await;
    let [one, other] = [(); 2].map(|()| Replica::of(&server, 10));
    let known_as = |id: &str| HeldSession { known_as: Some(id.into()), ..named("ana", id) };
    assert_eq!(one.sessions.keep_first("p", "shown", known_as("one")).await, Ok(true));
    assert_eq!(other.sessions.keep_first("p", "shown", known_as("other")).await, Ok(false));
    let (id, held) = other.sessions.find("p", "shown", 1000).unwrap();
    assert_eq!(held.known_as.as_deref(), Some("one"));
    let out = session("ana", 1000 + HOUR);
    assert!(other.sessions.renew_and_tell("p", &id, &held, out).is_some());
    until("the sign-out", async || {
        one.hears("shown");
        one.sessions.bring_shown("p", &["shown"]).await.unwrap();
        one.sessions.find("p", "shown", 1000).is_some_and(|(_, held)| held.known_as.is_none())
    })
    .await;
}
