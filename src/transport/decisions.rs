use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix_http::Request;
use actix_web::HttpResponse;
use actix_web::dev::RequestHead;
use actix_web::http::StatusCode;
use futures_util::FutureExt;

use super::question::Forwarded;
use super::{State, answer, question};
use crate::decision::{Ask, Decision, Purpose, Sheets, Step};
use crate::domain::{Reason, Ruling};
use crate::observe::{Door, DoorMetrics, Stopwatch};

/// One door: a path on the wire, a dialect, a purpose.
pub(super) struct DoorState {
    path: &'static str,
    door: Door,
    purpose: Purpose,
    metrics: Arc<DoorMetrics>,
    state: Arc<State>,
}

/// Every door.
pub(super) fn doors(state: &Arc<State>) -> Vec<Arc<DoorState>> {
    let doors = [
        ("/authz/auth-request", Door::AuthRequest, Purpose::Pass),
        ("/authz/renew", Door::AuthRequest, Purpose::Renew),
        ("/authz/forward-auth", Door::ForwardAuth, Purpose::Pass),
    ];
    let door = |(path, door, purpose)| {
        let metrics = state.metrics.door(door);
        Arc::new(DoorState { path, door, purpose, metrics, state: Arc::clone(state) })
    };
    doors.into_iter().map(door).collect()
}

/// The door under a path, whatever the method: some proxies ask with that of the original request.
pub(super) fn at(doors: &[Arc<DoorState>], path: &str) -> Option<Arc<DoorState>> {
    doors.iter().find(|door| door.path == path).cloned()
}

/// Answers one question, whatever happens.
pub(super) async fn decide(request: Request, door: Arc<DoorState>) -> HttpResponse {
    let stopwatch = Stopwatch::start();
    let caught = AssertUnwindSafe(judge(request.head(), &door)).catch_unwind().await;
    let (response, ruling, reason) = caught.unwrap_or_else(|_| {
        let reason = Reason::BackendUnavailable;
        (answer::refuse(StatusCode::SERVICE_UNAVAILABLE, reason, None, None), Ruling::Unavailable, reason)
    });
    door.metrics.count(ruling, reason);
    door.metrics.seconds.observe(stopwatch.seconds());
    response
}

async fn judge(request: &RequestHead, door: &DoorState) -> (HttpResponse, Ruling, Reason) {
    let live = door.state.live.load_full();
    if !live.trust.is_proxy(request) {
        let peer = request.peer_addr.map(|peer| peer.ip());
        tracing::warn!(door = door.door.as_str(), ?peer, "decision refused to a peer that is not in [trust] proxies");
        return deny(Reason::UntrustedPeer);
    }
    let browser = Forwarded::by(request, &live.trust);
    let Some(ask) = question::read(door.door, &browser) else {
        tracing::info!(door = door.door.as_str(), "a question was not understood; compare the web server's headers");
        return deny(Reason::BadRequest);
    };
    let mut sheets = Sheets::default();
    let (decision, waited) = match live.gate.decide(&ask, door.purpose, &mut sheets) {
        Step::Decided(decision) => (decision, false),
        Step::Waiting(waiting) => (waiting.finish().await, true),
    };
    let answered = answer::render(door.door, &decision, &ask, &live);
    log(door.door, request, &ask, &decision, (answered.1, answered.2), waited);
    answered
}

fn deny(reason: Reason) -> (HttpResponse, Ruling, Reason) {
    (answer::refuse(StatusCode::FORBIDDEN, reason, None, None), Ruling::Deny, reason)
}

/// One line for each decision that is more than a look into the cache, and for all at debug. The
/// path is logged without its query, which may hold keys.
fn log(
    door: Door,
    request: &RequestHead,
    ask: &Ask<'_>,
    decision: &Decision<'_>,
    (ruling, reason): (Ruling, Reason),
    waited: bool,
) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                door = door.as_str(),
                decision = ruling.as_str(),
                reason = reason.as_str(),
                user = match decision {
                    Decision::Allow(grant) => grant.identity().map(|identity| identity.user()),
                    _ => None,
                },
                host = ask.host.name(),
                method = ask.method,
                path = ask.target.path(),
                client = %ask.browser.client().address,
                request_id = question::request_id(request.headers()),
                "decided"
            )
        };
    }
    match ruling {
        Ruling::Allow if !waited => line!(debug),
        Ruling::Unavailable => line!(warn),
        _ => line!(info),
    }
}
