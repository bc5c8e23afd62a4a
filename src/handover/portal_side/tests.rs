use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::*;
use crate::backend::{Attempt, Backend, Guarded, Liveness, Login, Outage, Profile};
use crate::config::{Document, Draft};
use crate::domain::{
    BackendLimits, Call, Clock, Cookies, CredentialSource, Desk, LoginName, ManualClock, Person, Reach,
    ScriptedBrowser, SessionHandle,
};
use crate::handover::{Entrance, SignOutRequest};
use crate::keys::{KeyStore, SignOutBy};
use crate::observe::Metrics;
use crate::pages::Pages;
use crate::portal::ticket::{NewTicket, TicketKey};
use crate::portal::{PortalPlan, Portals, Sessions};
use crate::wire::Errands;

const SID: &str = "what-the-browser-shows";

/// An application that ties its sessions to the browser, and tells in the key for which one it was opened.
struct Tied(Binding);

impl Backend for Tied {
    fn login<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>> {
        let client = &attempt.client;
        let browser = format!("{}/{}", client.address, String::from_utf8_lossy(&client.user_agent));
        let keys = SessionKeys::builder().cookie("browser", &browser).unwrap().build().unwrap();
        async { Ok(Login::Opened(keys)) }.boxed()
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

    fn binding(&self) -> Binding {
        self.0
    }
}

fn portal(kind: &str, clock: &Arc<ManualClock>, metrics: &Metrics) -> Arc<Portal> {
    let text = format!("[[portal]]\nname = \"shop\"\ncookie = \"c\"\nlogin_url = \"https://p.test/\"\n{kind}");
    let mut draft = Draft::read(Document::parse("k.toml", &text).unwrap());
    let clock: Arc<dyn Clock> = clock.clone();
    let portal =
        PortalPlan::read(draft.portals.remove(0), &Sessions::new(9), &Errands::new(), &Pages::shipped(), &clock);
    portal.unwrap().build(metrics)
}

/// A house with one portal, where ana is signed in, and an application that ties sessions so.
fn house(binding: Binding) -> SelfService {
    let metrics = Metrics::new();
    let clock = Arc::new(ManualClock::at(1000));
    let portal = portal("kind = \"registered\"\n", &clock, &metrics);
    let clock: Arc<dyn Clock> = clock;
    let profile = Profile {
        name: "mail".to_owned(),
        kind: "tied".to_owned(),
        url: "http://127.0.0.1:1".parse().unwrap(),
        credentials: CredentialSource::None,
        login: LoginName::default(),
        limits: BackendLimits::default(),
        roles: Vec::new(),
    };
    let backend = Guarded::new(profile, Box::new(Tied(binding)), &metrics, Arc::clone(&clock));
    let keys = KeyStore::new(9, Arc::clone(&clock), tokio::runtime::Handle::current());
    keys.configure(9, &[Arc::clone(&backend)]);
    let (host, path) = ("mail.test".to_owned(), "/webmail".to_owned());
    let portals = Portals::new(vec![Arc::clone(&portal)]).unwrap();
    let entrance = Entrance { host, path, backend, portals, roles: Vec::new() };
    let house = SelfService::new(vec![portal], vec![entrance], keys, clock, Vec::new(), &metrics);
    let ana = Identity::new("ana", "", "", Vec::new()).unwrap();
    let registered = house.portal_side(None).unwrap().register(SID, ana, 2000, None).now_or_never();
    assert_eq!(registered, Some(Ok(Registered::New)));
    house
}

fn browser<'a>(address: Option<&str>, user_agent: Option<&'a [u8]>) -> BrowserBehind<'a> {
    let address = address.map(|address| address.parse().unwrap());
    BrowserBehind { address, user_agent, accept_language: None, caller: IpAddr::from([127, 0, 0, 1]) }
}

#[tokio::test]
async fn an_application_that_ties_sessions_to_the_browser_is_opened_for_a_known_one_only() {
    for (user_agent, address) in [(false, false), (true, false), (false, true), (true, true)] {
        let house = house(Binding { user_agent, address, accept_language: false });
        let side = house.portal_side(Some("shop")).unwrap();
        for (agent_known, address_known) in [(false, false), (true, false), (false, true), (true, true)] {
            let behind = browser(address_known.then_some("192.0.2.7"), agent_known.then_some(b"Browser/1"));
            let enough = (agent_known || !user_agent) && (address_known || !address);
            match side.open(SID, None, "mail", &behind).await {
                Ok(opened) => {
                    assert!(enough);
                    assert_eq!((opened.host.as_str(), opened.entry.as_str()), ("mail.test", "/webmail/"));
                    let shown = opened.keys.cookie("browser").unwrap();
                    assert!(!address || shown.starts_with("192.0.2.7/"), "{shown}");
                    assert!(!user_agent || shown.ends_with("/Browser/1"), "{shown}");
                }
                Err(reason) => assert!(!enough && reason == NotOpened::NoBrowser, "{reason:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_browser_may_have_no_language_but_the_portal_must_say_so() {
    let house = house(Binding { accept_language: true, ..Binding::default() });
    let side = house.portal_side(None).unwrap();
    for (accept_language, opens) in [(None, false), (Some(&b""[..]), true), (Some(b"de"), true)] {
        let behind = BrowserBehind { accept_language, ..browser(None, None) };
        assert_eq!(side.open(SID, None, "mail", &behind).await.is_ok(), opens);
    }
    assert_eq!(side.touch(SID).await, Ok(2), "one for each");
}

#[tokio::test]
async fn each_browser_has_keys_of_its_own_where_the_application_tells_them_apart() {
    let house = house(Binding { user_agent: true, address: true, accept_language: false });
    let side = house.portal_side(None).unwrap();
    let mut seen = Vec::new();
    for (address, agent) in [("192.0.2.7", "a"), ("192.0.2.8", "a"), ("192.0.2.7", "b"), ("192.0.2.7", "a")] {
        let opened = side.open(SID, None, "mail", &browser(Some(address), Some(agent.as_bytes()))).await.ok();
        seen.push(opened.unwrap().keys.cookies().to_owned());
    }
    assert_eq!(seen, ["192.0.2.7/a", "192.0.2.8/a", "192.0.2.7/b", "192.0.2.7/a"].map(|key| format!("browser={key}")));
    assert_eq!(side.touch(SID).await, Ok(3));
    side.sign_out(SID, &SignOutRequest::now(SignOutBy::Api, None)).await.unwrap();
    assert_eq!(side.touch(SID).await, Err(NotOpened::NoSession(Reason::Revoked)));
}

#[tokio::test]
async fn a_ticket_that_outlives_the_day_of_its_sign_out_stays_refused_until_its_end() {
    let (text, secret) =
        ("kind = \"ticket\"\n[[portal.key]]\nid = \"k\"\nsecret = ", "0123456789abcdef0123456789abcdef");
    let (clock, metrics) = (Arc::new(ManualClock::at(1000)), Metrics::new());
    let portal = portal(&format!("{text}\"{secret}\"\n"), &clock, &metrics);
    let keys = KeyStore::new(9, clock.clone(), tokio::runtime::Handle::current());
    let (store, at) = (Arc::clone(&keys), clock.clone());
    let house = SelfService::new(vec![portal], Vec::new(), keys, at, Vec::new(), &metrics);
    let key = TicketKey::new("k", &Secret::from(secret)).unwrap();
    let ticket = |sid: &str| format!("c={}", key.mint(&NewTicket::new(sid, "ana", 1000, 1_000_000), None).unwrap());
    let who = async |sid: &str| {
        let ticket = ticket(sid);
        let person = house.whoami(&Cookies::new([ticket.as_bytes()]), &ScriptedBrowser(&[])).await.unwrap();
        person.map(|person| person.user)
    };
    assert_eq!(who("a-session-of-somebody").await.as_deref(), Some("ana"));
    let side = house.portal_side(None).unwrap();
    side.sign_out("another-session-of-ana", &SignOutRequest::now(SignOutBy::Api, None)).await.unwrap();
    clock.advance(Duration::from_secs(3 * 24 * 3600));
    store.tick().await;
    assert_eq!(who("another-session-of-ana").await, None);
    assert_eq!(who("a-session-of-somebody").await.as_deref(), Some("ana"));
    clock.advance(Duration::from_secs(1_000_000));
    store.tick().await;
    assert!(!store.is_ended("shop", "another-session-of-ana"), "nothing is remembered for ever");
}

#[tokio::test]
async fn the_portal_that_calls_is_named_or_cannot_be_another() {
    let house = house(Binding::default());
    assert!(house.portal_side(None).is_some() && house.portal_side(Some("shop")).is_some());
    assert!(house.portal_side(Some("club")).is_none());
    let side = house.portal_side(None).unwrap();
    let ana = || Identity::new("ana", "", "", Vec::new()).unwrap();
    for (sid, expires, result) in [
        (SID, 1000, Err(NotRegistered::Past)),
        (SID, 3000, Ok(Registered::Known)),
        ("two words", 3000, Err(NotRegistered::NotKept(NotKept::NoCookie))),
        ("semi;colon", 3000, Err(NotRegistered::NotKept(NotKept::NoCookie))),
    ] {
        assert_eq!(side.register(sid, ana(), expires, None).await, result, "{sid} {expires}");
    }
}

#[tokio::test]
async fn a_session_that_is_kept_here_no_more_is_nobodys() {
    let house = house(Binding::default());
    let cookie = format!("c={SID}");
    let call = Call {
        reach: Reach::Browsers,
        method: "GET",
        path: "/",
        query: "",
        origin: "",
        cookies: Cookies::new([cookie.as_bytes()]),
        browser: &ScriptedBrowser(&[]),
        body: b"",
        vouched: None,
    };
    let ana = house.person(&call).await.unwrap().unwrap();
    assert_eq!(house.as_now(&ana).await, Ok(Some(ana.clone())));
    let id = "00112233445566778899aabbccddeeff".to_owned();
    let forgotten = Person { session: SessionHandle { id, ..ana.session.clone() }, ..ana.clone() };
    assert_eq!(house.as_now(&forgotten).await, Ok(None), "it has ended, whatever was known of it");
    let ben = Identity::new("ben", "", "", Vec::new()).unwrap();
    assert_eq!(house.portal_side(None).unwrap().register(SID, ben, 2000, None).await, Ok(Registered::Known));
    assert_eq!(house.as_now(&ana).await, Ok(None), "it is somebody else's");
}
