use std::collections::HashSet;

use futures_util::future::join_all;
use url::Url;

use super::*;
use crate::domain::{BackendLimits, CredentialSource, Identity, LoginName, ManualClock, UnixSeconds};
use crate::store::scratch::Scratch;

const NOW: UnixSeconds = 1_795_286_781;
const MINUTE: Duration = Duration::from_secs(60);

/// One replica's view.
struct Replica {
    ledger: Arc<Ledger>,
    clock: Arc<ManualClock>,
}

fn replica_of(server: &Scratch, name: &str, when_down: &str) -> Replica {
    let clock = Arc::new(ManualClock::at(NOW));
    let backend = Profile {
        name: name.to_owned(),
        kind: "epixel".to_owned(),
        url: Url::parse("http://canary.test").unwrap(),
        credentials: CredentialSource::None,
        login: LoginName::default(),
        limits: BackendLimits::default(),
        roles: Vec::new(),
    };
    let ledger = Ledger::new(MINUTE, Arc::clone(&clock) as Arc<dyn Clock>);
    ledger.share(&server.store_when_down(when_down, Arc::clone(&clock) as Arc<dyn Clock>), &backend);
    Replica { ledger, clock }
}

fn replicas<const COUNT: usize>(server: &Scratch, when_down: &str) -> [Replica; COUNT] {
    [(); COUNT].map(|()| replica_of(server, "canary-shop", when_down))
}

fn session(id: &str) -> SessionHandle {
    SessionHandle { portal: "canary-portal".to_owned(), id: id.to_owned() }
}

/// Somebody whose portal session lasts an hour.
fn guest(id: &str) -> Guest {
    let identity = Identity::new("canary-ana", "Ana Canary", "", vec!["canary-role".into()]).unwrap().into_owned();
    let person = Person { session: session(id), identity, expires: NOW + 3600 };
    Guest { person, known_as: KnownAs { login: "canary-login".to_owned(), roles: vec!["canary-editor".to_owned()] } }
}

/// The same, with other roles by now.
fn promoted(id: &str) -> Guest {
    Guest { known_as: KnownAs { login: "canary-login".to_owned(), roles: Vec::new() }, ..guest(id) }
}

impl Replica {
    async fn mint(&self, id: &str, way: Way) -> Minted {
        self.ledger.mint(guest(id), way).await.ok().unwrap()
    }

    /// Whose a token is, and which API session it opens.
    async fn redeem(&self, token: &str) -> Result<Option<ApiSid>, StoreOutage> {
        Ok(self.ledger.redeem(token).await?.map(|(api_sid, _)| api_sid))
    }

    async fn has(&self, api_sid: &str) -> bool {
        self.ledger.guest(api_sid).await.unwrap().is_some()
    }

    async fn end(&self, id: &str) -> Vec<ApiSid> {
        let Beside { api_sids, is_all } = self.ledger.take_beside(&session(id)).await;
        assert!(is_all);
        api_sids
    }

    async fn learns_of_a_loss(&self) {
        self.ledger.hear(&Event::Lost);
        until("all is put back", || !self.ledger.here.owes()).await;
        self.clock.advance(Duration::from_secs(11));
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came: {what}");
}

#[tokio::test]
async fn what_one_mints_another_redeems_a_third_acknowledges_and_each_can_end() {
    let server = Scratch::start().await;
    let [one, other, third] = replicas(&server, "refuse");
    for way in [Way::Browser, Way::Keyward] {
        let minted = one.mint("s", way).await;
        assert_eq!((minted.token.len(), minted.api_sid.len()), (43, 43), "as long as without a store");
        assert_eq!(third.ledger.acknowledge(&minted.api_sid).await, Ok(false), "nobody has come with its token");
        assert!(!one.has(&minted.api_sid).await);
        let (api_sid, found) = other.ledger.redeem(&minted.token).await.unwrap().unwrap();
        assert_eq!(api_sid, minted.api_sid);
        let whole = guest("s");
        assert_eq!((&found.person, &found.known_as), (&whole.person, &whole.known_as));
        for replica in [&one, &other, &third] {
            assert_eq!(replica.redeem(&minted.token).await, Ok(None), "once");
            assert!(replica.has(&api_sid).await);
        }
        assert_eq!(third.ledger.acknowledge(&api_sid).await, Ok(true));
        assert_eq!(one.ledger.acknowledgement(&api_sid).await, Ok(true));
        assert_eq!(one.ledger.hand_out(&api_sid).await, Ok(true));
        assert_eq!(third.ledger.end_by_client(&api_sid).await, Ok(Some(session("s"))));
        for replica in [&one, &other, &third] {
            assert!(replica.ledger.was_ended_by_client(&api_sid).await);
            assert!(!replica.has(&api_sid).await);
            assert_eq!(replica.ledger.hand_out(&api_sid).await, Ok(false));
            assert_eq!(replica.ledger.acknowledge(&api_sid).await, Ok(false));
            assert!(replica.end("s").await.is_empty());
            assert!(replica.ledger.was_ended_by_client(&api_sid).await, "also after the sign-out");
        }
        assert_eq!(other.ledger.end_by_client(&api_sid).await, Ok(Some(session("s"))), "who asks again is told again");
        server.say(&["FLUSHALL"]);
        [&one, &other, &third].iter().for_each(|replica| replica.clock.advance(GONE_FOR));
    }
}

#[tokio::test]
async fn of_many_at_all_replicas_who_redeem_at_once_one_wins() {
    let server = Scratch::start().await;
    let replicas: [_; 3] = replicas(&server, "refuse");
    for round in 0..50 {
        let token = replicas[round % 3].mint("s", Way::Keyward).await.token;
        let all = (0..24).map(|number| {
            let (ledger, token) = (Arc::clone(&replicas[number % 3].ledger), token.clone());
            tokio::spawn(async move { usize::from(ledger.redeem(&token).await.unwrap().is_some()) })
        });
        let won: usize = join_all(all).await.into_iter().map(Result::unwrap).sum();
        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn a_token_is_good_for_its_minute_and_its_own_service_and_burnt_for_nobody() {
    let server = Scratch::start().await;
    let [one, other] = replicas(&server, "refuse");
    let neighbour = replica_of(&server, "other-shop", "refuse");
    let token = one.mint("s", Way::Browser).await.token;
    assert_eq!(neighbour.redeem(&token).await, Ok(None));
    other.ledger.burn(&token).await;
    assert_eq!(one.redeem(&token).await, Ok(None), "burnt");
    let token = one.mint("s", Way::Browser).await.token;
    neighbour.ledger.burn(&token).await;
    assert!(other.redeem(&token).await.unwrap().is_some(), "nobody burns what is not theirs");
    for stranger in ["", "x", &"A".repeat(43), &"A".repeat(64), &"A".repeat(4000), "ü"] {
        assert_eq!(one.redeem(stranger).await, Ok(None), "{stranger}");
        assert_eq!(one.ledger.acknowledge(stranger).await, Ok(false), "{stranger}");
        assert_eq!(one.ledger.end_by_client(stranger).await, Ok(None), "{stranger}");
    }
    one.ledger.set_token_lifetime(Duration::from_millis(1));
    let token = one.mint("s", Way::Browser).await.token;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(other.redeem(&token).await, Ok(None), "expired");
    // As if the server's clock had been hours ahead when it was minted.
    one.ledger.set_token_lifetime(MINUTE);
    let token = one.mint("s", Way::Browser).await.token;
    let script = "for _, key in ipairs(redis.call('KEYS', '*:t')) do \
                  for _, mark in ipairs(redis.call('HKEYS', key)) do \
                  local minted, ends, session = struct.unpack('>I8I8c16', redis.call('HGET', key, mark)) \
                  local later = struct.pack('>I8I8c16', minted + 7200000, ends + 7200000, session) \
                  redis.call('HSET', key, mark, later) end end return 1";
    assert_eq!(server.say(&["EVAL", script, "0"]).trim(), "1");
    assert_eq!(other.redeem(&token).await, Ok(None));
    // A shorter life counts for those that wait.
    let token = one.mint("s", Way::Browser).await.token;
    other.ledger.set_token_lifetime(Duration::from_millis(1));
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(other.redeem(&token).await, Ok(None));
}

#[tokio::test]
async fn the_browsers_entries_at_all_replicas_are_one_session_and_each_of_keywards_its_own() {
    let server = Scratch::start().await;
    let [one, other] = replicas(&server, "refuse");
    let browser = [&one, &other, &one].map(|replica| replica.mint("s", Way::Browser));
    let [first, second, third] = join_all(browser).await.try_into().ok().unwrap();
    assert!(first.api_sid == second.api_sid && second.api_sid == third.api_sid);
    assert!(first.token != second.token);
    let mut all = HashSet::from([first.api_sid]);
    for (replica, id, way) in [(&one, "s", Way::Keyward), (&other, "s", Way::Keyward), (&one, "t", Way::Browser)] {
        all.insert(replica.mint(id, way).await.api_sid);
    }
    all.insert(other.ledger.mint(promoted("s"), Way::Browser).await.ok().unwrap().api_sid);
    assert_eq!(all.len(), 5);
}

#[tokio::test]
async fn with_the_portal_session_ends_everything_and_one_replica_is_given_what_nobody_else_ends() {
    let server = Scratch::start().await;
    let [one, other, third] = replicas(&server, "refuse");
    let browser = one.mint("s", Way::Browser).await;
    let held = one.mint("s", Way::Keyward).await;
    let unused = other.mint("s", Way::Keyward).await;
    let elsewhere = other.mint("another", Way::Browser).await;
    for token in [&browser.token, &held.token, &elsewhere.token] {
        assert!(other.redeem(token).await.unwrap().is_some());
    }
    assert_eq!(third.ledger.hand_out(&held.api_sid).await, Ok(true));
    let ended = join_all([&one, &other, &third].map(|replica| replica.end("s"))).await.concat();
    assert_eq!(ended, [browser.api_sid]);
    assert_eq!(third.redeem(&unused.token).await, Ok(None));
    assert!(!third.has(&held.api_sid).await && third.has(&elsewhere.api_sid).await);
    let stranger = &replicas::<1>(&server, "refuse")[0];
    let minted = stranger.ledger.mint(guest("s"), Way::Browser).await.err();
    assert_eq!(minted, Some(NotMinted::NoRoom), "who has not heard of it mints nothing either");
    assert!(stranger.ledger.mint(guest("another"), Way::Browser).await.is_ok());
}

#[tokio::test]
async fn what_was_taken_and_not_heard_of_is_given_again_to_who_asks_again() {
    let server = Scratch::start().await;
    let [one, other] = replicas(&server, "refuse");
    let minted = one.mint("s", Way::Browser).await;
    assert!(one.redeem(&minted.token).await.unwrap().is_some());
    other.ledger.shared.get().unwrap().end_unheard(&session("s")).await;
    assert!(one.end("s").await.is_empty());
    assert_eq!(other.end("s").await, [minted.api_sid]);
    assert!(other.end("s").await.is_empty());
}

#[tokio::test]
async fn whoever_waits_for_the_acknowledgement_is_told_by_another_replica() {
    let server = Scratch::start().await;
    let [one, other] = replicas(&server, "refuse");
    for (acknowledged, is_lost) in [(true, false), (false, false), (true, true)] {
        let minted = one.mint("s", Way::Keyward).await;
        assert!(other.redeem(&minted.token).await.unwrap().is_some());
        let (waiting, name) = (Arc::clone(&one.ledger), Arc::clone(&minted.api_sid));
        let mut waiting = tokio::spawn(async move { waiting.acknowledgement(&name).await });
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err(), "nothing has happened");
        if acknowledged {
            assert_eq!(other.ledger.acknowledge(&minted.api_sid).await, Ok(true));
        } else {
            assert!(other.ledger.end_by_client(&minted.api_sid).await.unwrap().is_some());
        }
        // What the journal brings.
        let shared = other.ledger.shared.get().unwrap();
        match is_lost {
            true => one.ledger.hear(&Event::Lost),
            false => one.ledger.hear(&Event::Settled { place: shared.settles(&minted.api_sid) }),
        }
        assert_eq!(waiting.await.unwrap(), Ok(acknowledged));
    }
}

#[tokio::test]
async fn nothing_grows_without_bound_and_lost_keys_lock_nobody_out() {
    let server = Scratch::start().await;
    let [one, other, third] = replicas(&server, "refuse");
    let mut minted = 0;
    for number in 0..2 * MOST_PER_PERSON {
        let at = if number % 2 == 0 { &one } else { &other };
        minted += usize::from(at.ledger.mint(guest("s"), Way::Browser).await.is_ok());
    }
    assert_eq!(minted, MOST_PER_PERSON, "of all replicas together");
    let mut held = Vec::new();
    for _ in 0..MOST_PER_PERSON + 2 {
        let minted = one.mint("t", Way::Keyward).await;
        assert!(other.redeem(&minted.token).await.unwrap().is_some());
        assert_eq!(one.ledger.hand_out(&minted.api_sid).await, Ok(true));
        held.push(minted.api_sid);
        // The oldest of one millisecond is any.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(!third.has(&held[0]).await && !third.has(&held[1]).await && third.has(&held[2]).await);
    for (key, longest) in server.say(&["KEYS", "*"]).lines().map(|key| (key.to_owned(), 3_600_000)) {
        let left: i64 = server.say(&["PTTL", &key]).trim().parse().unwrap();
        assert!((1..=longest).contains(&left), "{left}: it ends with the portal session");
    }
}

#[tokio::test]
async fn nothing_of_it_can_be_read_in_the_store() {
    let server = Scratch::start().await;
    let [one, other] = replicas(&server, "refuse");
    let minted = [one.mint("canary-sid", Way::Browser).await, one.mint("canary-sid", Way::Keyward).await];
    assert!(other.redeem(&minted[0].token).await.unwrap().is_some());
    let everything = server.everything();
    assert!(everything.contains("keyward:{"), "{everything}");
    let names = minted.iter().flat_map(|minted| [&minted.token[22..], &minted.api_sid[22..]]);
    for canary in names.chain(["canary", "Canary", "Y2FuYXJ5"]) {
        assert!(!everything.contains(canary), "{canary}");
    }
}

#[tokio::test]
async fn a_record_that_is_garbled_or_of_another_is_not_there_and_another_takes_its_place() {
    let server = Scratch::start().await;
    let [one, other] = replicas(&server, "refuse");
    let before = one.mint("s", Way::Browser).await;
    let script = "for _, key in ipairs(redis.call('KEYS', '*:s')) do \
                  for _, mark in ipairs(redis.call('HKEYS', key)) do \
                  local held = redis.call('HGET', key, mark) \
                  redis.call('HSET', key, mark, string.sub(held, 1, 40) .. 'garbled') end end return 1";
    server.say(&["EVAL", script, "0"]);
    assert_eq!(other.redeem(&before.token).await, Ok(None));
    let after = other.mint("s", Way::Browser).await;
    assert_ne!(after.api_sid, before.api_sid);
    assert_eq!(one.redeem(&after.token).await, Ok(Some(after.api_sid)));
    // A layout that nobody knows is no session, and breaks no script.
    for text in ["", "short"] {
        let script = format!(
            "for _, key in ipairs(redis.call('KEYS', '*')) do if redis.call('TYPE', key).ok == 'hash' then \
             for _, mark in ipairs(redis.call('HKEYS', key)) do redis.call('HSET', key, mark, '{text}') end end end"
        );
        let minted = one.mint("s", Way::Browser).await;
        server.say(&["EVAL", &script, "0"]);
        assert_eq!(other.redeem(&minted.token).await, Ok(None));
        assert_eq!(one.ledger.acknowledge(&minted.api_sid).await, Ok(false));
        assert!(one.end("t").await.is_empty());
    }
    assert!(one.ledger.mint(guest("s"), Way::Keyward).await.is_ok());
}

#[tokio::test]
async fn without_the_store_nobody_is_told_no_who_may_be_right() {
    let server = Scratch::start().await;
    let [one, other, third] = replicas(&server, "refuse");
    let [waits, taken] = [one.mint("s", Way::Keyward).await, one.mint("s", Way::Browser).await];
    assert!(other.redeem(&taken.token).await.unwrap().is_some());
    server.stop();
    assert!(matches!(one.ledger.mint(guest("s"), Way::Browser).await, Err(NotMinted::Outage(_))));
    assert!(one.redeem(&waits.token).await.is_err() && other.redeem(&waits.token).await.is_err());
    for replica in [&one, &third] {
        assert!(replica.ledger.acknowledge(&taken.api_sid).await.is_err());
        assert!(replica.ledger.acknowledgement(&taken.api_sid).await.is_err());
        assert!(replica.ledger.guest(&taken.api_sid).await.is_err());
        assert!(replica.ledger.end_by_client(&taken.api_sid).await.is_err());
        assert!(replica.ledger.hand_out(&taken.api_sid).await.is_err());
    }
    // Where it was taken up, it is known.
    assert!(other.has(&taken.api_sid).await);
    assert_eq!(other.ledger.acknowledge(&taken.api_sid).await, Ok(true));
    assert_eq!(other.ledger.end_by_client(&taken.api_sid).await, Ok(Some(session("s"))));
    assert!(other.ledger.was_ended_by_client(&taken.api_sid).await);
}

#[tokio::test]
async fn who_signs_out_without_the_store_has_the_client_told_of_what_is_known_and_later_of_the_rest() {
    let mut server = Scratch::start().await;
    let [one, other] = replicas(&server, "refuse");
    let mut taken = Vec::new();
    for (replica, guest) in [(&one, guest("s")), (&other, promoted("s"))] {
        let minted = one.ledger.mint(guest, Way::Browser).await.ok().unwrap();
        assert!(replica.redeem(&minted.token).await.unwrap().is_some());
        taken.push(minted.api_sid);
    }
    server.say(&["SAVE"]);
    server.stop();
    let Beside { api_sids, is_all } = one.ledger.take_beside(&session("s")).await;
    assert_eq!((api_sids, is_all), (vec![Arc::clone(&taken[0])], false));
    server.start_again().await;
    let rest = loop {
        let Beside { api_sids, is_all } = one.ledger.take_beside(&session("s")).await;
        if is_all {
            break api_sids;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(rest.contains(&taken[1]), "{rest:?}");
}

#[tokio::test]
async fn what_was_minted_without_the_store_is_good_where_it_was_minted_and_known_to_all_when_the_store_is_back() {
    let mut server = Scratch::start().await;
    let [one, other] = replicas(&server, "login");
    server.stop();
    let [waits, taken] = [one.mint("s", Way::Browser).await, one.mint("t", Way::Browser).await];
    assert!(other.redeem(&taken.token).await.is_err(), "that is no no");
    assert_eq!(one.redeem(&taken.token).await, Ok(Some(Arc::clone(&taken.api_sid))));
    assert_eq!(one.redeem(&taken.token).await, Ok(None), "but this is");
    assert_eq!(one.ledger.acknowledge(&taken.api_sid).await, Ok(true));
    assert_eq!(one.ledger.acknowledgement(&taken.api_sid).await, Ok(true));
    let held = one.mint("t", Way::Keyward).await;
    assert!(one.redeem(&held.token).await.unwrap().is_some());
    assert_eq!(one.ledger.hand_out(&held.api_sid).await, Ok(true));
    assert!(other.ledger.guest(&taken.api_sid).await.is_err());
    server.start_again().await;
    until("the store is told", || !one.ledger.here.owes()).await;
    assert!(other.has(&taken.api_sid).await && other.has(&held.api_sid).await);
    assert_eq!(other.ledger.acknowledge(&taken.api_sid).await, Ok(true));
    assert!(other.redeem(&waits.token).await.is_err(), "nobody else ever knows");
    assert_eq!(one.redeem(&waits.token).await, Ok(Some(waits.api_sid)));
    let ended = join_all([&one, &other].map(|replica| replica.end("t"))).await.concat();
    assert_eq!(ended, [taken.api_sid], "by one of them, and the held one by its keys");
}

#[tokio::test]
async fn what_the_store_has_lost_is_put_back_but_no_token_is_good_twice() {
    let server = Scratch::start().await;
    let [one, other] = replicas(&server, "refuse");
    let [taken, waits] = [one.mint("s", Way::Browser).await, one.mint("s", Way::Keyward).await];
    assert!(one.redeem(&taken.token).await.unwrap().is_some());
    server.say(&["FLUSHALL"]);
    other.ledger.hear(&Event::Lost);
    assert!(other.ledger.guest(&taken.api_sid).await.is_err(), "it may be on its way back");
    assert!(one.ledger.guest(&taken.api_sid).await.is_err(), "also for who has not heard of the loss");
    one.learns_of_a_loss().await;
    other.learns_of_a_loss().await;
    assert!(other.has(&taken.api_sid).await);
    assert_eq!(one.redeem(&taken.token).await, Ok(None));
    assert_eq!(one.redeem(&waits.token).await, Ok(None));
    assert!(!other.has("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").await, "and a no is a no again");
    let again = other.mint("s", Way::Browser).await;
    assert_eq!(again.api_sid, taken.api_sid, "it is the browsers' session still");
    assert_eq!(other.ledger.end_by_client(&taken.api_sid).await, Ok(Some(session("s"))));
    one.learns_of_a_loss().await;
    assert!(!one.has(&taken.api_sid).await, "what the client has ended is not put back");
}

#[tokio::test]
async fn what_the_store_has_lost_ends_all_the_same_before_anybody_has_noticed() {
    let server = Scratch::start().await;
    let [one, other] = replicas(&server, "refuse");
    let minted = one.mint("s", Way::Browser).await;
    assert!(other.redeem(&minted.token).await.unwrap().is_some());
    server.say(&["FLUSHALL"]);
    assert!(one.end("s").await.is_empty());
    assert_eq!(other.end("s").await, [minted.api_sid], "it has a copy, and nobody else took it");
    let minted = one.mint("t", Way::Browser).await;
    assert!(other.redeem(&minted.token).await.unwrap().is_some());
    assert_eq!(one.end("t").await, [minted.api_sid]);
    assert!(other.end("t").await.is_empty(), "it has a copy, and somebody else took it");
}
