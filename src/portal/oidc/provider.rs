//! The provider: where its doors are (OpenID Connect Discovery 1.0) and which keys it signs with.
//!
//! Both are asked for when they are first needed, kept when the provider cannot be reached, and asked for
//! again while they are in use. However many want them, one question is under way.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::Value;
use url::Url;

use super::keys::{KeySet, Signed, Unverified};
use super::settings::Settings;
use crate::domain::{Clock, Moment, Outage};
use crate::portal::flights::Flights;
use crate::wire::{Answer, Errands, Request, Wire};

/// After this time in use, both are asked for again.
const FRESH_FOR: Duration = Duration::from_secs(15 * 60);
/// A token that names a key nobody knows has the keys asked for again, but not more often than this: anybody
/// can send such tokens.
const BETWEEN_FETCHES: Duration = Duration::from_secs(10);
/// After a failure, the pause until the next question grows from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the provider says of itself.
pub(super) struct Known {
    pub authorization: Url,
    pub token: Url,
    pub userinfo: Option<Url>,
    pub end_session: Option<Url>,
    /// It names itself in what it sends by the browser (RFC 9207).
    pub names_itself: bool,
    /// It wants the client's secret in the form, not in the header.
    pub secret_in_form: bool,
    jwks: Url,
    fetched: Moment,
}

struct Keys {
    set: KeySet,
    fetched: Moment,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    Discovery,
    Keys,
}

/// One provider.
pub(super) struct Provider {
    portal: String,
    settings: Arc<Settings>,
    wire: Wire,
    clock: Arc<dyn Clock>,
    known: ArcSwapOption<Known>,
    keys: ArcSwapOption<Keys>,
    keys_asked: Mutex<Option<Moment>>,
    trouble: Mutex<Trouble>,
    flights: Flights<Asked, Result<(), Outage>>,
}

/// How long the provider is left alone.
#[derive(Default)]
struct Trouble {
    failures: u32,
    until: Moment,
}

impl Provider {
    pub(super) fn new(
        portal: String,
        settings: Arc<Settings>,
        wire: Wire,
        clock: Arc<dyn Clock>,
        errands: Arc<Errands>,
    ) -> Arc<Self> {
        Arc::new(Self {
            portal,
            settings,
            wire,
            clock,
            known: ArcSwapOption::empty(),
            keys: ArcSwapOption::empty(),
            keys_asked: Mutex::default(),
            trouble: Mutex::default(),
            flights: Flights::new(errands, 2),
        })
    }

    /// What the provider says of itself. What it once said counts until it says something else.
    ///
    /// # Errors
    /// It was never heard, and cannot be now.
    pub(super) async fn known(self: &Arc<Self>) -> Result<Arc<Known>, Outage> {
        if let Some(known) = self.known.load_full() {
            if self.clock.now().since(known.fetched) > FRESH_FOR && self.pause().is_none() {
                self.in_the_background(Asked::Discovery);
            }
            return Ok(known);
        }
        self.ask(Asked::Discovery).await?;
        self.known.load_full().ok_or(Outage::TimedOut)
    }

    /// The same, if it is known already.
    pub(super) fn known_now(&self) -> Option<Arc<Known>> {
        self.known.load_full()
    }

    /// Checks a token's signature with the keys that are here.
    pub(super) fn verify_now(&self, token: &str) -> Option<Result<Signed, Unverified>> {
        Some(self.keys.load_full()?.set.verify(token, &self.settings.algorithms))
    }

    /// Checks a token's signature, and asks for the keys where that may help.
    ///
    /// # Errors
    /// The keys cannot be had.
    pub(super) async fn verify(self: &Arc<Self>, token: &str) -> Result<Result<Signed, Unverified>, Outage> {
        if self.keys.load().is_none() {
            self.ask(Asked::Keys).await?;
        }
        let Some(keys) = self.keys.load_full() else { return Err(Outage::TimedOut) };
        let verified = keys.set.verify(token, &self.settings.algorithms);
        if verified.as_ref().err() != Some(&Unverified::UnknownKey) {
            if self.clock.now().since(keys.fetched) > FRESH_FOR && self.may_ask_for_keys() && self.pause().is_none() {
                self.in_the_background(Asked::Keys);
            }
            return Ok(verified);
        }
        if !self.may_ask_for_keys() {
            return Ok(verified);
        }
        self.verify_with_new_keys(token).await
    }

    /// The same for a token that the provider itself has just given us. Only it can cause such questions, so
    /// its newest key is asked for whoever has asked a moment ago, also where it goes by the name of an old one.
    ///
    /// # Errors
    /// The keys cannot be had, or it does not publish the one that it used: that says nothing of the person.
    pub(super) async fn verify_granted(self: &Arc<Self>, token: &str) -> Result<Result<Signed, Unverified>, Outage> {
        let verified = match self.verify_now(token) {
            None | Some(Err(Unverified::UnknownKey | Unverified::Signature)) => {
                self.verify_with_new_keys(token).await?
            }
            Some(_) => self.verify(token).await?,
        };
        match verified {
            Err(Unverified::UnknownKey) => Err(wrong("it signed with a key that it does not publish")),
            verified => Ok(verified),
        }
    }

    async fn verify_with_new_keys(self: &Arc<Self>, token: &str) -> Result<Result<Signed, Unverified>, Outage> {
        self.ask(Asked::Keys).await?;
        self.verify_now(token).ok_or(Outage::TimedOut)
    }

    /// Whether a token of a key that is not known is worth asking for the keys.
    pub(super) fn may_ask_for_keys(&self) -> bool {
        let now = self.clock.now();
        self.keys_asked.lock().is_none_or(|last| now.since(last) >= BETWEEN_FETCHES)
    }

    fn in_the_background(self: &Arc<Self>, asked: Asked) {
        // Looked at once, which begins it; it goes on without us.
        let _ = self.ask(asked).now_or_never();
    }

    async fn ask(self: &Arc<Self>, asked: Asked) -> Result<(), Outage> {
        if let Some(retry_after) = self.pause() {
            return Err(Outage::BackingOff { retry_after });
        }
        let provider = Arc::clone(self);
        let answer = self.flights.join(asked, move || async move {
            let outcome = match asked {
                Asked::Discovery => provider.discover().await,
                Asked::Keys => provider.fetch_keys().await,
            };
            match &outcome {
                Ok(()) => provider.is_well(),
                Err(outage) => provider.failed(outage),
            }
            outcome
        });
        answer.await.unwrap_or(Err(Outage::TimedOut))
    }

    /// How long the provider is to be left alone still.
    pub(super) fn pause(&self) -> Option<Duration> {
        let (now, until) = (self.clock.now(), self.trouble.lock().until);
        (until > now).then(|| until.since(now))
    }

    /// The provider could not be asked, whatever for.
    pub(super) fn failed(&self, outage: &Outage) {
        let now = self.clock.now();
        let mut trouble = self.trouble.lock();
        if trouble.until > now {
            return;
        }
        // Once in a pause, however many noticed.
        tracing::warn!(portal = self.portal, %outage, "the OpenID provider could not be asked");
        let pause = FIRST_PAUSE.saturating_mul(1 << trouble.failures.min(5)).min(LONGEST_PAUSE);
        *trouble = Trouble { failures: trouble.failures.saturating_add(1), until: now.plus(pause) };
    }

    /// It answered.
    pub(super) fn is_well(&self) {
        let trouble = std::mem::take(&mut *self.trouble.lock());
        if trouble.failures > 0 {
            tracing::info!(portal = self.portal, "the OpenID provider can be asked again");
        }
    }

    async fn discover(&self) -> Result<(), Outage> {
        let path = format!("{}/.well-known/openid-configuration", self.settings.issuer.trim_end_matches('/'));
        let address = Url::parse(&path).map_err(|_| wrong("its address is none"))?;
        let document = json(&self.send(&address, get()).await?)?;
        if document.get("issuer").and_then(Value::as_str) != Some(&*self.settings.issuer) {
            return Err(wrong("it calls itself by another name than issuer has it"));
        }
        let lists = |name: &str, word: &str| {
            let list = document.get(name).and_then(Value::as_array);
            list.map(|list| list.iter().any(|one| one == word))
        };
        let algorithms = &self.settings.algorithms;
        let signs = |one| lists("id_token_signing_alg_values_supported", &format!("{one:?}")) != Some(false);
        if !algorithms.iter().any(signs) {
            tracing::error!(portal = self.portal, "the OpenID provider says that it signs with none of the algorithms");
        }
        let has_basic = lists("token_endpoint_auth_methods_supported", "client_secret_basic").unwrap_or(true);
        let known = Known {
            authorization: self.door(&document, "authorization_endpoint")?.ok_or(wrong("it has no sign-in page"))?,
            token: self.door(&document, "token_endpoint")?.ok_or(wrong("it has no token endpoint"))?,
            jwks: self.door(&document, "jwks_uri")?.ok_or(wrong("it publishes no keys"))?,
            userinfo: self.door(&document, "userinfo_endpoint")?,
            end_session: self.door(&document, "end_session_endpoint")?,
            names_itself: document.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
            secret_in_form: !has_basic
                && lists("token_endpoint_auth_methods_supported", "client_secret_post") == Some(true),
            fetched: self.clock.now(),
        };
        self.known.store(Some(Arc::new(known)));
        Ok(())
    }

    /// One of the addresses in the document. Never one that is less private than the document itself.
    fn door(&self, document: &Value, name: &str) -> Result<Option<Url>, Outage> {
        let Some(value) = document.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
        let url = value.as_str().and_then(|text| Url::parse(text).ok()).filter(|url| {
            let scheme = url.scheme();
            (scheme == "https" || scheme == "http" && self.settings.issuer_url.scheme() == "http")
                && url.host().is_some()
                && url.username().is_empty()
                && url.password().is_none()
                && url.fragment().is_none()
        });
        url.map(Some).ok_or(wrong("one of its addresses is none, or not https"))
    }

    async fn fetch_keys(self: &Arc<Self>) -> Result<(), Outage> {
        let known = match self.known.load_full() {
            Some(known) => known,
            None => {
                self.discover().await?;
                self.known.load_full().ok_or(Outage::TimedOut)?
            }
        };
        *self.keys_asked.lock() = Some(self.clock.now());
        let document = json(&self.send(&known.jwks, get()).await?)?;
        let set = KeySet::parse(&document).ok_or(wrong("its keys are no key set"))?;
        self.keys.store(Some(Arc::new(Keys { set, fetched: self.clock.now() })));
        Ok(())
    }

    /// The longest that a question takes: for what the provider is, for tokens, and for its keys.
    pub(super) fn longest_answer(&self) -> Duration {
        self.settings.timeout.saturating_mul(3)
    }

    /// Sends a request to one of the provider's addresses and waits as long as `timeout` says.
    pub(super) async fn send(&self, url: &Url, request: impl FnOnce(String) -> Request) -> Result<Answer, Outage> {
        let mut base = url.clone();
        base.set_path("/");
        base.set_query(None);
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let (wire, request) = (self.wire.to(base), request(target));
        tokio::time::timeout(self.settings.timeout, wire.send(&request)).await.unwrap_or(Err(Outage::TimedOut))
    }
}

fn get() -> impl FnOnce(String) -> Request {
    |target| Request::get(target).header("accept", b"application/json").repeatable()
}

fn json(answer: &Answer) -> Result<Value, Outage> {
    if let Some(outage) = answer.outage() {
        return Err(outage);
    }
    let json = answer.json().filter(|json| answer.status() == 200 && json.is_object());
    json.ok_or(wrong("it is no JSON object"))
}

pub(super) fn wrong(what: &str) -> Outage {
    Outage::Protocol(what.to_owned())
}
