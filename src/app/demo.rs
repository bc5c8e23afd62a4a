use std::process::ExitCode;

use super::cli::DemoOptions;
use super::{FAILED, complain};
use crate::demo::{self, DemoError, Options};

/// Runs the demo until it is interrupted.
pub(super) fn run(options: &DemoOptions) -> ExitCode {
    let options = Options { install: options.install, port: options.port };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(DemoError::Signal);
    match runtime.and_then(|runtime| runtime.block_on(demo::run(options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), FAILED),
    }
}
