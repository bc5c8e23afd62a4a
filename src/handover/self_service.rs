use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use prometheus::Histogram;
use serde::Serialize;
use url::Url;

use crate::backend::Guarded;
use crate::domain::{Browser, Call, Clock, Cookies, Desk, KnownAs, Person, SessionHandle, UnixSeconds};
use crate::keys::{KeyStore, SignOut, SignOutBy, Told};
use crate::observe::{Metrics, Stopwatch};
use crate::portal::{Portal, PortalSession, Portals, Unreachable, Verdict, Whose};

/// How long a sign-out is remembered at least where nobody can tell when the session would have ended,
/// in seconds: one day.
const REMEMBERED_FOR: UnixSeconds = 24 * 3600;

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
    return_to: Vec<Url>,
    refused_after: Histogram,
}

/// A request to sign out: whose, and since when.
pub struct SignOutRequest<'a> {
    by: SignOutBy,
    request_id: Option<&'a str>,
    at: Stopwatch,
}

impl<'a> SignOutRequest<'a> {
    /// Just now, by a request to which the proxy gave this id.
    #[must_use]
    pub fn now(by: SignOutBy, request_id: Option<&'a str>) -> Self {
        Self { by, request_id, at: Stopwatch::start() }
    }
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
        Self { portals, entrances, keys, clock, return_to, refused_after: metrics.revocation_seconds() }
    }

    /// Ends every portal session among the cookies. Also sessions that have expired, since their back-end
    /// sessions may live, and all of several, since nobody can tell which one was planted.
    ///
    /// Says where the browser goes next, where a portal has to see it: at `origin`, which is ours, it came
    /// in, and `return_to` is the allowed address to go on to afterwards. All that is known here is done when this is
    /// first polled; what other replicas know follows, and it ends when they have been told, if they can be.
    ///
    /// # Errors
    /// Nobody can tell whether other replicas have more of them. Those that are known have ended.
    pub async fn sign_out(
        &self,
        cookies: &Cookies<'_>,
        arrival: &SignOutRequest<'_>,
        origin: &str,
        return_to: Option<&Url>,
    ) -> Result<Option<String>, Unreachable> {
        let (mut farewell, mut told, mut unknown) = (None, Vec::new(), None);
        let mut end = |portal: &Portal, shown: &[&str]| {
            for session in portal.signed(shown) {
                farewell = farewell.take().or_else(|| portal.farewell(&session.id, origin, return_to));
                told.push(self.end(portal, &session.id, session.expires, Some(&session.user), arrival));
            }
        };
        let mut elsewhere = Vec::new();
        for portal in &self.portals {
            let shown = cookies.values(portal.cookie());
            let (here, missing): (Vec<&str>, Vec<&str>) = shown.into_iter().partition(|one| portal.knows(one));
            end(portal, &here);
            if !missing.is_empty() {
                elsewhere.push((portal, missing));
            }
        }
        for (portal, missing) in elsewhere {
            if let Err(outage) = portal.bring(&missing).await {
                unknown = Some(Unreachable { retry_after: outage.retry_after() });
            }
            end(portal, &missing);
        }
        join_all(told.into_iter().map(Told::wait)).await;
        unknown.map_or(Ok(farewell), Err)
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

    /// The one entry of single sign-out, whoever starts it: ends a session here, and all its back-end
    /// sessions. It stays refused until it would have ended by itself.
    fn end(
        &self,
        portal: &Portal,
        id: &str,
        until: UnixSeconds,
        user: Option<&str>,
        arrival: &SignOutRequest<'_>,
    ) -> Told {
        let refused_after = self.refused_after.clone();
        let sign_out = SignOut::new(arrival.by, portal.name(), user, arrival.request_id, arrival.at, refused_after);
        let sign_out = Arc::new(sign_out);
        // In this order, so that whoever is just keeping a session of this id sees that it is ended.
        let (backend_sessions, told) = self.keys.sign_out(portal.name(), id, until, &sign_out);
        if let Some(longer) = portal.end(id).filter(|end| *end > until) {
            self.keys.revoke(portal.name(), id, longer);
        }
        sign_out.report(backend_sessions);
        told
    }

    /// The same for a server, which need not know when the session would have ended: for as long as any
    /// session of the portal was seen to last. A ticket that lives longer is refused until its own end once it
    /// is shown.
    pub(super) fn end_for_server(&self, portal: &Portal, id: &str, arrival: &SignOutRequest<'_>) -> Told {
        let remembered_for = REMEMBERED_FOR.max(portal.longest_left());
        self.end(portal, id, self.clock.unix().saturating_add(remembered_for), None, arrival)
    }

    /// The same for a service of ours; nothing where there is no such portal.
    pub(super) fn end_for_service(&self, session: &SessionHandle) -> Option<Told> {
        let portal = self.portals.iter().find(|portal| portal.name() == session.portal)?;
        Some(self.end_for_server(portal, &session.id, &SignOutRequest::now(SignOutBy::Service, None)))
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
    fn person<'a>(&'a self, call: &'a Call<'a>) -> BoxFuture<'a, Option<Person>> {
        Box::pin(async move {
            // Whom nobody can tell at the moment is nobody to a service: it gives nothing away then.
            let (portal, session) = self.first_session(&call.cookies, call.browser).await.ok()??;
            Some(session.person(portal.name()))
        })
    }

    fn as_now(&self, person: &Person) -> Option<Person> {
        let SessionHandle { portal, id } = &person.session;
        let portal = self.portals.iter().find(|one| one.name() == portal)?;
        if self.keys.is_ended(portal.name(), id) {
            return None;
        }
        let now = self.clock.unix();
        let identity = match portal.whose(id, now) {
            Whose::Of(identity) => identity,
            Whose::Unknown if person.expires > now => person.identity.clone(),
            Whose::Nobody | Whose::Unknown => return None,
        };
        let same = identity.user() == person.identity.user();
        same.then(|| Person { identity, session: person.session.clone(), expires: person.expires })
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
