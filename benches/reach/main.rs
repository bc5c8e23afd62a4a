//! How far Keyward goes where it is not one warm decision after another: with two processors, with first requests, with
//! ten thousand people at once, and beside a back-end that hangs. `cargo bench --bench reach`.
//!
//! Whole processes on loopback. Every figure is a ratio of two that were measured in turns within one run. It prints
//! and ends well, whatever it measures. See `benches/README.md`.

mod cold;
#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "another bench uses more of it")]
mod common;
mod cores;
mod isolation;
mod rush;

use std::error::Error;
use std::path::Path;

use keyward::observe::Stopwatch;

use common::load::Crowd;
use common::servers::{Keyward, Pinning, Shape, open_files, processors};
use common::webmail::Webmail;
use common::{connections, figures, servers, webmail};

/// Everybody there is.
const PEOPLE: usize = 40_000;
/// Files that a process has open beside the connections of those who wait.
const OTHER_FILES: usize = 600;

fn main() -> Result<(), Box<dyn Error>> {
    if !common::is_asked("--bench reach") {
        return Ok(());
    }
    let stopwatch = Stopwatch::start();
    let workspace = tempfile::tempdir()?;
    let stage = Stage { workspace: workspace.path(), crowd: Crowd::of(PEOPLE)? };
    // Read once: the first part keeps us from some of them.
    let processors = processors();
    if wants("cores") {
        cores::measure(&stage, &processors)?;
    }
    let pinning = Pinning::apart(&processors);
    println!("\nfrom here on {pinning}");
    if wants("cold") {
        cold::measure(&stage, &pinning)?;
    }
    if wants("rush") {
        rush::measure(&stage, &pinning)?;
    }
    if wants("isolation") {
        isolation::measure(&stage, &pinning)?;
    }
    println!("\ntook {:.0} s", stopwatch.seconds());
    Ok(())
}

/// Whether this part is measured: all are, unless some are named.
fn wants(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|name| name == part)
}

/// What all parts need.
struct Stage<'a> {
    workspace: &'a Path,
    crowd: Crowd,
}

impl Stage<'_> {
    fn keyward(&self, webmail: &Webmail, pinning: &Pinning, shape: &Shape<'_>) -> Result<Keyward, Box<dyn Error>> {
        Keyward::start(&common::program(), self.workspace, webmail, pinning, shape)
    }
}

/// So many people who each have a connection, or as many as there may be.
fn connected(wanted: usize) -> usize {
    let (most, needed) = (open_files().saturating_sub(OTHER_FILES), wanted + OTHER_FILES);
    if most < wanted {
        println!(
            "{most} people instead of {wanted}: a process may not have more files open; `ulimit -n {needed}` first"
        );
    }
    wanted.min(most)
}
