//! Kind `epixel`: a client service in the single sign-on of Epixel MLM Software, with Keyward as its
//! host.
//!
//! The host mints a token that works once; the client's login endpoint is called with it, by the
//! browser or by Keyward; the client asks the host whose it is ([`host`]), logs the person in, and
//! acknowledges. The workflow is documented. Of the bodies only the name `api_sid` is, so every other
//! name, every path and every lifetime is a setting, and the defaults are ours.
//!
//! One back-end is one client service. Several share the host's paths; see
//! [`Answered`](crate::domain::Answered).

mod host;
mod ledger;
mod settings;

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::json;

use self::ledger::{Beside, GONE_FOR, Guest, Ledger, Minted, NotMinted, Way};
use self::settings::Settings;
use super::{Attempt, Backend, Kind, Liveness, Login, Memory, OpenedBeside, Outage, Profile, Refusal};
use crate::config::Section;
use crate::domain::{Clock, ExposeSecret, KnownAs, Service, SessionHandle, SessionKeys};
use crate::store::{Event, Store, StoreOutage};
use crate::wire::{Answer, Hs256, Location, Request, Wire, form_encoded};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "epixel", build };

fn build(section: &mut Section, wire: Wire) -> Box<dyn Backend> {
    let mut settings = Settings::read(section, &wire);
    let ledger = Ledger::new(settings.token_lifetime, Arc::clone(wire.clock()));
    let given = settings.access.take();
    let (is_access_given, access) = (given.is_some(), given.unwrap_or_else(|| Hs256::new(&rand::random::<[u8; 32]>())));
    Box::new(Epixel { settings, is_access_given, access, ledger, wire })
}

struct Epixel {
    settings: Settings,
    /// Whether others know what access tokens are signed with.
    is_access_given: bool,
    /// What they are signed with.
    access: Hs256,
    ledger: Arc<Ledger>,
    wire: Wire,
}

impl Backend for Epixel {
    fn login<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>> {
        Box::pin(self.enter(attempt))
    }

    fn check<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<Liveness, Outage>> {
        Box::pin(async {
            if self.is_alive(keys).await? {
                return Ok(Liveness::Alive);
            }
            // Else those of a service that forgets its sessions would add up.
            self.ledger.forget(keys.memo()).await;
            Ok(Liveness::Dead)
        })
    }

    fn logout<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<(), Outage>> {
        Box::pin(self.log_out(keys.memo()))
    }

    fn owns_cookie(&self, name: &[u8]) -> bool {
        // What the client is made of is not known, so every common way of folding counts.
        let decoded = Cow::from(percent_encoding::percent_decode(name));
        let folded = decoded.trim_ascii();
        self.settings.cookies.iter().any(|own| match own.strip_suffix('*') {
            Some(start) => folded.get(..start.len()).is_some_and(|held| held.eq_ignore_ascii_case(start.as_bytes())),
            None => folded.eq_ignore_ascii_case(own.as_bytes()),
        })
    }

    fn wants_password(&self) -> bool {
        false
    }

    fn opened_beside<'a>(&'a self, session: &'a SessionHandle) -> BoxFuture<'a, OpenedBeside> {
        let keys = |api_sid: Arc<str>| {
            // Nothing opens with these; they only name the session to be ended.
            SessionKeys::builder().cookie("api_sid", &api_sid)?.memo(api_sid.to_string())?.build()
        };
        Box::pin(async move {
            let Beside { api_sids, is_all } = self.ledger.take_beside(session).await;
            OpenedBeside { keys: api_sids.into_iter().filter_map(|api_sid| keys(api_sid).ok()).collect(), is_all }
        })
    }

    fn memory(&self) -> Option<Memory> {
        Some(Arc::clone(&self.ledger) as Memory)
    }

    fn remember(&mut self, memory: Memory) {
        if let Ok(ledger) = memory.downcast::<Ledger>() {
            ledger.set_token_lifetime(self.settings.token_lifetime);
            self.ledger = ledger;
        }
    }

    fn share(&mut self, store: &Arc<Store>, profile: &Profile) {
        self.ledger.share(store, profile);
        if !self.is_access_given {
            // A client may show its token to any replica.
            let purpose = format!("epixel access tokens\0{}\0{}", profile.name, profile.url);
            self.access = Hs256::new(&store.name_key(&purpose));
        }
    }

    fn hear(&self, event: &Event) {
        self.ledger.hear(event);
    }

    fn service(&self) -> Option<&dyn Service> {
        Some(self)
    }
}

impl Epixel {
    fn clock(&self) -> &Arc<dyn Clock> {
        self.wire.clock()
    }

    fn with_token(&self, address: &str, token: &str) -> String {
        let separator = if address.contains('?') { '&' } else { '?' };
        format!("{address}{separator}{}", form_encoded(&[(&self.settings.token_parameter, token)]))
    }

    /// Goes the browser's way in the browser's place.
    async fn enter(&self, attempt: &Attempt) -> Result<Login, Outage> {
        let known_as = KnownAs { login: attempt.login.clone(), roles: attempt.roles.clone() };
        let guest = Guest { person: attempt.person.as_ref().clone(), known_as };
        let Minted { api_sid, token } = match self.ledger.mint(guest, Way::Keyward).await {
            Ok(minted) => minted,
            // There is room for others, and for this person in a moment.
            Err(NotMinted::NoRoom) => return Err(Outage::Locked { retry_after: Some(GONE_FOR) }),
            Err(NotMinted::Outage(outage)) => return Err(out_of_reach(&outage)),
        };
        let target = self.with_token(&self.settings.login_path, &token);
        let request = Request::get(target)
            .header("user-agent", &attempt.client.user_agent)
            .header("accept-language", &attempt.client.accept_language);
        // Should this wait be given up, what the client may have opened ends with the portal session.
        let outcome = match self.wire.send(&request).await {
            Ok(answer) => self.judge(&answer, &api_sid).await,
            Err(outage) => Err(outage),
        };
        if !matches!(outcome, Ok(Login::Opened(_))) {
            // Nobody may redeem the token any more.
            self.ledger.burn(&token).await;
            match self.ledger.is_verified(&api_sid).await {
                Ok(true) if self.log_out(&api_sid).await.is_ok() => self.ledger.forget(&api_sid).await,
                Ok(false) => self.ledger.forget(&api_sid).await,
                // It is ended with the portal session, if not by itself.
                Ok(true) | Err(_) => {}
            }
        }
        outcome
    }

    /// A session is one only if the client came with our token: everything else could be anybody's page.
    async fn judge(&self, answer: &Answer, api_sid: &str) -> Result<Login, Outage> {
        if let Some(outage) = answer.outage() {
            return Err(outage);
        }
        let status = answer.status();
        if !self.ledger.is_verified(api_sid).await.map_err(|outage| out_of_reach(&outage))? {
            return Err(Outage::Protocol(format!("it answered a token with status {status}, and asked nobody of it")));
        }
        if matches!(status, 401 | 403) {
            return Ok(Login::Refused(Refusal::Credentials));
        }
        if !matches!(status, 200 | 204) && !answer.redirects() {
            return Err(Outage::Protocol(format!("it answered a good token with status {status}")));
        }
        let keys = self.keys(answer, api_sid)?;
        let acknowledged = match self.settings.wait_for_acknowledgement {
            true => self.ledger.acknowledgement(api_sid).await.map_err(|outage| out_of_reach(&outage))?,
            false => true,
        };
        if !acknowledged {
            return Err(Outage::Protocol("it ended the session instead of acknowledging it".to_owned()));
        }
        if !self.ledger.hand_out(api_sid).await.map_err(|outage| out_of_reach(&outage))? {
            return Err(Outage::Protocol("it ended the session at once".to_owned()));
        }
        Ok(Login::Opened(keys))
    }

    fn keys(&self, answer: &Answer, api_sid: &str) -> Result<SessionKeys, Outage> {
        let left = answer.cookies_left();
        let mut builder = SessionKeys::builder();
        let protocol = |error: crate::domain::SessionKeysError| Outage::Protocol(error.to_string());
        for wanted in &self.settings.cookies {
            let named = |name: &str| wanted.strip_suffix('*').map_or(name == wanted, |start| name.starts_with(start));
            let mut found = false;
            for cookie in left.iter().filter(|cookie| named(&cookie.name) && !cookie.value.is_empty()) {
                builder = builder.cookie(&cookie.name, &cookie.value).map_err(protocol)?;
                found = true;
            }
            if !found {
                return Err(Outage::Protocol(format!("it set no cookie {wanted}; see cookies")));
            }
        }
        builder.memo(api_sid.to_owned()).and_then(crate::domain::SessionKeysBuilder::build).map_err(protocol)
    }

    async fn is_alive(&self, keys: &SessionKeys) -> Result<bool, Outage> {
        let request = Request::get(self.settings.check_path.as_str()).cookies(keys.cookies());
        let answer = self.wire.send(&request.repeatable().beginning_only()).await?;
        if let Some(outage) = answer.outage() {
            return Err(outage);
        }
        match answer.status() {
            200 => Ok(!self.is_login_page(&answer)),
            401 | 403 => Ok(false),
            // Assumed: whoever is not signed in is sent to where people sign in.
            _ if answer.redirects() && matches!(answer.location(), Some(Location::Here { .. })) => Ok(false),
            status => Err(Outage::Protocol(format!("it answered a check with status {status}; see check_path"))),
        }
    }

    /// Tells the client that an API session has ended, unless that is what it told us.
    async fn log_out(&self, api_sid: &str) -> Result<(), Outage> {
        if self.ledger.was_ended_by_client(api_sid).await {
            return Ok(());
        }
        let body = json!({ self.settings.names.api_sid.first(): api_sid });
        let request = Request::post(self.settings.logout_path.as_str()).json(&body);
        let request = request.header("apikey", self.settings.own_key.expose_secret().as_bytes()).repeatable();
        let answer = self.wire.send(&request.beginning_only()).await?;
        match answer.status() {
            // The last two: it has ended before.
            200..=299 | 404 | 410 => {
                self.ledger.forget(api_sid).await;
                Ok(())
            }
            status => Err(answer
                .outage()
                .unwrap_or_else(|| Outage::Protocol(format!("it answered a logout with status {status}")))),
        }
    }

    fn is_login_page(&self, answer: &Answer) -> bool {
        let body = answer.text().to_ascii_lowercase();
        self.settings.login_page_marks.iter().any(|mark| body.contains(mark.as_str()))
    }
}

/// A login that cannot be made for want of the store says nothing of the service.
fn out_of_reach(outage: &StoreOutage) -> Outage {
    Outage::Locked { retry_after: Some(outage.retry_after()) }
}
