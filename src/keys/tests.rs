use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::Semaphore;

use super::*;
use crate::backend::{Attempt, Backend, Binding, Guarded, Liveness, Login, Outage, Profile, Refusal};
use crate::domain::{
    BackendLimits, Client, CredentialSource, ExposeSecret, LoginName, ManualClock, Secret, SessionKeys,
};
use crate::observe::Metrics;
use crate::portal::ticket::{NewTicket, TicketKey, Tickets};
use crate::portal::{PortalSession, Scratch, Verdict, Verifier};

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// A back-end that does as it is told and counts what it was asked.
#[derive(Default)]
struct Script {
    logins: AtomicUsize,
    checks: AtomicUsize,
    logouts: Mutex<Vec<String>>,
    /// Logins and checks wait for a permit where this is set.
    gate: Option<Semaphore>,
    outage: Mutex<Option<Outage>>,
    dead: Mutex<bool>,
    panics: AtomicBool,
    renews: bool,
    binding: Binding,
}

struct Scripted(Arc<Script>);

impl Script {
    async fn pass_gate(&self) {
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
    }

    fn outage(&self) -> Result<(), Outage> {
        self.outage.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl Backend for Scripted {
    fn login<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>> {
        async move {
            let number = self.0.logins.fetch_add(1, SeqCst) + 1;
            self.0.pass_gate().await;
            self.0.outage()?;
            let password = attempt.password.as_ref().map_or("", ExposeSecret::expose_secret);
            assert_ne!(password, "panic", "as told");
            if password != "right" {
                return Ok(Login::Refused(Refusal::Credentials));
            }
            let value = format!("{}-{number}", attempt.login);
            Ok(Login::Opened(SessionKeys::builder().cookie("key", &value).unwrap().build().unwrap()))
        }
        .boxed()
    }

    fn check<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<Liveness, Outage>> {
        async move {
            self.0.checks.fetch_add(1, SeqCst);
            assert!(!self.0.panics.load(SeqCst), "as told");
            self.0.pass_gate().await;
            self.0.outage()?;
            if *self.0.dead.lock().unwrap() {
                return Ok(Liveness::Dead);
            }
            if self.0.renews {
                let value = format!("{}+", keys.cookie("key").unwrap());
                return Ok(Liveness::Renewed(SessionKeys::builder().cookie("key", &value).unwrap().build().unwrap()));
            }
            Ok(Liveness::Alive)
        }
        .boxed()
    }

    fn logout<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<(), Outage>> {
        self.0.logouts.lock().unwrap().push(keys.cookies().to_owned());
        async { Ok(()) }.boxed()
    }

    fn owns_cookie(&self, name: &[u8]) -> bool {
        name == b"key"
    }

    fn binding(&self) -> Binding {
        self.0.binding
    }
}

/// A store with one scripted back-end, at a time of its own.
struct World {
    store: Arc<KeyStore>,
    backend: Arc<Guarded>,
    script: Arc<Script>,
    clock: Arc<ManualClock>,
    metrics: Metrics,
}

fn limits() -> BackendLimits {
    BackendLimits {
        login_timeout: SECONDS(10),
        max_logins: 100,
        idle_timeout: SECONDS(900),
        max_age: SECONDS(3600),
        keep_alive_interval: SECONDS(300),
        refused_for: SECONDS(300),
        failure_backoff: SECONDS(2),
    }
}

impl World {
    fn new(script: Script) -> Self {
        Self::with_limit(script, 1000)
    }

    fn with_limit(script: Script, limit: usize) -> Self {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let metrics = Metrics::new();
        let script = Arc::new(script);
        let backend = guarded("mail", &script, &metrics, &clock);
        let store = KeyStore::new(limit, clock.clone(), tokio::runtime::Handle::current());
        store.configure(limit, &[Arc::clone(&backend)]);
        Self { store, backend, script, clock, metrics }
    }

    async fn ask(&self, who: &Who) -> Obtained {
        self.ask_for(who, false).await
    }

    async fn ask_for(&self, who: &Who, renew: bool) -> Obtained {
        let session = who.session();
        let client = who.client();
        if !renew {
            match self.store.find("portal", &session, &self.backend, who.user, || client.clone()) {
                Found::Keys(keys) => return Obtained::Keys(keys),
                Found::Revoked => return Obtained::Revoked,
                Found::Nothing => {}
            }
        }
        let password = who.password;
        let order = Order {
            portal: "portal",
            session: &session,
            backend: &self.backend,
            login: who.user,
            client: &client,
            password: Arc::new(move || Ok(Some(Secret::from(password)))),
            renew,
        };
        self.store.obtain(order).await
    }

    /// Lets time pass second by second, as the ticker would see it.
    async fn pass(&self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.clock.advance(SECONDS(1));
            self.store.tick().await;
            self.settle().await;
        }
    }

    /// Lets everything that can run do so.
    async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    fn logins(&self) -> usize {
        self.script.logins.load(SeqCst)
    }

    fn counted(&self, series: &str) -> bool {
        let text = self.metrics.render();
        text.lines().any(|line| line == series)
    }
}

fn guarded(name: &str, script: &Arc<Script>, metrics: &Metrics, clock: &Arc<ManualClock>) -> Arc<Guarded> {
    let profile = Profile {
        name: name.to_owned(),
        kind: "scripted".to_owned(),
        url: "http://127.0.0.1:1".parse().unwrap(),
        credentials: CredentialSource::Portal,
        login: LoginName::parse("{sub}").unwrap(),
        limits: limits(),
        roles: Vec::new(),
    };
    Guarded::new(profile, Box::new(Scripted(Arc::clone(script))), metrics, clock.clone())
}

#[derive(Clone, Copy)]
struct Who {
    sid: &'static str,
    user: &'static str,
    password: &'static str,
    agent: &'static str,
}

const ANA: Who = Who { sid: "sid-of-ana-0000001", user: "ana", password: "right", agent: "Browser/1" };
const BEN: Who = Who { sid: "sid-of-ben-0000001", user: "ben", password: "right", agent: "Browser/1" };

impl Who {
    fn session(&self) -> PortalSession<'static> {
        let key = TicketKey::new("k", &Secret::from("0123456789abcdef0123456789abcdef")).unwrap();
        let claims = NewTicket::new(self.sid, self.user, 1, 2_000_000);
        let ticket = key.mint(&claims, None).unwrap();
        let mut scratch = Scratch::default();
        match Tickets::new("portal", vec![key]).verify(&[&ticket], 1_000_000, &mut scratch) {
            Verdict::Genuine(session) => session.into_owned(),
            Verdict::Rejected(reason) => panic!("{reason:?}"),
        }
    }

    fn client(&self) -> Client<'static> {
        Client {
            address: IpAddr::from([192, 0, 2, 1]),
            user_agent: self.agent.as_bytes().into(),
            accept_language: b"".as_slice().into(),
        }
    }
}

fn key(obtained: &Obtained) -> String {
    match obtained {
        Obtained::Keys(keys) => keys.cookie("key").unwrap().to_owned(),
        other => panic!("no keys: {other:?}"),
    }
}

#[tokio::test]
async fn a_herd_of_first_requests_makes_one_login_and_shares_its_keys() {
    let world = World::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() });
    let herd = join_all((0..200).map(|_| world.ask(&ANA)));
    let (all, ()) = tokio::join!(herd, async {
        world.settle().await;
        world.script.gate.as_ref().unwrap().add_permits(1);
    });
    assert!(all.iter().all(|obtained| key(obtained) == "ana-1"));
    assert_eq!(world.logins(), 1);
    assert!(world.counted(r#"keyward_key_lookups_total{backend="mail",result="miss"} 1"#));
    assert!(world.counted(r#"keyward_key_lookups_total{backend="mail",result="joined"} 199"#));
    assert!(world.counted(r#"keyward_keys{backend="mail"} 1"#));
}

#[tokio::test]
async fn bad_outcomes_are_shared_too() {
    for (password, outage) in [("wrong", None), ("right", Some(Outage::Unreachable("gone".to_owned())))] {
        let script = Script { gate: Some(Semaphore::new(0)), ..Script::default() };
        *script.outage.lock().unwrap() = outage.clone();
        let world = World::new(script);
        let who = Who { password, ..ANA };
        let herd = join_all((0..100).map(|_| world.ask(&who)));
        let (all, ()) = tokio::join!(herd, async {
            world.settle().await;
            world.script.gate.as_ref().unwrap().add_permits(100);
        });
        for obtained in all {
            assert!(matches!(
                (obtained, &outage),
                (Obtained::Refused(Refusal::Credentials), None)
                    | (Obtained::Unavailable(Outage::Unreachable(_)), Some(_))
            ));
        }
        assert_eq!(world.logins(), 1);
        assert!(world.store.is_empty());
    }
}

#[tokio::test]
async fn a_refused_password_is_tried_once_whatever_the_session_and_another_at_once() {
    let world = World::new(Script::default());
    let stale = Who { password: "wrong", ..ANA };
    let stale_elsewhere = Who { sid: "sid-of-ana-0000002", ..stale };
    for _ in 0..3 {
        assert!(matches!(world.ask(&stale).await, Obtained::Refused(_)));
        assert!(matches!(world.ask(&stale_elsewhere).await, Obtained::Refused(_)));
    }
    assert_eq!(world.logins(), 1);
    assert_eq!(key(&world.ask(&ANA).await), "ana-2");
    world.pass(SECONDS(301)).await;
    assert!(matches!(world.ask(&stale_elsewhere).await, Obtained::Refused(_)));
    assert_eq!(world.logins(), 3);
}

#[tokio::test]
async fn two_browsers_with_the_same_stale_password_at_once_make_one_try() {
    let world = World::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() });
    let sids = ["sid-of-ana-0000001", "sid-of-ana-0000002", "sid-of-ana-0000003"];
    let browsers = sids.map(|sid| Who { sid, password: "wrong", ..ANA });
    let asks = join_all(browsers.iter().map(|who| world.ask(who)));
    let (all, ()) = tokio::join!(asks, async {
        world.settle().await;
        world.script.gate.as_ref().unwrap().add_permits(3);
    });
    assert!(all.iter().all(|obtained| matches!(obtained, Obtained::Refused(_))));
    assert_eq!(world.logins(), 1);
}

#[tokio::test]
async fn nobody_gets_the_keys_of_another() {
    let world = World::new(Script::default());
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert_eq!(key(&world.ask(&BEN).await), "ben-2");
    // The portal hands Ana's session id to Ben: it is another holder all the same.
    let ben_with_anas_sid = Who { sid: ANA.sid, ..BEN };
    assert_eq!(key(&world.ask(&ben_with_anas_sid).await), "ben-3");
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert_eq!(world.store.len(), 3);
}

#[tokio::test]
async fn where_the_back_end_binds_sessions_each_browser_has_its_own() {
    let binding = Binding { user_agent: true, address: true };
    let world = World::new(Script { binding, ..Script::default() });
    let other_browser = Who { agent: "Browser/2", ..ANA };
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert_eq!(key(&world.ask(&other_browser).await), "ana-2");
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
}

#[tokio::test]
async fn what_is_in_use_is_kept_alive_and_what_is_not_expires_and_is_logged_out() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.ask(&BEN).await;
    for _ in 0..30 {
        world.pass(SECONDS(30)).await;
        assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    }
    world.pass(SECONDS(2)).await;
    assert_eq!(world.logins(), 2);
    assert!((2..=3).contains(&world.script.checks.load(SeqCst)), "every five minutes for Ana, never for Ben");
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ben-2"]);
    assert!(world.counted(r#"keyward_evictions_total{backend="mail",cause="idle"} 1"#));
    world.pass(SECONDS(3600 - 900 + 2)).await;
    assert!(world.store.is_empty());
}

#[tokio::test]
async fn a_session_in_use_ends_at_its_greatest_age() {
    let world = World::new(Script::default());
    for _ in 0..121 {
        world.ask(&ANA).await;
        world.pass(SECONDS(30)).await;
    }
    assert!(world.counted(r#"keyward_evictions_total{backend="mail",cause="age"} 1"#));
    assert_eq!(world.script.logouts.lock().unwrap()[0], "key=ana-1");
}

#[tokio::test]
async fn overdue_keys_are_checked_once_before_use() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.pass(SECONDS(400)).await;
    assert_eq!(world.script.checks.load(SeqCst), 0);
    let all = join_all((0..50).map(|_| world.ask(&ANA))).await;
    assert!(all.iter().all(|obtained| key(obtained) == "ana-1"));
    assert_eq!((world.script.checks.load(SeqCst), world.logins()), (1, 1));
}

#[tokio::test]
async fn overdue_keys_that_are_dead_are_replaced_before_anybody_sees_a_login_page() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    *world.script.dead.lock().unwrap() = true;
    world.pass(SECONDS(400)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-2");
    assert!(world.counted(r#"keyward_evictions_total{backend="mail",cause="dead"} 1"#));
    assert!(world.counted(r#"keyward_keys{backend="mail"} 1"#));
}

#[tokio::test]
async fn an_outage_takes_no_keys_away() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    *world.script.outage.lock().unwrap() = Some(Outage::TimedOut);
    world.pass(SECONDS(400)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    // And it is not asked again at every request.
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert_eq!(world.script.checks.load(SeqCst), 1);
}

#[tokio::test]
async fn keys_that_rotate_are_kept_as_they_come() {
    let world = World::new(Script { renews: true, ..Script::default() });
    world.ask(&ANA).await;
    world.pass(SECONDS(400)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-1+");
    assert_eq!(key(&world.ask(&ANA).await), "ana-1+");
}

#[tokio::test]
async fn a_renewal_makes_one_login_for_all_and_at_most_one_in_an_interval() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    let all = join_all((0..20).map(|_| world.ask_for(&ANA, true))).await;
    assert!(all.iter().all(|obtained| key(obtained) == "ana-2"));
    assert_eq!(key(&world.ask_for(&ANA, true).await), "ana-2");
    assert_eq!(world.logins(), 2);
    world.pass(SECONDS(301)).await;
    assert_eq!(key(&world.ask_for(&ANA, true).await), "ana-3");
}

#[tokio::test]
async fn a_login_that_ends_after_the_sign_out_is_thrown_away_and_logged_out() {
    let world = World::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() });
    let (obtained, ()) = tokio::join!(world.ask(&ANA), async {
        world.settle().await;
        world.store.revoke("portal", ANA.sid, 2_000_000);
        world.script.gate.as_ref().unwrap().add_permits(1);
    });
    assert!(matches!(obtained, Obtained::Revoked));
    world.settle().await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    assert!(matches!(world.ask(&ANA).await, Obtained::Revoked));
    assert!(world.store.is_empty());
    assert!(world.counted(r#"keyward_keys{backend="mail"} 0"#));
}

#[tokio::test]
async fn a_sign_out_ends_all_sessions_at_once_and_is_forgotten_when_the_ticket_has_ended() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.ask(&BEN).await;
    world.store.revoke("portal", ANA.sid, 1_000_060);
    world.pass(SECONDS(61)).await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    assert_eq!(key(&world.ask(&BEN).await), "ben-2");
    assert_eq!(key(&world.ask(&ANA).await), "ana-3");
}

#[tokio::test]
async fn another_ticket_of_a_signed_out_session_is_refused_until_its_own_end() {
    let world = World::new(Script::default());
    // Ana's ticket ends later than the one that was shown at the sign-out.
    world.store.revoke("portal", ANA.sid, 1_000_060);
    assert!(matches!(world.ask(&ANA).await, Obtained::Revoked));
    world.pass(SECONDS(61)).await;
    assert!(matches!(world.ask(&ANA).await, Obtained::Revoked));
}

#[tokio::test]
async fn a_wall_clock_that_jumps_ahead_and_back_revives_nobody() {
    let world = World::new(Script::default());
    world.store.revoke("portal", ANA.sid, 2_000_000);
    world.clock.set_unix(3_000_000);
    world.pass(SECONDS(2)).await;
    world.clock.set_unix(1_000_000);
    assert!(matches!(world.ask(&ANA).await, Obtained::Revoked));
}

#[tokio::test]
async fn whoever_comes_back_and_is_checked_is_no_longer_idle() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.pass(SECONDS(890)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    world.pass(SECONDS(60)).await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert!(world.script.logouts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_renewal_that_fails_takes_no_keys_away_and_one_that_is_refused_does() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    *world.script.outage.lock().unwrap() = Some(Outage::Unreachable("gone".to_owned()));
    assert_eq!(key(&world.ask_for(&ANA, true).await), "ana-1");
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert_eq!((world.logins(), world.script.logouts.lock().unwrap().len()), (2, 0));
    *world.script.outage.lock().unwrap() = None;
    world.pass(SECONDS(301)).await;
    let changed = Who { password: "wrong", ..ANA };
    assert!(matches!(world.ask_for(&changed, true).await, Obtained::Refused(_)));
    world.settle().await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    assert!(world.counted(r#"keyward_keys{backend="mail"} 0"#));
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_hangs_delays_nobody_whose_keys_are_held() {
    let world = World::new(Script { gate: Some(Semaphore::new(2)), ..Script::default() });
    let people = [ANA, BEN];
    for who in &people {
        world.ask(who).await;
    }
    // From now on nothing is answered. Both go on clicking for a quarter of an hour.
    for _ in 0..90 {
        world.clock.advance(SECONDS(10));
        world.store.tick().await;
        tokio::time::sleep(SECONDS(10)).await;
        for who in &people {
            let asked = tokio::time::Instant::now();
            assert!(key(&world.ask(who).await).starts_with(who.user));
            assert!(asked.elapsed().is_zero(), "waited {:?}", asked.elapsed());
        }
    }
    assert!(world.script.checks.load(SeqCst) > 2, "it was asked whether it works again");
}

#[tokio::test]
async fn a_check_that_panics_takes_no_keys_away_and_keep_alives_go_on() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    world.script.panics.store(true, SeqCst);
    world.pass(SECONDS(400)).await;
    assert!(matches!(world.ask(&ANA).await, Obtained::Unavailable(_)));
    world.script.panics.store(false, SeqCst);
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert!(world.counted(r#"keyward_keys{backend="mail"} 1"#));
    for _ in 0..30 {
        world.ask(&ANA).await;
        world.pass(SECONDS(30)).await;
    }
    assert!(world.script.checks.load(SeqCst) >= 3);
}

#[tokio::test]
async fn refused_people_who_keep_asking_take_no_place() {
    let world = World::with_limit(Script::default(), 2);
    let stale = Who { password: "wrong", ..ANA };
    world.ask(&BEN).await;
    for _ in 0..100 {
        assert!(matches!(world.ask(&stale).await, Obtained::Refused(_)));
    }
    assert_eq!(world.store.len(), 1);
    assert_eq!(key(&world.ask(&BEN).await), "ben-1");
    assert!(world.counted(r#"keyward_key_lookups_total{backend="mail",result="refused"} 99"#));
}

#[tokio::test]
async fn at_the_end_of_the_process_logouts_are_waited_for() {
    let world = World::new(Script::default());
    for n in 0..50 {
        world.ask(&Who { sid: format!("sid-{n:020}").leak(), ..ANA }).await;
    }
    for n in 0..50 {
        world.store.revoke("portal", &format!("sid-{n:020}"), 2_000_000);
    }
    world.store.finish_chores().await;
    assert_eq!(world.script.logouts.lock().unwrap().len(), 50);
}

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
    let world = World::new(Script { binding: Binding { user_agent: true, address: false }, ..Script::default() });
    for n in 0..40 {
        world.ask(&Who { agent: format!("Browser/{n}").leak(), ..ANA }).await;
    }
    assert_eq!(world.store.len(), 16);
    world.settle().await;
    assert_eq!(world.script.logouts.lock().unwrap().len(), 24);
}

#[tokio::test]
async fn a_connector_that_panics_leaves_nobody_waiting_for_ever() {
    let world = World::new(Script::default());
    let cursed = Who { password: "panic", ..ANA };
    assert!(matches!(world.ask(&cursed).await, Obtained::Unavailable(Outage::Protocol(_))));
    assert!(world.store.is_empty());
    assert_eq!(key(&world.ask(&ANA).await), "ana-2");
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_its_time_and_the_login_goes_on_for_the_next() {
    let world = World::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() });
    // The login itself has its deadline from when it began, a moment after the request.
    let waiting = tokio::time::timeout(SECONDS(3), world.ask(&ANA)).await;
    assert!(waiting.is_err(), "the user gave up");
    world.script.gate.as_ref().unwrap().add_permits(1);
    world.settle().await;
    assert_eq!(key(&world.ask(&ANA).await), "ana-1");
    assert_eq!(world.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_back_end_costs_a_request_its_login_timeout_and_then_nothing() {
    let world = World::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() });
    let start = tokio::time::Instant::now();
    assert!(matches!(world.ask(&ANA).await, Obtained::Unavailable(Outage::TimedOut)));
    assert_eq!(start.elapsed().as_secs(), 10);
    world.settle().await;
    assert!(matches!(world.ask(&BEN).await, Obtained::Unavailable(Outage::BackingOff { .. })));
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn sessions_of_a_back_end_that_was_removed_are_ended_and_those_of_another_stay() {
    let world = World::new(Script::default());
    world.ask(&ANA).await;
    let changed = guarded("mail", &world.script, &world.metrics, &world.clock);
    world.store.configure(1000, &[Arc::clone(&changed)]);
    assert_eq!(key(&world.ask(&ANA).await), "ana-1", "the same back-end with other limits");
    let other = guarded("other", &world.script, &world.metrics, &world.clock);
    world.store.configure(1000, &[other]);
    world.settle().await;
    assert!(world.store.is_empty());
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
}

#[tokio::test]
async fn a_login_whose_back_end_was_removed_meanwhile_is_given_up_and_is_no_sign_out() {
    let world = World::new(Script { gate: Some(Semaphore::new(0)), ..Script::default() });
    let (obtained, ()) = tokio::join!(world.ask(&ANA), async {
        world.settle().await;
        world.store.configure(1000, &[]);
        world.script.gate.as_ref().unwrap().add_permits(1);
    });
    assert!(matches!(obtained, Obtained::Busy), "{obtained:?}");
    world.settle().await;
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
}

#[tokio::test]
async fn a_request_that_still_has_the_old_configuration_leaves_no_session_behind() {
    let world = World::new(Script::default());
    world.store.configure(1000, &[]);
    assert!(matches!(world.ask(&ANA).await, Obtained::Busy));
    world.settle().await;
    assert!(world.store.is_empty());
    assert_eq!(*world.script.logouts.lock().unwrap(), ["key=ana-1"]);
    assert!(world.counted(r#"keyward_keys{backend="mail"} 0"#));
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
