//! What several portals say, and what is made of it.

mod address;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::domain::{Browser, Client, Cookies, ManualClock, ScriptedBrowser};
use crate::portal::{Portals, Says, Scripted};

const ALICE: Says = Says::Genuine("alice", "staff");
const BOB: Says = Says::Genuine("bob", "staff");
const CAROL: Says = Says::Genuine("carol", "guest");
const NOBODY: Says = Says::Rejected(Reason::Forged);
const PAST: Says = Says::Rejected(Reason::Expired);
/// The one session that was signed out, at either portal.
const ENDED: &str = "ended-session-of-both";

/// One route whose portals are these.
struct House {
    gate: Gate,
    asked: [Arc<AtomicUsize>; 2],
}

impl House {
    /// Each portal has its cookie, knows these values, and has to ask or not.
    fn new(cookies: [&'static str; 2], known: [&[(&'static str, Says)]; 2], asks: [bool; 2]) -> Self {
        Self::with(cookies, known, asks, false)
    }

    fn with(
        cookies: [&'static str; 2],
        known: [&[(&'static str, Says)]; 2],
        asks: [bool; 2],
        authorization: bool,
    ) -> Self {
        let asked = [Arc::default(), Arc::default()];
        let portal = |which: usize| {
            let scripted = Scripted {
                cookie: cookies[which],
                answers: HashMap::from_iter(known[which].iter().copied()),
                asks: asks[which],
                asked: Arc::clone(&asked[which]),
                challenge: Some(["Basic realm=\"one\"", "Bearer realm=\"two\""][which]),
            };
            scripted.build(["one", "two"][which], &[])
        };
        let portals = vec![portal(0), portal(1)];
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1000));
        let keys = KeyStore::new(9, Arc::clone(&clock), tokio::runtime::Handle::current());
        for portal in &portals {
            keys.revoke(portal.name(), ENDED, 2000);
        }
        let terms = Terms {
            portals: Portals::new(portals.clone()).unwrap(),
            authorization,
            roles: vec!["staff".to_owned()],
            url_key: UrlKey::Upstream,
        };
        let (host, access) = ("app.test".to_owned(), Access::SignedIn(terms));
        let route = Route { host, path: String::new(), methods: Vec::new(), access, backend: None };
        Self { gate: Gate::new(Router::new(vec![route]), portals, keys, clock, 4096), asked }
    }

    /// One portal that knows alice, and this application behind it.
    fn before(application: impl Fn(&Arc<dyn Clock>) -> Arc<Guarded>, url_key: UrlKey) -> Self {
        let known = HashMap::from([("a", ALICE)]);
        let portals = vec![Scripted { cookie: "c1", answers: known, ..Scripted::default() }.build("one", &[])];
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1000));
        let keys = KeyStore::new(9, Arc::clone(&clock), tokio::runtime::Handle::current());
        let backend = application(&clock);
        keys.configure(9, &[Arc::clone(&backend)]);
        let portals_here = Portals::new(portals.clone()).unwrap();
        let terms = Terms { portals: portals_here, authorization: false, roles: Vec::new(), url_key };
        let (host, access) = ("app.test".to_owned(), Access::SignedIn(terms));
        let route = Route { host, path: String::new(), methods: Vec::new(), access, backend: Some(backend) };
        Self { gate: Gate::new(Router::new(vec![route]), portals, keys, clock, 4096), asked: Default::default() }
    }

    async fn decide(&self, cookies: &str, browser: &dyn Browser) -> String {
        let ask = Ask {
            secure: true,
            host: Host::parse("app.test").unwrap(),
            target: Target::parse("/inbox").unwrap(),
            method: "GET",
            cookies: Cookies::new([cookies.as_bytes()]),
            browser,
        };
        let mut sheets = Sheets::default();
        let decision = match self.gate.decide(&ask, Purpose::Pass, &mut sheets) {
            Step::Decided(decision) => decision,
            Step::Waiting(waiting) => waiting.finish().await,
        };
        match decision {
            Decision::Allow(grant) => {
                let mut cookies = Vec::new();
                grant.write_cookies(&mut cookies);
                assert!(cookies.is_empty(), "no portal's cookie goes upstream");
                grant.identity().unwrap().user().to_owned()
            }
            Decision::Elsewhere { address } => address,
            Decision::SignIn { reason, login, .. } => {
                assert!(login.starts_with("https://one.test/?next=https%3A%2F%2Fapp"), "{login}");
                format!("sign in: {}", reason.as_str())
            }
            Decision::Unavailable { reason, retry_after } => format!("{} {retry_after:?}", reason.as_str()),
            Decision::Deny(reason) => reason.as_str().to_owned(),
        }
    }
}

const STRANGER: ScriptedBrowser<'_> = ScriptedBrowser(&[]);

#[tokio::test]
async fn the_first_portal_that_knows_somebody_counts_and_one_that_cannot_be_asked_ends_it() {
    // What is shown to a portal, what it says of that, and what is decided where that counts.
    let says: [(&str, Says, Option<&str>); 9] = [
        ("", NOBODY, None),
        ("junk", NOBODY, None),
        ("old", PAST, None),
        ("alice", ALICE, Some("alice")),
        ("bob", BOB, Some("bob")),
        ("carol", CAROL, Some("role")),
        (ENDED, ALICE, Some("sign in: revoked")),
        // Some portals know that themselves.
        ("gone", Says::Rejected(Reason::Revoked), Some("sign in: revoked")),
        ("down", Says::Unreachable, Some("portal_unavailable 17s")),
    ];
    for (one, at_one, first) in says {
        for (two, at_two, second) in says {
            let reason = [(one, at_one), (two, at_two)].into_iter().find_map(|(shown, says)| match says {
                Says::Rejected(reason) if !shown.is_empty() => Some(reason),
                _ => None,
            });
            let nobody = format!("sign in: {}", reason.unwrap_or(Reason::NoSession).as_str());
            let expected = first.or(second).unwrap_or(&nobody);
            let cookies: Vec<String> = [("c1", one), ("c2", two)]
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            for asks in [[false, false], [true, false], [false, true], [true, true]] {
                let house = House::new(["c1", "c2"], [&[(one, at_one)], &[(two, at_two)]], asks);
                let decided = house.decide(&cookies.join("; "), &STRANGER).await;
                assert_eq!(decided, expected, "{one} {two} {asks:?}");
                let asked = house.asked.each_ref().map(|asked| asked.load(Ordering::SeqCst));
                let shown = [!one.is_empty(), !two.is_empty() && first.is_none()];
                let wanted = [0, 1].map(|which| usize::from(asks[which] && shown[which]));
                assert_eq!(asked, wanted, "whoever need not be asked is not: {one} {two} {asks:?}");
            }
        }
    }
}

#[tokio::test]
async fn two_portals_with_a_cookie_of_one_name_are_two_portals() {
    let known: [&[(&str, Says)]; 2] = [&[("a", ALICE), ("same", ALICE)], &[("b", BOB), ("same", BOB)]];
    for asks in [[false, false], [true, true]] {
        let house = House::new(["c", "c"], known, asks);
        for (cookies, expected) in [
            ("c=a", "alice"),
            ("c=b", "bob"),
            ("c=b; c=a", "alice"),
            // One id at both: the first portal's.
            ("c=same", "alice"),
            ("c=neither", "sign in: forged"),
        ] {
            assert_eq!(house.decide(cookies, &STRANGER).await, expected, "{cookies}");
        }
    }
}

/// A browser that tells whether anybody looked at its credentials.
#[derive(Default)]
struct Watched(AtomicUsize);

impl Browser for Watched {
    fn client(&self) -> Client<'_> {
        STRANGER.client()
    }

    fn audience(&self, _: &str) -> Audience {
        Audience::Program
    }

    fn header(&self, name: &str) -> Option<&str> {
        assert_eq!(name, "authorization");
        self.0.fetch_add(1, Ordering::SeqCst);
        Some("bobs password")
    }
}

#[tokio::test]
async fn credentials_count_where_the_route_says_so_and_no_cookie_is_good() {
    let known: [&[(&str, Says)]; 2] =
        [&[("a", ALICE), ("down", Says::Unreachable)], &[("b", CAROL), ("bobs password", BOB)]];
    for asks in [[false, false], [true, false], [false, true], [true, true]] {
        for (authorization, cookies, expected) in [
            (false, "c1=a", "alice"),
            (false, "", "sign in: no_session"),
            (false, "c1=junk", "sign in: forged"),
            (false, "c2=b", "role"),
            (true, "c1=a", "alice"),
            (true, "", "bob"),
            (true, "c1=junk", "bob"),
            (true, "c2=b", "role"),
            (true, "c1=down", "portal_unavailable 17s"),
        ] {
            let (house, browser) = (House::with(["c1", "c2"], known, asks, authorization), Watched::default());
            assert_eq!(house.decide(cookies, &browser).await, expected, "{cookies} {asks:?}");
            let looked = browser.0.load(Ordering::SeqCst) > 0;
            assert_eq!(looked, authorization, "{cookies}: nobody even looks where it may not count");
        }
    }
}

/// Somebody without anything.
struct Somebody(Audience);

impl Browser for Somebody {
    fn client(&self) -> Client<'_> {
        STRANGER.client()
    }

    fn audience(&self, _: &str) -> Audience {
        self.0
    }

    fn header(&self, _: &str) -> Option<&str> {
        None
    }
}

#[tokio::test]
async fn only_programs_are_challenged_and_only_where_an_answer_would_count() {
    for authorization in [false, true] {
        let house = House::with(["c1", "c2"], [&[], &[]], [false, false], authorization);
        for audience in [Audience::Page, Audience::Form, Audience::Script, Audience::Program] {
            let (browser, mut sheets) = (Somebody(audience), Sheets::default());
            let ask = Ask {
                secure: true,
                host: Host::parse("app.test").unwrap(),
                target: Target::parse("/inbox").unwrap(),
                method: "GET",
                cookies: Cookies::default(),
                browser: &browser,
            };
            let Step::Decided(Decision::SignIn { challenges, login, .. }) =
                house.gate.decide(&ask, Purpose::Pass, &mut sheets)
            else {
                panic!("nobody is nobody");
            };
            let challenged = authorization && audience == Audience::Program;
            let wanted: &[&str] = if challenged { &["Basic realm=\"one\"", "Bearer realm=\"two\""] } else { &[] };
            assert_eq!(challenges.as_slice(), wanted, "{audience:?}");
            assert_eq!(login.ends_with("%2Finbox"), audience != Audience::Form, "{login}");
        }
    }
}
