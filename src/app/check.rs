use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::{MISTAKES, assemble, lines};
use crate::domain::{Clock, SystemClock};
use crate::observe::Metrics;

/// Prints every mistake in the configuration.
pub(super) fn run(path: &Path) -> ExitCode {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    match assemble::read(path, &Metrics::new(), &clock) {
        Ok(parts) => {
            let (routes, portals, backends) = (parts.settings.routes.len(), parts.portals.len(), parts.backends.len());
            println!("{} is right: routes {routes}, portals {portals}, back-ends {backends}", path.display());
            ExitCode::SUCCESS
        }
        Err(mistakes) => {
            print!("{}", lines(&mistakes));
            ExitCode::from(MISTAKES)
        }
    }
}
