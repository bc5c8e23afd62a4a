//! What is wrapped around every connector alike: deadlines, places, back-off and metrics.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use url::Url;

use super::backoff::Backoff;
use super::{Backend, Binding, KINDS, Liveness, OpenedBeside, Outage, ScriptCookie};
use crate::config::BackendSettings;
use crate::domain::{
    BackendLimits, Clock, CredentialSource, DerivationKey, EnterTerms, Identity, LoginName, Service, SessionHandle,
    SessionKeys, UnixSeconds, WayIn,
};
use crate::observe::{BackendMetrics, Metrics};
use crate::store::{Event, Store};
use crate::wire::Wire;

mod accounts;
mod logins;
#[cfg(test)]
mod tests;

pub use logins::LoginPlace;

/// Longest time for a TCP and TLS handshake; a shorter `login_timeout` cuts it anyway.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Which back-end this is, across reloads: the same name, kind and address are the same back-end,
/// whatever its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendId(u64);

impl BackendId {
    fn of(name: &str, kind: &str, url: &str) -> Self {
        let mut hash = Sha256::new();
        // Lengths first, so that no two triples run together into the same bytes.
        for part in [name, kind, url] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        Self(digest.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte)))
    }

    /// The same as bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// What is known of a back-end whatever its kind.
#[expect(missing_docs, reason = "the keys of `[[backend]]`, described at `BackendSettings`")]
pub struct Profile {
    pub name: String,
    pub kind: String,
    pub url: Url,
    pub credentials: CredentialSource,
    pub login: LoginName,
    pub limits: BackendLimits,
    pub roles: Vec<(String, String)>,
}

/// A back-end as it was written, not in use yet. Nothing counts it, so a configuration that is read
/// and refused leaves no trace.
pub struct BackendPlan {
    profile: Profile,
    backend: Box<dyn Backend>,
    derivation: Vec<DerivationKey>,
    enter: EnterTerms,
    written: u64,
}

/// One configured back-end. Its places and back-offs are this process's: other replicas have their own.
pub struct Guarded {
    id: BackendId,
    profile: Profile,
    backend: Box<dyn Backend>,
    metrics: Arc<BackendMetrics>,
    backoff: Backoff,
    /// Of checks; apart from that of logins, since either may work without the other.
    check_backoff: Backoff,
    /// Of changes to accounts, which go another way than logins.
    change_backoff: Backoff,
    clock: Arc<dyn Clock>,
    logins: Semaphore,
    // Apart from the logins, so that a storm of keep-alives or sign-outs cannot take their places.
    checks: Semaphore,
    logouts: Semaphore,
    changes: Semaphore,
    /// For derived passwords, the current key first; empty where passwords come from elsewhere.
    derivation: Vec<DerivationKey>,
    enter: EnterTerms,
    /// Stands for the configuration it was made from, if it was.
    written: Option<u64>,
}

impl BackendPlan {
    /// Plans a back-end from its settings; `None` when its kind is not known or it cannot be
    /// reached at all, which is noted. Finishes the section.
    #[must_use]
    pub fn read(settings: BackendSettings, clock: &Arc<dyn Clock>) -> Option<Self> {
        let BackendSettings {
            name,
            kind,
            url,
            credentials,
            derivation,
            login,
            limits,
            roles,
            enter,
            written,
            mut section,
        } = settings;
        let Some(known) = KINDS.iter().find(|known| known.name == kind) else {
            let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            section.mistake("kind", &format!("is not a known kind; choose {}", known.join(" or ")));
            return None;
        };
        let host = section.text("host");
        let authorities = section.authorities().clone();
        let wire = |host| Wire::trusting(&authorities, url.clone(), host, CONNECT_TIMEOUT, Arc::clone(clock));
        let wire = match wire(host.as_deref()) {
            Ok(wire) => Some(wire),
            Err(error) => {
                section.mistake("host", &error.to_string());
                // The kind's own keys are still to be read, so that all mistakes come out together.
                wire(None).ok()
            }
        }?;
        let mut backend = (known.build)(&mut section, wire);
        if credentials == CredentialSource::None && backend.wants_password() {
            section.mistake("credentials", &format!("cannot be \"none\": {kind} lets nobody in without a password"));
        }
        if credentials == CredentialSource::Token && !backend.use_tokens() {
            let message = format!("is \"token\", and {kind} takes none as it is set up here; write another word");
            section.mistake("credentials", &message);
        }
        let master = credentials == CredentialSource::Master;
        if master && !backend.has_master() {
            let message =
                format!("is \"master\" without [backend.master]; write one, if {kind} knows it, or another word");
            section.mistake("credentials", &message);
        } else if !master && backend.has_master() {
            section.warn("credentials", "does not use [backend.master], which is there; only \"master\" does");
        }
        section.finish();
        let profile = Profile { name, kind, url, credentials, login, limits, roles };
        Some(Self { profile, backend, derivation, enter, written })
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.profile.name
    }

    /// What is known of it whatever its kind.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What a login there uses.
    #[must_use]
    pub const fn credentials(&self) -> CredentialSource {
        self.profile.credentials
    }

    /// Whether the application has a key in the query.
    #[must_use]
    pub fn has_query_key(&self) -> bool {
        self.backend.query_key().is_some()
    }

    /// Whether that key opens a session by itself; see [`Backend::opens_by_query`].
    #[must_use]
    pub fn opens_by_query(&self) -> bool {
        self.backend.opens_by_query()
    }

    /// Names of the cookies that browsers get as well, for the application's scripts.
    #[must_use]
    pub fn script_cookies(&self) -> Vec<String> {
        self.backend.script_cookies().iter().map(|cookie| cookie.name.to_string()).collect()
    }

    /// Whether the application is offered something beside being signed in to.
    #[must_use]
    pub fn offers_service(&self) -> bool {
        self.backend.service().is_some()
    }

    /// Takes it into use. Where one of those that are `running` was written just so, that one goes on:
    /// a reload ends no back-off, gives out no places twice and forgets nothing a connector learned.
    #[must_use]
    pub fn build(
        self,
        running: &[Arc<Guarded>],
        metrics: &Metrics,
        clock: Arc<dyn Clock>,
        store: Option<&Arc<Store>>,
    ) -> Arc<Guarded> {
        let name = &self.profile.name;
        let unchanged = running.iter().find(|one| one.name() == name && one.written == Some(self.written));
        if let Some(unchanged) = unchanged {
            return Arc::clone(unchanged);
        }
        let Self { profile, mut backend, derivation, enter, written } = self;
        let id = BackendId::of(&profile.name, &profile.kind, profile.url.as_str());
        let before = running.iter().find(|one| one.id == id);
        if let Some(memory) = before.and_then(|before| before.backend.memory()) {
            backend.remember(memory);
        }
        if let Some(store) = store {
            backend.share(store, &profile);
        }
        let guarded = Guarded::wrap(profile, backend, metrics, clock);
        Arc::new(Guarded { derivation, enter, written: Some(written), ..guarded })
    }
}

impl Guarded {
    /// Wraps a connector.
    #[must_use]
    pub fn new(profile: Profile, backend: Box<dyn Backend>, metrics: &Metrics, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self::wrap(profile, backend, metrics, clock))
    }

    fn wrap(profile: Profile, backend: Box<dyn Backend>, metrics: &Metrics, clock: Arc<dyn Clock>) -> Self {
        let places = profile.limits.max_logins.max(1);
        let metrics = metrics.backend(&profile.name);
        metrics.show_logouts(backend.ends_sessions());
        if backend.accounts().is_some() {
            metrics.show_account_changes();
        }
        Self {
            id: BackendId::of(&profile.name, &profile.kind, profile.url.as_str()),
            metrics,
            backoff: Backoff::new(profile.limits.failure_backoff, Arc::clone(&clock)),
            check_backoff: Backoff::new(profile.limits.failure_backoff, Arc::clone(&clock)),
            change_backoff: Backoff::new(profile.limits.failure_backoff, Arc::clone(&clock)),
            backend,
            clock,
            logins: Semaphore::new(places),
            checks: Semaphore::new(places),
            logouts: Semaphore::new(places.div_ceil(2)),
            // Servers count connections by address, and an administrator's are few.
            changes: Semaphore::new(1),
            profile,
            derivation: Vec::new(),
            enter: EnterTerms::default(),
            written: None,
        }
    }

    /// Which back-end this is, across reloads.
    #[must_use]
    pub const fn id(&self) -> BackendId {
        self.id
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.profile.name
    }

    /// Its deadlines and limits.
    #[must_use]
    pub const fn limits(&self) -> &BackendLimits {
        &self.profile.limits
    }

    /// What its logins use.
    #[must_use]
    pub const fn credentials(&self) -> CredentialSource {
        self.profile.credentials
    }

    /// The keys from which passwords here are derived, the current one first. None where they are not.
    #[must_use]
    pub fn derivation(&self) -> &[DerivationKey] {
        &self.derivation
    }

    /// The person's name at this back-end, if the identity has what the template wants.
    #[must_use]
    pub fn login_name<'a>(&self, identity: &'a Identity<'_>) -> Option<Cow<'a, str>> {
        self.profile.login.of(identity)
    }

    /// The person's roles as this back-end calls them. What the map does not name is left out;
    /// without a map they stay as they are.
    pub fn roles<'a>(&'a self, identity: &'a Identity<'_>) -> impl Iterator<Item = &'a str> {
        let map = &self.profile.roles;
        let as_it_is = identity.roles().iter().filter(|_| map.is_empty()).map(AsRef::as_ref);
        let mapped = identity.roles().iter().flat_map(|role| map.iter().filter(move |(external, _)| external == role));
        // Two of theirs may be one here.
        let mut said = SmallVec::<[&str; 8]>::new();
        let once = move |internal: &&'a str| {
            let new = !said.contains(internal);
            said.push(internal);
            new
        };
        as_it_is.chain(mapped.map(|(_, internal)| internal.as_str()).filter(once))
    }

    /// Where a browser goes first with these keys; see [`Backend::entry`].
    #[must_use]
    pub fn entry(&self, keys: &SessionKeys) -> String {
        self.backend.entry(keys)
    }

    /// What is to end with a portal session that has ended; see [`Backend::opened_beside`].
    pub async fn opened_beside(&self, session: &SessionHandle) -> OpenedBeside {
        self.backend.opened_beside(session).await
    }

    /// Another replica says something.
    pub fn hear(&self, event: &Event) {
        self.backend.hear(event);
    }

    /// How browsers are handed over to it.
    #[must_use]
    pub const fn enter(&self) -> &EnterTerms {
        &self.enter
    }

    /// Where a hand-over begins at this origin, if the portal's session must be brought there.
    #[must_use]
    pub fn way_in(&self, origin: &str) -> Option<WayIn> {
        self.enter.way_in(self.name(), origin)
    }

    /// What the application is offered beside being signed in to.
    #[must_use]
    pub fn service(&self) -> Option<&dyn Service> {
        self.backend.service()
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> &BackendMetrics {
        &self.metrics
    }

    /// Asks whether the session still lives, which keeps it alive.
    ///
    /// # Errors
    /// [`Outage`]; [`Outage::BackingOff`] at once after a check that failed. It delays no login: only
    /// logins tell whether logins work.
    pub async fn check(&self, keys: &SessionKeys) -> Result<Liveness, Outage> {
        let leave = self.check_backoff.enter().map_err(|retry_after| Outage::BackingOff { retry_after })?;
        let _place = place(&self.checks).await;
        let outcome = within(self.check_timeout(), self.backend.check(keys)).await;
        match &outcome {
            Ok(liveness) => {
                leave.answered();
                // What answers is up, also when nobody logs in all night.
                self.metrics.up.set(1);
                let dead = matches!(liveness, Liveness::Dead);
                (if dead { &self.metrics.keep_alive_dead } else { &self.metrics.keep_alive_alive }).inc();
            }
            Err(outage) => {
                match outage {
                    Outage::Protocol(_) => leave.puzzled(keys.cookies()),
                    _ => leave.failed(None),
                }
                self.metrics.keep_alive_failed.inc();
            }
        }
        outcome
    }

    /// Longest time for a check, once it has its place: half of what a request may wait, so that a
    /// login has time if the session is dead.
    #[must_use]
    pub fn check_timeout(&self) -> Duration {
        self.limits().login_timeout / 2
    }

    /// Whether the last checks failed, and none has worked since.
    #[must_use]
    pub fn checks_fail(&self) -> bool {
        self.check_backoff.is_open()
    }

    /// Whether it can be told that a session has ended; see [`Backend::ends_sessions`].
    #[must_use]
    pub fn ends_sessions(&self) -> bool {
        self.backend.ends_sessions()
    }

    /// Ends the session, in one attempt. `cause` is a cause of evictions.
    ///
    /// # Errors
    /// [`Outage`] where the back-end has not heard of it.
    pub async fn logout(&self, keys: &SessionKeys, cause: &'static str) -> Result<(), Outage> {
        let _place = place(&self.logouts).await;
        let outcome = within(self.limits().login_timeout, self.backend.logout(keys)).await;
        match &outcome {
            Ok(()) => {
                self.metrics.count_logout(cause, "done");
                tracing::info!(backend = self.name(), cause, "signed out at the back-end");
            }
            Err(outage) => {
                self.metrics.count_logout(cause, "failed");
                tracing::debug!(backend = self.name(), cause, %outage, "not signed out at the back-end yet");
            }
        }
        outcome
    }

    /// Whether a browser's cookie of this name would be taken for one of the application's keys.
    #[must_use]
    pub fn owns_cookie(&self, name: &[u8]) -> bool {
        self.backend.owns_cookie(name)
    }

    /// The name of the key in the query, where there is one.
    #[must_use]
    pub fn query_key(&self) -> Option<&str> {
        self.backend.query_key()
    }

    /// Whether the application takes an `Authorization` header from us.
    #[must_use]
    pub fn takes_authorization(&self) -> bool {
        self.backend.takes_authorization()
    }

    /// The header by which the application knows a session beside `Authorization`; see [`Backend::session_header`].
    #[must_use]
    pub fn session_header(&self) -> Option<&'static str> {
        self.backend.session_header()
    }

    /// Cookies among the keys that the browser gets as well; see [`Backend::script_cookies`].
    #[must_use]
    pub fn script_cookies(&self) -> &[ScriptCookie] {
        self.backend.script_cookies()
    }

    /// Until when these keys open anything; see [`Backend::keys_end`].
    #[must_use]
    pub fn keys_end(&self, keys: &SessionKeys) -> Option<UnixSeconds> {
        self.backend.keys_end(keys)
    }

    /// Which properties of the browser a session is tied to.
    #[must_use]
    pub fn binding(&self) -> Binding {
        self.backend.binding()
    }
}

async fn within<T>(deadline: Duration, call: BoxFuture<'_, Result<T, Outage>>) -> Result<T, Outage> {
    timeout(deadline, call).await.unwrap_or(Err(Outage::TimedOut))
}

/// A place, in order of arrival. None is missing but when the semaphore was closed, which is never.
async fn place(semaphore: &Semaphore) -> Option<SemaphorePermit<'_>> {
    semaphore.acquire().await.ok()
}
