//! Placeholder.
use std::process::ExitCode;
/// Placeholder.
#[derive(clap::Args)]
pub struct Options {
    /// Install what is missing
    #[arg(long)]
    pub install: bool,
    /// The port to open; 0 for any
    #[arg(long, default_value_t = 0)]
    pub port: u16,
}
/// Placeholder.
pub fn run(_: &Options) -> ExitCode {
    ExitCode::from(3)
}
