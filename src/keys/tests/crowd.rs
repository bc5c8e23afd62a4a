//! Many people and little room.

use super::entry::{State, Wanted};
use super::*;

#[tokio::test]
async fn the_store_is_bounded_and_gives_up_what_was_not_used_for_longest() {
    let world = World::with_limit(Script::default(), 4);
    let sids: Vec<&'static str> = (0..12).map(|n| &*format!("sid-{n:020}").leak()).collect();
    for sid in &sids {
        world.ask(&Who { sid, ..ANA }).await;
        world.clock.advance(SECONDS(1));
        assert!(world.store.len() <= 4);
    }
    world.settle().await;
    assert!(world.counted(r#"keyward_evictions_total{backend="mail",cause="capacity"} 8"#));
    assert_eq!(world.script.logouts.lock().unwrap().len(), 8);
    assert_eq!(key(&world.ask(&Who { sid: sids[11], ..ANA }).await), "ana-12");
}

#[tokio::test]
async fn a_telephone_that_roams_collects_no_sessions() {
    let world = World::new(Script { binding: Binding { user_agent: true, ..Binding::default() }, ..Script::default() });
    for n in 0..40 {
        world.ask(&Who { agent: format!("Browser/{n}").leak(), ..ANA }).await;
    }
    assert_eq!(world.store.len(), 16);
    world.settle().await;
    assert_eq!(world.script.logouts.lock().unwrap().len(), 24);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_every_place_is_taken_by_a_login_under_way_no_other_begins() {
    let world = Arc::new(World::with_limit(Script { gate: Some(Semaphore::new(0)), ..Script::default() }, 1));
    let holder = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.ask(&ANA).await }
    });
    while world.logins() == 0 {
        tokio::task::yield_now().await;
    }
    for n in 0..50 {
        let who = Who { sid: format!("sid-{n:020}").leak(), ..BEN };
        let asked = (0..8).map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.ask(&who).await })
        });
        for obtained in join_all(asked).await {
            assert!(matches!(obtained, Ok(Obtained::Busy)), "{obtained:?}");
        }
    }
    world.script.gate.as_ref().unwrap().add_permits(1000);
    assert_eq!(key(&holder.await.unwrap()), "ana-1");
    assert_eq!((world.logins(), world.store.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_with_a_tiny_cache_and_people_who_give_up_keys_are_always_ones_own() {
    let world = Arc::new(World::with_limit(Script::default(), 3));
    let users: Vec<Who> =
        (0..8).map(|n| Who { sid: format!("sid-{n:020}").leak(), user: format!("user{n}").leak(), ..ANA }).collect();
    let mut tasks = Vec::new();
    for task in 0..16_u64 {
        let (world, users) = (Arc::clone(&world), users.clone());
        tasks.push(tokio::spawn(async move {
            let mut seen: HashMap<&str, usize> = HashMap::new();
            for n in 0..300_u64 {
                let who = users[usize::try_from((n * 7 + task * 3) % 8).unwrap()];
                // One in three gives up after a moment.
                let patience = if n % 3 == 0 { Duration::from_micros(20) } else { SECONDS(20) };
                if n % 50 == 49 {
                    world.store.revoke("portal", who.sid, 0);
                    world.store.tick().await;
                }
                match tokio::time::timeout(patience, world.ask(&who)).await {
                    Ok(Obtained::Keys(keys)) => {
                        let value = keys.cookie("key").unwrap().to_owned();
                        assert_eq!(value.split_once('-').unwrap().0, who.user);
                        *seen.entry(who.user).or_default() += 1;
                    }
                    Ok(Obtained::Revoked | Obtained::Busy) | Err(_) => {}
                    Ok(other) => panic!("{other:?}"),
                }
            }
            seen.values().sum::<usize>()
        }));
    }
    let mut answered = 0;
    for task in tasks {
        answered += task.await.unwrap();
    }
    assert!(answered > 100, "{answered}");
    let gave_up = async || {
        while world.store.turns.are_taken() || world.store.len() > 3 {
            tokio::task::yield_now().await;
        }
        world.settle().await;
    };
    assert!(tokio::time::timeout(SECONDS(20), gave_up()).await.is_ok(), "{} are held", world.store.len());
    // Nothing was opened that is neither held nor logged out again.
    let open = format!(r#"keyward_keys{{backend="mail"}} {}"#, world.store.len());
    assert!(world.counted(&open), "{open}: {}", world.metrics.render());
}

#[tokio::test]
async fn keep_alives_of_many_who_came_at_once_are_spread_evenly() {
    const PEOPLE: usize = 100_000;
    let world = World::with_limit(Script::default(), PEOPLE);
    let (session, client) = (ANA.session(), ANA.client());
    let wanted = Wanted::new(&session, &world.backend, "ana", Some(&client));
    let keys = SessionKeys::builder().cookie("key", "x").unwrap().build().unwrap();
    for number in 0..PEOPLE {
        let entry = world.store.entry("portal", &format!("sid-{number}"), &wanted).unwrap();
        *entry.state.lock() = State::Open(keys.clone());
    }
    world.clock.advance(SECONDS(1));
    world.store.sessions.all(|entry| {
        entry.touch(world.clock.now());
        false
    });
    let (mut each_second, mut before) = (Vec::new(), 0);
    for _ in 0..340 {
        world.pass(SECONDS(1)).await;
        world.settle_all().await;
        let checks = world.script.checks.load(SeqCst);
        each_second.push(checks - before);
        before = checks;
    }
    // The window is a fifth of the interval.
    let (busiest, mean) = (each_second.iter().max().unwrap(), PEOPLE / 60);
    assert_eq!(before, PEOPLE);
    assert!(busiest * 10 <= mean * 13, "{busiest} in the busiest second, {mean} in the mean");
}
