//! Stand-in signature until the real one lands.
use super::*;
use crate::config::*;
use crate::domain::*;
use crate::observe::*;
use std::sync::Arc;
/// x
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BackendId(u64);
#[expect(missing_docs)]
impl BackendId {
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}
/// x
pub struct Guarded {
    name: String,
    limits: BackendLimits,
    backend: Box<dyn Backend>,
    metrics: Arc<BackendMetrics>,
    login: LoginName,
    roles: Vec<(String, String)>,
}
#[expect(missing_docs)]
impl Guarded {
    pub fn new(name: &str, backend: Box<dyn Backend>, limits: BackendLimits, metrics: &Metrics) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            limits,
            backend,
            metrics: metrics.backend(name),
            login: LoginName::parse("{sub}").unwrap(),
            roles: vec![],
        })
    }
    pub fn id(&self) -> BackendId {
        BackendId(self.name.len() as u64)
    }
    pub fn name(&self) -> &str {
        &self.name
    }
    pub fn limits(&self) -> &BackendLimits {
        &self.limits
    }
    pub fn credentials(&self) -> CredentialSource {
        CredentialSource::Portal
    }
    pub fn login_name(&self) -> &LoginName {
        &self.login
    }
    pub fn roles(&self) -> &[(String, String)] {
        &self.roles
    }
    pub fn metrics(&self) -> &BackendMetrics {
        &self.metrics
    }
    pub async fn login(&self, attempt: &Attempt) -> Result<Login, Outage> {
        self.backend.login(attempt).await
    }
    pub async fn check(&self, keys: &SessionKeys) -> Result<Liveness, Outage> {
        self.backend.check(keys).await
    }
    pub async fn logout(&self, keys: &SessionKeys, _cause: &'static str) -> bool {
        self.backend.logout(keys).await.is_ok()
    }
    pub fn owns_cookie(&self, name: &[u8]) -> bool {
        self.backend.owns_cookie(name)
    }
    pub fn query_key(&self) -> Option<&str> {
        self.backend.query_key()
    }
    pub fn takes_authorization(&self) -> bool {
        self.backend.takes_authorization()
    }
    pub fn is_full(&self) -> bool {
        false
    }
    pub fn binding(&self) -> Binding {
        self.backend.binding()
    }
}
