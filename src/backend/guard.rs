use std::sync::Arc;

use crate::{config::BackendSettings, domain::Clock, observe::Metrics};
/// x
pub struct BackendId(pub u64);
/// x
pub struct Guarded;
impl Guarded {
    /// x
    pub fn build(settings: BackendSettings, _: &Metrics, _: Arc<dyn Clock>) -> Option<Arc<Self>> {
        settings.section.finish();
        Some(Arc::new(Self))
    }
}
