//! What operators see: metrics and log lines. Knows words and numbers, no other room.

pub mod logging;
mod metrics;
mod panics;
mod stopwatch;

pub use metrics::{BackendMetrics, Door, DoorMetrics, Metrics, PortalMetrics};
pub use panics::count_panics;
pub use stopwatch::Stopwatch;
