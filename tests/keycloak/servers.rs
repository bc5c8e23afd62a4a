//! Keycloak and OpenLDAP, which all tests share: they take seconds to start.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use keyward::demo::process::{TemporaryWorkspace, Workspace};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::example;
use crate::real::keycloak::Keycloak;
use crate::real::slapd::Slapd;

/// They end in the order of the fields.
pub struct Servers {
    pub keycloak: Keycloak,
    pub directory: Slapd,
    _workspace: TemporaryWorkspace,
}

/// Those that run, for as long as any test uses them.
static SHARED: Mutex<Weak<Servers>> = Mutex::const_new(Weak::new());

/// Those of all tests.
pub async fn shared() -> Arc<Servers> {
    let mut shared = SHARED.lock().await;
    if let Some(servers) = shared.upgrade() {
        return servers;
    }
    let servers = Arc::new(Servers::start(|_| Vec::new()).await);
    *shared = Arc::downgrade(&servers);
    servers
}

impl Servers {
    /// Starts some with these realms, made for the directory's address.
    pub async fn start(realms: impl FnOnce(&str) -> Vec<Value>) -> Self {
        let workspace = Workspace::temporary().unwrap();
        let path = |name: &str| -> PathBuf { workspace.path().join(name) };
        let directory = Slapd::configured(&path("slapd"), None, example::DIRECTORY_PASSWORD, example::slapd).await;
        let directory = directory.expect("slapd is installed; tests/run does it");
        directory.load(example::DIRECTORY).await.unwrap();
        let realms = realms(&directory.tls_url());
        let keycloak = Keycloak::start(&path("keycloak"), &directory.authority(), &realms).await.unwrap();
        Self { keycloak, directory, _workspace: workspace }
    }
}
