use std::sync::Arc;

use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::section::Section;

/// TLS with servers whose certificate was signed by whom the file named by `ca_file` has, or, without a file, by whom
/// the system trusts. Their name in the certificate is always checked. `None` after a mistake, which is noted.
pub fn trusting(section: &Section, ca_file: Option<&str>) -> Option<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let mut roots = RootCertStore::empty();
    let mistake = if let Some(file) = ca_file {
        roots.add_parsable_certificates(CertificateDer::pem_file_iter(file).into_iter().flatten().flatten());
        "names a file that cannot be read, or holds no certificate in PEM"
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        "is missing, and the system knows no authority either"
    };
    if roots.is_empty() {
        section.mistake("ca_file", mistake);
        return None;
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(config.with_root_certificates(roots))
}
