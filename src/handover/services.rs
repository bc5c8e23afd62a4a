use std::sync::Arc;

use crate::backend::Guarded;
use crate::domain::{Reach, Service};
use crate::portal::Portal;

/// What portals and back-ends offer beside what all of them do.
pub struct Services {
    portals: Vec<Arc<Portal>>,
    backends: Vec<Arc<Guarded>>,
}

impl Services {
    /// Of all that are configured.
    #[must_use]
    pub const fn new(portals: Vec<Arc<Portal>>, backends: Vec<Arc<Guarded>>) -> Self {
        Self { portals, backends }
    }

    /// Those that take a call, in the order of the configuration.
    pub fn taking<'a>(&'a self, reach: Reach, method: &'a str, path: &'a str) -> impl Iterator<Item = &'a dyn Service> {
        let portals = self.portals.iter().filter_map(|portal| portal.service());
        let offered = portals.chain(self.backends.iter().filter_map(|backend| backend.service()));
        offered.filter(move |service| service.takes(reach, method, path))
    }
}
