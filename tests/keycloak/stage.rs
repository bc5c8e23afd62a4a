//! Keyward before a realm of its own, so that tests change its settings, keys and people as they like.

use std::borrow::Borrow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keyward::demo::process::free_address;
use reqwest::Method;
use serde_json::Value;

use crate::browser::Browser;
use crate::example::{self, REALM, WEBMAIL};
use crate::mailboxes::Mailboxes;
use crate::real::keycloak::Keycloak;
use crate::real::slapd::Slapd;
use crate::servers::{self, Servers};
use crate::support::{Setup, Sidecar};

/// Realms and people are told apart by it.
static COUNT: AtomicUsize = AtomicUsize::new(1);

pub struct Stage<S = Arc<Servers>> {
    pub keyward: Sidecar,
    pub mail: Mailboxes,
    pub realm: String,
    /// Last, so that all others have ended before.
    pub servers: S,
}

impl Stage {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With something else in the realm.
    pub async fn with(change: impl FnOnce(&mut Value)) -> Self {
        let servers = servers::shared().await;
        let (name, listener) = (format!("{REALM}-{}", next()), free_address().unwrap());
        let mut realm = example::realm(&name, &servers.directory.tls_url(), &format!("http://{listener}"));
        change(&mut realm);
        servers.keycloak.import(&realm).await;
        let (keyward, mail) = keyward(&servers, &name, listener).await;
        Self { keyward, mail, realm: name, servers }
    }
}

impl Stage<Servers> {
    /// With servers of its own, which import the realm as they start.
    pub async fn alone(change: impl FnOnce(&mut Value)) -> Self {
        let listener = free_address().unwrap();
        let realms = |directory: &str| {
            let mut realm = example::realm(REALM, directory, &format!("http://{listener}"));
            change(&mut realm);
            vec![realm]
        };
        let servers = Servers::start(realms).await;
        let (keyward, mail) = keyward(&servers, REALM, listener).await;
        Self { keyward, mail, realm: REALM.to_owned(), servers }
    }
}

impl<S: Borrow<Servers>> Stage<S> {
    pub fn keycloak(&self) -> &Keycloak {
        &self.servers.borrow().keycloak
    }

    pub fn directory(&self) -> &Slapd {
        &self.servers.borrow().directory
    }

    /// Somebody new in the directory, in these groups, with a mailbox; the name.
    pub async fn person(&self, groups: &[&str]) -> String {
        let name = format!("person{}", next());
        self.directory().modify(&example::person(&name, groups)).await.unwrap();
        self.mail.add(&format!("{name}@example.test"), &example::password(&name));
        name
    }

    /// Their browser, at the mailbox.
    pub async fn signed_in(&self, name: &str) -> Browser<'_> {
        signed_in(&self.keyward, name).await
    }

    /// An access token that one of the realm's clients gets for itself.
    pub async fn token(&self, client: &str) -> String {
        self.keycloak().token(&self.realm, client, &example::secret(client)).await
    }

    /// How often Keycloak was asked for a path below the realm.
    pub fn asked(&self, path: &str) -> usize {
        self.keycloak().asked(&self.realm, path)
    }

    /// Asks Keycloak as its administrator, at a path below the realm.
    pub async fn administer(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        self.keycloak().ask(method, &format!("/{}{path}", self.realm), body).await
    }

    /// Keycloak's own number of somebody who has signed in there once.
    pub async fn id_of(&self, name: &str) -> String {
        let found = self.administer(Method::GET, &format!("/users?exact=true&username={name}"), None).await;
        found[0]["id"].as_str().unwrap_or_else(|| panic!("Keycloak does not know {name}: {found}")).to_owned()
    }
}

/// The browser of somebody who has signed in, at the mailbox.
pub async fn signed_in<'a>(keyward: &'a Sidecar, name: &str) -> Browser<'a> {
    let mut browser = Browser::new(keyward);
    let page = browser.open("/").await;
    let page = browser.sign_in(&page, name, &example::password(name)).await;
    assert_eq!(page.url.as_str(), format!("{WEBMAIL}/"), "{}", page.answer.text());
    page.answer.assert_allows(name);
    browser
}

async fn keyward(servers: &Servers, realm: &str, listener: std::net::SocketAddr) -> (Sidecar, Mailboxes) {
    let issuer = servers.keycloak.issuer(realm);
    let mail = Mailboxes::start(&issuer).await;
    let configuration = example::keyward(&issuer, &mail.url());
    let keyward = Setup::new(&configuration).at(listener).start().await;
    (keyward, mail)
}

fn next() -> usize {
    COUNT.fetch_add(1, Ordering::Relaxed)
}
