//! The only place that judges: a question in, a [`Decision`] out.
//!
//! [`Gate::decide`] answers at once whatever can be known at once; only a portal that must be asked, a first
//! login or an overdue check leaves a [`Waiting`], to be awaited. Nothing here knows which protocol the
//! question came over.

mod ask;
mod entry;
mod grant;
mod path;
mod route;
mod waiting;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use crate::backend::{MOST_SCRIPT_COOKIES, ScriptCookie};
pub use crate::portal::Sheets;
pub use ask::{Ask, AskError, Host, Target};
pub use grant::Grant;
pub use route::{Access, Route, Router, Terms};
pub use waiting::Waiting;

use entry::Entry;
use smallvec::SmallVec;

use crate::backend::Guarded;
use crate::domain::{Audience, Clock, Identity, Reason, Ruling, SessionKeys, UrlKey};
use crate::keys::KeyStore;
use crate::portal::Portal;

/// What the other headers of a refusal take at most, in bytes.
const REFUSAL_FRAMING: usize = 512;

/// The answer to one question.
pub enum Decision<'a> {
    /// It may pass, and this goes upstream with it.
    Allow(Grant<'a>),
    /// It may pass, and this page must be asked for at another address of the same origin first: its own, with the
    /// application's key in it.
    Elsewhere {
        /// The whole address. It holds the key, and is for its owner.
        address: String,
    },
    /// Somebody must sign in. A page may be redirected there, anybody else is told.
    SignIn {
        /// Why.
        reason: Reason,
        /// The portal's sign-in page, with the way back in it.
        login: String,
        /// Who is told.
        audience: Audience,
        /// What a client that has no cookies is asked for, one by one (`WWW-Authenticate`).
        challenges: SmallVec<[&'a str; 1]>,
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
            Self::Elsewhere { .. } | Self::SignIn { audience: Audience::Page, .. } => Ruling::Redirect,
            Self::SignIn { .. } => Ruling::SignIn,
            Self::Deny(_) => Ruling::Deny,
            Self::Unavailable { .. } => Ruling::Unavailable,
        }
    }

    /// The reason, for metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Allow(grant) => grant.reason(),
            Self::Elsewhere { .. } => Reason::Ok,
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
    /// A portal must be asked first, or a login or a check is needed.
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
        match &route.access {
            Access::Public => Step::Decided(self.allow_anybody(ask, route.backend.as_ref())),
            Access::SignedIn(terms) => Entry { gate: self, ask, purpose, terms, route }.decide(sheets),
        }
    }

    fn allow_anybody<'a>(&'a self, ask: &'a Ask<'a>, backend: Option<&'a Arc<Guarded>>) -> Decision<'a> {
        Decision::Allow(Grant::new(ask, &self.portals, None, backend, None, 0))
    }

    fn allow<'a>(
        &'a self,
        ask: &'a Ask<'a>,
        terms: &Terms,
        identity: Identity<'a>,
        seconds: u64,
        opened: Option<(&'a Arc<Guarded>, SessionKeys)>,
    ) -> Decision<'a> {
        let (backend, keys) = opened.map_or((None, None), |(backend, keys)| (Some(backend), Some(keys)));
        let grant = Grant::new(ask, &self.portals, Some(identity), backend, keys, seconds);
        if terms.url_key == UrlKey::Address
            && ask.audience() == Audience::Page
            && let Some(address) = grant.address_with_key()
        {
            return Decision::Elsewhere { address };
        }
        Decision::Allow(grant.covering_credentials(terms.authorization))
    }
}
