//! Log lines on stderr: JSON for machines, text for people at a terminal.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, FilterFn, LevelFilter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
    /// Text on a terminal, else JSON.
    Auto,
}

/// Starts logging. `RUST_LOG` wins over `level`.
///
/// Libraries speak from `warn` on only, whatever is asked for: what they call information says
/// nothing to operators, and at `trace` some print the headers and addresses they send, which hold
/// passwords and keys.
///
/// # Errors
/// When logging was started before.
pub fn start(level: LevelFilter, format: Format) -> Result<(), tracing_subscriber::util::TryInitError> {
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let ours_or_grave =
        FilterFn::new(|metadata| metadata.target().starts_with("keyward") || *metadata.level() <= Level::WARN);
    let json = match format {
        Format::Json => true,
        Format::Text => false,
        Format::Auto => !std::io::stderr().is_terminal(),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(ours_or_grave)).with(filter).try_init()
}
