//! The manifests in `examples/kubernetes/`: what the API takes, what they refer to, what rights they leave, and that the
//! program does with them what they count on. There is no cluster here.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod hardening;
mod manifests;
mod monitoring;
mod program;
mod references;
mod schemas;
