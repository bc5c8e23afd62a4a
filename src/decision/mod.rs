//! The only place that judges: a question in, a [`Decision`] out.
//!
//! [`Gate::decide`] answers at once whatever can be known at once; only a first login or an overdue
//! check leaves a [`Waiting`], to be awaited. Nothing here knows which protocol the question came
//! over.

mod ask;
mod grant;
mod path;
mod route;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use crate::portal::Scratch;
pub use ask::{Ask, AskError, Host, Target};
pub use grant::Grant;
pub use route::{Access, Route, Router};

use crate::backend::Guarded;
use crate::domain::{Clock, Identity, Reason, Ruling, SessionKeys};
use crate::keys::{Found, KeyStore, NoKeys, Order, password_of};
use crate::portal::{Portal, PortalSession, Verdict};

/// What the other headers of a refusal take at most, in bytes.
const REFUSAL_FRAMING: usize = 512;

/// The answer to one question.
pub enum Decision<'a> {
    /// It may pass, and this goes upstream with it.
    Allow(Grant<'a>),
    /// Somebody must sign in. A page may be redirected there, anything else is told.
    SignIn {
        /// Why.
        reason: Reason,
        /// The portal's sign-in page, with the way back in it.
        login: String,
        /// Whether the browser may be sent there.
        redirect: bool,
    },
    /// No.
    Deny(Reason),
    /// Nobody can tell at the moment.
    Unavailable {
        /// Why.
        reason: Reason,
        /// When to ask again.
        retry_after: Duration,
    },
}

impl Decision<'_> {
    /// The ruling, for metrics and logs.
    #[must_use]
    pub const fn ruling(&self) -> Ruling {
        match self {
            Self::Allow(_) => Ruling::Allow,
            Self::SignIn { redirect: true, .. } => Ruling::Redirect,
            Self::SignIn { redirect: false, .. } => Ruling::SignIn,
            Self::Deny(_) => Ruling::Deny,
            Self::Unavailable { .. } => Ruling::Unavailable,
        }
    }

    /// The reason, for metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Allow(grant) => grant.reason(),
            Self::SignIn { reason, .. } | Self::Deny(reason) | Self::Unavailable { reason, .. } => *reason,
        }
    }
}

impl fmt::Debug for Decision<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Decision({}, {})", self.ruling().as_str(), self.reason().as_str())
    }
}

/// What is known at once.
pub enum Step<'a> {
    /// The answer.
    Decided(Decision<'a>),
    /// A login or a check is needed first.
    Waiting(Waiting<'a>),
}

/// What a question is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// May this pass?
    Pass,
    /// The back-end answered as to a stranger although it was given keys: get new ones.
    Renew,
}

/// Everything that judging takes.
pub struct Gate {
    router: Router,
    portals: Vec<Arc<Portal>>,
    keys: Arc<KeyStore>,
    clock: Arc<dyn Clock>,
    longest_login: usize,
}

impl Gate {
    /// A gate for these routes, whose answers have at most `answer_limit` bytes of headers. `portals` are
    /// all that are configured: none of their cookies ever goes upstream, whichever route a request
    /// takes.
    #[must_use]
    pub fn new(
        router: Router,
        portals: Vec<Arc<Portal>>,
        keys: Arc<KeyStore>,
        clock: Arc<dyn Clock>,
        answer_limit: usize,
    ) -> Self {
        Self { router, portals, keys, clock, longest_login: answer_limit.saturating_sub(REFUSAL_FRAMING) }
    }

    /// Judges as far as it can be done without waiting.
    pub fn decide<'a>(&'a self, ask: &'a Ask<'a>, purpose: Purpose, scratch: &'a mut Scratch) -> Step<'a> {
        let route = match self.router.find(ask.host.name(), ask.method, ask.target.path()) {
            Ok(route) => route,
            Err(reason) => return Step::Decided(Decision::Deny(reason)),
        };
        let (portal, roles) = match &route.access {
            Access::Public => return Step::Decided(self.allow_anybody(ask, route.backend.as_ref())),
            Access::SignedIn { portal, roles } => (portal, roles),
        };
        let sign_in = |reason| Step::Decided(self.sign_in(reason, portal, ask, route.backend.as_ref()));
        let now = self.clock.unix();
        let session = match portal.validate(&ask.cookies.values(portal.cookie()), now, scratch) {
            Verdict::Genuine(session) => session,
            Verdict::Rejected(reason) => return sign_in(reason),
        };
        let seconds = session.expires().saturating_sub(now);
        let has_role = session.identity().has_one_of(roles);
        match &route.backend {
            Some(backend) if has_role => self.decide_with_keys(ask, purpose, portal, backend, session, seconds),
            _ if self.keys.is_revoked(portal.name(), &session) => sign_in(Reason::Revoked),
            _ if has_role => Step::Decided(self.allow(ask, session.into_identity(), seconds, None)),
            _ => Step::Decided(Decision::Deny(Reason::Role)),
        }
    }

    fn decide_with_keys<'a>(
        &'a self,
        ask: &'a Ask<'a>,
        purpose: Purpose,
        portal: &'a Arc<Portal>,
        backend: &'a Arc<Guarded>,
        session: PortalSession<'a>,
        seconds: u64,
    ) -> Step<'a> {
        let Some(login) = backend.login_name(session.identity()) else {
            return Step::Decided(Decision::Deny(Reason::NoCredentials));
        };
        if purpose == Purpose::Pass {
            match self.keys.find(portal.name(), &session, backend, &login, || ask.browser.client()) {
                Found::Keys(keys) => {
                    let allow = self.allow(ask, session.into_identity(), seconds, Some((backend, keys)));
                    return Step::Decided(allow);
                }
                Found::Revoked => {
                    return Step::Decided(self.sign_in(Reason::Revoked, portal, ask, Some(backend)));
                }
                Found::Nothing => {}
            }
        }
        let login = login.into_owned();
        Step::Waiting(Waiting { gate: self, ask, portal, backend, session, login, renew: purpose == Purpose::Renew })
    }

    /// Sends to the portal and back to where the browser wanted to go, without the application's key:
    /// that is nothing for the portal's log. Where the whole way back does not fit into an answer, it
    /// leads to the host's first page. Where the portal's session must be brought here from another
    /// domain, the way back leads through the hand-over, or the portal would send people round in circles.
    fn sign_in<'a>(
        &self,
        reason: Reason,
        portal: &Portal,
        ask: &Ask<'_>,
        backend: Option<&Arc<Guarded>>,
    ) -> Decision<'a> {
        let origin = ask.host.origin(ask.secure);
        let asked = ask.url_without(backend.and_then(|backend| backend.query_key()));
        let (whole, short) = match backend.and_then(|backend| backend.way_in(&origin)) {
            Some(way_in) => (way_in.returning_to(Some(&asked)), way_in.address),
            None => (asked, format!("{origin}/")),
        };
        let whole = portal.login_address(&whole);
        let login = if whole.len() <= self.longest_login { whole } else { portal.login_address(&short) };
        Decision::SignIn { reason, login, redirect: ask.is_page() }
    }

    fn allow_anybody<'a>(&'a self, ask: &'a Ask<'a>, backend: Option<&'a Arc<Guarded>>) -> Decision<'a> {
        Decision::Allow(Grant::new(ask, &self.portals, None, backend, None, 0))
    }

    fn allow<'a>(
        &'a self,
        ask: &'a Ask<'a>,
        identity: Identity<'a>,
        seconds: u64,
        opened: Option<(&'a Arc<Guarded>, Arc<SessionKeys>)>,
    ) -> Decision<'a> {
        let (backend, keys) = opened.map_or((None, None), |(backend, keys)| (Some(backend), Some(keys)));
        Decision::Allow(Grant::new(ask, &self.portals, Some(identity), backend, keys, seconds))
    }
}

/// A question whose answer needs a login or a check.
pub struct Waiting<'a> {
    gate: &'a Gate,
    ask: &'a Ask<'a>,
    portal: &'a Arc<Portal>,
    backend: &'a Arc<Guarded>,
    session: PortalSession<'a>,
    login: String,
    renew: bool,
}

impl<'a> Waiting<'a> {
    /// Waits for the login, at most the back-end's `login_timeout`. When dropped, the login goes on
    /// for the next request.
    pub async fn finish(self) -> Decision<'a> {
        let Self { gate, ask, portal, backend, session, login, renew } = self;
        // The login may outlive the request, and with it what it needs of the session.
        let session = Arc::new(session.into_owned());
        let client = ask.browser.client();
        let order = Order {
            portal: portal.name(),
            session: &session,
            backend,
            login: &login,
            client: &client,
            password: password_of(portal, backend, &session),
            renew,
        };
        match gate.keys.obtain(order).await.into_keys() {
            Ok(keys) => {
                let seconds = session.expires().saturating_sub(gate.clock.unix());
                if seconds == 0 {
                    // It ended while it waited.
                    return gate.sign_in(Reason::Expired, portal, ask, Some(backend));
                }
                gate.allow(ask, session.identity().clone(), seconds, Some((backend, keys)))
            }
            Err(NoKeys { reason, retry_after }) => match reason.rulings() {
                [Ruling::Deny] => Decision::Deny(reason),
                [Ruling::Unavailable] => Decision::Unavailable { reason, retry_after },
                _ => gate.sign_in(reason, portal, ask, Some(backend)),
            },
        }
    }
}
