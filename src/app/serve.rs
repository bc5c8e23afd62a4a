use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderName;
use futures_util::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::assemble::{self, Parts};
use super::{FAILED, MISTAKES, lines};
use crate::config::{Mistake, RouteSettings, Settings};
use crate::decision::{Access, Gate, Route, Router};
use crate::domain::{Clock, SystemClock};
use crate::handover::SelfService;
use crate::keys::KeyStore;
use crate::observe::{Metrics, count_panics, logging};
use crate::transport::{Live, Servers, State, Trust};

/// Runs until a signal ends it.
#[must_use]
pub fn run(path: &Path) -> ExitCode {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let metrics = Arc::new(Metrics::new());
    let parts = match assemble::read(path, &metrics, &clock) {
        Ok(parts) => parts,
        Err(mistakes) => {
            eprint!("{}", lines(&mistakes));
            return ExitCode::from(MISTAKES);
        }
    };
    if let Err(error) = logging::start(parts.settings.log_level, parts.settings.log_format) {
        eprintln!("keyward: can not start logging: {error}");
        return ExitCode::from(FAILED);
    }
    count_panics(Arc::clone(&metrics));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(path.to_owned(), parts, metrics, clock))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "ended");
            ExitCode::from(FAILED)
        }
    }
}

async fn serve(path: PathBuf, parts: Parts, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> io::Result<()> {
    let keys = KeyStore::new(parts.settings.key_limit, Arc::clone(&clock), tokio::runtime::Handle::current());
    let settings = parts.settings.clone();
    let state = State::new(wire(parts, &keys, &clock)?, Arc::clone(&metrics));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let servers = Servers::open(&state, &settings.auth, settings.ops.as_ref(), workers, settings.drain_timeout)
        .map_err(io::Error::other)?;
    let (mut hangups, mut terminations, mut interrupts) =
        (signal(SignalKind::hangup())?, signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let handle = servers.handle();
    let ticking = tokio::spawn(tick(Arc::clone(&keys)));
    let mut running = std::pin::pin!(servers.run());
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            Some(()) = hangups.recv() => {
                reload(&path, &settings, &state, &keys, &metrics, &clock);
            }
            () = either(&mut terminations, &mut interrupts) => {
                tracing::info!("draining: no new connections, running requests finish");
                state.drain();
                drop(handle.stop(true));
            }
        }
    };
    ticking.abort();
    // Whoever signed out a moment ago is to be signed out at the applications, too.
    if tokio::time::timeout(settings.drain_timeout, keys.finish_chores()).await.is_err() {
        tracing::warn!("some sessions could not be signed out at the back-ends in time");
    }
    ended
}

async fn either(terminations: &mut Signal, interrupts: &mut Signal) {
    tokio::select! {
        _ = terminations.recv() => {}
        _ = interrupts.recv() => {}
    }
}

/// Wires the parts of one configuration. Sessions at back-ends that it still knows go on.
///
/// The configuration was checked, so nothing is missing; if something were, no route may become
/// wider for it.
fn wire(parts: Parts, keys: &Arc<KeyStore>, clock: &Arc<dyn Clock>) -> io::Result<Live> {
    let Parts { settings, portals, backends } = parts;
    let missing = |what: &str| io::Error::other(format!("{what} is not configured"));
    let route = |route: RouteSettings| {
        let portal = route.portal.map(|name| {
            let found = portals.iter().find(|portal| portal.name() == name);
            found.cloned().ok_or_else(|| missing(&format!("portal {name}")))
        });
        let backend = route.backend.map(|name| {
            let found = backends.iter().find(|backend| backend.name() == name);
            found.cloned().ok_or_else(|| missing(&format!("back-end {name}")))
        });
        let access = match (route.public, portal.transpose()?) {
            (true, _) => Access::Public,
            (false, Some(portal)) => Access::SignedIn { portal, roles: route.roles },
            (false, None) => return Err(missing("the portal of a route")),
        };
        let (host, path, methods) = (route.host, route.path, route.methods);
        Ok(Route { host, path, methods, access, backend: backend.transpose()? })
    };
    let router = Router::new(settings.routes.into_iter().map(route).collect::<io::Result<_>>()?);
    let [user, name, email, groups] = settings.identity_headers.map(HeaderName::try_from);
    let unusable = |error| io::Error::other(format!("[headers]: {error}"));
    let identity_headers =
        [user.map_err(unusable)?, name.map_err(unusable)?, email.map_err(unusable)?, groups.map_err(unusable)?];
    keys.configure(settings.key_limit, &backends);
    let return_to = settings.logout_return_to;
    Ok(Live {
        self_service: SelfService::new(portals.clone(), Arc::clone(keys), Arc::clone(clock), return_to),
        gate: Gate::new(router, portals, Arc::clone(keys), Arc::clone(clock), settings.answer_limit),
        trust: Trust { proxies: settings.proxies, unix: settings.trust_unix },
        answer_limit: settings.answer_limit,
        identity_headers,
    })
}

/// All or nothing: with a mistake anywhere, everything stays as it was.
fn reload(
    path: &Path,
    running: &Settings,
    state: &State,
    keys: &Arc<KeyStore>,
    metrics: &Metrics,
    clock: &Arc<dyn Clock>,
) {
    let read = assemble::read(path, metrics, clock).and_then(|parts| {
        let mistakes = needs_restart(path, running, &parts.settings);
        if mistakes.is_empty() { Ok(parts) } else { Err(mistakes) }
    });
    let wired = match read {
        Ok(parts) => wire(parts, keys, clock).map_err(|error| tracing::error!(%error, "configuration not reloaded")),
        Err(mistakes) => {
            for mistake in mistakes {
                tracing::error!(%mistake, "configuration not reloaded; the old one stays");
            }
            Err(())
        }
    };
    metrics.count_reload(wired.is_ok());
    if let Ok(live) = wired {
        state.replace(live);
        tracing::info!("configuration reloaded");
    }
}

/// What a running process can not change.
fn needs_restart(path: &Path, old: &Settings, new: &Settings) -> Vec<Mistake> {
    let changed = [
        ("listen.auth", old.auth != new.auth),
        ("listen.ops", old.ops != new.ops),
        ("limits.drain_timeout", old.drain_timeout != new.drain_timeout),
        ("log", (old.log_level, old.log_format) != (new.log_level, new.log_format)),
    ];
    let mistake = |(key, _): (&str, bool)| Mistake {
        file: path.display().to_string(),
        key: key.to_owned(),
        message: "can not change while running; restart, or put the old value back".to_owned(),
    };
    changed.into_iter().filter(|(_, changed)| *changed).map(mistake).collect()
}

/// Has the store do once a second what time asks for.
async fn tick(keys: Arc<KeyStore>) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // A panic was counted and logged, and must not be the end of all expiry.
        let _ = AssertUnwindSafe(keys.tick()).catch_unwind().await;
    }
}
