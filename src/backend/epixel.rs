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

use self::ledger::{GONE_FOR, Guest, Ledger, Minted, Way};
use self::settings::Settings;
use super::{Attempt, Backend, Kind, Liveness, Login, Memory, Outage, Refusal};
use crate::config::Section;
use crate::domain::{Clock, ExposeSecret, KnownAs, Service, SessionHandle, SessionKeys};
use crate::wire::{Answer, Location, Request, Wire, form_encoded};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "epixel", build };

fn build(section: &mut Section, wire: Wire) -> Box<dyn Backend> {
    let settings = Settings::read(section, &wire);
    let ledger = Arc::new(Ledger::new(settings.token_lifetime, Arc::clone(wire.clock())));
    Box::new(Epixel { settings, ledger, wire })
}

struct Epixel {
    settings: Settings,
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
            self.ledger.forget(keys.memo());
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

    fn opened_beside(&self, session: &SessionHandle) -> Vec<SessionKeys> {
        let keys = |api_sid: Arc<str>| {
            // Nothing opens with these; they only name the session to be ended.
            SessionKeys::builder().cookie("api_sid", &api_sid)?.memo(api_sid.to_string())?.build()
        };
        self.ledger.take_beside(session).into_iter().filter_map(|api_sid| keys(api_sid).ok()).collect()
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

    fn asks_one_replica(&self) -> bool {
        true
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
        let minted = self.ledger.mint(guest, Way::Keyward);
        let Ok(Minted { api_sid, token }) = minted else {
            // There is room for others, and for this person in a moment.
            return Err(Outage::Locked { retry_after: Some(GONE_FOR) });
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
            self.ledger.burn(&token);
            if self.ledger.is_verified(&api_sid) && self.log_out(&api_sid).await.is_err() {
                // It is ended with the portal session, if not by itself.
                return outcome;
            }
            self.ledger.forget(&api_sid);
        }
        outcome
    }

    /// A session is one only if the client came with our token: everything else could be anybody's page.
    async fn judge(&self, answer: &Answer, api_sid: &str) -> Result<Login, Outage> {
        if let Some(outage) = answer.outage() {
            return Err(outage);
        }
        let status = answer.status();
        if !self.ledger.is_verified(api_sid) {
            return Err(Outage::Protocol(format!("it answered a token with status {status}, and asked nobody of it")));
        }
        if matches!(status, 401 | 403) {
            return Ok(Login::Refused(Refusal::Credentials));
        }
        if !matches!(status, 200 | 204) && !answer.redirects() {
            return Err(Outage::Protocol(format!("it answered a good token with status {status}")));
        }
        let keys = self.keys(answer, api_sid)?;
        if self.settings.wait_for_acknowledgement && !self.ledger.acknowledgement(api_sid).await {
            return Err(Outage::Protocol("it ended the session instead of acknowledging it".to_owned()));
        }
        if !self.ledger.hand_out(api_sid) {
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
        if self.ledger.was_ended_by_client(api_sid) {
            return Ok(());
        }
        let body = json!({ self.settings.names.api_sid.first(): api_sid });
        let request = Request::post(self.settings.logout_path.as_str()).json(&body);
        let request = request.header("apikey", self.settings.own_key.expose_secret().as_bytes()).repeatable();
        let answer = self.wire.send(&request.beginning_only()).await?;
        match answer.status() {
            // The last two: it has ended before.
            200..=299 | 404 | 410 => {
                self.ledger.forget(api_sid);
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
