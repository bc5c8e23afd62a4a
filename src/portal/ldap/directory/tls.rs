//! Whose certificate a server may show.

use std::sync::Arc;

use tokio_rustls::TlsConnector;

use crate::config::{Section, trusting};

/// Reads `ca_file`; without one the system's authorities count. Its name in the certificate is always checked.
pub(super) fn connector(section: &mut Section, is_needed: bool) -> Option<TlsConnector> {
    let file = section.text("ca_file");
    if !is_needed {
        if file.is_some() {
            section.warn("ca_file", "is not needed: there is neither an ldaps:// server nor starttls");
        }
        return None;
    }
    let config = trusting(section, file.as_deref())?.with_no_client_auth();
    Some(TlsConnector::from(Arc::new(config)))
}
