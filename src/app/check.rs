use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::{MISTAKES, assemble, lines, say};
use crate::domain::{Clock, SystemClock};
use crate::portal::Sessions;
use crate::wire::Errands;

/// Prints every mistake in the configuration, and on stderr what is right and hardly meant.
pub(super) fn run(path: &Path) -> ExitCode {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    match assemble::read(path, &clock, &Sessions::new(0), &Errands::new()) {
        Ok(parts) => {
            for warning in &parts.warnings {
                eprintln!("keyward: warning: {warning}");
            }
            let (routes, portals, backends) = (parts.settings.routes.len(), parts.portals.len(), parts.backends.len());
            let counts = format!("routes {routes}, portals {portals}, back-ends {backends}");
            say(&format!("{} is right: {counts}\n", path.display()), ExitCode::SUCCESS)
        }
        Err(mistakes) => say(&lines(&mistakes), ExitCode::from(MISTAKES)),
    }
}
