use std::sync::Arc;

use super::Metrics;

/// Counts every panic of the process and logs where it happened. What the panic says is left out:
/// it may quote the data that caused it.
pub fn count_panics(metrics: Arc<Metrics>) {
    std::panic::set_hook(Box::new(move |panic| {
        metrics.count_panic();
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panicked; this is a defect of Keyward, please report it");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_anywhere_moves_the_counter() {
        let metrics = Arc::new(Metrics::new());
        let before = std::panic::take_hook();
        count_panics(Arc::clone(&metrics));
        let joined = std::thread::spawn(|| panic!("a secret")).join();
        std::panic::set_hook(before);
        assert!(joined.is_err());
        assert!(!metrics.render().contains("keyward_panics_total 0"));
    }
}
