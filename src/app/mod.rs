//! How everything is wired: the commands, and the one place that knows all rooms.
//!
//! Exit codes: 0 all is well, 1 a mistake in the configuration, a ticket or a secret, 2 the command
//! line was not understood (said by `clap` alone), 3 it could not start or failed while running.

mod assemble;
mod check;
mod cli;
mod connect;
mod demo;
mod derive;
mod foundation;
mod inspect;
mod serve;
mod snippet;
mod supervisor;
mod ticket;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use crate::config::Mistake;
use cli::{Arguments, Command, TicketCommand};

/// There are mistakes in what was given: the configuration, a ticket, a secret.
pub const MISTAKES: u8 = 1;
/// It could not start, or failed while running.
pub const FAILED: u8 = 3;

/// Where the configuration stands when nobody says where: on a server, then in a working copy.
const DEFAULT_FILES: [&str; 2] = ["/etc/keyward/keyward.toml", "conf/keyward.toml"];

/// Runs the command that was asked for.
#[must_use]
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(options) => with_file(options.config, serve::run),
        Command::Check(options) => with_file(options.config, check::run),
        Command::Ticket(TicketCommand::Mint(options)) => ticket::mint(*options),
        Command::Ticket(TicketCommand::Inspect(options)) => ticket::inspect(options),
        Command::Derive(options) => derive::run(options),
        Command::Snippet(options) => snippet::run(options),
        Command::Demo(options) => demo::run(&options),
    }
}

fn with_file(given: Option<PathBuf>, run: impl FnOnce(&Path) -> ExitCode) -> ExitCode {
    match configuration_file(given) {
        Ok(path) => run(&path),
        Err(message) => complain(&message, MISTAKES),
    }
}

fn configuration_file(given: Option<PathBuf>) -> Result<PathBuf, String> {
    given.map_or_else(|| first_there(DEFAULT_FILES), Ok)
}

fn first_there(files: [&str; 2]) -> Result<PathBuf, String> {
    // One that cannot be looked at is still the one that was meant; reading it tells why not.
    let is_there = |path: &PathBuf| path.try_exists().unwrap_or(true);
    let missing = || format!("neither {} is there; name the file with -c", files.join(" nor "));
    files.map(PathBuf::from).into_iter().find(is_there).ok_or_else(missing)
}

/// Writes on stderr why something was not done, each line under the program's name.
fn complain(message: &str, code: u8) -> ExitCode {
    for line in message.lines() {
        eprintln!("keyward: {line}");
    }
    ExitCode::from(code)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_configuration_that_is_there_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two] = ["one.toml", "two.toml"].map(|name| directory.path().join(name));
        let find = || first_there([one.to_str().unwrap(), two.to_str().unwrap()]);
        let missing = format!("neither {} nor {} is there; name the file with -c", one.display(), two.display());
        assert_eq!(find(), Err(missing));
        std::fs::write(&two, "").unwrap();
        assert_eq!(find(), Ok(two.clone()));
        std::fs::write(&one, "").unwrap();
        assert_eq!(find(), Ok(one.clone()));
    }
}
