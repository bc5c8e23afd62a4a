use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix_web::http::StatusCode;
use futures_util::FutureExt;

use super::answer::{Answer, Names};
use super::headers::Headers;
use super::question::{Asked, Forwarded};
use super::{Live, State, answer, question};
use crate::decision::{Ask, Decision, Purpose, Sheets, Step};
use crate::domain::{Reason, Ruling};
use crate::observe::{Door, DoorMetrics, Stopwatch};

/// One door, and everything that is behind it.
pub(super) struct DoorState {
    door: Door,
    purpose: Purpose,
    names: Names,
    metrics: Arc<DoorMetrics>,
    state: Arc<State>,
}

impl DoorState {
    pub fn new(door: Door, purpose: Purpose, names: Names, state: &Arc<State>) -> Arc<Self> {
        Arc::new(Self { door, purpose, names, metrics: state.metrics.door(door), state: Arc::clone(state) })
    }
}

/// Answers one question of this peer, whatever happens, in the words of `told`. The peer of a Unix socket has no
/// address.
pub(super) async fn decide<T>(
    door: &DoorState,
    peer: Option<IpAddr>,
    asked: Asked<'_, impl Headers>,
    told: impl FnOnce(Answer) -> T,
) -> T {
    let stopwatch = Stopwatch::start();
    let live = door.state.live.load();
    let caught = AssertUnwindSafe(judge(door, &live, peer, asked)).catch_unwind().await;
    let (answer, ruling, reason) = caught.unwrap_or_else(|_| {
        let reason = Reason::BackendUnavailable;
        let refusal = answer::refuse(StatusCode::SERVICE_UNAVAILABLE, reason, None, None);
        (Answer::Other(refusal), Ruling::Unavailable, reason)
    });
    door.metrics.count(ruling, reason);
    let told = told(answer);
    door.metrics.seconds.observe(stopwatch.seconds());
    told
}

async fn judge(
    door: &DoorState,
    live: &Live,
    peer: Option<IpAddr>,
    asked: Asked<'_, impl Headers>,
) -> (Answer, Ruling, Reason) {
    let Asked { headers, nearest, original, sign_in, begun } = asked;
    if !live.trust.is_proxy(peer) {
        tracing::warn!(door = door.door.as_str(), ?peer, "decision refused to a peer that is not in [trust] proxies");
        return deny(Reason::UntrustedPeer);
    }
    let browser = Forwarded::new(headers, nearest, &live.trust);
    let Some(ask) = original.and_then(|original| original.into_ask(&browser)) else {
        tracing::info!(door = door.door.as_str(), "a question was not understood; compare the web server's headers");
        return deny(Reason::BadRequest);
    };
    let mut sheets = Sheets::default();
    let (decision, waited) = match live.gate.decide(&ask, door.purpose, &mut sheets) {
        Step::Decided(decision) => (decision, false),
        // In a place of its own: it is large, and seldom there, and every question is moved about at its full size.
        Step::Waiting(waiting) => (Box::pin(waiting.finish()).await, true),
    };
    let answered = answer::render(&decision, &ask, live, sign_in, door.names, begun);
    log(door.door, headers, &ask, &decision, (answered.1, answered.2), waited);
    answered
}

fn deny(reason: Reason) -> (Answer, Ruling, Reason) {
    (Answer::Other(answer::refuse(StatusCode::FORBIDDEN, reason, None, None)), Ruling::Deny, reason)
}

/// One line for each decision that is more than a look into the cache, and for all at debug. The
/// path is logged without its query, which may hold keys.
fn log(
    door: Door,
    headers: &impl Headers,
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
                request_id = question::request_id(headers),
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
