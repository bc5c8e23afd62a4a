//! Portal kind `oidc`: people sign in at an OpenID provider, such as Keycloak, and Keyward is its relying party.
//!
//! The code flow with PKCE makes a session of our own, whose cookie is a random value and nothing else; the
//! provider's tokens stay here, sealed. They are renewed before they end, and with them roles change and
//! sessions end. API callers may bring an access token of the provider instead.
//!
//! The library `oauth2` speaks OAuth 2.0, `jsonwebtoken` checks signatures. The library that has both, and
//! discovery as well, brings an implementation of RSA along which leaks keys by its timing; what is missing
//! between the two stands in the files below, each beside the section of the standard it follows.

mod bearer;
mod claims;
mod doors;
mod flow;
mod keys;
mod logout;
mod pages;
mod provider;
mod session;
mod settings;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use url::Url;

use self::bearer::{Bearers, Brought};
use self::provider::Provider;
use self::session::Refreshed;
use self::settings::Settings;
use super::flights::Flights;
use super::registered::Registered;
use super::{
    Called, Keeps, Kind, NoPassword, Password, PortalSession, Scratch, Sessions, Shown, SignedSession, Surroundings,
    Verdict, Verifier, Whose,
};
use crate::config::Section;
use crate::domain::{Clock, Reason, Secret, Service, UnixSeconds};
use crate::pages::Pages;
use crate::wire::{Errands, Wire};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "oidc", build };

/// Longest time for a TCP and TLS handshake; a shorter `timeout` cuts it anyway.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most refreshes that are wanted at once.
const MOST_REFRESHES: usize = 1000;
/// Most of them that the provider has before it at once. It may just have started, and everybody's are due.
const TURNS: usize = 32;

fn build(section: &mut Section, surroundings: &Surroundings) -> Box<dyn Verifier> {
    let Surroundings { name, sessions: kept, errands, pages, clock } = surroundings;
    let settings = Arc::new(Settings::read(section, name));
    let sessions = Registered::new(settings.cookie.clone(), surroundings);
    let (authorities, issuer) = (section.authorities(), settings.issuer_url.clone());
    let wire = match Wire::trusting(authorities, issuer, None, CONNECT_TIMEOUT, Arc::clone(clock)) {
        Ok(wire) => wire,
        Err(error) => {
            section.mistake("issuer", &error.to_string());
            return Box::new(sessions);
        }
    };
    let provider = Provider::new(name.clone(), Arc::clone(&settings), wire, Arc::clone(clock), Arc::clone(errands));
    let house = House {
        name: name.clone(),
        settings,
        provider,
        kept: Arc::clone(kept),
        pages: Arc::clone(pages),
        clock: Arc::clone(clock),
        errands: Arc::clone(errands),
        refreshes: Flights::new(Arc::clone(errands), MOST_REFRESHES),
        turns: Semaphore::new(TURNS),
    };
    let house = Arc::new(house);
    Box::new(Oidc { bearers: Bearers::new(Arc::clone(&house)), house, sessions })
}

struct Oidc {
    house: Arc<House>,
    /// Our own sessions, by our own cookie.
    sessions: Registered,
    bearers: Bearers,
}

/// What outlives the request that needs it.
struct House {
    name: String,
    settings: Arc<Settings>,
    provider: Arc<Provider>,
    /// Where sessions are kept. The memos of one are the provider's names for the person and for its session.
    kept: Arc<Sessions>,
    /// What our own pages say.
    pages: Arc<Pages>,
    clock: Arc<dyn Clock>,
    errands: Arc<Errands>,
    refreshes: Flights<String, Refreshed>,
    turns: Semaphore,
}

impl Verifier for Oidc {
    fn longest_answer(&self) -> Duration {
        self.house.provider.longest_answer()
    }

    fn cookie(&self) -> &str {
        self.sessions.cookie()
    }

    fn gives_cookie(&self) -> bool {
        true
    }

    fn owns_cookie(&self, name: &[u8]) -> bool {
        name == self.cookie().as_bytes() || name.starts_with(flow::prefix(self.cookie()).as_bytes())
    }

    fn verify<'a>(&'a self, shown: &Shown<'a>, now: UnixSeconds, scratch: &'a mut Scratch) -> Verdict<'a> {
        let (id, held) = match self.sessions.look_up(&shown.values, now) {
            Ok((_, held)) if held.fresh_until <= self.house.clock.now() => return Verdict::Unasked,
            Ok(found) => found,
            Err(reason) => match self.bearers.look_up(shown.authorization, now) {
                Brought::Known(id, held) => (id, held),
                Brought::Unasked => return Verdict::Unasked,
                Brought::Worthless(reason) => return Verdict::Rejected(reason),
                Brought::Nothing => return Verdict::Rejected(reason),
            },
        };
        Verdict::Genuine(PortalSession::held(id, scratch.held.insert(held)))
    }

    fn ask<'a>(&'a self, shown: &Shown<'_>, now: UnixSeconds) -> BoxFuture<'a, Verdict<'static>> {
        match self.sessions.look_up(&shown.values, now) {
            Ok((id, held)) => Box::pin(Arc::clone(&self.house).renewed(id, held)),
            Err(_) => match shown.authorization.and_then(bearer::token) {
                Some(token) => Box::pin(self.bearers.ask(token.to_owned())),
                None => Box::pin(std::future::ready(Verdict::Rejected(Reason::NoSession))),
            },
        }
    }

    fn challenge(&self) -> Option<&str> {
        (!self.house.settings.audiences.is_empty()).then_some("Bearer")
    }

    fn has_own_page(&self) -> bool {
        true
    }

    fn signed(&self, presented: &[&str]) -> Vec<SignedSession> {
        self.sessions.signed(presented)
    }

    fn longest_left(&self) -> u64 {
        self.bearers.longest_left()
    }

    fn password(&self, _session: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        Err(NoPassword::Absent)
    }

    fn keeps(&self) -> Keeps {
        Keeps::Sessions
    }

    fn gives_tokens(&self) -> bool {
        true
    }

    /// The one of now, where a refresh has brought a newer one than the session was looked up with.
    fn token(&self, session: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        let newest = self.house.kept.of_id(session.id(), self.house.clock.unix());
        let held = match &session.password {
            Password::Held(held) => newest.as_ref().unwrap_or(held),
            Password::Sealed { .. } => return Err(NoPassword::Absent),
        };
        let tokens = self.house.tokens(session.id(), held).ok_or(NoPassword::Unreadable)?;
        if !session::are_good(held, self.house.clock.now()) {
            return Err(NoPassword::NotNow);
        }
        Ok(Secret::from(tokens.access))
    }

    fn farewell(&self, id: &str, origin: &str, return_to: Option<&Url>) -> Option<String> {
        self.house.farewell(id, origin, return_to)
    }

    fn farewell_origin(&self) -> Option<String> {
        self.house.farewell_origin()
    }

    fn called<'a>(&'a self, sid: &'a str) -> BoxFuture<'a, Called> {
        Box::pin(async move { self.all_with(&format!("sid:{sid}")).await })
    }

    fn called_off<'a>(&'a self, sid: &'a str) -> BoxFuture<'a, Called> {
        self.house.note_end(&format!("sid:{sid}"));
        self.called(sid)
    }

    fn whose(&self, id: &str, now: UnixSeconds) -> Whose {
        self.bearers.whose(id, now).map_or_else(|| self.house.kept.whose(id, now), Whose::Of)
    }

    fn end(&self, id: &str) -> Option<UnixSeconds> {
        if let Some(end) = self.bearers.end(id) {
            return Some(end);
        }
        let ended = self.house.kept.end(&self.house.name, id)?;
        self.bearers.end_beside(&ended.memos);
        Some(ended.expires)
    }

    fn service(&self) -> Option<&dyn Service> {
        Some(self)
    }
}

impl Oidc {
    /// The ids of all sessions that the provider calls so, by cookie or by token.
    async fn all_with(&self, memo: &str) -> Called {
        let mut called = self.house.kept.called(&self.house.name, memo).await;
        called.ids.extend(self.bearers.ids_with(memo));
        called
    }
}
