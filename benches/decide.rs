//! What the steps of a decision from the cache cost, one by one: `cargo bench --bench decide`. What a
//! whole process costs beside nginx is `side_by_side`'s subject.

#[path = "common/mod.rs"]
#[expect(dead_code, reason = "another bench uses more of it")]
mod common;

use std::borrow::Cow;
use std::cell::Cell;
use std::error::Error;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use criterion::Criterion;
use futures_util::future::BoxFuture;
use keyward::backend::{Attempt, Backend, Guarded, Liveness, Login, Outage, Profile};
use keyward::config::{Document, Draft};
use keyward::decision::{Access, Ask, Decision, Gate, Host, Purpose, Route, Router, Sheets, Step, Target, Terms};
use keyward::domain::{
    Audience, BackendLimits, Browser, Client, Clock, Cookies, CredentialSource, LoginName, SessionKeys, SystemClock,
    UrlKey,
};
use keyward::keys::KeyStore;
use keyward::observe::Metrics;
use keyward::pages::Pages;
use keyward::portal::{Portal, PortalPlan, PortalSession, Portals, Scratch, Sessions, Verdict};
use keyward::wire::Errands;

use common::load::{Crowd, HOST, portal};

/// How many sessions are held.
const SESSIONS: [usize; 2] = [1, 100_000];
const TARGET: &str = "/mail/list?folder=inbox&page=2";

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    paths(&mut criterion);
    let runtime = tokio::runtime::Runtime::new()?;
    for sessions in SESSIONS {
        let house = House::with(sessions, &runtime)?;
        house.measure(&mut criterion);
    }
    criterion.final_summary();
    Ok(())
}

fn paths(criterion: &mut Criterion) {
    let route = |path: &str| Route {
        host: HOST.to_owned(),
        path: path.to_owned(),
        methods: Vec::new(),
        access: Access::Public,
        backend: None,
    };
    let router = Router::new(vec![route("/admin"), route("")]);
    for (name, path) in [
        ("plain", "/mail/folders/inbox/list"),
        ("encoded", "/mail/folders/caf%C3%A9/list"),
        ("disguised", "/mail/%2e%2e;a=b//%2561dmin/list"),
    ] {
        criterion.bench_function(&format!("route/{name}"), |bencher| {
            bencher.iter(|| router.find(HOST, "GET", black_box(path)).is_ok());
        });
    }
}

/// A gate, its store full of sessions, and everybody's cookie lines.
struct House {
    gate: Gate,
    portal: Arc<Portal>,
    backend: Arc<Guarded>,
    keys: Arc<KeyStore>,
    clock: Arc<dyn Clock>,
    cookie_lines: Vec<String>,
    /// Whose turn it is.
    turn: Cell<usize>,
}

impl House {
    fn with(sessions: usize, runtime: &tokio::runtime::Runtime) -> Result<Self, Box<dyn Error>> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let metrics = Metrics::new();
        let document = Document::parse("keyward.toml", &portal()).map_err(|mistake| mistake.to_string())?;
        let portal = Draft::read(document).portals.pop().ok_or("no portal")?;
        let portal = PortalPlan::read(portal, &Sessions::new(0), &Errands::new(), &Pages::shipped(), &clock)
            .ok_or("no portal")?;
        let portal = portal.build(&metrics);
        let profile = Profile {
            name: "mail".to_owned(),
            kind: "instant".to_owned(),
            url: "http://127.0.0.1:1".parse()?,
            credentials: CredentialSource::Portal,
            login: LoginName::default(),
            limits: BackendLimits::default(),
            roles: Vec::new(),
        };
        let backend = Guarded::new(profile, Box::new(Instant), &metrics, Arc::clone(&clock));
        let keys = KeyStore::new(1_000_000, Arc::clone(&clock), runtime.handle().clone());
        keys.configure(1_000_000, &[Arc::clone(&backend)]);
        let portals = Portals::new(vec![Arc::clone(&portal)]).ok_or("no portal")?;
        let access =
            Access::SignedIn(Terms { portals, authorization: false, url_key: UrlKey::default(), roles: Vec::new() });
        let route = Route {
            host: HOST.to_owned(),
            path: String::new(),
            methods: Vec::new(),
            access,
            backend: Some(Arc::clone(&backend)),
        };
        let gate = Gate::new(
            Router::new(vec![route]),
            vec![Arc::clone(&portal)],
            Arc::clone(&keys),
            Arc::clone(&clock),
            16 * 1024,
        );
        let crowd = Crowd::of(sessions)?;
        let cookie_lines = (0..sessions).map(|person| crowd.cookies(person)).collect();
        let house = Self { gate, portal, backend, keys, clock, cookie_lines, turn: Cell::new(0) };
        runtime.block_on(house.sign_everybody_in())?;
        Ok(house)
    }

    async fn sign_everybody_in(&self) -> Result<(), Box<dyn Error>> {
        for line in &self.cookie_lines {
            let (ask, mut sheets) = (ask(line)?, Sheets::default());
            let decision = match self.gate.decide(&ask, Purpose::Pass, &mut sheets) {
                Step::Decided(decision) => decision,
                Step::Waiting(waiting) => waiting.finish().await,
            };
            if !matches!(decision, Decision::Allow(_)) {
                return Err(format!("somebody was not let in: {decision:?}").into());
            }
        }
        Ok(())
    }

    fn measure(&self, criterion: &mut Criterion) {
        let sessions = self.cookie_lines.len();
        criterion.bench_function(&format!("ticket/{sessions}"), |bencher| {
            bencher.iter(|| self.session_of(self.next(), &mut Scratch::default()).is_some());
        });
        let owned = |line: &String| self.session_of(line, &mut Scratch::default()).map(PortalSession::into_owned);
        let everybody: Vec<PortalSession<'static>> = self.cookie_lines.iter().filter_map(owned).collect();
        criterion.bench_function(&format!("find/{sessions}"), |bencher| {
            bencher.iter(|| {
                let session = &everybody[self.advance()];
                self.keys.find(self.portal.name(), session, &self.backend, session.identity().user(), client)
            });
        });
        criterion.bench_function(&format!("decide/{sessions}"), |bencher| {
            let mut text = Vec::with_capacity(1024);
            bencher.iter(|| {
                text.clear();
                self.decide(self.next(), &mut text)
            });
        });
    }

    /// The whole decision, and what of it goes upstream.
    fn decide(&self, line: &str, text: &mut Vec<u8>) -> bool {
        let (Ok(ask), mut sheets) = (ask(line), Sheets::default()) else { return false };
        match self.gate.decide(&ask, Purpose::Pass, &mut sheets) {
            Step::Decided(Decision::Allow(grant)) => {
                grant.write_cookies(text);
                grant.write_target(text);
                grant.write_groups(text);
                true
            }
            _ => false,
        }
    }

    fn session_of<'a>(&'a self, line: &'a str, scratch: &'a mut Scratch) -> Option<PortalSession<'a>> {
        let shown = self.portal.shown(&Cookies::new([line.as_bytes()]), &Firefox, false);
        match self.portal.validate(&shown, self.clock.unix(), scratch) {
            Verdict::Genuine(session) => Some(session),
            Verdict::Rejected(_) | Verdict::Unreachable { .. } | Verdict::Unasked => None,
        }
    }

    fn next(&self) -> &str {
        &self.cookie_lines[self.advance()]
    }

    /// Round through all sessions, in an order that no cache foresees.
    fn advance(&self) -> usize {
        self.turn.set((self.turn.get() + 7_919) % self.cookie_lines.len());
        self.turn.get()
    }
}

fn ask(cookie_line: &str) -> Result<Ask<'_>, Box<dyn Error>> {
    Ok(Ask {
        secure: true,
        host: Host::parse(HOST)?,
        target: Target::parse(TARGET)?,
        method: "GET",
        cookies: Cookies::new([cookie_line.as_bytes()]),
        browser: &Firefox,
    })
}

struct Firefox;

impl Browser for Firefox {
    fn client(&self) -> Client<'_> {
        client()
    }

    fn audience(&self, _: &str) -> Audience {
        Audience::Program
    }

    fn header(&self, _: &str) -> Option<&str> {
        None
    }
}

fn client() -> Client<'static> {
    Client {
        address: IpAddr::from([198, 51, 100, 7]),
        user_agent: Cow::Borrowed(b"Mozilla/5.0"),
        accept_language: Cow::Borrowed(b"en"),
    }
}

/// A back-end that opens every session at once.
struct Instant;

impl Backend for Instant {
    fn login<'a>(&'a self, _: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>> {
        Box::pin(async {
            let key = "0123456789abcdef0123456789abcdef";
            let keys = SessionKeys::builder().cookie("_hmail", key).and_then(|keys| keys.query("_h", key)?.build());
            keys.map(Login::Opened).map_err(|error| Outage::Protocol(error.to_string()))
        })
    }

    fn check<'a>(&'a self, _: &'a SessionKeys) -> BoxFuture<'a, Result<Liveness, Outage>> {
        Box::pin(async { Ok(Liveness::Alive) })
    }

    fn logout<'a>(&'a self, _: &'a SessionKeys) -> BoxFuture<'a, Result<(), Outage>> {
        Box::pin(async { Ok(()) })
    }

    fn owns_cookie(&self, name: &[u8]) -> bool {
        name.starts_with(b"_h")
    }

    fn query_key(&self) -> Option<&str> {
        Some("_h")
    }
}
