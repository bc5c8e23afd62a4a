//! The application's key in the browser's own address.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use url::Url;

use super::*;
use crate::backend::{Attempt, Backend, Liveness, Login, Outage, Profile};
use crate::domain::{BackendLimits, CredentialSource, LoginName};
use crate::observe::Metrics;

/// An application with a key in its query, which lets everybody in.
struct Open;

impl Backend for Open {
    fn login<'a>(&'a self, _: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>> {
        async { Ok(Login::Opened(SessionKeys::builder().query("_h", "fresh").unwrap().build().unwrap())) }.boxed()
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

    fn query_key(&self) -> Option<&str> {
        Some("_h")
    }
}

fn application(clock: &Arc<dyn Clock>) -> Arc<Guarded> {
    let second = Duration::from_secs(1);
    let profile = Profile {
        name: "mail".to_owned(),
        kind: "axigen".to_owned(),
        url: Url::parse("http://127.0.0.1:1/").unwrap(),
        credentials: CredentialSource::None,
        login: LoginName::parse("{sub}").unwrap(),
        limits: BackendLimits {
            login_timeout: 10 * second,
            max_logins: 2,
            idle_timeout: 900 * second,
            max_age: 3600 * second,
            keep_alive_interval: 300 * second,
            refused_for: 300 * second,
            failure_backoff: 2 * second,
        },
        roles: Vec::new(),
    };
    Guarded::new(profile, Box::new(Open), &Metrics::new(), Arc::clone(clock))
}

/// What becomes of alice's request, and where it goes.
async fn decided(house: &House, audience: Audience, secure: bool, target: &str) -> (Ruling, Reason, String) {
    let (browser, mut sheets) = (Somebody(audience), Sheets::default());
    let ask = Ask {
        secure,
        host: Host::parse("app.test:8443").unwrap(),
        target: Target::parse(target).unwrap(),
        method: "GET",
        cookies: Cookies::new([&b"c1=a"[..]]),
        browser: &browser,
    };
    let decision = match house.gate.decide(&ask, Purpose::Pass, &mut sheets) {
        Step::Decided(decision) => decision,
        Step::Waiting(waiting) => waiting.finish().await,
    };
    let goes = match &decision {
        Decision::Elsewhere { address } => address.clone(),
        Decision::Allow(grant) => {
            let mut target = Vec::new();
            grant.write_target(&mut target);
            String::from_utf8(target).unwrap()
        }
        other => panic!("alice may pass: {other:?}"),
    };
    assert!(!format!("{decision:?}").contains("fresh"), "{decision:?}");
    (decision.ruling(), decision.reason(), goes)
}

#[tokio::test]
async fn only_a_page_without_the_key_is_sent_to_its_own_address_with_it() {
    let (allow, redirect) = (Ruling::Allow, Ruling::Redirect);
    let upstream = House::before(application, UrlKey::Upstream);
    let address = House::before(application, UrlKey::Address);
    for (house, audience, secure, target, ruling, goes) in [
        (&upstream, Audience::Page, true, "/inbox", allow, "/inbox?_h=fresh"),
        (&address, Audience::Page, true, "/inbox", redirect, "https://app.test:8443/inbox?_h=fresh"),
        (&address, Audience::Page, false, "/a?b=c", redirect, "http://app.test:8443/a?b=c&_h=fresh"),
        (&address, Audience::Page, true, "/a?_h=stale&b", redirect, "https://app.test:8443/a?b&_h=fresh"),
        (&address, Audience::Page, true, "/a?_h=fresh&_h=stale", redirect, "https://app.test:8443/a?_h=fresh"),
        (&address, Audience::Page, true, "/a?_h=fresh", allow, "/a?_h=fresh"),
        (&address, Audience::Form, true, "/inbox", allow, "/inbox?_h=fresh"),
        (&address, Audience::Script, true, "/inbox", allow, "/inbox?_h=fresh"),
        (&address, Audience::Program, true, "/inbox", allow, "/inbox?_h=fresh"),
    ] {
        // The first answer waits for the login, and the second has its key at once.
        for _ in 0..2 {
            let decided = decided(house, audience, secure, target).await;
            assert_eq!(decided, (ruling, Reason::Ok, goes.to_owned()), "{audience:?} {target}");
        }
    }
}
