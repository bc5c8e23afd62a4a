//! What operators see: metrics and log lines. Knows words and numbers, no other room.

mod api;
pub mod logging;
mod metrics;
mod panics;
mod stopwatch;
mod store_metrics;

pub use api::{ApiCall, ApiOutcome};
pub use metrics::{BackendMetrics, Door, DoorMetrics, Metrics, PortalMetrics};
pub use panics::count_panics;
pub use stopwatch::Stopwatch;
pub use store_metrics::{JournalMetrics, StoreMetrics};
