//! The key store with a scripted back-end, at a time of its own.

mod crowd;
mod ends;
mod life;
mod logins;
mod queue;
mod shared;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::Semaphore;

use super::*;
use crate::backend::{Attempt, Backend, Binding, Guarded, Liveness, Login, OpenedBeside, Outage, Profile, Refusal};
use crate::domain::{
    BackendLimits, Client, Clock, CredentialSource, ExposeSecret, LoginName, ManualClock, Secret, SessionHandle,
    SessionKeys,
};
use crate::observe::{Metrics, Stopwatch};
use crate::portal::ticket::{NewTicket, TicketKey, Tickets};
use crate::portal::{PortalSession, Scratch, Verdict};

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
    /// Logouts are not heard while this is set.
    deaf: Mutex<Option<Outage>>,
    logout_attempts: AtomicUsize,
    dead: Mutex<bool>,
    panics: AtomicBool,
    renews: bool,
    /// When keys end by themselves, in Unix seconds.
    ends: Mutex<Option<u64>>,
    binding: Binding,
    /// What was opened beside the keys, as it is told each time somebody asks.
    beside: Mutex<VecDeque<OpenedBeside>>,
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
        async {
            self.0.logout_attempts.fetch_add(1, SeqCst);
            assert!(!self.0.panics.load(SeqCst), "as told");
            if let Some(outage) = self.0.deaf.lock().unwrap().clone() {
                return Err(outage);
            }
            self.0.logouts.lock().unwrap().push(keys.cookies().to_owned());
            Ok(())
        }
        .boxed()
    }

    fn owns_cookie(&self, name: &[u8]) -> bool {
        name == b"key"
    }

    fn binding(&self) -> Binding {
        self.0.binding
    }

    fn opened_beside<'a>(&'a self, _: &'a SessionHandle) -> BoxFuture<'a, OpenedBeside> {
        async {
            let next = self.0.beside.lock().unwrap().pop_front();
            match next {
                Some(next) => {
                    // Others have to be asked.
                    tokio::task::yield_now().await;
                    next
                }
                None => OpenedBeside { keys: Vec::new(), is_all: true },
            }
        }
        .boxed()
    }

    fn keys_end(&self, _: &SessionKeys) -> Option<u64> {
        *self.0.ends.lock().unwrap()
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
        ask_at(&self.store, &self.backend, who, renew).await
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

/// Asks as the decision does.
async fn ask_at(store: &Arc<KeyStore>, backend: &Arc<Guarded>, who: &Who, renew: bool) -> Obtained {
    let session = who.session();
    let client = who.client();
    if !renew {
        match store.find("portal", &session, backend, who.user, || client.clone()) {
            Found::Keys(keys) => return Obtained::Keys(keys),
            Found::Revoked => return Obtained::Revoked,
            Found::Nothing => {}
        }
    }
    let password = who.password;
    let order = Order {
        portal: "portal",
        session: &session,
        backend,
        login: who.user,
        client: &client,
        password: Arc::new(move || Ok(Some(Secret::from(password)))),
        renew,
    };
    store.obtain(order).await
}

fn guarded(name: &str, script: &Arc<Script>, metrics: &Metrics, clock: &Arc<ManualClock>) -> Arc<Guarded> {
    guarded_with(limits(), name, script, metrics, clock.clone())
}

fn guarded_with(
    limits: BackendLimits,
    name: &str,
    script: &Arc<Script>,
    metrics: &Metrics,
    clock: Arc<dyn Clock>,
) -> Arc<Guarded> {
    let profile = Profile {
        name: name.to_owned(),
        kind: "scripted".to_owned(),
        url: "http://127.0.0.1:1".parse().unwrap(),
        credentials: CredentialSource::Portal,
        login: LoginName::parse("{sub}").unwrap(),
        limits,
        roles: Vec::new(),
    };
    Guarded::new(profile, Box::new(Scripted(Arc::clone(script))), metrics, clock)
}

#[derive(Clone, Copy)]
struct Who {
    sid: &'static str,
    user: &'static str,
    password: &'static str,
    agent: &'static str,
    /// The last part of the address.
    host: u8,
    language: &'static str,
}

const ANA: Who =
    Who { sid: "sid-of-ana-0000001", user: "ana", password: "right", agent: "Browser/1", host: 1, language: "" };
const BEN: Who = Who { sid: "sid-of-ben-0000001", user: "ben", ..ANA };

impl Who {
    fn session(&self) -> PortalSession<'static> {
        let key = TicketKey::new("k", &Secret::from("0123456789abcdef0123456789abcdef")).unwrap();
        let claims = NewTicket::new(self.sid, self.user, 1, 2_000_000);
        let ticket = key.mint(&claims, None).unwrap();
        let mut scratch = Scratch::default();
        match Tickets::new("portal", vec![key]).judge(&[&ticket], 1_000_000, &mut scratch) {
            Verdict::Genuine(session) => session.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    fn client(&self) -> Client<'static> {
        Client {
            address: IpAddr::from([192, 0, 2, self.host]),
            user_agent: self.agent.as_bytes().into(),
            accept_language: self.language.as_bytes().into(),
        }
    }
}

fn key(obtained: &Obtained) -> String {
    match obtained {
        Obtained::Keys(keys) => keys.cookie("key").unwrap().to_owned(),
        other => panic!("no keys: {other:?}"),
    }
}
