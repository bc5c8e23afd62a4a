use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WantsClientCert, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::section::Section;

/// Whom the system trusts to sign the certificates of servers, for everything that one reading of a
/// configuration describes.
///
/// Finding and reading them takes longer than all the rest of a start, so it is done once, and only when
/// somebody needs them: where nobody speaks TLS, the system need not know any.
#[derive(Clone, Default)]
pub struct Authorities {
    system: Arc<System>,
    /// One for all, since the sessions that it remembers to be resumed have their room from the beginning.
    http: Arc<OnceLock<Option<ClientConfig>>>,
}

impl Authorities {
    /// Whether the system trusts anybody.
    #[must_use]
    pub fn are_there(&self) -> bool {
        self.system.verifier().is_some()
    }

    /// TLS for HTTP. Reads nothing before the first server shows its certificate.
    #[must_use]
    pub fn http(&self) -> Option<ClientConfig> {
        let build = || {
            let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().ok()?;
            let system: Arc<System> = Arc::clone(&self.system);
            let mut config = builder.dangerous().with_custom_certificate_verifier(system).with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Some(config)
        };
        self.http.get_or_init(build).clone()
    }
}

/// The system's authorities, from when they are first asked for. `None` where there are none.
#[derive(Default)]
struct System(OnceLock<Option<Arc<WebPkiServerVerifier>>>);

impl System {
    fn verifier(&self) -> Option<&Arc<WebPkiServerVerifier>> {
        let read = || {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()
        };
        self.0.get_or_init(read).as_ref()
    }

    fn known(&self) -> Result<&Arc<WebPkiServerVerifier>, Error> {
        self.verifier().ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }
}

impl fmt::Debug for System {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("System")
    }
}

/// Judges nothing itself.
impl ServerCertVerifier for System {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.known()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.known()?.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.known()?.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// TLS with servers whose certificate was signed by whom the file named by `ca_file` has, or, without a file, by whom
/// the system trusts. Their name in the certificate is always checked. `None` after a mistake, which is noted.
pub fn trusting(section: &Section, ca_file: Option<&str>) -> Option<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let (verifier, mistake) = if let Some(file) = ca_file {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_file_iter(file).into_iter().flatten().flatten());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok();
        (verifier, "names a file that cannot be read, or holds no certificate in PEM")
    } else {
        let verifier = section.authorities().system.verifier().cloned();
        (verifier, "is missing, and the system knows no authority either")
    };
    let Some(verifier) = verifier else {
        section.mistake("ca_file", mistake);
        return None;
    };
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().ok()?;
    Some(config.with_webpki_verifier(verifier))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// A system that trusts this one alone.
    fn system(authority: Option<CertificateDer<'static>>) -> Authorities {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authority);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok();
        Authorities { system: Arc::new(System(OnceLock::from(verifier))), http: Arc::default() }
    }

    /// An authority, and a server whose certificate it signed for `mail.test`.
    fn server() -> (CertificateDer<'static>, TlsAcceptor) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["mail.test".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        (issuer.der().clone(), TlsAcceptor::from(Arc::new(config)))
    }

    #[tokio::test]
    async fn over_http_only_to_whom_the_system_vouches_for_by_this_name() {
        let (authority, acceptor) = server();
        let stranger = server().0;
        for (trusted, name, good) in [
            (Some(authority.clone()), "mail.test", true),
            (Some(authority), "other.test", false),
            (Some(stranger), "mail.test", false),
            (None, "mail.test", false),
        ] {
            let authorities = system(trusted.clone());
            assert_eq!(authorities.are_there(), trusted.is_some());
            let connector = TlsConnector::from(Arc::new(authorities.http().unwrap()));
            let (near, far) = tokio::io::duplex(1 << 14);
            let name = ServerName::try_from(name).unwrap();
            let (connected, _) = tokio::join!(connector.connect(name.clone(), near), acceptor.accept(far));
            assert_eq!(connected.is_ok(), good, "{name:?} {:?}", connected.err());
        }
    }

    #[test]
    fn one_document_reads_them_once_and_the_next_anew() {
        let read = || Section::from_toml("[one]\n[[two]]\n[two.three]\n").unwrap();
        let mut document = read();
        let mut two = document.sections("two", "name").remove(0);
        let parts = [document.section("one"), two.section("three"), two, read()];
        let same = |part: &Section| Arc::ptr_eq(&part.authorities().system, &document.authorities().system);
        assert_eq!(parts.each_ref().map(same), [true, true, true, false]);
    }
}
