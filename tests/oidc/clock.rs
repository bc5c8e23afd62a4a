//! What time does to sessions and keys, with a clock that can be moved.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use keyward::config::{Document, Draft};
use keyward::domain::{Answered, Audience, Browser, Call, Client, Clock, Cookies, ManualClock, Reach, Reply};
use keyward::handover::SelfService;
use keyward::keys::KeyStore;
use keyward::observe::Metrics;
use keyward::pages::Pages;
use keyward::portal::{Portal, PortalPlan, Sessions, Verdict};
use keyward::wire::Errands;

use crate::fakes::openid_provider::OpenIdProvider;
use crate::stage::{COOKIE, MAIL};
use crate::support::{now, until};

/// The portal's side of Keyward alone, before a provider.
struct World {
    provider: OpenIdProvider,
    clock: Arc<ManualClock>,
    portal: Arc<Portal>,
    house: SelfService,
}

impl World {
    async fn new(more: &str) -> Self {
        let provider = OpenIdProvider::start(&[MAIL]).await.unwrap();
        let clock = Arc::new(ManualClock::at(now()));
        let time: Arc<dyn Clock> = clock.clone();
        let errands = Errands::new();
        errands.run_on(tokio::runtime::Handle::current());
        let mut draft =
            Draft::read(Document::parse("k.toml", &crate::stage::config(&provider.issuer(), more)).unwrap());
        let settings = draft.portals.remove(0);
        let plan = PortalPlan::read(settings, &Sessions::new(100), &errands, &Pages::shipped(), &time).unwrap();
        let portal = plan.build(&Metrics::new());
        let keys = KeyStore::new(100, Arc::clone(&time), tokio::runtime::Handle::current());
        let house = SelfService::new(vec![Arc::clone(&portal)], vec![], keys, time, vec![], &Metrics::new());
        Self { provider, clock, portal, house }
    }

    async fn go(&self, address: &str, cookies: &str) -> Reply {
        let target = address.strip_prefix(MAIL).unwrap_or(address);
        let (path, query) = target.split_once('?').unwrap();
        let call = Call {
            reach: Reach::Browsers,
            method: "GET",
            path,
            query,
            origin: MAIL,
            cookies: Cookies::new([cookies.as_bytes()]),
            browser: &Somebody,
            body: b"",
            vouched: None,
        };
        let (Answered::Here(reply) | Answered::Elsewhere(reply) | Answered::Vouched { reply, .. }) =
            self.portal.service().unwrap().answer(&call, &self.house).await;
        assert_eq!(reply.status, 303, "{reply:?}");
        reply
    }

    /// The cookie of somebody who has signed in.
    async fn signed_in(&self) -> String {
        let begun = self.go("/.keyward/login/id?url=%2F", "").await;
        let back = self.provider.visit(header(&begun, "location")).unwrap();
        let flow = header(&begun, "set-cookie").split(';').next().unwrap();
        let done = self.go(&back, flow).await;
        header(&done, "set-cookie").split(';').next().unwrap().to_owned()
    }

    async fn is_signed_in(&self, cookie: &str) -> bool {
        let cookies = Cookies::new([cookie.as_bytes()]);
        let shown = self.portal.shown(&cookies, &Somebody, false);
        matches!(self.portal.identify(&shown, self.clock.unix()).await, Verdict::Genuine(_))
    }
}

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    &reply.headers.iter().find(|(held, _)| *held == name).unwrap().1
}

/// A browser that navigates.
struct Somebody;

impl Browser for Somebody {
    fn client(&self) -> Client<'_> {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Client { address, user_agent: b""[..].into(), accept_language: b""[..].into() }
    }

    fn audience(&self, _: &str) -> Audience {
        Audience::Page
    }

    fn header(&self, _: &str) -> Option<&str> {
        None
    }
}

#[tokio::test]
async fn a_wall_clock_that_jumps_ends_no_session_and_has_no_token_renewed() {
    const DAY: u64 = 24 * 3600;
    for is_ahead in [true, false] {
        let world = World::new("session_lifetime = \"72h\"").await;
        let cookie = world.signed_in().await;
        assert!(cookie.starts_with(COOKIE) && world.is_signed_in(&cookie).await);
        let right = world.clock.unix();
        world.clock.set_unix(if is_ahead { right + DAY } else { right - DAY });
        assert!(world.is_signed_in(&cookie).await);
        assert_eq!(world.provider.asked("/token"), 1, "none is due");
        // New tokens are of the provider's day.
        world.clock.advance(Duration::from_secs(300));
        assert!(world.is_signed_in(&cookie).await);
        assert_eq!(world.provider.asked("/token"), 2);
        world.clock.set_unix(right + 300);
        assert!(world.is_signed_in(&cookie).await);
        assert_eq!(world.provider.asked("/token"), 2, "nor is one when it is set right");
    }
}

#[tokio::test]
async fn what_the_provider_says_of_itself_is_asked_for_again_while_it_is_in_use() {
    let world = World::new("").await;
    world.provider.lifetimes(7200, None);
    let asked = || (world.provider.asked("/openid-configuration"), world.provider.asked("/certs"));
    world.signed_in().await;
    world.signed_in().await;
    assert_eq!(asked(), (1, 1));
    world.clock.advance(Duration::from_secs(16 * 60));
    world.signed_in().await;
    until("both are asked for", || async { asked() == (2, 2) }).await;
    world.signed_in().await;
    assert_eq!(asked(), (2, 2));
}
