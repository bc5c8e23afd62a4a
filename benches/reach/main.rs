//! How far Keyward goes where it is not one warm decision after another: with two processors, with first requests, with
//! ten thousand people at once, and beside a back-end that hangs. `cargo bench --bench reach`.
//!
//! Whole processes on loopback. Every figure is a ratio of two that were measured in turns within one run. It prints
//! and ends well, whatever it measures. See `benches/README.md`.

mod cold;
mod cores;
mod isolation;
mod rush;

#[path = "../side_by_side/connections.rs"]
#[expect(dead_code, reason = "another bench uses more of it")]
mod connections;
#[path = "../side_by_side/fastcgi.rs"]
mod fastcgi;
#[path = "../side_by_side/figures.rs"]
mod figures;
#[path = "../side_by_side/load.rs"]
#[expect(dead_code, reason = "another bench uses more of it")]
mod load;
#[path = "../side_by_side/servers.rs"]
#[expect(dead_code, reason = "another bench uses more of it")]
mod servers;
#[path = "../side_by_side/webmail.rs"]
#[expect(dead_code, reason = "another bench uses more of it")]
mod webmail;

use std::error::Error;
use std::path::Path;

use keyward::observe::Stopwatch;

use load::Crowd;
use servers::{Keyward, Pinning, Shape, open_files, processors};
use webmail::Webmail;

/// Everybody there is.
const PEOPLE: usize = 40_000;
/// Files that a process has open beside the connections of those who wait.
const OTHER_FILES: usize = 600;

fn main() -> Result<(), Box<dyn Error>> {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("reach: run it with `cargo bench --bench reach`");
        return Ok(());
    }
    let stopwatch = Stopwatch::start();
    let workspace = tempfile::tempdir()?;
    let stage = Stage { workspace: workspace.path(), crowd: Crowd::of(PEOPLE)? };
    // Read once: the first part keeps us from some of them.
    let processors = processors();
    cores::measure(&stage, &processors)?;
    let pinning = Pinning::apart(&processors);
    println!("\nfrom here on {pinning}");
    cold::measure(&stage, &pinning)?;
    rush::measure(&stage, &pinning)?;
    isolation::measure(&stage, &pinning)?;
    println!("\ntook {:.0} s", stopwatch.seconds());
    Ok(())
}

/// What all parts need.
struct Stage<'a> {
    workspace: &'a Path,
    crowd: Crowd,
}

impl Stage<'_> {
    fn keyward(&self, webmail: &Webmail, pinning: &Pinning, shape: &Shape<'_>) -> Result<Keyward, Box<dyn Error>> {
        Keyward::start(env!("CARGO_BIN_EXE_keyward"), self.workspace, webmail, pinning, shape)
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
