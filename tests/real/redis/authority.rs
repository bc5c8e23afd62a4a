use std::path::PathBuf;
use std::sync::Arc;

use keyward::demo::process::{TemporaryWorkspace, Workspace};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair};

/// Who signs the certificates of servers. All that are made with the same one trust each other.
#[derive(Clone)]
pub struct Authority {
    issuer: Arc<CertifiedIssuer<'static, KeyPair>>,
    home: Arc<TemporaryWorkspace>,
}

impl Authority {
    pub fn new() -> Self {
        let home = Workspace::temporary().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // One that has the name of what it signed would count as signed by itself.
        params.distinguished_name.push(DnType::CommonName, format!("authority of {}", home.path().display()));
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        home.write("authority.pem", &issuer.pem()).unwrap();
        Self { issuer: Arc::new(issuer), home: Arc::new(home) }
    }

    /// Its own certificate, for whoever is to trust it.
    pub fn file(&self) -> PathBuf {
        self.home.path().join("authority.pem")
    }

    /// Writes a certificate for these names, its key, and its own.
    pub(super) fn certify(&self, home: &Workspace, names: Vec<String>) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        home.write("authority.pem", &self.issuer.pem()).unwrap();
        home.write("certificate.pem", &certificate.pem()).unwrap();
        home.write("key.pem", &key.serialize_pem()).unwrap();
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Authority")
    }
}
