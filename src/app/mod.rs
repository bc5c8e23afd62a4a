//! How everything is wired: the commands, and the one place that knows all rooms.
//!
//! Exit codes: 0 all is well, 1 mistakes in the configuration (or a ticket that is rejected),
//! 2 the command line was not understood, 3 it could not listen or failed while running.

mod assemble;
mod check;
mod cli;
mod demo;
mod inspect;
mod serve;
mod ticket;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::config::Mistake;
use cli::{Arguments, Command, TicketCommand};

/// There are mistakes in the configuration, or the ticket is rejected.
pub const MISTAKES: u8 = 1;
/// The command line was not understood. `clap` ends with the same.
pub const USAGE: u8 = 2;
/// It could not listen, or failed while running.
pub const FAILED: u8 = 3;

/// Where the configuration stands when nobody says where: on a server, then in a working copy.
const DEFAULT_FILES: [&str; 2] = ["/etc/keyward/keyward.toml", "conf/keyward.toml"];

/// Runs the command that was asked for.
#[must_use]
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(options) => serve::run(&configuration_file(options.config)),
        Command::Check(options) => check::run(&configuration_file(options.config)),
        Command::Ticket(TicketCommand::Mint(options)) => ticket::mint(*options),
        Command::Ticket(TicketCommand::Inspect(options)) => ticket::inspect(options),
        Command::Demo(options) => demo::run(&options),
    }
}

fn configuration_file(given: Option<PathBuf>) -> PathBuf {
    let [server, working_copy] = DEFAULT_FILES;
    // One that can not be looked at is still the one that was meant; reading it tells why not.
    let on_server = || PathBuf::from(server).try_exists().unwrap_or(true);
    given.unwrap_or_else(|| PathBuf::from(if on_server() { server } else { working_copy }))
}

/// Writes what a command has to say. A reader that has gone away is no reason to panic, but who
/// pipes a ticket somewhere should hear that it never arrived.
fn say(text: &str, code: ExitCode) -> ExitCode {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => code,
        Err(_) => ExitCode::from(FAILED),
    }
}

/// All mistakes, one a line.
fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("{mistake}\n")).collect()
}
