//! How sessions end here, whoever ends them and whether or not they wait for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use prometheus::Histogram;
use url::Url;

use crate::domain::{Clock, UnixSeconds};
use crate::keys::{KeyStore, SignOut, SignOutBy, Told};
use crate::observe::Stopwatch;
use crate::portal::{Portal, Unreachable};

/// How long a sign-out is remembered at least where nobody can tell when the session would have ended,
/// in seconds: one day.
const REMEMBERED_FOR: UnixSeconds = 24 * 3600;

/// Where what was begun broke off, it is worth another try after this time.
pub(super) const BROKEN_OFF: Unreachable = Unreachable { retry_after: Duration::from_secs(5) };

/// A request to sign out: whose, and since when.
#[derive(Clone)]
pub struct SignOutRequest {
    by: SignOutBy,
    request_id: Option<String>,
    at: Stopwatch,
}

impl SignOutRequest {
    /// Just now, by a request to which the proxy gave this id.
    #[must_use]
    pub fn now(by: SignOutBy, request_id: Option<&str>) -> Self {
        Self { by, request_id: request_id.map(str::to_owned), at: Stopwatch::start() }
    }
}

/// What ends sessions.
#[derive(Clone)]
pub(super) struct Ends {
    pub keys: Arc<KeyStore>,
    pub clock: Arc<dyn Clock>,
    pub refused_after: Histogram,
}

impl Ends {
    /// The one entry of single sign-out, whoever starts it: ends a session here, and all its back-end
    /// sessions. It stays refused until it would have ended by itself.
    pub fn end(
        &self,
        portal: &Portal,
        id: &str,
        until: UnixSeconds,
        user: Option<&str>,
        arrival: &SignOutRequest,
    ) -> Told {
        let (request_id, refused_after) = (arrival.request_id.as_deref(), self.refused_after.clone());
        let sign_out = SignOut::new(arrival.by, portal.name(), user, request_id, arrival.at, refused_after);
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
    pub fn end_for_server(&self, portal: &Portal, id: &str, arrival: &SignOutRequest) -> Told {
        let remembered_for = REMEMBERED_FOR.max(portal.longest_left());
        self.end(portal, id, self.clock.unix().saturating_add(remembered_for), None, arrival)
    }

    /// Sees through what was begun, though whoever asked for it is gone by now, and waits until others were told.
    pub async fn see_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = (T, Vec<Told>)> + Send + 'static,
    ) -> Result<T, Unreachable> {
        let (done, told) = self.keys.see_through(work).await.ok_or(BROKEN_OFF)?;
        join_all(told.into_iter().map(Told::wait)).await;
        Ok(done)
    }
}

/// Somebody who signs out in a browser.
pub(super) struct Leaving {
    /// What they show, and to which portals.
    pub shown: Vec<(Arc<Portal>, Vec<String>)>,
    pub arrival: SignOutRequest,
    /// Ours, and where they go on to.
    pub origin: String,
    pub return_to: Option<Url>,
    pub ends: Ends,
}

/// Where somebody goes who has signed out; or nobody can tell whether they have.
type Left = Result<Option<String>, Unreachable>;

impl Leaving {
    /// What is known here has ended when this is first polled.
    pub async fn leave(self) -> (Left, Vec<Told>) {
        let (mut farewell, mut told, mut unknown) = (None, Vec::new(), None);
        let mut end = |portal: &Portal, shown: &[&str]| {
            for session in portal.signed(shown) {
                farewell =
                    farewell.take().or_else(|| portal.farewell(&session.id, &self.origin, self.return_to.as_ref()));
                let user = Some(session.user.as_str());
                told.push(self.ends.end(portal, &session.id, session.expires, user, &self.arrival));
            }
        };
        let mut elsewhere = Vec::new();
        for (portal, shown) in &self.shown {
            let shown = shown.iter().map(String::as_str);
            let (here, missing): (Vec<&str>, Vec<&str>) = shown.partition(|one| portal.knows(one));
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
        (unknown.map_or(Ok(farewell), Err), told)
    }
}
