//! Everything at once: people come and go behind one cookie, sessions are ended from both sides, the configuration
//! is read again, and browsers give up waiting.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use keyward::portal::{Shown, Verdict};
use serde_json::json;

use crate::support::until;
use crate::world::{Firefox, Who, World};

const COOKIES: [&str; 2] = ["first", "second"];
const PEOPLE: [&str; 3] = ["ana", "ben", "cleo"];
const ROUNDS: usize = 60;

/// Whose each session has ever been, by its name in the house.
#[derive(Default)]
struct Seen(Mutex<HashMap<String, String>>);

impl Seen {
    /// One session is one person's, for ever.
    fn note(&self, id: &str, user: &str) {
        let mut seen = self.0.lock().unwrap();
        let known = seen.entry(id.to_owned()).or_insert_with(|| user.to_owned());
        assert_eq!(known, user, "{id} was another one's");
    }
}

/// Looks again and again, and every third time gives up before there is an answer.
async fn look(world: &World, seen: &Seen, cookie: &str, round: usize) {
    let shown = Shown { values: [cookie].into_iter().collect(), authorization: None, browser: Some(&Firefox) };
    let portal = if round.is_multiple_of(5) { world.reloaded("") } else { world.portal.clone() };
    let asked = portal.identify(&shown, world.clock_unix());
    let patience = Duration::from_micros(if round.is_multiple_of(3) { 200 } else { 10_000_000 });
    match tokio::time::timeout(patience, asked).await {
        Ok(Verdict::Genuine(session)) => seen.note(session.id(), session.identity().user()),
        Ok(Verdict::Unasked) => panic!("whoever asks gets an answer"),
        Ok(Verdict::Rejected(_) | Verdict::Unreachable { .. }) | Err(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_happens_at_once_nobody_is_ever_somebody_else() {
    let (world, seen) = (World::new().await, Seen::default());
    let people = async {
        for round in 0..ROUNDS {
            let cookie = COOKIES[round % COOKIES.len()];
            match round % 7 {
                6 => world.script.signs_out(cookie),
                turn => {
                    let user = PEOPLE[turn % PEOPLE.len()];
                    world.script.says(cookie, json!({"active": true, "username": user, "sid": format!("of-{user}")}));
                }
            }
            look(&world, &seen, cookie, round).await;
            world.pass(7);
        }
    };
    let ends = async {
        for round in 0..ROUNDS {
            match round % 3 {
                0 => world.sign_out(COOKIES[round % COOKIES.len()]),
                1 => world.call_off(&format!("of-{}", PEOPLE[round % PEOPLE.len()])),
                _ => drop(world.clear_away()),
            }
            look(&world, &seen, COOKIES[(round + 1) % COOKIES.len()], round).await;
        }
    };
    let looks = (0..6).map(|number| {
        let (world, seen) = (&world, &seen);
        async move {
            for round in 0..ROUNDS {
                look(world, seen, COOKIES[(round + number) % COOKIES.len()], round + number).await;
            }
        }
    });
    tokio::join!(people, ends, join_all(looks));
    // When all is quiet, the portal's word counts: a new session is let in, and nothing of the old ones. Nobody waits
    // for what was asked behind a request, and such an answer may still be on the way.
    for cookie in COOKIES {
        world.script.signs_out(cookie);
        until("the portal's no", || async {
            world.pass(120);
            !matches!(world.who(&[cookie]).await, Who::In(_))
        })
        .await;
    }
    for cookie in COOKIES {
        world.script.says(cookie, json!({"active": true, "username": "dora", "sid": format!("new-{cookie}")}));
        until("the portal's yes", || async {
            world.pass(120);
            world.who(&[cookie]).await == Who::is("dora")
        })
        .await;
    }
    let people = seen.0.lock().unwrap().values().cloned().collect::<std::collections::BTreeSet<_>>();
    assert!(people.len() > 1, "it was no race: {people:?}");
    world.pass(24 * 3600);
    let mut cleared = world.clear_away();
    cleared.retain(|user| user != "dora");
    assert!(cleared.len() <= COOKIES.len(), "nothing is left behind: {cleared:?}");
    for cookie in COOKIES {
        assert_eq!(world.sessions.find("p", cookie, 0).map(|(id, _)| id), None, "{cookie}");
    }
}
