//! What operators see: metrics and log lines. Knows words and numbers, no other room.

pub mod logging;
mod metrics;

pub use metrics::{BackendMetrics, Door, DoorMetrics, Metrics, PortalMetrics};
