use super::super::random;
use super::*;
use crate::domain::{Identity, KnownAs, ManualClock, Person};

const NOW: UnixSeconds = 1_795_286_781;
const MINUTE: Duration = Duration::from_secs(60);

fn ledger() -> (Arc<ManualClock>, Arc<Here>) {
    let clock = Arc::new(ManualClock::at(NOW));
    let ledger = Here::new(MINUTE, Arc::clone(&clock) as Arc<dyn Clock>);
    (clock, Arc::new(ledger))
}

fn session(id: &str) -> SessionHandle {
    SessionHandle { portal: "portal".to_owned(), id: id.to_owned() }
}

/// Somebody whose portal session lasts an hour.
fn guest(id: &str) -> Arc<Guest> {
    let identity = Identity::new("ana", "", "", Vec::new()).unwrap().into_owned();
    let person = Person { session: session(id), identity, expires: NOW + 3600 };
    Arc::new(Guest { person, known_as: KnownAs { login: "ana".to_owned(), roles: Vec::new() } })
}

fn verified(ledger: &Here, id: &str, way: Way) -> ApiSid {
    let minted = ledger.mint(guest(id), way, random).unwrap();
    assert!(ledger.redeem(&minted.token).is_some());
    minted.api_sid
}

#[test]
fn of_fifty_who_come_with_one_token_one_wins() {
    let (_, ledger) = ledger();
    for _ in 0..20 {
        let token = ledger.mint(guest("s"), Way::Keyward, random).unwrap().token;
        let start = std::sync::Barrier::new(50);
        let won: usize = std::thread::scope(|scope| {
            let redeem = || {
                start.wait();
                usize::from(ledger.redeem(&token).is_some())
            };
            let threads: Vec<_> = (0..50).map(|_| scope.spawn(redeem)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
    }
}

#[test]
fn a_token_is_good_once_and_for_a_minute() {
    let (clock, ledger) = ledger();
    let token = ledger.mint(guest("s"), Way::Browser, random).unwrap().token;
    assert!(ledger.redeem(&format!("{token}x")).is_none());
    clock.advance(MINUTE - Duration::from_millis(1));
    assert!(ledger.redeem(&token).is_some());
    assert!(ledger.redeem(&token).is_none(), "replayed");
    let token = ledger.mint(guest("s"), Way::Browser, random).unwrap().token;
    clock.advance(MINUTE);
    assert!(ledger.redeem(&token).is_none(), "expired");
    let token = ledger.mint(guest("s"), Way::Browser, random).unwrap().token;
    ledger.burn(&token);
    assert!(ledger.redeem(&token).is_none(), "burnt");
}

#[test]
fn no_token_outlives_the_portal_session() {
    let (clock, ledger) = ledger();
    clock.advance(Duration::from_secs(3590));
    let token = ledger.mint(guest("s"), Way::Browser, random).unwrap().token;
    clock.advance(Duration::from_secs(10));
    assert!(ledger.redeem(&token).is_none());
    assert_eq!(ledger.mint(guest("s"), Way::Browser, random).err(), Some(NoRoom));
    assert!(ledger.state.lock().sessions.is_empty());
}

#[test]
fn the_browsers_entries_are_one_session_and_each_of_keywards_its_own() {
    let (_, ledger) = ledger();
    let browser = [0; 2].map(|_| verified(&ledger, "s", Way::Browser));
    assert_eq!(browser[0], browser[1]);
    let other = verified(&ledger, "another", Way::Browser);
    let keyward = [0; 2].map(|_| verified(&ledger, "s", Way::Keyward));
    let all: std::collections::HashSet<_> = browser.iter().chain(&keyward).chain([&other]).collect();
    assert_eq!(all.len(), 4);
}

#[test]
fn with_the_portal_session_ends_everything_and_what_nobody_else_ends_is_given_once() {
    let (clock, ledger) = ledger();
    let browser = verified(&ledger, "s", Way::Browser);
    let held = verified(&ledger, "s", Way::Keyward);
    assert!(ledger.hand_out(&held));
    let unused = ledger.mint(guest("s"), Way::Keyward, random).unwrap();
    let other = verified(&ledger, "another", Way::Browser);
    assert_eq!(ledger.take_beside(&session("s")), [browser]);
    assert!(ledger.take_beside(&session("s")).is_empty());
    assert!(ledger.redeem(&unused.token).is_none());
    assert!(ledger.guest(&held).is_none() && ledger.guest(&other).is_some());
    assert_eq!(ledger.mint(guest("s"), Way::Browser, random).err(), Some(NoRoom), "looked at just before");
    clock.advance(GONE_FOR);
    assert!(ledger.mint(guest("s"), Way::Browser, random).is_ok());
}

#[test]
fn what_the_client_ended_it_is_not_told() {
    let (clock, ledger) = ledger();
    let api_sid = verified(&ledger, "s", Way::Browser);
    assert_eq!(ledger.end_by_client(&api_sid), Some(session("s")));
    assert_eq!(ledger.end_by_client(&api_sid), None);
    assert!(ledger.was_ended_by_client(&api_sid));
    assert!(ledger.take_beside(&session("s")).is_empty());
    clock.advance(ENDED_FOR);
    assert!(!ledger.was_ended_by_client(&api_sid));
}

#[test]
fn only_a_session_whose_token_was_taken_up_is_acknowledged() {
    let (_, ledger) = ledger();
    let minted = ledger.mint(guest("s"), Way::Browser, random).unwrap();
    assert!(!ledger.acknowledge(&minted.api_sid));
    assert!(ledger.redeem(&minted.token).is_some());
    assert!(ledger.acknowledge(&minted.api_sid) && ledger.acknowledge(&minted.api_sid));
    assert!(!ledger.acknowledge("unknown"));
}

#[test]
fn nothing_grows_without_bound() {
    let (clock, ledger) = ledger();
    let minted = (0..1000).filter(|_| ledger.mint(guest("s"), Way::Browser, random).is_ok()).count();
    assert_eq!(minted, MOST_PER_PERSON);
    let minted = (0..1000).filter(|_| ledger.mint(guest("s"), Way::Keyward, random).is_ok()).count();
    assert_eq!(minted, MOST_PER_PERSON - 1);
    clock.advance(MINUTE);
    assert!(ledger.redeem("").is_none());
    let state = ledger.state.lock();
    assert!(state.sessions.is_empty() && state.tokens.is_empty() && state.token_ends.is_empty());
    assert!(state.of_portal.is_empty() && state.by_end.is_empty());
}

#[test]
fn keys_that_were_given_out_and_lost_lock_nobody_out() {
    let (_, ledger) = ledger();
    let first = verified(&ledger, "s", Way::Keyward);
    assert!(ledger.hand_out(&first));
    for _ in 0..3 * MOST_PER_PERSON {
        let api_sid = verified(&ledger, "s", Way::Keyward);
        assert!(ledger.hand_out(&api_sid));
    }
    assert!(ledger.guest(&first).is_none());
    let state = ledger.state.lock();
    assert_eq!((state.sessions.len(), state.by_end.len()), (MOST_PER_PERSON, MOST_PER_PERSON));
}

#[tokio::test]
async fn whoever_waits_for_the_acknowledgement_hears_of_it_or_of_the_end() {
    let (_, ledger) = ledger();
    for acknowledged in [true, false] {
        let api_sid = verified(&ledger, "s", Way::Keyward);
        let (waiting, name) = (Arc::clone(&ledger), Arc::clone(&api_sid));
        let waiting = tokio::spawn(async move { waiting.acknowledgement(&name).await });
        tokio::task::yield_now().await;
        if acknowledged {
            ledger.acknowledge(&api_sid);
        } else {
            ledger.end_by_client(&api_sid);
        }
        assert_eq!(waiting.await.unwrap(), acknowledged);
    }
}

#[test]
fn a_token_is_kept_as_a_hash_only() {
    let (_, ledger) = ledger();
    let token = ledger.mint(guest("s"), Way::Browser, random).unwrap().token;
    let state = ledger.state.lock();
    assert!(state.tokens.contains_key(&hash(&token)));
    let raw = token.as_bytes();
    assert!(!state.tokens.keys().any(|held| raw.starts_with(held)) && !state.sessions.contains_key(token.as_str()));
}
