//! What is taken out, by whom, and what is found of it.

use super::*;

#[tokio::test]
async fn of_all_who_take_keys_out_one_has_them() {
    let (_server, shelves) = replicas::<3>().await;
    let fence = shelves[0].with("k").await;
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..30 {
        let shelf = Arc::clone(&shelves[index % 3]);
        tasks.spawn(async move {
            match shelf.take(&shelf.anas(), fence).await.unwrap() {
                Taken::Ours(shelved) => Some(shelved.record),
                Taken::Gone => None,
                Taken::InUse(_) => panic!("nobody asked whether it is"),
            }
        });
    }
    let taken: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken, [record("k")]);
    assert!(shelves[1].yours(0).await > fence);
}

#[tokio::test]
async fn an_end_takes_all_records_and_nothing_comes_after_it() {
    let (_server, [one, other]) = replicas().await;
    let kept = one.with("k").await;
    let elsewhere = one.spot("main", "s1", [8; 8], &ana());
    let Claim::Yours(late) = one.claim(&elsewhere, 0, MINUTE).await.unwrap() else { panic!() };
    let ended = other.end("main", "s1", 4_000_000_000).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].spot, ended[0].fence, &ended[0].record), (one.anas(), kept, &record("k")));
    assert!(one.end("main", "s1", 4_000_000_000).await.unwrap().is_empty());
    assert_eq!(one.commit(&elsewhere, late, &record("late"), HOUR).await, Ok(Commit::Revoked));
    assert!(matches!(one.claim(&elsewhere, 0, MINUTE).await.unwrap(), Claim::Revoked));
    assert!(matches!(one.tend(&one.anas(), kept, HOUR, HOUR, MINUTE).await.unwrap(), Tend::Gone));
    assert_eq!(one.confirm(&one.anas(), kept, Some(&record("renewed")), HOUR).await, Ok(None));
    assert!(matches!(one.take(&one.anas(), kept).await.unwrap(), Taken::Gone));
    assert!(one.of_session("main", "s1").await.unwrap().is_empty());
    // It is that session alone.
    let next = one.spot("main", "s2", BACKEND, &ana());
    assert!(matches!(one.claim(&next, 0, MINUTE).await.unwrap(), Claim::Yours(_)));
}

#[tokio::test]
async fn of_all_ends_the_latest_stands_and_none_is_too_short_for_who_is_late() {
    let (server, [one]) = replicas().await;
    let mark = one.session("main", "s1");
    let left = || server.say(&["PTTL", &format!("keyward:{{{mark:?}}}:r")]).trim().parse::<i64>().unwrap();
    one.end("main", "s1", 0).await.unwrap();
    assert!((300_000..=600_000).contains(&left()), "{}", left());
    // The furthest there is: the server takes it.
    one.end("main", "s1", UnixSeconds::MAX).await.unwrap();
    let longest = left();
    assert!(longest > 300 * 86_400_000, "{longest}");
    one.end("main", "s1", 0).await.unwrap();
    assert!(left() > 300 * 86_400_000);
}

#[tokio::test]
async fn what_was_taken_out_and_not_heard_of_is_had_by_asking_again() {
    let (_server, [one, other]) = replicas().await;
    let spot = one.anas();
    for ends in [false, true] {
        let fence = one.with("k").await;
        // The server has done it; the answer is thrown away.
        let place = if ends { spot.session } else { spot.entry };
        let mut asked = one.takes.begin(place);
        let (name, fence_text) = (asked.name(), number(fence));
        let (script, arguments): (&Script, Vec<&[u8]>) = if ends {
            (&scripts::END, vec![b"0", &name])
        } else {
            (&scripts::TAKE, vec![spot.entry.as_bytes(), &fence_text, &name])
        };
        one.store.run(script, &spot.session, &arguments).await.unwrap();
        assert!(asked.hear(async { Err::<(), _>(StoreOutage::TimedOut) }).await.is_err());
        drop(asked);
        for (shelf, again) in [(&other, false), (&one, true), (&one, false)] {
            let taken = if ends {
                shelf.end("main", "s1", 0).await.unwrap().pop()
            } else {
                match shelf.take(&spot, fence).await.unwrap() {
                    Taken::Ours(taken) => Some(*taken),
                    _ => None,
                }
            };
            assert_eq!(taken.map(|taken| (taken.fence, taken.record)), again.then(|| (fence, record("k"))));
        }
    }
}

#[tokio::test]
async fn a_record_that_nobody_looks_after_is_given_to_one() {
    let (_server, shelves) = replicas::<3>().await;
    let fence = shelves[0].with("k").await;
    let spot = shelves[0].anas();
    shelves[0].due_in(&spot, Duration::ZERO).await.unwrap();
    a_moment().await;
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..12 {
        let shelf = Arc::clone(&shelves[index % 3]);
        tasks.spawn(async move { shelf.orphans(10).await.unwrap() });
    }
    let found: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].spot, found[0].fence, &found[0].record), (spot, fence, &record("k")));
}

#[tokio::test]
async fn what_is_looked_after_is_no_orphan_and_what_is_gone_is_forgotten() {
    let (server, [one, other]) = replicas().await;
    let fence = one.with("k").await;
    let spot = one.anas();
    one.due_in(&spot, Duration::ZERO).await.unwrap();
    other.due_in(&spot, MINUTE).await.unwrap();
    // Whoever looks at it earlier does not take it from the one that looks later.
    one.due_in(&spot, Duration::ZERO).await.unwrap();
    a_moment().await;
    assert!(one.orphans(10).await.unwrap().is_empty());
    assert!(matches!(one.take(&spot, fence).await.unwrap(), Taken::Ours(_)));
    server.say(&["FLUSHALL"]);
    one.due_in(&spot, Duration::ZERO).await.unwrap();
    a_moment().await;
    assert_eq!(server.say(&["DBSIZE"]).trim(), "1");
    assert!(one.orphans(10).await.unwrap().is_empty());
    assert_eq!(server.say(&["DBSIZE"]).trim(), "0");
}

#[tokio::test]
async fn what_comes_back_while_it_is_forgotten_is_not_forgotten() {
    let (server, [one]) = replicas().await;
    let spot = one.anas();
    one.due_in(&spot, Duration::ZERO).await.unwrap();
    a_moment().await;
    let shard = one.shard(spot.entry.as_bytes()[0] % 16);
    let overdue = one.store.run(&scripts::OVERDUE, &shard, &[b"10"]).await.unwrap();
    let (again, member) = (overdue.bytes(0).unwrap(), overdue.bytes(1).unwrap());
    one.due_in(&spot, HOUR).await.unwrap();
    one.store.run(&scripts::NOT_DUE, &shard, &[again, member]).await.unwrap();
    assert_eq!(server.say(&["DBSIZE"]).trim(), "1");
}

#[tokio::test]
async fn orphans_come_in_portions() {
    let (_server, [one]) = replicas().await;
    for session in 0..40 {
        let session = format!("s{session}");
        let spot = one.spot("main", &session, BACKEND, &ana());
        let Claim::Yours(fence) = one.claim(&spot, 0, MINUTE).await.unwrap() else { panic!() };
        let record = Record { session, ..record("k") };
        assert_eq!(one.commit(&spot, fence, &record, HOUR).await, Ok(Commit::Kept));
        one.due_in(&spot, Duration::ZERO).await.unwrap();
    }
    a_moment().await;
    let mut all = BTreeSet::new();
    for most in [0, 1, 15, 15, 15] {
        let found = one.orphans(most).await.unwrap();
        assert!(found.len() <= most);
        all.extend(found.into_iter().map(|shelved| shelved.record.session));
    }
    assert_eq!(all.len(), 40);
}
