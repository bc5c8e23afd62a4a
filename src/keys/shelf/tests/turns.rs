//! Who keeps a session alive, and what is known of its age.

use super::*;

const INTERVAL: Duration = Duration::from_millis(100);

/// Waits until the server thinks that so much time has gone by since the keys were confirmed.
async fn due(shelf: &Shelf, interval: Duration) {
    while shelf.here(0).await.ages.confirmed < interval {
        a_moment().await;
    }
}

#[tokio::test]
async fn one_replica_has_the_turn_in_an_interval_if_somebody_uses_the_keys() {
    let (_server, shelves) = replicas::<3>().await;
    let fence = shelves[0].with("k").await;
    let spot = shelves[0].anas();
    due(&shelves[0], INTERVAL).await;
    let unused = shelves[1].tend(&spot, fence, HOUR, INTERVAL, MINUTE).await.unwrap();
    assert!(matches!(unused, Tend::Rest(ages) if ages.used == ages.confirmed && ages.confirmed <= ages.opened));
    // It is used elsewhere, which is told by the one and counts for the other.
    assert!(matches!(shelves[1].tend(&spot, fence, Duration::ZERO, HOUR, MINUTE).await.unwrap(), Tend::Rest(_)));
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..12 {
        let shelf = Arc::clone(&shelves[index % 3]);
        tasks.spawn(
            async move { matches!(shelf.tend(&spot, fence, HOUR, INTERVAL, MINUTE).await.unwrap(), Tend::Yours) },
        );
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|yours| *yours).count(), 1);
    assert_eq!(shelves[2].confirm(&spot, fence, None, HOUR).await, Ok(Some(fence)));
    assert!(matches!(shelves[0].tend(&spot, fence, HOUR, INTERVAL, MINUTE).await.unwrap(), Tend::Rest(_)));
}

#[test]
fn nothing_seems_to_have_been_opened_later_than_it_was_however_long_the_answer_took() {
    let [slow, age] = [700, 40].map(Duration::from_millis);
    let told = ["40", "30", "20"].map(|age| Some(age.as_bytes().to_vec()));
    let ages = ages(&Answer::new(told.to_vec(), slow), 0);
    assert_eq!(
        (ages.opened, ages.confirmed, ages.used),
        (age + slow, Duration::from_millis(30), Duration::from_millis(20))
    );
}

#[tokio::test]
async fn a_turn_whose_owner_died_is_given_to_another() {
    let (_server, [dies, next]) = replicas().await;
    let fence = dies.with("k").await;
    let spot = dies.anas();
    due(&dies, INTERVAL).await;
    let turn = Duration::from_millis(50);
    assert!(matches!(dies.tend(&spot, fence, Duration::ZERO, INTERVAL, turn).await.unwrap(), Tend::Yours));
    while !matches!(next.tend(&spot, fence, HOUR, INTERVAL, MINUTE).await.unwrap(), Tend::Yours) {
        a_moment().await;
    }
}

#[tokio::test]
async fn renewed_keys_are_everybodys_and_confirmed_once() {
    let (_server, [one, other]) = replicas().await;
    let fence = one.with("old").await;
    let spot = one.anas();
    let renewed = one.confirm(&spot, fence, Some(&record("new")), HOUR).await.unwrap().unwrap();
    assert!(renewed > fence);
    assert_eq!(other.confirm(&spot, fence, Some(&record("late")), HOUR).await, Ok(None));
    let Tend::Newer(newer) = other.tend(&spot, fence, HOUR, HOUR, MINUTE).await.unwrap() else { panic!() };
    assert_eq!((newer.fence, newer.record), (renewed, record("new")));
    assert_eq!(other.here(fence).await.fence, renewed);
    // They may be replaced as any other.
    let next = other.yours(renewed).await;
    assert!(next > renewed);
    assert_eq!(other.keep(next, "next").await, Commit::Kept);
}

#[tokio::test]
async fn keys_that_change_while_somebody_logs_in_do_not_end_that_lease() {
    let (_server, [one, other]) = replicas().await;
    let fence = one.with("old").await;
    let lease = other.yours(fence).await;
    let renewed = one.confirm(&one.anas(), fence, Some(&record("renewed")), HOUR).await.unwrap();
    assert!(renewed.is_some_and(|renewed| renewed > fence && renewed < lease));
    assert_eq!(one.here(0).await.record, record("renewed"));
    assert_eq!(other.keep(lease, "new").await, Commit::Kept);
    assert_eq!(one.here(0).await.record, record("new"));
}

#[tokio::test]
async fn what_was_taken_out_is_gone_and_what_the_server_lost_is_not_known() {
    let (server, [one, other]) = replicas().await;
    let spot = one.anas();
    let taken = one.with("k").await;
    assert!(matches!(one.take(&spot, taken).await.unwrap(), Taken::Ours(_)));
    assert!(matches!(other.tend(&spot, taken, HOUR, HOUR, MINUTE).await.unwrap(), Tend::Gone));
    let lost = one.with("k").await;
    server.say(&["FLUSHALL"]);
    assert!(matches!(other.tend(&spot, lost, HOUR, HOUR, MINUTE).await.unwrap(), Tend::Unknown));
    // One of those who hold them puts them there again.
    let fence = other.yours(lost).await;
    assert!(matches!(one.claim(&spot, lost, MINUTE).await.unwrap(), Claim::Theirs(_)));
    assert!(matches!(one.tend(&spot, lost, HOUR, HOUR, MINUTE).await.unwrap(), Tend::Unknown));
    let ages = Ages { opened: HOUR, confirmed: MINUTE * 2, used: MINUTE };
    assert_eq!(other.put_back(&spot, fence, &record("k"), ages, HOUR).await, Ok(Commit::Kept));
    // Whoever did not know of them may have logged in anew, so whoever has the old ones ends them.
    assert!(matches!(one.tend(&spot, lost, HOUR, HOUR, MINUTE).await.unwrap(), Tend::Unknown));
    let found = one.here(lost).await;
    assert_eq!(found.fence, fence);
    // They are as old as they were.
    for (age, was) in [(found.ages.opened, HOUR), (found.ages.confirmed, MINUTE * 2), (found.ages.used, MINUTE)] {
        assert!(age >= was && age < was + MINUTE / 2, "{age:?} {was:?}");
    }
    // A server that took over may know only what was before.
    assert!(matches!(one.tend(&spot, fence + 1, HOUR, HOUR, MINUTE).await.unwrap(), Tend::Unknown));
}

#[tokio::test]
async fn only_what_nobody_uses_is_taken_as_idle_unless_it_is_too_old() {
    let (_server, [one, other]) = replicas().await;
    let fence = one.with("k").await;
    let spot = one.anas();
    due(&one, INTERVAL).await;
    assert!(matches!(other.tend(&spot, fence, Duration::ZERO, HOUR, MINUTE).await.unwrap(), Tend::Rest(_)));
    // Here it was not used for an hour, but there it was.
    let in_use = one.take_idle(&spot, fence, HOUR, MINUTE, HOUR).await.unwrap();
    assert!(matches!(in_use, Taken::InUse(ages) if ages.used < ages.opened && ages.opened >= INTERVAL));
    assert!(matches!(one.take_idle(&spot, fence + 1, HOUR, MINUTE, INTERVAL).await.unwrap(), Taken::Gone));
    let Taken::Ours(old) = one.take_idle(&spot, fence, HOUR, MINUTE, INTERVAL).await.unwrap() else { panic!() };
    assert_eq!(old.record, record("k"));
    let fence = one.with("k").await;
    due(&one, INTERVAL).await;
    assert!(matches!(one.take_idle(&spot, fence, HOUR, INTERVAL, HOUR).await.unwrap(), Taken::Ours(_)));
    assert!(matches!(one.take_idle(&spot, fence, HOUR, INTERVAL, HOUR).await.unwrap(), Taken::Gone));
}

#[tokio::test]
async fn a_record_ends_with_its_life_and_its_fence_does_not() {
    let (_server, [one]) = replicas().await;
    let spot = one.anas();
    let fence = one.yours(0).await;
    assert_eq!(one.commit(&spot, fence, &record("k"), INTERVAL).await, Ok(Commit::Kept));
    let again = loop {
        match one.claim(&spot, 0, MINUTE).await.unwrap() {
            Claim::Here(_) => a_moment().await,
            Claim::Yours(again) => break again,
            other => panic!("{}", other.word()),
        }
    };
    assert!(again > fence);
    assert!(matches!(one.tend(&spot, fence, HOUR, HOUR, MINUTE).await.unwrap(), Tend::Gone));
    // Somebody has yet to tell the back-end.
    assert!(matches!(one.take(&spot, fence).await.unwrap(), Taken::Ours(_)));
    assert_eq!(one.keep(again, "new").await, Commit::Kept);
}

#[tokio::test]
async fn the_longest_durations_are_long_and_no_mistake() {
    let (_server, [one]) = replicas().await;
    let spot = one.anas();
    let forever = Duration::MAX;
    let Claim::Yours(fence) = one.claim(&spot, 0, forever).await.unwrap() else { panic!() };
    assert_eq!(one.commit(&spot, fence, &record("k"), forever).await, Ok(Commit::Kept));
    assert!(matches!(one.tend(&spot, fence, forever, forever, forever).await.unwrap(), Tend::Rest(_)));
    assert!(matches!(one.tend(&spot, fence, forever, Duration::ZERO, forever).await.unwrap(), Tend::Rest(_)));
    assert_eq!(one.confirm(&spot, fence, None, forever).await, Ok(Some(fence)));
    one.due_in(&spot, forever).await.unwrap();
    assert!(one.orphans(usize::MAX).await.unwrap().is_empty());
    let taken = one.take_idle(&spot, fence, forever, forever, forever).await.unwrap();
    assert!(matches!(taken, Taken::InUse(_)));
}

#[tokio::test]
async fn a_server_whose_clock_is_hours_behind_the_last_ones_goes_on() {
    let (server, [one, other]) = replicas().await;
    let spot = one.anas();
    let fence = one.with("k").await;
    let lease = one.yours(fence).await;
    // Every time in the entry is as the server before wrote it, five hours ahead; fences are as they are.
    let ahead = "for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
        local raw = redis.call('HGET', KEYS[1], field)
        local times = { struct.unpack('>I8I8I8I8I8I8', raw, 25) }
        for at = 1, 6 do times[at] = struct.pack('>I8', times[at] + (times[at] > 0 and 18000000 or 0)) end
        redis.call('HSET', KEYS[1], field, string.sub(raw, 1, 24) .. table.concat(times, '', 1, 6) .. string.sub(raw, 73))
    end";
    server.say(&["EVAL", ahead, "1", &format!("keyward:{{{:?}}}:e", spot.session)]);
    assert!(matches!(other.tend(&spot, fence, Duration::ZERO, HOUR, MINUTE).await.unwrap(), Tend::Rest(_)));
    assert!(other.here(0).await.ages.opened < HOUR);
    let next = other.yours(fence).await;
    assert!(next > lease);
    assert_eq!(one.keep(lease, "late").await, Commit::Superseded);
    assert_eq!(other.keep(next, "next").await, Commit::Kept);
}
