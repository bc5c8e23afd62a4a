use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::assemble::{self, Parts};
use super::connect::connect;
use super::foundation::Foundation;
use super::{FAILED, MISTAKES, complain, lines, supervisor};
use crate::config::{Mistake, Settings};
use crate::domain::{Clock, SystemClock};
use crate::observe::{Metrics, count_panics, logging};
use crate::portal::Sessions;
use crate::transport::{Listeners, Servers, State};
use crate::wire::Errands;

/// Runs until a signal ends it.
#[must_use]
pub fn run(path: &Path) -> ExitCode {
    if let Err(error) = supervisor::hide_memory() {
        return complain(&format!("could not start: memory could not be kept out of core dumps: {error}"), FAILED);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let metrics = Arc::new(Metrics::new());
    let (sessions, errands) = (Sessions::new(0), Errands::new());
    let mut parts = match assemble::read(path, &clock, &sessions, &errands) {
        Ok(parts) => parts,
        Err(mistakes) => {
            let mistakes = lines(&mistakes);
            return complain(&format!("{mistakes}could not start: the configuration has mistakes"), MISTAKES);
        }
    };
    if let Err(error) = logging::start(parts.settings.log_level, parts.settings.log_format) {
        return complain(&format!("could not start: {error}"), FAILED);
    }
    count_panics(Arc::clone(&metrics));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime.map_err(Failure::Start);
    let store = parts.store.take();
    let serve = |runtime: tokio::runtime::Runtime| {
        let _context = runtime.enter();
        let foundation = Foundation::new(&parts.settings, sessions, errands, metrics, clock, store);
        runtime.block_on(serve(path.to_owned(), parts, Arc::new(foundation)))
    };
    match ended.and_then(serve) {
        Ok(()) => {
            tracing::info!("stopped");
            return ExitCode::SUCCESS;
        }
        Err(Failure::Start(error)) => tracing::error!(%error, "could not start"),
        Err(Failure::Run(error)) => tracing::error!(%error, "stopped"),
    }
    ExitCode::from(FAILED)
}

/// When it failed.
enum Failure {
    Start(io::Error),
    Run(io::Error),
}

async fn serve(path: PathBuf, parts: Parts, foundation: Arc<Foundation>) -> Result<(), Failure> {
    let settings = parts.settings.clone();
    let (portals, backends) = (parts.portals.len(), parts.backends.len());
    let (state, servers, mut signals) = start(parts, &foundation).map_err(Failure::Start)?;
    tracing::info!(
        auth = %servers.auth(),
        fastcgi = servers.fastcgi().map_or_else(|| "off".to_owned(), ToString::to_string),
        grpc = servers.grpc().map_or_else(|| "off".to_owned(), ToString::to_string),
        api = servers.api().map_or_else(|| "off".to_owned(), ToString::to_string),
        ops = servers.ops().map_or_else(|| "off".to_owned(), ToString::to_string),
        file = %path.display(),
        routes = settings.routes.len(),
        portals,
        backends,
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    let stop = servers.stop();
    let ticking = tokio::spawn(Arc::clone(&foundation).tick());
    let hearing = tokio::spawn(Arc::clone(&foundation).hear());
    let mut running = std::pin::pin!(servers.run());
    supervisor::ready();
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            Some(()) = signals.hangup.recv() => {
                supervisor::reloading();
                supervisor::reloaded(reload(&path, &settings, &state, &foundation));
            }
            () = either(&mut signals.terminate, &mut signals.interrupt) => {
                tracing::info!("draining: no new connections, running requests finish");
                supervisor::stopping();
                state.drain();
                stop.begin();
            }
        }
    };
    ticking.abort();
    let mut has_left = false;
    let leaving = async {
        // Whoever signed out a moment ago is to be signed out at the applications, too.
        tokio::join!(foundation.keys.finish_chores(), foundation.errands.finish());
        has_left = true;
        // After that, since it tells of what it does.
        foundation.finish_telling().await;
    };
    let _ = tokio::time::timeout(settings.drain_timeout, leaving).await;
    if !has_left {
        tracing::warn!("some sessions could not be signed out at the back-ends in time");
    }
    let untold = foundation.untold();
    if untold > 0 {
        tracing::warn!(events = untold, "other replicas could not be told in time");
    }
    hearing.abort();
    foundation.accounts.report_left();
    ended.map_err(Failure::Run)
}

/// What a running process is told.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

/// Everything that can fail before there is a request.
fn start(parts: Parts, foundation: &Foundation) -> io::Result<(Arc<State>, Servers, Signals)> {
    let settings = parts.settings.clone();
    let state = State::new(connect(parts, foundation)?, Arc::clone(&foundation.metrics), foundation.wanting());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let listeners = Listeners {
        auth: &settings.auth,
        fastcgi: settings.fastcgi.as_ref(),
        grpc: settings.grpc.as_ref(),
        api: settings.api.as_ref(),
        ops: settings.ops.as_ref(),
    };
    let servers = Servers::open(&state, &listeners, workers, settings.drain_timeout).map_err(io::Error::other)?;
    let signals = Signals {
        hangup: signal(SignalKind::hangup())?,
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    Ok((state, servers, signals))
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// All or nothing: with a mistake anywhere, everything stays as it was, and the answer is no.
fn reload(path: &Path, running: &Settings, state: &State, foundation: &Foundation) -> bool {
    let Foundation { clock, sessions, errands, .. } = foundation;
    let read = assemble::read(path, clock, sessions, errands).and_then(|parts| {
        let mut mistakes = needs_restart(path, running, &parts.settings);
        if !foundation.can_share(parts.store.as_ref()) {
            mistakes.push(stays(path, "store"));
        }
        if mistakes.is_empty() { Ok(parts) } else { Err(mistakes) }
    });
    let wired = match read {
        Ok(parts) => connect(parts, foundation)
            .map_err(|error| tracing::error!(mistake = %error, "configuration not reloaded; the old one stays")),
        Err(mistakes) => {
            for mistake in mistakes {
                tracing::error!(%mistake, "configuration not reloaded; the old one stays");
            }
            Err(())
        }
    };
    foundation.metrics.count_reload(wired.is_ok());
    let Ok(live) = wired else { return false };
    state.replace(live);
    tracing::info!("configuration reloaded");
    true
}

/// What a running process cannot change.
fn needs_restart(path: &Path, old: &Settings, new: &Settings) -> Vec<Mistake> {
    let changed = [
        ("listen.auth", old.auth != new.auth),
        ("listen.ops", old.ops != new.ops),
        ("listen.api", old.api != new.api),
        ("listen.fastcgi", old.fastcgi != new.fastcgi),
        ("listen.grpc", old.grpc != new.grpc),
        ("limits.drain_timeout", old.drain_timeout != new.drain_timeout),
        ("log.level", old.log_level != new.log_level),
        ("log.format", old.log_format != new.log_format),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| stays(path, key)).collect()
}

fn stays(path: &Path, key: &str) -> Mistake {
    Mistake {
        file: path.display().to_string(),
        key: key.to_owned(),
        message: "cannot change while running; restart, or put the old value back".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Document, Draft};
    use crate::domain::ManualClock;

    const REFERENCE: &str = include_str!("../../conf/keyward.toml");

    /// A process that runs with the reference, without its listeners.
    struct Running {
        file: tempfile::NamedTempFile,
        settings: Settings,
        state: Arc<State>,
        foundation: Foundation,
    }

    impl Running {
        fn start() -> Self {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), REFERENCE).unwrap();
            let (clock, sessions): (Arc<dyn Clock>, _) = (Arc::new(ManualClock::at(0)), Sessions::new(0));
            let errands = Errands::new();
            let parts = assemble::read(file.path(), &clock, &sessions, &errands).unwrap();
            let settings = parts.settings.clone();
            let foundation = Foundation::new(&settings, sessions, errands, Arc::new(Metrics::new()), clock, None);
            let live = connect(parts, &foundation).unwrap();
            let state = State::new(live, Arc::clone(&foundation.metrics), foundation.wanting());
            Self { file, settings, state, foundation }
        }

        /// Reloads with another text, and gives back what is counted then, less the reloads.
        fn reload(&self, text: &str) -> String {
            std::fs::write(self.file.path(), text).unwrap();
            reload(self.file.path(), &self.settings, &self.state, &self.foundation);
            self.counted()
        }

        fn counted(&self) -> String {
            let text = self.foundation.metrics.render();
            text.lines().filter(|line| !line.starts_with("keyward_config_reloads_total")).collect::<Vec<_>>().join("\n")
        }
    }

    /// The reference with another value in one line, and whether the comment above that line says
    /// that it needs a restart.
    fn changed(line: &str, other: &str) -> (Settings, bool) {
        let at = REFERENCE.find(&format!("\n{line}\n")).unwrap();
        let comment: Vec<&str> = REFERENCE[..at].lines().rev().take_while(|line| line.starts_with('#')).collect();
        let says =
            comment.into_iter().rev().collect::<Vec<_>>().join(" ").replace("# ", "").ends_with("Needs a restart.");
        let text = REFERENCE.replacen(line, other, 1);
        (Draft::read(Document::parse("keyward.toml", &text).unwrap()).settings, says)
    }

    #[test]
    fn the_reference_says_what_needs_a_restart() {
        let old = changed("[listen]", "[listen]").0;
        for (line, other) in [
            ("auth = \"127.0.0.1:8420\"", "auth = \"127.0.0.1:8430\""),
            ("ops = \"127.0.0.1:9420\"", "ops = \"off\""),
            ("api = \"off\"", "api = \"127.0.0.1:8423\""),
            ("fastcgi = \"off\"", "fastcgi = \"127.0.0.1:8421\""),
            ("grpc = \"off\"", "grpc = \"127.0.0.1:8422\""),
            ("drain_timeout = \"10s\"", "drain_timeout = \"11s\""),
            ("level = \"info\"", "level = \"warn\""),
            ("format = \"auto\"", "format = \"json\""),
            ("proxies = [\"127.0.0.0/8\", \"::1/128\", \"unix\"]", "proxies = [\"unix\"]"),
            ("answer = 16384", "answer = 8192"),
            ("keys = 1000000", "keys = 1000"),
            ("sessions = 1000000", "sessions = 1000"),
            ("return_to = []", "return_to = [\"https://h/\"]"),
            ("user = \"Remote-User\"", "user = \"X-User\""),
        ] {
            let (new, says) = changed(line, other);
            assert_ne!(old, new, "{line}");
            assert_eq!(!needs_restart(Path::new("f"), &old, &new).is_empty(), says, "{line}");
        }
    }

    const UP: &str = r#"keyward_backend_up{backend="mail"} 0"#;

    #[tokio::test]
    async fn a_refused_reload_leaves_no_trace_in_the_metrics() {
        let running = Running::start();
        running.foundation.metrics.backend("mail").up.set(0);
        let before = running.counted();
        let renamed = REFERENCE.replace("\"mail\"", "\"post\"").replace("\"customer-portal\"", "\"staff-portal\"");
        for refused in [
            REFERENCE.replace("max_logins = 8", "max_logins = 0"),
            renamed.replace("path = \"/\"", "path = \"\""),
            renamed.replace("127.0.0.1:8420", "127.0.0.1:8430"),
        ] {
            assert_eq!(running.reload(&refused), before);
        }
        assert!(before.contains(UP), "{before}");
        assert!(running.foundation.metrics.render().contains(r#"keyward_config_reloads_total{outcome="refused"} 3"#));
    }

    #[tokio::test]
    async fn a_back_end_that_was_written_as_before_goes_on_through_a_reload() {
        let running = Running::start();
        let before = running.foundation.keys.backends();
        let same = |running: &Running| Arc::ptr_eq(&before[0], &running.foundation.keys.backends()[0]);
        running.reload(&REFERENCE.replace("answer = 16384", "answer = 8192"));
        assert!(same(&running));
        running.reload(&REFERENCE.replace("max_logins = 8", "max_logins = 9"));
        assert!(!same(&running));
    }

    #[tokio::test]
    async fn a_reload_says_nothing_of_whether_logins_work() {
        let running = Running::start();
        running.foundation.metrics.backend("mail").up.set(0);
        let after = running.reload(&REFERENCE.replace("max_logins = 8", "max_logins = 9"));
        assert!(after.contains(UP), "{after}");
        assert!(running.foundation.metrics.render().contains(r#"keyward_config_reloads_total{outcome="applied"} 1"#));
    }
}
