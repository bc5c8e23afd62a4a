//! What the store loses, and what somebody misses.

use super::*;

#[tokio::test]
async fn after_the_store_was_emptied_what_stands_is_told_again() {
    let server = Scratch::start().await;
    let [one, two] = [Replica::start(&server), Replica::start(&server)];
    let (one, two) = (one.caught_up().await, two.caught_up().await);
    let events: Vec<_> = (0..300).map(|id| ended(&id.to_string())).collect();
    for event in &events {
        one.tell(event).await;
    }
    two.hears(&events).await;
    drop(one);
    server.say(&["FLUSHALL"]);
    until(|| how_many(&server, &two).1 == "301").await;
    let late = Replica::start(&server).caught_up().await;
    assert_eq!(late.heard().len(), 300);
    assert_eq!(two.heard().last(), Some(&Event::Lost));
    assert_eq!(two.heard().len(), 301, "what it knows already it does not hear again");
}

#[tokio::test]
async fn a_store_that_was_emptied_and_filled_by_others_is_noticed_at_once() {
    let server = Scratch::start().await;
    let [one, two] = [Replica::start(&server), Replica::start(&server)];
    let (one, two) = (one.caught_up().await, two.caught_up().await);
    let before = ended("before");
    one.tell(&before).await;
    two.hears(std::slice::from_ref(&before)).await;
    server.say(&["FLUSHALL"]);
    one.tell(&ended("after")).await;
    until(|| two.heard().contains(&Event::Lost) && one.heard().contains(&Event::Lost)).await;
    until(|| how_many(&server, &two).1 == "3").await;
    assert_eq!(two.heard()[0], before);
    assert!(matches!(&two.heard()[1], Event::SessionEnded { session, .. } if session == "after"));
}

#[tokio::test]
async fn what_an_older_dump_lacks_is_told_again() {
    let mut server = Scratch::start().await;
    let [one, two] = [Replica::start(&server), Replica::start(&server)];
    let (one, two) = (one.caught_up().await, two.caught_up().await);
    one.tell(&ended("kept")).await;
    server.say(&["SAVE"]);
    let lost = ended("lost");
    one.tell(&lost).await;
    until(|| two.heard().contains(&lost)).await;
    drop(one);
    server.stop();
    server.start_again().await;
    until(|| how_many(&server, &two).1 == "3").await;
    assert!(two.heard().contains(&Event::Lost));
    let late = Replica::start(&server).caught_up().await;
    assert!(late.heard().contains(&lost));
}

/// Hears nothing more until it is told that it is not busy.
fn busy_while(is_busy: &Arc<AtomicBool>) -> impl Fn(&Event) + Send + Sync + use<> {
    let is_busy = Arc::clone(is_busy);
    move |_| {
        while is_busy.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Takes the last entry out as if it had never come.
const LOSE_LAST: &str = "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
    local field = {}
    for at = 1, #last[2], 2 do field[last[2][at]] = last[2][at + 1] end
    redis.call('XDEL', KEYS[1], last[1])
    redis.call('ZREM', KEYS[2], field.m, field.e)
    redis.call('ZADD', KEYS[2], 'inf', field.p)";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_had_and_lost_before_anybody_read_it_is_told_again() {
    let server = Scratch::start().await;
    let is_busy = Arc::new(AtomicBool::new(true));
    let hear = busy_while(&is_busy);
    let clock = Arc::new(SystemClock::new());
    let one = Replica::start_with(&server, clock, hear).caught_up().await;
    let two = Replica::start(&server).caught_up().await;
    two.tell(&changed(1)).await;
    until(|| one.heard().len() == 1).await;
    // Now the reader of this one is busy, and of the other gone.
    two.running.abort();
    one.tell(&ended("a")).await;
    one.tell(&changed(2)).await;
    for _ in 0..2 {
        server.say(&["EVAL", LOSE_LAST, "2", &one.key("journal"), &one.key("standing")]);
    }
    assert_eq!(how_many(&server, &one), ("1".to_owned(), "1".to_owned()));
    is_busy.store(false, Ordering::SeqCst);
    until(|| how_many(&server, &one) == ("3".to_owned(), "2".to_owned())).await;
    assert_eq!(one.heard(), [changed(1)], "it has missed nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stood_already_when_it_was_told_and_was_lost_before_anybody_read_it_is_told_again() {
    let server = Scratch::start().await;
    let is_busy = Arc::new(AtomicBool::new(true));
    let hear = busy_while(&is_busy);
    let one = Replica::start_with(&server, Arc::new(SystemClock::new()), hear).caught_up().await;
    let two = Replica::start(&server).caught_up().await;
    two.tell(&changed(1)).await;
    until(|| one.heard().len() == 1).await;
    two.tell(&ended("a")).await;
    one.tell(&ended("a")).await;
    drop(two);
    server.say(&["EVAL", LOSE_LAST, "2", &one.key("journal"), &one.key("standing")]);
    assert_eq!(how_many(&server, &one), ("1".to_owned(), "1".to_owned()));
    server.say(&["CLIENT", "KILL", "TYPE", "normal"]);
    is_busy.store(false, Ordering::SeqCst);
    until(|| how_many(&server, &one) == ("2".to_owned(), "2".to_owned())).await;
    assert_eq!(one.counted("lost"), 0, "it cannot know");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_too_slow_hears_what_stands_of_what_was_missed() {
    let server = Scratch::start().await;
    let is_busy = Arc::new(AtomicBool::new(true));
    let hear = busy_while(&is_busy);
    let clock = Arc::new(SystemClock::new());
    let slow = Replica::start_with(&server, clock, hear).caught_up().await;
    let quick = Replica::start(&server).caught_up().await;
    let missed = ended("missed");
    quick.tell(&changed(0)).await;
    until(|| slow.heard().len() == 1).await;
    quick.tell(&missed).await;
    quick.tell(&changed(1)).await;
    quick.tell(&changed(2)).await;
    server.say(&["XTRIM", &quick.key("journal"), "MAXLEN", "1"]);
    is_busy.store(false, Ordering::SeqCst);
    slow.hears(&[changed(0), changed(2), missed, Event::Lost]).await;
    assert_eq!((slow.counted("lost"), quick.counted("lost")), (1, 0));
    assert_eq!(how_many(&server, &slow).0, "1", "the store had it all");
}
