//! All of it on loopback, for a first look: a portal, webmails, a real nginx, Keyward.
//!
//! The integration tests start the same servers with the same code.

mod house;
mod packages;
mod portal;

pub mod dovecot;
pub mod nginx;
pub mod process;
pub mod roundcube;

// One stand-in for the tests and for people, so that what the demo shows is what is tested.
#[path = "../../tests/fakes/mod.rs"]
mod fakes;

use std::io;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use self::house::House;
use self::packages::say;
use crate::domain::Secret;

/// What can be asked of the demo.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether missing Debian packages may be installed.
    pub install: bool,
    /// The port of the web server on 127.0.0.1; 8080 where none is given and that is free.
    pub port: Option<u16>,
}

/// Runs the demo until `SIGINT`, `SIGTERM` or `SIGHUP`, and leaves nothing behind.
///
/// # Errors
/// nginx is not there, or one of the servers does not come up or dies.
pub async fn run(options: Options) -> Result<(), DemoError> {
    let installed = packages::prepare(options.install)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DemoError::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Signal)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(DemoError::Signal)?;
    let keyward = std::env::current_exe().map_err(|error| DemoError::file(Path::new("keyward"), &error))?;
    let demo = async {
        let mut house = House::start(&keyward, installed, options.port).await?;
        say(&house.welcome());
        house.watch().await
    };
    // Whoever loses is dropped, and with the house all its servers end and its files go.
    tokio::select! {
        failure = demo => failure,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = hang_up.recv() => Ok(()),
    }
}

/// A technical account that may sign in for everybody.
#[derive(Clone, Debug)]
pub struct Master {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: Secret,
}

/// Somebody with a mailbox.
#[derive(Clone, Debug)]
pub struct Person {
    /// The login name: anything without `:`, `/`, `\`, quotes and control characters, that begins with
    /// neither `#` nor `.` and has no blanks around it.
    pub name: String,
    /// The password; anything.
    pub password: Secret,
    /// The subject of the one message in the mailbox.
    pub subject: String,
}

/// Why the demo, or one of its servers, does not run.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A program that has to be there is not.
    #[error("{0} is not installed")]
    Missing(&'static str),
    /// A server that ran or should run does not.
    #[error("{name} {what}; {}", last_words(tail))]
    Server {
        /// Which one.
        name: &'static str,
        /// What it did.
        what: &'static str,
        /// The last lines of its log, which goes with the demo.
        tail: String,
    },
    /// nginx does not like its configuration.
    #[error("nginx does not accept its configuration:\n{0}")]
    Configuration(String),
    /// Its configuration's language changes with versions.
    #[error("Dovecot has version {0}, and the demo knows how to configure 2.3 and 2.4")]
    DovecotVersion(String),
    /// It would break a file or a path.
    #[error("{0:?} cannot be the name of a mailbox")]
    PersonName(String),
    /// Roundcube runs and does not work.
    #[error("Roundcube at {url} does not work: {problem}")]
    Roundcube {
        /// Where it is.
        url: String,
        /// What came instead of its login page.
        problem: String,
    },
    /// The stand-in for Axigen could not listen.
    #[error("the stand-in for Axigen does not start: {0}")]
    StandIn(#[source] io::Error),
    /// Something of the demo's own is wrong.
    #[error("the demo's own {0} is not accepted")]
    Own(&'static str),
    /// The system does not tell us of signals.
    #[error("signals cannot be received: {0}")]
    Signal(#[source] io::Error),
    /// A file or program cannot be used.
    #[error("{}: {message}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        message: String,
    },
    /// The user database has nobody to run servers as.
    #[error("there is no account to run the servers as: neither ours, nor www-data or nobody for root")]
    NoAccount,
    /// The port that was asked for is not to be had.
    #[error("port {port} of 127.0.0.1 cannot be used: {source}")]
    Port {
        /// Which one.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// Nothing is free on loopback.
    #[error("no free port on loopback: {0}")]
    NoPort(#[source] io::Error),
}

/// What a server said before it ended.
fn last_words(tail: &str) -> String {
    if tail.is_empty() { "it said nothing".to_owned() } else { format!("it said last:\n{tail}") }
}

impl DemoError {
    fn file(path: &Path, error: &io::Error) -> Self {
        Self::File { path: path.to_owned(), message: error.to_string() }
    }
}
