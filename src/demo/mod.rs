//! All of it on loopback, for a first look: a portal, webmails, a real nginx, Keyward.
//!
//! The integration tests start the same servers with the same code.

pub mod dovecot;
pub mod nginx;
pub mod process;
pub mod roundcube;

use std::io;
use std::path::{Path, PathBuf};

use crate::domain::Secret;

/// Somebody with a mailbox.
#[derive(Clone, Debug)]
pub struct Person {
    /// The login name: letters, digits, `@`, `.`, `-` and `_`.
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
    #[error("{name} {what}; its log is {}:\n{tail}", log.display())]
    Server {
        /// Which one.
        name: &'static str,
        /// What it did.
        what: &'static str,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// nginx does not like its configuration.
    #[error("nginx does not accept its configuration:\n{0}")]
    Configuration(String),
    /// Dovecot changed its configuration's language with 2.4.
    #[error("Dovecot has version {0}, and the demo knows how to configure 2.3")]
    DovecotVersion(String),
    /// It would break a file or a path.
    #[error("{0:?} can not be the name of a mailbox")]
    PersonName(String),
    /// Roundcube runs and does not work.
    #[error("Roundcube at {url} does not work: {problem}")]
    Roundcube {
        /// Where it is.
        url: String,
        /// What came instead of its login page.
        problem: String,
    },
    /// A file or program can not be used.
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
    /// Nothing is free on loopback.
    #[error("no free port on loopback: {0}")]
    NoPort(#[source] io::Error),
}

impl DemoError {
    fn file(path: &Path, error: &io::Error) -> Self {
        Self::File { path: path.to_owned(), message: error.to_string() }
    }
}
