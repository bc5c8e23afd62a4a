//! x
/// x
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// x
    pub install: bool,
    /// x
    pub port: Option<u16>,
}
/// x
pub fn run(_: &Options) -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
