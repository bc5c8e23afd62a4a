//! One login for everybody.

use super::*;

#[tokio::test]
async fn of_a_hundred_who_ask_at_once_one_logs_in_and_all_get_what_it_gets() {
    let (_server, shelves) = replicas::<3>().await;
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..102 {
        let shelf = Arc::clone(&shelves[index % 3]);
        tasks.spawn(async move {
            let spot = shelf.anas();
            for logins in 0.. {
                let told = shelf.told(&spot);
                match shelf.claim(&spot, 0, MINUTE).await.unwrap() {
                    Claim::Here(shelved) => return (logins, shelved.record.keys.cookies().to_owned()),
                    Claim::Yours(fence) => {
                        a_moment().await;
                        assert_eq!(shelf.keep(fence, &format!("k{index}")).await, Commit::Kept);
                        return (logins + 1_000, format!("sid=k{index}"));
                    }
                    // Nobody tells those at other replicas here, so they look again.
                    Claim::Theirs(left) => {
                        assert!(left <= MINUTE && left > MINUTE / 2);
                        let _ = tokio::time::timeout(Duration::from_millis(20), told).await;
                    }
                    Claim::Revoked => panic!("nobody ended it"),
                }
            }
            unreachable!()
        });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|(logins, _)| *logins >= 1_000).count(), 1);
    assert_eq!(outcomes.iter().map(|(_, keys)| keys).collect::<BTreeSet<_>>().len(), 1, "{outcomes:?}");
    assert!(shelves.iter().all(|shelf| shelf.waiting.len() == 0));
}

#[tokio::test]
async fn a_late_holder_is_superseded_by_the_next() {
    let (_server, [late, next]) = replicas().await;
    let spot = late.anas();
    let Claim::Yours(first) = late.claim(&spot, 0, Duration::from_millis(1)).await.unwrap() else { panic!() };
    a_moment().await;
    let second = next.yours(0).await;
    assert!(second > first);
    assert_eq!(late.keep(first, "late").await, Commit::Superseded);
    assert_eq!(next.keep(second, "next").await, Commit::Kept);
    assert_eq!(late.keep(first, "late").await, Commit::Superseded);
    // Nor does it take anything from those who came later.
    late.give_up(&spot, first).await.unwrap();
    assert!(matches!(late.take(&spot, first).await.unwrap(), Taken::Gone));
    let found = late.here(first).await;
    assert_eq!((found.fence, found.record), (second, record("next")));
}

#[tokio::test]
async fn a_late_holder_whom_nobody_missed_has_the_keys_for_everybody() {
    let (_server, [late, next]) = replicas().await;
    let Claim::Yours(fence) = late.claim(&late.anas(), 0, Duration::from_millis(1)).await.unwrap() else { panic!() };
    a_moment().await;
    assert_eq!(late.keep(fence, "late").await, Commit::Kept);
    assert_eq!(next.here(0).await.record, record("late"));
}

#[tokio::test]
async fn a_holder_that_died_is_replaced_when_its_lease_has_ended() {
    let (_server, [dies, next]) = replicas().await;
    let lease = Duration::from_millis(300);
    let Claim::Yours(_) = dies.claim(&dies.anas(), 0, lease).await.unwrap() else { panic!() };
    loop {
        match next.claim(&next.anas(), 0, MINUTE).await.unwrap() {
            Claim::Theirs(left) => {
                assert!(left <= lease);
                let _ = tokio::time::timeout(left, next.told(&next.anas())).await;
            }
            Claim::Yours(_) => break,
            other => panic!("{}", other.word()),
        }
    }
}

#[tokio::test]
async fn whoever_gives_up_lets_the_next_one_log_in() {
    let (_server, [one, other]) = replicas().await;
    let fence = one.yours(0).await;
    assert!(matches!(other.claim(&other.anas(), 0, MINUTE).await.unwrap(), Claim::Theirs(_)));
    one.give_up(&one.anas(), fence).await.unwrap();
    let next = other.yours(0).await;
    assert!(next > fence);
    one.give_up(&one.anas(), fence).await.unwrap();
    assert!(matches!(one.claim(&one.anas(), 0, MINUTE).await.unwrap(), Claim::Theirs(_)));
    assert_eq!(one.keep(fence, "late").await, Commit::Superseded);
}

#[tokio::test]
async fn keys_that_open_nothing_any_more_are_replaced_once() {
    let (_server, [one, other]) = replicas().await;
    let old = one.with("old").await;
    let fence = one.yours(old).await;
    // Others go on with what is there, unless it is of no use to them either.
    assert_eq!(other.here(0).await.fence, old);
    assert!(matches!(other.claim(&other.anas(), old, MINUTE).await.unwrap(), Claim::Theirs(_)));
    assert_eq!(one.keep(fence, "new").await, Commit::Kept);
    assert_eq!(other.here(old).await.record, record("new"));
    assert_eq!(one.keep(fence, "new").await, Commit::Kept, "said twice");
}

#[tokio::test]
async fn a_lease_that_nobody_heard_of_keeps_nobody_waiting_who_asks_again() {
    let (_server, [one, other]) = replicas().await;
    let spot = one.anas();
    // The server has it as soon as it was asked; the answer is thrown away.
    let mut asked = one.claims.begin(spot.entry);
    let arguments: [&[u8]; 4] = [spot.entry.as_bytes(), b"0", b"60000", &asked.name()];
    let answer = one.store.run(&scripts::CLAIM, &spot.session, &arguments).await.unwrap();
    let lost = asked.hear(async { Err::<(), _>(StoreOutage::TimedOut) }).await;
    assert_eq!(lost, Err(StoreOutage::TimedOut));
    drop(asked);
    assert!(matches!(other.claim(&spot, 0, MINUTE).await.unwrap(), Claim::Theirs(_)));
    let fence = one.yours(0).await;
    assert!(Some(fence) > answer.number(1));
    assert!(matches!(one.claim(&spot, 0, MINUTE).await.unwrap(), Claim::Theirs(_)), "it is heard of now");
    assert_eq!(one.keep(fence, "k").await, Commit::Kept);
}

#[tokio::test]
async fn a_question_that_is_dropped_is_not_lost_either() {
    let (server, [one]) = replicas().await;
    let spot = one.anas();
    let mut asked = Box::pin(one.claim(&spot, 0, MINUTE));
    assert!(futures_util::poll!(asked.as_mut()).is_pending());
    // The connection goes on by itself once there is one.
    while server.say(&["DBSIZE"]).trim() != "1" {
        a_moment().await;
        if server.say(&["DBSIZE"]).trim() != "1" {
            assert!(futures_util::poll!(asked.as_mut()).is_pending());
        }
    }
    drop(asked);
    one.yours(0).await;
}

#[tokio::test]
async fn fences_grow_though_the_server_has_lost_them() {
    let (server, [one, other]) = replicas().await;
    let lost = one.yours(0).await;
    server.say(&["FLUSHALL"]);
    // Nobody has another lease, so there is no harm.
    assert_eq!(one.keep(lost, "first").await, Commit::Kept);
    server.say(&["FLUSHALL"]);
    let next = other.yours(0).await;
    assert!(next > lost);
    assert_eq!(one.keep(lost, "first").await, Commit::Superseded);
    // The server's clock may have been set back, too.
    server.say(&["FLUSHALL"]);
    let ahead = next + 1_000_000_000;
    assert!(one.yours(ahead).await > ahead);
}

#[tokio::test]
async fn who_waits_is_woken_at_once_and_leaves_nothing_behind() {
    let (_server, [one]) = replicas().await;
    let spot = one.anas();
    let fence = one.yours(0).await;
    let [told, too, dropped] = [one.told(&spot), one.told(&spot), one.told(&spot)];
    drop(dropped);
    assert_eq!(one.waiting.len(), 1);
    one.give_up(&spot, fence).await.unwrap();
    // It was settled before anybody looked.
    tokio::join!(told, too);
    assert_eq!(one.waiting.len(), 0);
    let mut told = Box::pin(one.told(&spot));
    assert!(futures_util::poll!(told.as_mut()).is_pending());
    one.wake(&spot.session);
    assert!(futures_util::poll!(told.as_mut()).is_pending());
    one.wake(&spot.entry);
    told.await;
    drop(one.told(&spot));
    assert_eq!(one.waiting.len(), 0);
}
