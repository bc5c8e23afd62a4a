//! What operators see: metrics and log lines. Knows words and numbers, no other room.

mod api;
pub mod logging;
mod metrics;
mod panics;
mod stopwatch;

pub use api::{ApiCall, ApiOutcome};
pub use metrics::{BackendMetrics, Door, DoorMetrics, JournalMetrics, Metrics, PortalMetrics, StoreMetrics};
pub use panics::count_panics;
pub use stopwatch::Stopwatch;
