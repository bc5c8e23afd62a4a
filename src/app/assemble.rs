//! From a file to the parts that answer requests.

use std::path::Path;
use std::sync::Arc;

use crate::backend::Guarded;
use crate::config::{Document, Draft, Mistake, Settings};
use crate::domain::Clock;
use crate::observe::Metrics;
use crate::portal::Portal;

/// Everything that a configuration describes, ready to be wired. Nothing was contacted yet.
pub struct Parts {
    /// What needs no kind to be understood.
    pub settings: Settings,
    /// The portals, in the order of the file.
    pub portals: Vec<Arc<Portal>>,
    /// The back-ends, in the order of the file.
    pub backends: Vec<Arc<Guarded>>,
}

/// Reads a configuration and builds its parts.
///
/// # Errors
/// Every mistake there is, those of the kinds' own settings included.
pub fn read(path: &Path, metrics: &Metrics, clock: &Arc<dyn Clock>) -> Result<Parts, Vec<Mistake>> {
    let document = Document::load(path).map_err(|mistake| vec![mistake])?;
    let (parts, mistakes) = build(document, metrics, clock);
    mistakes.unless_any(parts)
}

fn build(document: Document, metrics: &Metrics, clock: &Arc<dyn Clock>) -> (Parts, crate::config::Mistakes) {
    let Draft { settings, portals, backends, mistakes } = Draft::read(document);
    let portals = portals.into_iter().filter_map(|portal| Portal::build(portal, metrics)).map(Arc::new).collect();
    let backends =
        backends.into_iter().filter_map(|backend| Guarded::build(backend, metrics, Arc::clone(clock))).collect();
    (Parts { settings, portals, backends }, mistakes)
}
