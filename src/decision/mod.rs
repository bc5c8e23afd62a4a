//! The only place that judges: a question in, a [`Decision`] out.
//!
//! [`Gate::decide`] answers at once whatever can be known at once; only a portal that must be asked, a first login or an
//! overdue check leaves a [`Waiting`], to be awaited. Nothing here knows which protocol the question came
//! over.

mod ask;
mod grant;
mod path;
mod route;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use crate::portal::Sheets;
pub use ask::{Ask, AskError, Host, Target};
pub use grant::Grant;
pub use route::{Access, Route, Router};

use crate::backend::Guarded;
use crate::domain::{Clock, Identity, Reason, Ruling, SessionKeys};
use crate::keys::{Found, KeyStore, NoKeys, Order, password_of};
use crate::portal::{Portal, PortalSession, Shown, Verdict};

/// What the other headers of a refusal take at most, in bytes.
const REFUSAL_FRAMING: usize = 512;

/// When to ask again where nothing better is known.
const ASK_AGAIN: Duration = Duration::from_secs(5);

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
        /// What a client that has no cookies is asked for (`WWW-Authenticate`).
        challenge: Option<&'a str>,
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
    pub fn decide<'a>(&'a self, ask: &'a Ask<'a>, purpose: Purpose, sheets: &'a mut Sheets) -> Step<'a> {
        let route = match self.router.find(ask.host.name(), ask.method, ask.target.path()) {
            Ok(route) => route,
            Err(reason) => return Step::Decided(Decision::Deny(reason)),
        };
        let Access::SignedIn { portals, authorization, roles } = &route.access else {
            return Step::Decided(self.allow_anybody(ask, route.backend.as_ref()));
        };
        let entry = Entry { gate: self, ask, purpose, portals, authorization: *authorization, roles, route };
        let now = self.clock.unix();
        let mut reason = Reason::NoSession;
        for (index, (portal, scratch)) in portals.iter().zip(sheets.take(portals.len())).enumerate() {
            match portal.validate(&entry.shown(portal), now, scratch) {
                Verdict::Genuine(session) => return entry.judge(portal, session),
                Verdict::Rejected(why) => reason = entry.worse(reason, why),
                Verdict::Unreachable { retry_after } => return Step::Decided(portal_unavailable(retry_after)),
                Verdict::Unasked => return Step::Waiting(Waiting(Stage::Portals { entry, index, reason })),
            }
        }
        Step::Decided(entry.sign_in(reason))
    }

    /// Sends to the first portal and back to where the browser wanted to go, without the application's key:
    /// that is nothing for the portal's log. Where the whole way back does not fit into an answer, it
    /// leads to the host's first page. Where the portal's session must be brought here from another
    /// domain, the way back leads through the hand-over, or the portal would send people round in circles.
    fn sign_in<'a>(
        &'a self,
        reason: Reason,
        portals: &'a [Arc<Portal>],
        authorization: bool,
        ask: &Ask<'_>,
        backend: Option<&Arc<Guarded>>,
    ) -> Decision<'a> {
        let origin = ask.host.origin(ask.secure);
        let asked = ask.url_without(backend.and_then(|backend| backend.query_key()));
        let (whole, short) = match backend.and_then(|backend| backend.way_in(&origin)) {
            Some(way_in) => (way_in.returning_to(Some(&asked)), way_in.address),
            None => (asked, format!("{origin}/")),
        };
        let address =
            |back: &str| portals.first().map(|portal| portal.login_address(&origin, back)).unwrap_or_default();
        let whole = address(&whole);
        let login = if whole.len() <= self.longest_login { whole } else { address(&short) };
        let challenge = if authorization { portals.iter().find_map(|portal| portal.challenge()) } else { None };
        Decision::SignIn { reason, login, redirect: ask.is_page(), challenge }
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

fn portal_unavailable<'a>(retry_after: Duration) -> Decision<'a> {
    Decision::Unavailable { reason: Reason::PortalUnavailable, retry_after }
}

/// A question on its way through one route.
struct Entry<'a> {
    gate: &'a Gate,
    ask: &'a Ask<'a>,
    purpose: Purpose,
    portals: &'a [Arc<Portal>],
    authorization: bool,
    roles: &'a [String],
    route: &'a Route,
}

impl<'a> Entry<'a> {
    fn shown(&self, portal: &Portal) -> Shown<'a> {
        portal.shown(&self.ask.cookies, self.ask.browser, self.authorization)
    }

    /// Of what several portals say, the first that is more than that nobody is there.
    fn worse(&self, before: Reason, now: Reason) -> Reason {
        if before == Reason::NoSession { now } else { before }
    }

    fn sign_in(&self, reason: Reason) -> Decision<'a> {
        self.gate.sign_in(reason, self.portals, self.authorization, self.ask, self.route.backend.as_ref())
    }

    /// Goes on with a genuine session. What it may do is this portal's matter alone: another portal's
    /// session beside it belongs to another person, perhaps.
    fn judge(self, portal: &'a Arc<Portal>, session: PortalSession<'a>) -> Step<'a> {
        let Self { gate, ask, .. } = self;
        let seconds = session.expires().saturating_sub(gate.clock.unix());
        let has_role = session.identity().has_one_of(self.roles);
        match &self.route.backend {
            Some(backend) if has_role => self.open(portal, backend, session, seconds),
            _ if gate.keys.is_revoked(portal.name(), &session) => Step::Decided(self.sign_in(Reason::Revoked)),
            _ if has_role => Step::Decided(gate.allow(ask, session.into_identity(), seconds, None)),
            _ => Step::Decided(Decision::Deny(Reason::Role)),
        }
    }

    fn open(
        self,
        portal: &'a Arc<Portal>,
        backend: &'a Arc<Guarded>,
        session: PortalSession<'a>,
        seconds: u64,
    ) -> Step<'a> {
        let Self { gate, ask, .. } = self;
        let Some(login) = backend.login_name(session.identity()) else {
            return Step::Decided(Decision::Deny(Reason::NoCredentials));
        };
        if self.purpose == Purpose::Pass {
            match gate.keys.find(portal.name(), &session, backend, &login, || ask.browser.client()) {
                Found::Keys(keys) => {
                    let allow = gate.allow(ask, session.into_identity(), seconds, Some((backend, keys)));
                    return Step::Decided(allow);
                }
                Found::Revoked => return Step::Decided(self.sign_in(Reason::Revoked)),
                Found::Nothing => {}
            }
        }
        let login = login.into_owned();
        Step::Waiting(Waiting(Stage::Keys(Opening { entry: self, portal, backend, session, login })))
    }

    /// Asks this portal, and those after it as far as nobody is found.
    async fn ask(self, from: usize, mut reason: Reason) -> Step<'a> {
        let now = self.gate.clock.unix();
        for (index, portal) in self.portals.iter().enumerate().skip(from) {
            let shown = self.shown(portal);
            // The first was looked at already.
            let verdict =
                if index == from { portal.ask(&shown, now).await } else { portal.identify(&shown, now).await };
            match verdict {
                Verdict::Genuine(session) => return self.judge(portal, session),
                Verdict::Rejected(why) => reason = self.worse(reason, why),
                Verdict::Unreachable { retry_after } => return Step::Decided(portal_unavailable(retry_after)),
                // Nobody who was asked says so.
                Verdict::Unasked => return Step::Decided(portal_unavailable(ASK_AGAIN)),
            }
        }
        Step::Decided(self.sign_in(reason))
    }
}

/// A question whose answer needs a portal, a login or a check.
pub struct Waiting<'a>(Stage<'a>);

enum Stage<'a> {
    /// The portal of this index, to begin with.
    Portals {
        entry: Entry<'a>,
        index: usize,
        reason: Reason,
    },
    Keys(Opening<'a>),
}

/// Somebody who may pass, and lacks keys.
struct Opening<'a> {
    entry: Entry<'a>,
    portal: &'a Arc<Portal>,
    backend: &'a Arc<Guarded>,
    session: PortalSession<'a>,
    login: String,
}

impl<'a> Waiting<'a> {
    /// Waits for the portal, at most as long as it is given, and for the login, at most the back-end's
    /// `login_timeout`. When dropped, what was begun goes on for the next request.
    pub async fn finish(self) -> Decision<'a> {
        let opening = match self.0 {
            Stage::Keys(opening) => opening,
            Stage::Portals { entry, index, reason } => match entry.ask(index, reason).await {
                Step::Decided(decision) => return decision,
                Step::Waiting(Waiting(Stage::Keys(opening))) => opening,
                Step::Waiting(Waiting(Stage::Portals { .. })) => return portal_unavailable(ASK_AGAIN),
            },
        };
        opening.finish().await
    }
}

impl<'a> Opening<'a> {
    async fn finish(self) -> Decision<'a> {
        let Self { entry, portal, backend, session, login } = self;
        let (gate, ask) = (entry.gate, entry.ask);
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
            renew: entry.purpose == Purpose::Renew,
        };
        match gate.keys.obtain(order).await.into_keys() {
            Ok(keys) => {
                let seconds = session.expires().saturating_sub(gate.clock.unix());
                if seconds == 0 {
                    // It ended while it waited.
                    return entry.sign_in(Reason::Expired);
                }
                gate.allow(ask, session.identity().clone(), seconds, Some((backend, keys)))
            }
            Err(NoKeys { reason, retry_after }) => match reason.rulings() {
                [Ruling::Deny] => Decision::Deny(reason),
                [Ruling::Unavailable] => Decision::Unavailable { reason, retry_after },
                _ => entry.sign_in(reason),
            },
        }
    }
}
