use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;
use url::Url;

use super::leaving::{Ends, Leaving, SignOutRequest};
use crate::backend::Guarded;
use crate::domain::{Browser, Call, Clock, Cookies, Desk, KnownAs, Person, SessionHandle, Unclear, UnixSeconds};
use crate::keys::{KeyStore, SignOutBy, Told};
use crate::observe::Metrics;
use crate::portal::{Portal, PortalSession, Portals, Unreachable, Verdict, Whose};

/// Who may go where: one for each route with a back-end that is not public.
#[derive(Clone)]
pub struct Entrance {
    /// The host of the route.
    pub host: String,
    /// The path of the route, without a slash at its end; empty for everything.
    pub path: String,
    /// The back-end of the route.
    pub backend: Arc<Guarded>,
    /// Who may vouch.
    pub portals: Portals,
    /// Any of these roles; empty for every signed-in user.
    pub roles: Vec<String>,
}

/// What people may do with their own sessions: look at them and end them.
pub struct SelfService {
    pub(super) portals: Vec<Arc<Portal>>,
    pub(super) entrances: Vec<Entrance>,
    pub(super) keys: Arc<KeyStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ends: Ends,
    return_to: Vec<Url>,
}

/// What people may know of their own session. Never a key.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct WhoAmI {
    /// The portal that vouches for them.
    pub portal: String,
    /// Their name at the portal.
    pub user: String,
    /// Their full name, or empty.
    pub name: String,
    /// Their e-mail address, or empty.
    pub email: String,
    /// Their roles.
    pub groups: Vec<String>,
    /// When the portal session ends, in Unix seconds.
    pub expires: UnixSeconds,
    /// Back-ends at which they are signed in now.
    pub backends: Vec<String>,
}

impl SelfService {
    /// For sessions of these portals, whose people may go through these entrances; after sign-out a
    /// browser may be sent to the addresses in `return_to`.
    #[must_use]
    pub fn new(
        portals: Vec<Arc<Portal>>,
        entrances: Vec<Entrance>,
        keys: Arc<KeyStore>,
        clock: Arc<dyn Clock>,
        return_to: Vec<Url>,
        metrics: &Metrics,
    ) -> Self {
        let refused_after = metrics.revocation_seconds();
        let ends = Ends { keys: Arc::clone(&keys), clock: Arc::clone(&clock), refused_after };
        Self { portals, entrances, keys, clock, ends, return_to }
    }

    /// Ends every portal session among the cookies. Also sessions that have expired, since their back-end
    /// sessions may live, and all of several, since nobody can tell which one was planted.
    ///
    /// Says where the browser goes next, where a portal has to see it: at `origin`, which is ours, it came
    /// in, and `return_to` is the allowed address to go on to afterwards. All that is known here is done when this is
    /// first polled; what other replicas know follows, whether or not anybody waits for it, and this ends when they have
    /// been told, if they can be.
    ///
    /// # Errors
    /// Nobody can tell whether other replicas have more of them. Those that are known have ended.
    pub async fn sign_out(
        &self,
        cookies: &Cookies<'_>,
        arrival: &SignOutRequest,
        origin: &str,
        return_to: Option<&Url>,
    ) -> Result<Option<String>, Unreachable> {
        let shown = |portal: &Arc<Portal>| {
            let values = cookies.values(portal.cookie());
            (Arc::clone(portal), values.into_iter().map(str::to_owned).collect())
        };
        let leaving = Leaving {
            shown: self.portals.iter().map(shown).collect(),
            arrival: arrival.clone(),
            origin: origin.to_owned(),
            return_to: return_to.cloned(),
            ends: self.ends.clone(),
        };
        self.ends.see_through(leaving.leave()).await?
    }

    /// The origins at which a browser that has signed out here may have to be signed out as well.
    pub fn farewell_origins(&self) -> impl Iterator<Item = String> {
        self.portals.iter().filter_map(|portal| portal.farewell_origin())
    }

    /// The names of those cookies that are the session cookies of our own portals.
    #[must_use]
    pub fn cookies_of_ours(&self, cookies: &Cookies<'_>) -> Vec<&str> {
        let ours = self.portals.iter().filter(|portal| portal.gives_cookie()).map(|portal| portal.cookie());
        ours.filter(|name| !cookies.values(name).is_empty()).collect()
    }

    /// Ends a session for a service of ours; nothing where there is no such portal.
    pub(super) fn end_for_service(&self, session: &SessionHandle) -> Option<Told> {
        let portal = self.portals.iter().find(|portal| portal.name() == session.portal)?;
        Some(self.ends.end_for_server(portal, &session.id, &SignOutRequest::now(SignOutBy::Service, None)))
    }

    /// This portal's session among the cookies, if it is genuine and was not ended.
    async fn session_of(
        &self,
        portal: &Portal,
        cookies: &Cookies<'_>,
        browser: &dyn Browser,
    ) -> Result<Option<PortalSession<'static>>, Unreachable> {
        match portal.identify(&portal.shown(cookies, browser, false), self.clock.unix()).await {
            Verdict::Genuine(session) => Ok(Some(session).filter(|it| !self.keys.is_revoked(portal.name(), it))),
            Verdict::Unreachable { retry_after } => Err(Unreachable { retry_after }),
            Verdict::Rejected(_) | Verdict::Unasked => Ok(None),
        }
    }

    /// The first portal's session among the cookies that is genuine and was not ended. These are all portals
    /// of the house, and one that ended a session says nothing of those at which somebody else's route asks.
    async fn first_session(
        &self,
        cookies: &Cookies<'_>,
        browser: &dyn Browser,
    ) -> Result<Option<(&Portal, PortalSession<'static>)>, Unreachable> {
        for portal in &self.portals {
            if let Some(session) = self.session_of(portal, cookies, browser).await? {
                return Ok(Some((portal, session)));
            }
        }
        Ok(None)
    }

    /// The person is at the portal, so their back-end sessions are in use, whichever portals they are
    /// signed in at. Whether there is such a person.
    ///
    /// # Errors
    /// [`Unreachable`], where nobody is known and one of the portals could not be asked.
    pub async fn touch(&self, cookies: &Cookies<'_>, browser: &dyn Browser) -> Result<bool, Unreachable> {
        let mut touched = Ok(false);
        for portal in &self.portals {
            match self.session_of(portal, cookies, browser).await {
                Ok(Some(session)) => {
                    self.keys.touch(portal.name(), session.id()).await;
                    touched = Ok(true);
                }
                Ok(None) => {}
                Err(unreachable) => touched = touched.and_then(|known| if known { Ok(true) } else { Err(unreachable) }),
            }
        }
        touched
    }

    /// Whose sessions the cookies are: of the first portal that vouches for them.
    ///
    /// # Errors
    /// [`Unreachable`], where that may be a portal that could not be asked.
    pub async fn whoami(&self, cookies: &Cookies<'_>, browser: &dyn Browser) -> Result<Option<WhoAmI>, Unreachable> {
        let found = self.first_session(cookies, browser).await?;
        match found {
            Some((portal, session)) => Ok(Some(self.describe(portal, &session).await)),
            None => Ok(None),
        }
    }

    /// The address to go on to after sign-out, if it is one of those that are allowed. Compared
    /// whole, after parsing, and given back as it was configured, so that nothing of the request's
    /// spelling survives.
    #[must_use]
    pub fn return_address(&self, asked: &str) -> Option<&Url> {
        let asked = Url::parse(asked).ok()?;
        self.return_to.iter().find(|allowed| **allowed == asked)
    }

    /// The first entrance that lets this person in to the back-end of this name.
    fn entrance(&self, person: &Person, backend: &str) -> Option<&Entrance> {
        self.entrances.iter().find(|entrance| {
            entrance.backend.name() == backend
                && entrance.portals.named(&person.session.portal).is_some()
                && person.identity.has_one_of(&entrance.roles)
        })
    }

    async fn describe(&self, portal: &Portal, session: &PortalSession<'_>) -> WhoAmI {
        let identity = session.identity();
        WhoAmI {
            portal: portal.name().to_owned(),
            user: identity.user().to_owned(),
            name: identity.name().to_owned(),
            email: identity.email().to_owned(),
            groups: identity.roles().iter().map(|role| role.as_ref().to_owned()).collect(),
            expires: session.expires(),
            backends: self.keys.open_at(portal.name(), session).await,
        }
    }
}

impl Desk for SelfService {
    fn person<'a>(&'a self, call: &'a Call<'a>) -> BoxFuture<'a, Result<Option<Person>, Unclear>> {
        Box::pin(async move {
            let found = self.first_session(&call.cookies, call.browser).await.map_err(|_| Unclear)?;
            Ok(found.map(|(portal, session)| session.person(portal.name())))
        })
    }

    fn as_now<'a>(&'a self, person: &'a Person) -> BoxFuture<'a, Result<Option<Person>, Unclear>> {
        Box::pin(async move {
            let SessionHandle { portal, id } = &person.session;
            let Some(portal) = self.portals.iter().find(|one| one.name() == portal) else { return Ok(None) };
            if self.keys.is_ended(portal.name(), id) {
                return Ok(None);
            }
            let now = self.clock.unix();
            let identity = match portal.whose(id, now).await.map_err(|_| Unclear)? {
                Whose::Of(identity) => identity,
                Whose::Unknown if person.expires > now => person.identity.clone(),
                Whose::Nobody | Whose::Unknown => return Ok(None),
            };
            let same = identity.user() == person.identity.user();
            Ok(same.then(|| Person { identity, session: person.session.clone(), expires: person.expires }))
        })
    }

    fn known_as(&self, person: &Person, backend: &str) -> Option<KnownAs> {
        let backend = &self.entrance(person, backend)?.backend;
        let login = backend.login_name(&person.identity)?.into_owned();
        Some(KnownAs { login, roles: backend.roles(&person.identity).map(str::to_owned).collect() })
    }

    fn sign_out(&self, session: &SessionHandle) {
        let _told_in_the_background = self.end_for_service(session);
    }
}
