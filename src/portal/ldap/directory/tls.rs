//! Whose certificate a server may show.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::Section;

/// Reads `ca_file`; without one the system's authorities count. Its name in the certificate is always checked.
pub(super) fn connector(section: &mut Section, is_needed: bool) -> Option<TlsConnector> {
    let file = section.text("ca_file");
    if !is_needed {
        if file.is_some() {
            section.warn("ca_file", "is not needed: there is neither an ldaps:// server nor starttls");
        }
        return None;
    }
    let mut roots = RootCertStore::empty();
    match &file {
        Some(file) => {
            let certificates = CertificateDer::pem_file_iter(file).into_iter().flatten().flatten();
            roots.add_parsable_certificates(certificates);
            if roots.is_empty() {
                section.mistake("ca_file", "names a file that cannot be read, or holds no certificate in PEM");
                return None;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                section.mistake("ca_file", "is missing, and the system knows no authority either");
                return None;
            }
        }
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}
