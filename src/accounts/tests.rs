mod directories;

use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::waiting::Planned;
use super::*;
use crate::backend::{AccountChange, Accounts, Attempt as LoginAttempt, Backend, Liveness, Login, Profile};
use crate::domain::{
    BackendLimits, CredentialSource, ExposeSecret, LoginName, ManualClock, Moment, Secret, SessionKeys,
};
use crate::observe::Metrics;

/// A back-end that only keeps accounts, and does as it is told.
#[derive(Default)]
struct Script {
    down: AtomicBool,
    panics: AtomicBool,
    /// What was asked of it: name, change and password.
    asked: StdMutex<Vec<String>>,
}

struct Scripted(Arc<Script>);

impl Accounts for Scripted {
    fn foresees(&self, _: &str, _: &AccountChange) -> Option<AccountRefusal> {
        None
    }

    fn apply<'a>(
        &'a self,
        login: &'a str,
        change: &'a AccountChange,
    ) -> BoxFuture<'a, Result<Result<(), AccountRefusal>, Outage>> {
        let password = change.password().map_or("", ExposeSecret::expose_secret);
        self.0.asked.lock().unwrap().push(format!("{login} {} {password}", change.as_str()));
        async {
            assert!(!self.0.panics.load(SeqCst), "as told");
            if self.0.down.load(SeqCst) { Err(Outage::TimedOut) } else { Ok(Ok(())) }
        }
        .boxed()
    }
}

impl Backend for Scripted {
    fn login<'a>(&'a self, _: &'a LoginAttempt) -> BoxFuture<'a, Result<Login, Outage>> {
        async { Err(Outage::TimedOut) }.boxed()
    }

    fn check<'a>(&'a self, _: &'a SessionKeys) -> BoxFuture<'a, Result<Liveness, Outage>> {
        async { Ok(Liveness::Alive) }.boxed()
    }

    fn logout<'a>(&'a self, _: &'a SessionKeys) -> BoxFuture<'a, Result<(), Outage>> {
        async { Ok(()) }.boxed()
    }

    fn owns_cookie(&self, _: &[u8]) -> bool {
        false
    }

    fn accounts(&self) -> Option<&dyn Accounts> {
        Some(self)
    }
}

struct World {
    provisioner: Arc<Provisioner>,
    keys: Arc<KeyStore>,
    backend: Arc<Guarded>,
    script: Arc<Script>,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let script = Arc::new(Script::default());
        let profile = Profile {
            name: "mail".to_owned(),
            kind: "scripted".to_owned(),
            url: "http://127.0.0.1:1".parse().unwrap(),
            credentials: CredentialSource::Portal,
            login: LoginName::default(),
            limits: BackendLimits::default(),
            roles: Vec::new(),
        };
        let backend = Guarded::new(profile, Box::new(Scripted(Arc::clone(&script))), &Metrics::new(), clock.clone());
        let keys = KeyStore::new(10, clock.clone(), Handle::current());
        keys.configure(10, &[Arc::clone(&backend)]);
        let provisioner = Provisioner::new(Arc::clone(&keys), clock.clone(), Handle::current());
        Self { provisioner, keys, backend, script, clock }
    }

    async fn change(&self, wish: Wish) -> Outcome {
        let ana = Identity::new("ana", "", "", vec![]).unwrap();
        let reports = self.provisioner.change(&ana, &wish, "portal", vec![Arc::clone(&self.backend)]).await.unwrap();
        assert_eq!(reports.len(), 1);
        reports[0].outcome
    }

    /// Lets time pass second by second, as the ticker would see it.
    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            self.provisioner.tick();
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits until nothing is left to do: what ends sessions runs on a thread of its own.
    async fn done(&self) {
        let empty = async {
            while !self.provisioner.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), empty).await.unwrap();
    }

    fn asked(&self) -> Vec<String> {
        self.script.asked.lock().unwrap().clone()
    }
}

fn password(text: &str) -> Wish {
    Wish::Password(Secret::from(text))
}

#[tokio::test]
async fn a_change_is_tried_until_it_is_done_and_a_dead_back_end_is_not_stormed() {
    let world = World::new();
    world.script.down.store(true, SeqCst);
    assert_eq!(world.change(password("new")).await, Outcome::Pending);
    world.pass(600).await;
    let tries = world.asked().len();
    assert!((8..25).contains(&tries), "{tries} tries in ten minutes");
    world.script.down.store(false, SeqCst);
    world.pass(120).await;
    world.done().await;
    assert_eq!(world.asked().len(), tries + 1);
}

#[tokio::test]
async fn a_new_password_of_an_account_that_is_not_made_yet_makes_it() {
    let world = World::new();
    world.script.down.store(true, SeqCst);
    assert_eq!(world.change(Wish::Put(Some(Secret::from("first")))).await, Outcome::Pending);
    assert_eq!(world.change(password("second")).await, Outcome::Pending);
    world.script.down.store(false, SeqCst);
    world.pass(120).await;
    assert_eq!(world.asked().last().map(String::as_str), Some("ana put second"));
}

#[tokio::test]
async fn an_attempt_that_breaks_off_is_made_again() {
    let world = World::new();
    world.script.panics.store(true, SeqCst);
    assert_eq!(world.change(password("new")).await, Outcome::Pending);
    world.script.panics.store(false, SeqCst);
    world.pass(120).await;
    world.done().await;
}

#[tokio::test]
async fn a_change_waits_until_nobody_signs_that_person_in() {
    let world = World::new();
    let turn = world.keys.turn(&world.backend, "ana").await;
    let change = world.change(password("new"));
    let mut change = std::pin::pin!(change);
    for _ in 0..20 {
        assert!(change.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert_eq!(world.asked().len(), 0);
    drop(turn);
    assert_eq!(change.await, Outcome::Done);
}

#[tokio::test]
async fn while_a_change_waits_for_its_place_that_person_can_be_signed_in() {
    let world = World::new();
    let place = world.backend.change_place().await;
    let change = world.change(password("new"));
    let mut change = std::pin::pin!(change);
    for _ in 0..20 {
        assert!(change.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert!(world.keys.turn(&world.backend, "ana").now_or_never().is_some());
    drop(place);
    assert_eq!(change.await, Outcome::Done);
}

#[tokio::test]
async fn when_a_newer_change_comes_in_between_the_older_one_is_not_made() {
    let world = World::new();
    let turn = world.keys.turn(&world.backend, "ana").await;
    let (older, newer) = (world.change(password("older")), world.change(password("newer")));
    let both = futures_util::future::join(older, newer);
    let mut both = std::pin::pin!(both);
    for _ in 0..20 {
        assert!(both.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(turn);
    assert_eq!(both.await, (Outcome::Replaced, Outcome::Done));
    assert_eq!(world.asked(), ["ana password newer"]);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_as_a_whole() {
    let world = World::new();
    let planned = |logins: std::ops::Range<usize>| -> Vec<Planned> {
        let one = |number: usize| {
            let account = Account { place: Place::Backend(world.backend.id()), login: format!("p{number}") };
            Planned { keeper: Keeper::Backend(Arc::clone(&world.backend)), account, change: AccountChange::Remove }
        };
        logins.map(one).collect()
    };
    let mut waiting = Waiting::default();
    waiting.begin(planned(0..9_999)).unwrap();
    assert_eq!(waiting.begin(planned(9_999..10_001)).err(), Some(NotBegun::Full));
    assert_eq!(waiting.len(), 9_999);
    waiting.begin(planned(9_999..10_000)).unwrap();
    assert!(waiting.begin(planned(0..10)).is_ok(), "what takes another's place needs none of its own");
    assert!(waiting.begin_due(Moment::from_millis(u64::MAX), 10).is_empty(), "all are under way");
}
