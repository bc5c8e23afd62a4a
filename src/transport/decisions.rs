use std::net::IpAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use actix_web::http::StatusCode;
use futures_util::FutureExt;

use super::answer::{Answer, Names};
use super::headers::Headers;
use super::question::{Asked, Forwarded, Original};
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
///
/// What needs no waiting is done without a future of its own: each would be moved about at its full size.
pub(super) async fn decide<T>(
    door: &DoorState,
    peer: Option<IpAddr>,
    asked: Asked<'_, impl Headers>,
    told: impl Fn(Answer) -> T,
) -> T {
    let stopwatch = Stopwatch::start();
    let live = door.state.live.load();
    let Asked { headers, nearest, original, sign_in, begun } = asked;
    let browser = Forwarded::new(headers, nearest, &live.trust);
    let mut sheets = Sheets::default();
    let tell = |answer, ruling, reason| {
        door.metrics.count(ruling, reason);
        told(answer)
    };
    let answered = match caught(|| understand(door, &live, peer, original, &browser)) {
        Err(refusal) => Err(refusal),
        Ok(ask) => {
            let finish = |decision: &Decision<'_>, waited| {
                let (answer, ruling, reason) = answer::render(decision, &ask, &live, sign_in, door.names, begun);
                log(door.door, headers, &ask, decision, (ruling, reason), waited);
                tell(answer, ruling, reason)
            };
            let step = caught(|| match live.gate.decide(&ask, door.purpose, &mut sheets) {
                Step::Decided(decision) => Ok(Progress::Answered(finish(&decision, false))),
                Step::Waiting(waiting) => Ok(Progress::Waiting(Box::pin(waiting.finish()), finish)),
            });
            match step {
                Ok(Progress::Answered(told)) => Ok(told),
                Ok(Progress::Waiting(waiting, finish)) => match AssertUnwindSafe(waiting).catch_unwind().await {
                    Ok(decision) => caught(|| Ok(finish(&decision, true))),
                    Err(_) => Err(PANICKED),
                },
                Err(refusal) => Err(refusal),
            }
        }
    };
    let told = answered.unwrap_or_else(|Refusal { status, ruling, reason }| {
        tell(Answer::Other(answer::refuse(status, reason, None, None)), ruling, reason)
    });
    door.metrics.seconds.observe(stopwatch.seconds());
    told
}

/// How far a question has come.
enum Progress<T, W, F> {
    Answered(T),
    Waiting(W, F),
}

/// An answer where nothing was judged.
struct Refusal {
    status: StatusCode,
    ruling: Ruling,
    reason: Reason,
}

const PANICKED: Refusal = Refusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    ruling: Ruling::Unavailable,
    reason: Reason::BackendUnavailable,
};

fn caught<T>(work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(PANICKED))
}

/// The question; a refusal where it is none, or not this peer's to ask.
fn understand<'a>(
    door: &DoorState,
    live: &Live,
    peer: Option<IpAddr>,
    original: Option<Original<'a>>,
    browser: &'a Forwarded<'_, impl Headers>,
) -> Result<Ask<'a>, Refusal> {
    let refused = |reason| Refusal { status: StatusCode::FORBIDDEN, ruling: Ruling::Deny, reason };
    if !live.trust.is_proxy(peer) {
        tracing::warn!(door = door.door.as_str(), ?peer, "decision refused to a peer that is not in [trust] proxies");
        return Err(refused(Reason::UntrustedPeer));
    }
    original.and_then(|original| original.into_ask(browser)).ok_or_else(|| {
        tracing::info!(door = door.door.as_str(), "a question was not understood; compare the web server's headers");
        refused(Reason::BadRequest)
    })
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
