use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::{MISTAKES, assemble, lines, say};
use crate::domain::{Clock, SystemClock};

/// Prints every mistake in the configuration.
pub(super) fn run(path: &Path) -> ExitCode {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    match assemble::read(path, &clock) {
        Ok(parts) => {
            let (routes, portals, backends) = (parts.settings.routes.len(), parts.portals.len(), parts.backends.len());
            let counts = format!("routes {routes}, portals {portals}, back-ends {backends}");
            say(&format!("{} is right: {counts}\n", path.display()), ExitCode::SUCCESS)
        }
        Err(mistakes) => say(&lines(&mistakes), ExitCode::from(MISTAKES)),
    }
}
