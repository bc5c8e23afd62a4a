//! The portal's side of Keyward alone, with a clock that can be moved.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use keyward::config::{Document, Draft};
use keyward::domain::{Audience, Browser, Client, Clock, Cookies, ExposeSecret, ManualClock, Moment};
use keyward::handover::{BrowserBehind, NotOpened, SelfService, SignOutRequest};
use keyward::keys::{KeyStore, SignOutBy};
use keyward::observe::Metrics;
use keyward::pages::Pages;
use keyward::portal::{Portal, PortalPlan, Sessions, Shown, Verdict};
use keyward::wire::Errands;

use crate::script::{COOKIE, SECRET, Script};

/// The wall clock when a world begins.
pub const NOON: u64 = 1_795_262_400;

pub struct World {
    pub script: Script,
    pub clock: Arc<ManualClock>,
    pub sessions: Arc<Sessions>,
    pub portal: Arc<Portal>,
    pub keys: Arc<KeyStore>,
    house: SelfService,
    errands: Arc<Errands>,
}

/// What came of a question, in words that are easily compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    In(String),
    Out(&'static str),
    Unavailable,
    /// Only where nothing was to be asked.
    Unasked,
}

impl Who {
    pub fn is(user: &str) -> Self {
        Self::In(user.to_owned())
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// With more settings, which come before the tables.
    pub async fn with(more: &str) -> Self {
        Self::with_limit(more, 1000).await
    }

    pub async fn with_limit(more: &str, limit: usize) -> Self {
        let script = Script::start().await;
        let clock = Arc::new(ManualClock::at(NOON));
        let (sessions, errands) = (Sessions::new(limit), Errands::new());
        errands.run_on(tokio::runtime::Handle::current());
        let portal = plan("p", &script, more, &clock, &sessions, &errands);
        let time: Arc<dyn Clock> = clock.clone();
        let keys = KeyStore::new(100, Arc::clone(&time), tokio::runtime::Handle::current());
        let ended_at = Arc::clone(&keys);
        sessions.at_the_end(move |portal, id, until| ended_at.revoke(portal, id, until));
        let house =
            SelfService::new(vec![Arc::clone(&portal)], vec![], Arc::clone(&keys), time, vec![], &Metrics::new());
        Self { script, clock, sessions, portal, keys, house, errands }
    }

    /// Another portal of the same kind at the same address, after a reload.
    pub fn reloaded(&self, more: &str) -> Arc<Portal> {
        plan("p", &self.script, more, &self.clock, &self.sessions, &self.errands)
    }

    /// Another portal in the same configuration, with the same name for its cookie.
    pub fn beside(&self, script: &Script) -> Arc<Portal> {
        plan("q", script, "", &self.clock, &self.sessions, &self.errands)
    }

    /// Until when the session counts without another question.
    pub fn fresh_until(&self, cookie: &str) -> Moment {
        self.sessions.find("p", cookie, 0).unwrap().1.fresh_until
    }

    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Whose the cookies are.
    pub async fn who(&self, cookies: &[&str]) -> Who {
        self.who_at(&self.portal, cookies).await
    }

    pub async fn who_at(&self, portal: &Portal, cookies: &[&str]) -> Who {
        let shown = Shown { values: cookies.iter().copied().collect(), authorization: None, browser: Some(&Firefox) };
        self.judge(portal, portal.identify(&shown, self.clock.unix()).await)
    }

    /// The same as far as it is known without asking.
    pub fn known(&self, cookie: &str) -> Who {
        let mut scratch = Default::default();
        let verdict = self.portal.validate(&Shown::only(cookie), self.clock.unix(), &mut scratch).into_owned();
        self.judge(&self.portal, verdict)
    }

    fn judge(&self, portal: &Portal, verdict: Verdict<'_>) -> Who {
        match verdict {
            // As every decision does.
            Verdict::Genuine(session) if self.keys.is_revoked(portal.name(), &session) => Who::Out("revoked"),
            Verdict::Genuine(session) => Who::is(session.identity().user()),
            Verdict::Rejected(reason) => Who::Out(reason.as_str()),
            Verdict::Unreachable { retry_after } => {
                assert!(retry_after >= Duration::from_secs(1) && retry_after <= Duration::from_secs(60));
                Who::Unavailable
            }
            Verdict::Unasked => Who::Unasked,
        }
    }

    /// The id, roles, end and password of a session that is there.
    pub async fn details(&self, cookie: &str) -> (String, Vec<String>, u64, Option<String>) {
        let Verdict::Genuine(session) = self.portal.identify(&Shown::only(cookie), self.clock.unix()).await else {
            panic!("{cookie} is nobody's")
        };
        let password = self.portal.password(&session).ok().map(|secret| secret.expose_secret().to_owned());
        let roles = session.identity().roles().iter().map(|role| role.to_string()).collect();
        (session.id().to_owned(), roles, session.expires(), password)
    }

    /// Somebody opens the page that signs out.
    pub fn sign_out(&self, cookie: &str) {
        let line = format!("{COOKIE}={cookie}");
        let request = SignOutRequest::now(SignOutBy::Browser, None);
        self.house
            .sign_out(&Cookies::new([line.as_bytes()]), &request, "https://app.example.test", None)
            .now_or_never();
    }

    /// The portal's server ends a session through the API.
    pub fn call_off(&self, sid: &str) {
        self.house.portal_side(None).unwrap().sign_out(sid, &SignOutRequest::now(SignOutBy::Api, None)).now_or_never();
    }

    /// Whether the portal's server gets as far as to the back-end, of which there is none.
    pub async fn opens(&self, sid: &str, cookie: &str) -> NotOpened {
        let address = Some(Firefox.client().address);
        let caller = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let browser = BrowserBehind { address, user_agent: Some(b"Firefox"), accept_language: Some(b"de"), caller };
        let side = self.house.portal_side(None).unwrap();
        side.open(sid, Some(cookie), "mail", &browser).await.err().unwrap()
    }

    pub fn clock_unix(&self) -> u64 {
        self.clock.unix()
    }

    /// What the process does once a second: sessions that have ended are cleared away. Says whose.
    pub fn clear_away(&self) -> Vec<String> {
        let mut gone = Vec::new();
        while let Some(person) = self.sessions.next_ended(self.clock.unix()) {
            self.keys.expire(&person);
            gone.push(person.identity.user().to_owned());
        }
        gone
    }
}

fn plan(
    name: &str,
    script: &Script,
    more: &str,
    clock: &Arc<ManualClock>,
    sessions: &Arc<Sessions>,
    errands: &Arc<Errands>,
) -> Arc<Portal> {
    let text = format!(
        "[[portal]]\nname = \"{name}\"\nkind = \"introspect\"\nlogin_url = \"https://p.test/?next={{url}}\"\n\
         cookie = \"{COOKIE}\"\nurl = \"{}/who\"\nsecret = \"{SECRET}\"\n{more}\n",
        script.url()
    );
    let mut draft = Draft::read(Document::parse("k.toml", &text).unwrap());
    let time: Arc<dyn Clock> = clock.clone();
    let plan = PortalPlan::read(draft.portals.remove(0), sessions, errands, &Pages::shipped(), &time).unwrap();
    let mistakes: Vec<String> = draft.mistakes.all().iter().map(ToString::to_string).collect();
    assert!(mistakes.iter().all(|mistake| mistake.contains("k.toml: route: is missing")), "{mistakes:#?}");
    plan.build(&Metrics::new())
}

/// A browser with headers that are none of its business.
pub struct Firefox;

impl Browser for Firefox {
    fn client(&self) -> Client<'_> {
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
        Client { address, user_agent: b"Firefox"[..].into(), accept_language: b"de"[..].into() }
    }

    fn audience(&self, _method: &str) -> Audience {
        Audience::Script
    }

    fn header(&self, name: &str) -> Option<&str> {
        match name {
            "user-agent" => Some("Firefox"),
            "accept-language" => Some("de"),
            "host" | "x-forwarded-host" => Some("169.254.169.254"),
            "x-forwarded-for" => Some("127.0.0.1"),
            "authorization" => Some("Basic Ym9iOmJvYg=="),
            "x-device" => Some("telephone"),
            _ => None,
        }
    }
}
