//! All of it on loopback, for a first look: a portal, webmails, a real nginx, Keyward.
//!
//! The integration tests start the same servers with the same code.

pub mod nginx;
pub mod process;

use std::io;
use std::path::{Path, PathBuf};

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
