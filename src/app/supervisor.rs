//! What the service manager is told, as sd_notify(3) documents it: that every listener is open, that a reload has
//! begun and ended, that the process drains. Who runs without one (no `NOTIFY_SOCKET`) is told nothing, and
//! nothing here can fail a request: a word that does not arrive is a line in the log.

use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use sd_notify::NotifyState;

/// Keeps passwords, keys and tickets out of core dumps, and out of the sight of other processes of the same user.
/// A limit of zero on the size of core files would not do: the kernel asks no such limit where it hands the dump to
/// a program (core(5)).
///
/// # Errors
/// The system refused, which no kernel is known to do.
pub fn hide_memory() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Every listener is open, and signals are waited for.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("answering")]);
}

/// The configuration is being read again. The time tells a manager that sent the signal itself
/// (`Type=notify-reload`) that this is the answer to it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration")]),
        Err(error) => unheard(&error),
    }
}

/// The reload is over, one way or the other: a refused one leaves a process that works.
pub fn reloaded(applied: bool) {
    let status = if applied {
        "answering, with the configuration read again"
    } else {
        "answering, with the old configuration: the new one has mistakes, see the log"
    };
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// No new connections are taken.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining: running requests finish")]);
}

fn tell(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        unheard(&error);
    }
}

fn unheard(error: &io::Error) {
    tracing::warn!(%error, "the service manager could not be told");
}
