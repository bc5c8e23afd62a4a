use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::Histogram;

use crate::observe::Stopwatch;

/// Who wants a session to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignOutBy {
    /// The person, in a browser.
    Browser,
    /// The portal's server, through the API.
    Api,
    /// A service that a portal or a back-end offers.
    Service,
    /// The time at which the portal session ends.
    Expiry,
    /// A new password, or the end of the account.
    Account,
}

impl SignOutBy {
    /// The word for it in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Api => "api",
            Self::Service => "service",
            Self::Expiry => "expiry",
            Self::Account => "account",
        }
    }
}

/// One sign-out on its way to all back-ends.
///
/// It writes two lines into the log: what was asked, when that has been done here, and what came of it at
/// the back-ends, when the last of them has heard or was given up. The session's id is in neither.
pub struct SignOut {
    by: SignOutBy,
    portal: Option<String>,
    user: OnceLock<String>,
    request_id: Option<String>,
    arrived: Stopwatch,
    refused_after: Option<Histogram>,
    heard: AtomicUsize,
    left: AtomicUsize,
    given_up: AtomicUsize,
}

/// What became of one back-end session of somebody who signed out.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    /// The back-end has heard of it.
    Heard,
    /// The back-end cannot be told.
    Left,
    /// It will not be told any more.
    GivenUp,
}

impl SignOut {
    /// Of a session of this portal, asked for when `arrived` was started. `refused_after` measures until
    /// when the session was good for something. `user` is found out where the caller cannot tell.
    #[must_use]
    pub fn new(
        by: SignOutBy,
        portal: &str,
        user: Option<&str>,
        request_id: Option<&str>,
        arrived: Stopwatch,
        refused_after: Histogram,
    ) -> Self {
        let mut sign_out = Self::unasked(by, Some(portal), user);
        sign_out.request_id = request_id.map(str::to_owned);
        sign_out.arrived = arrived;
        sign_out.refused_after = Some(refused_after);
        sign_out
    }

    /// Of somebody who did not ask for it, so that there is no time to measure; of one portal's session, or
    /// of all.
    pub(super) fn unasked(by: SignOutBy, portal: Option<&str>, user: Option<&str>) -> Self {
        Self {
            by,
            portal: portal.map(str::to_owned),
            user: user.map(|user| OnceLock::from(user.to_owned())).unwrap_or_default(),
            request_id: None,
            arrived: Stopwatch::start(),
            refused_after: None,
            heard: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            given_up: AtomicUsize::new(0),
        }
    }

    /// Nothing is given out for the session any more. `user` is whose keys it had, if it had any.
    pub(super) fn refused_from_now(&self, user: Option<&str>) {
        if let Some(refused_after) = &self.refused_after {
            refused_after.observe(self.arrived.seconds());
        }
        if let Some(user) = user {
            self.user.get_or_init(|| user.to_owned());
        }
    }

    /// One of the back-end sessions is done with.
    pub(super) fn settled(&self, fate: Fate) {
        let counter = match fate {
            Fate::Heard => &self.heard,
            Fate::Left => &self.left,
            Fate::GivenUp => &self.given_up,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes the line that says what was asked, and at how many back-ends the person was signed in.
    pub fn report(&self, backend_sessions: usize) {
        tracing::info!(
            by = self.by.as_str(),
            portal = self.portal,
            user = self.user.get(),
            backend_sessions,
            request_id = self.request_id,
            "signed out"
        );
    }
}

/// Whoever still has to tell a back-end holds it, so the end of it is the end of all.
impl Drop for SignOut {
    fn drop(&mut self) {
        let [heard, left, given_up] = [&mut self.heard, &mut self.left, &mut self.given_up].map(|all| *all.get_mut());
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    by = self.by.as_str(),
                    portal = self.portal,
                    user = self.user.get(),
                    heard,
                    left,
                    given_up,
                    seconds = self.arrived.seconds(),
                    request_id = self.request_id,
                    "sign-out settled at the back-ends"
                )
            };
        }
        match (heard + left, given_up) {
            (0, 0) => {}
            (_, 0) => line!(info),
            _ => line!(warn),
        }
    }
}
