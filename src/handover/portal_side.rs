use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::leaving::SignOutRequest;
use super::{Entrance, SelfService};
use crate::backend::{Binding, Guarded};
use crate::domain::{Audience, Browser, Client, Identity, Reason, Ruling, Secret, SessionKeys, UnixSeconds};
use crate::keys::{KeyStore, NoKeys, Order, password_of};
use crate::portal::{HeldSession, Kept, NotKept, Portal, PortalSession, Shown, Unreachable, Verdict};

/// What a portal's own server may do with the sessions of its portal, each by the portal's name for it.
pub struct PortalSide<'a> {
    house: &'a SelfService,
    portal: &'a Arc<Portal>,
}

/// What became of a session that a portal tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is new.
    New,
    /// It was known, and is now as it was told.
    Known,
}

/// Why a session that a portal tells of is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRegistered {
    /// It is over already.
    #[error("the session has ended")]
    Past,
    /// It was signed out here, and nothing revives it.
    #[error("the session was signed out")]
    SignedOut,
    /// The portal cannot keep it.
    #[error(transparent)]
    NotKept(#[from] NotKept),
}

/// Keys that were asked for.
pub struct Opened {
    /// What opens the application.
    pub keys: SessionKeys,
    /// The host of the first route that leads the person there.
    pub host: String,
    /// Where the browser goes first at that host: path, query and fragment.
    pub entry: String,
    /// When the portal session ends, and with it the keys.
    pub expires: UnixSeconds,
    /// How long the application's session lives when nobody uses it.
    pub idle_timeout: Duration,
}

/// Why there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// There is no such session, or no more.
    NoSession(Reason),
    /// No route leads from this portal to a back-end of this name.
    NoBackend,
    /// The application ties sessions to the browser, and too little is known of it.
    NoBrowser,
    /// No.
    Denied(Reason),
    /// Nobody can tell at the moment.
    Unavailable {
        /// Why.
        reason: Reason,
        /// When to ask again.
        retry_after: Duration,
    },
}

impl NotOpened {
    fn of(why: NoKeys) -> Self {
        let NoKeys { reason, retry_after } = why;
        match reason.rulings() {
            [Ruling::Deny] => Self::Denied(reason),
            [Ruling::Unavailable] => Self::Unavailable { reason, retry_after },
            _ => Self::NoSession(reason),
        }
    }
}

impl SelfService {
    /// The side of this portal. Where none is named it is the only one that tells us of its sessions, or
    /// the only one there is; nobody can tell which one is meant where that names none.
    #[must_use]
    pub fn portal_side(&self, named: Option<&str>) -> Option<PortalSide<'_>> {
        let portal = match named {
            Some(name) => self.portals.iter().find(|portal| portal.name() == name),
            None => {
                let telling = self.portals.iter().filter(|portal| portal.registers());
                only(telling).or_else(|| only(self.portals.iter()))
            }
        };
        portal.map(|portal| PortalSide { house: self, portal })
    }
}

/// What comes alone.
fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

impl PortalSide<'_> {
    /// The portal's name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        self.portal.name()
    }

    /// Whether the portal tells us of its sessions, so that we can vouch for them.
    #[must_use]
    pub fn registers(&self) -> bool {
        self.portal.registers()
    }

    /// Takes note of a session. Whatever an earlier holder of the same `sid` had open is ended.
    ///
    /// # Errors
    /// [`NotRegistered`].
    pub async fn register(
        &self,
        sid: &str,
        identity: Identity<'static>,
        expires: UnixSeconds,
        password: Option<Secret>,
    ) -> Result<Registered, NotRegistered> {
        let now = self.house.clock.unix();
        if expires <= now {
            return Err(NotRegistered::Past);
        }
        let (portal, keys, sid) = (Arc::clone(self.portal), Arc::clone(&self.house.keys), sid.to_owned());
        // Whoever takes an earlier one's place has that one ended, although the portal may not wait for it.
        let registering = async move {
            let session = HeldSession::new(identity, expires, password);
            (register(&portal, &keys, &sid, session, now).await, Vec::new())
        };
        self.house.ends.see_through(registering).await.unwrap_or(Err(NotKept::Outage.into()))
    }

    /// Signs the session out everywhere, whether it is known or not: a portal may say so before it
    /// says that the session is there. When this ends, nothing is given out for it any more, here or at another
    /// replica that can be told.
    ///
    /// # Errors
    /// Nobody can tell whether other replicas have more of it. What is known has ended.
    pub async fn sign_out(&self, sid: &str, arrival: &SignOutRequest) -> Result<(), Unreachable> {
        let (portal, sid, arrival) = (Arc::clone(self.portal), sid.to_owned(), arrival.clone());
        let ends = self.house.ends.clone();
        let ending = async move {
            let called = portal.called_off(&sid).await;
            let told = called.ids.iter().map(|id| ends.end_for_server(&portal, id, &arrival)).collect();
            (called.outage, told)
        };
        let outage = self.house.ends.see_through(ending).await?;
        outage.map_or(Ok(()), |outage| Err(Unreachable { retry_after: outage.retry_after() }))
    }

    /// Counts a page view at the portal as use of all applications, and says at how many of them the
    /// person is signed in.
    ///
    /// # Errors
    /// Why there is no such session.
    pub async fn touch(&self, sid: &str) -> Result<usize, NotOpened> {
        let ids = self.portal.called(sid).await.ids;
        if self.are_ended(&ids) {
            return Err(NotOpened::NoSession(Reason::Revoked));
        }
        // What others keep is known only to the browser.
        if self.portal.registers() {
            self.session(sid, None, None).await?;
        }
        let touched = ids.iter().map(|id| self.house.keys.touch(self.portal.name(), id));
        Ok(join_all(touched).await.into_iter().sum())
    }

    /// The keys of the session at a back-end, after a login where one is needed. Where the portal does
    /// not tell us of its sessions, `ticket` is what the browser shows for this one. `browser` is
    /// what the portal tells of the browser.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub async fn open(
        &self,
        sid: &str,
        ticket: Option<&str>,
        backend: &str,
        browser: &BrowserBehind<'_>,
    ) -> Result<Opened, NotOpened> {
        let session = Arc::new(self.session(sid, ticket, Some(browser)).await?);
        let entrance = self.entrance(backend, session.identity())?;
        let backend = &entrance.backend;
        let client = browser.client_for(backend.binding()).ok_or(NotOpened::NoBrowser)?;
        let Some(login) = backend.login_name(session.identity()) else {
            return Err(NotOpened::Denied(Reason::NoCredentials));
        };
        let order = Order {
            portal: self.portal.name(),
            session: &session,
            backend,
            login: &login,
            client: &client,
            password: password_of(self.portal, backend, &session),
            renew: false,
        };
        let keys = self.house.keys.obtain(order).await.into_keys().map_err(NotOpened::of)?;
        // It may have ended while it waited, or have become somebody else's.
        let now = self.session(sid, ticket, Some(browser)).await?;
        if now.identity() != session.identity() {
            return Err(NotOpened::of(NoKeys::BUSY));
        }
        let entry = format!("{}{}", entrance.path, backend.entry(&keys));
        let (host, idle_timeout) = (entrance.host.clone(), backend.limits().idle_timeout);
        Ok(Opened { keys, host, entry, expires: now.expires(), idle_timeout })
    }

    /// Every back-end to which a route leads from this portal.
    #[must_use]
    pub fn backends(&self) -> Vec<Arc<Guarded>> {
        let mut backends: Vec<Arc<Guarded>> = Vec::new();
        for entrance in self.house.entrances.iter().filter(|entrance| self.vouches_at(entrance)) {
            if !backends.iter().any(|backend| backend.id() == entrance.backend.id()) {
                backends.push(Arc::clone(&entrance.backend));
            }
        }
        backends
    }

    /// The session of this name, if Keyward itself can tell that it is genuine.
    async fn session(
        &self,
        sid: &str,
        ticket: Option<&str>,
        browser: Option<&BrowserBehind<'_>>,
    ) -> Result<PortalSession<'static>, NotOpened> {
        let none = |reason| Err(NotOpened::NoSession(reason));
        let Some(shown) = (if self.portal.registers() { Some(sid) } else { ticket }) else {
            return none(Reason::NoSession);
        };
        if self.are_ended(&self.portal.called(sid).await.ids) {
            return none(Reason::Revoked);
        }
        let unavailable = |retry_after| NotOpened::Unavailable { reason: Reason::PortalUnavailable, retry_after };
        let browser = browser.map(|browser| browser as &dyn Browser);
        let shown = Shown { browser, ..Shown::only(shown) };
        let session = match self.portal.identify(&shown, self.house.clock.unix()).await {
            Verdict::Genuine(session) => session,
            Verdict::Rejected(reason) => return none(reason),
            Verdict::Unreachable { retry_after } => return Err(unavailable(retry_after)),
            Verdict::Unasked => return Err(unavailable(NoKeys::BUSY.retry_after)),
        };
        // Looked at only now: a portal that was asked may have told by what else it calls the session.
        if !self.portal.called(sid).await.ids.iter().any(|id| id == session.id()) {
            return none(Reason::Forged);
        }
        if self.house.keys.is_revoked(self.portal.name(), &session) {
            return none(Reason::Revoked);
        }
        Ok(session)
    }

    fn are_ended(&self, ids: &[String]) -> bool {
        !ids.is_empty() && ids.iter().all(|id| self.house.keys.is_ended(self.portal.name(), id))
    }

    fn vouches_at(&self, entrance: &Entrance) -> bool {
        entrance.portals.named(self.portal.name()).is_some()
    }

    /// The first route that leads this person to the back-end of this name.
    fn entrance(&self, backend: &str, identity: &Identity<'_>) -> Result<&Entrance, NotOpened> {
        let here = |entrance: &&Entrance| entrance.backend.name() == backend && self.vouches_at(entrance);
        let mut entrances = self.house.entrances.iter().filter(here).peekable();
        if entrances.peek().is_none() {
            return Err(NotOpened::NoBackend);
        }
        let open = entrances.find(|entrance| identity.has_one_of(&entrance.roles));
        open.ok_or(NotOpened::Denied(Reason::Role))
    }
}

async fn register(
    portal: &Portal,
    keys: &KeyStore,
    sid: &str,
    session: HeldSession,
    now: UnixSeconds,
) -> Result<Registered, NotRegistered> {
    let (name, user) = (portal.name(), session.identity.user().to_owned());
    // Other kinds take none.
    let id = portal.called(sid).await.ids.pop().ok_or(NotKept::NotHere)?;
    if keys.is_ended(name, &id) {
        return Err(NotRegistered::SignedOut);
    }
    let kept = portal.register(sid, session).await?;
    // Somebody may have signed it out between our looking and our keeping.
    if keys.is_ended(name, &id) {
        portal.end(&id);
        return Err(NotRegistered::SignedOut);
    }
    keys.leave_only(name, &id, &user);
    if matches!(&kept, Kept::Replaced(earlier) if earlier.identity.user() != user) {
        keys.end_beside(name, &id);
    }
    tracing::info!(portal = name, user, "session registered");
    match kept {
        Kept::Replaced(earlier) if earlier.expires > now => Ok(Registered::Known),
        Kept::Replaced(_) | Kept::New => Ok(Registered::New),
    }
}

/// The browser for which a portal asks, as far as the portal tells of it.
pub struct BrowserBehind<'a> {
    /// Its address.
    pub address: Option<IpAddr>,
    /// Its `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// Its `Accept-Language`.
    pub accept_language: Option<&'a [u8]>,
    /// The address of the portal's server, which stands for the browser's where no application minds.
    pub caller: IpAddr,
}

impl BrowserBehind<'_> {
    /// The client that a back-end which ties sessions so is to see; `None` where it could not be told
    /// from others.
    fn client_for(&self, binding: Binding) -> Option<Client<'_>> {
        let wanted = [
            (binding.address, self.address.is_some()),
            (binding.user_agent, self.user_agent.is_some()),
            (binding.accept_language, self.accept_language.is_some()),
        ];
        let enough = wanted.into_iter().all(|(wanted, known)| known || !wanted);
        enough.then(|| self.client())
    }
}

/// For a portal that must be asked, and looks at more than the cookie.
impl Browser for BrowserBehind<'_> {
    fn client(&self) -> Client<'_> {
        Client {
            address: self.address.unwrap_or(self.caller),
            user_agent: Cow::Borrowed(self.user_agent.unwrap_or_default()),
            accept_language: Cow::Borrowed(self.accept_language.unwrap_or_default()),
        }
    }

    fn audience(&self, _method: &str) -> Audience {
        Audience::Program
    }

    fn header(&self, name: &str) -> Option<&str> {
        let value = match name {
            "user-agent" => self.user_agent,
            "accept-language" => self.accept_language,
            _ => None,
        };
        std::str::from_utf8(value?).ok()
    }
}

#[cfg(test)]
mod tests;
