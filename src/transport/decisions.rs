use std::mem;
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
pub(super) async fn decide<T>(
    door: &DoorState,
    peer: Option<IpAddr>,
    mut asked: Asked<'_, impl Headers>,
    told: impl Fn(Answer) -> T,
) -> T {
    let stopwatch = Stopwatch::start();
    let told = match at_once(door, peer, &mut asked, &told) {
        Some(told) => told,
        // In a place of its own, since a future is moved about at its full size and hardly anybody waits.
        None => Box::pin(in_time(door, peer, asked, told)).await,
    };
    door.metrics.seconds.observe(stopwatch.seconds());
    told
}

/// The answer, where it is known without waiting.
fn at_once<T>(
    door: &DoorState,
    peer: Option<IpAddr>,
    asked: &mut Asked<'_, impl Headers>,
    told: &impl Fn(Answer) -> T,
) -> Option<T> {
    let answered = panic::catch_unwind(AssertUnwindSafe(|| {
        let live = door.state.live.load();
        let browser = Forwarded::new(asked.headers, asked.nearest, &live.trust);
        let mut sheets = Sheets::default();
        let ask = understand(door, &live, peer, asked.original, &browser)?;
        Ok(match live.gate.decide(&ask, door.purpose, &mut sheets) {
            Step::Decided(decision) => Some(tell(door, asked, &live, &ask, (&decision, false), told)),
            Step::Waiting(_) => None,
        })
    }));
    answered.unwrap_or(Err(PANICKED)).unwrap_or_else(|refusal| Some(refusal.tell(door, told)))
}

/// The same from the beginning, for whoever waits.
async fn in_time<T>(
    door: &DoorState,
    peer: Option<IpAddr>,
    mut asked: Asked<'_, impl Headers>,
    told: impl Fn(Answer) -> T,
) -> T {
    let live = door.state.live.load_full();
    let browser = Forwarded::new(asked.headers, asked.nearest, &live.trust);
    let mut sheets = Sheets::default();
    let answering = async {
        let ask = understand(door, &live, peer, asked.original, &browser)?;
        let decision = match live.gate.decide(&ask, door.purpose, &mut sheets) {
            Step::Decided(decision) => (decision, false),
            Step::Waiting(waiting) => (waiting.finish().await, true),
        };
        Ok(tell(door, &mut asked, &live, &ask, (&decision.0, decision.1), &told))
    };
    let answered = AssertUnwindSafe(answering).catch_unwind().await;
    answered.unwrap_or(Err(PANICKED)).unwrap_or_else(|refusal| refusal.tell(door, &told))
}

/// Tells of a decision, and whether it was waited for.
fn tell<T>(
    door: &DoorState,
    asked: &mut Asked<'_, impl Headers>,
    live: &Live,
    ask: &Ask<'_>,
    (decision, waited): (&Decision<'_>, bool),
    told: &impl Fn(Answer) -> T,
) -> T {
    let begun = mem::take(&mut asked.begun);
    let (answer, ruling, reason) = answer::render(decision, ask, live, asked.sign_in, door.names, begun);
    log(door.door, asked.headers, ask, decision, (ruling, reason), waited);
    door.metrics.count(ruling, reason);
    told(answer)
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

impl Refusal {
    fn tell<T>(self, door: &DoorState, told: &impl Fn(Answer) -> T) -> T {
        let Self { status, ruling, reason } = self;
        door.metrics.count(ruling, reason);
        told(Answer::Other(answer::refuse(status, reason, None, None)))
    }
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
