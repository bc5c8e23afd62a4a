//! The stand-in for Axigen. Whether an access token is good it asks the real Keycloak, as the client `axigen`
//! of the realm, the way Axigen's own connector is told to (`axigen.cli`).

use std::sync::Arc;

use reqwest::Client;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use crate::example::secret;
use crate::fakes::axigen::{Axigen, Person};
use crate::fakes::server::{Reply, Request, Server, forward};

pub struct Mailboxes {
    axigen: Arc<Axigen>,
    door: Server,
}

impl Mailboxes {
    /// For the people of this realm.
    pub async fn start(issuer: &str) -> Self {
        let axigen = Arc::new(Axigen::start(Vec::new()).await.unwrap());
        let address = axigen.url().strip_prefix("http://").unwrap().parse().unwrap();
        let (known, introspection) =
            (Arc::clone(&axigen), format!("{issuer}/protocol/openid-connect/token/introspect"));
        let door = Server::start(move |request| {
            let (known, introspection) = (Arc::clone(&known), introspection.clone());
            async move {
                if let Some(token) = bearer(&request) {
                    match whose(&introspection, token).await {
                        Some(address) => known.accept(token, &address),
                        None => known.expire(token),
                    }
                }
                forward(address, &request).await.unwrap_or_else(|_| Reply::new(502, ""))
            }
        });
        Self { axigen, door: door.await.unwrap() }
    }

    /// Where it is reached.
    pub fn url(&self) -> String {
        self.door.url()
    }

    /// Somebody gets one.
    pub fn add(&self, address: &str, password: &str) {
        self.axigen.add(Person::new(address, password, address));
    }

    /// How often somebody was signed in there.
    pub fn logins(&self, address: &str) -> usize {
        self.axigen.logins(address)
    }
}

fn bearer(request: &Request) -> Option<&str> {
    request.header("authorization")?.strip_prefix("Bearer ")
}

/// The address in a token that is good now, and good for Axigen.
async fn whose(introspection: &str, token: &str) -> Option<String> {
    let secret = secret("axigen");
    let form = [("token", token), ("client_id", "axigen"), ("client_secret", &secret)];
    let body = Serializer::new(String::new()).extend_pairs(form).finish();
    let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
    let request = client.post(introspection).header("Content-Type", "application/x-www-form-urlencoded").body(body);
    let said: Value = serde_json::from_str(&request.send().await.ok()?.text().await.ok()?).ok()?;
    let audience = match &said["aud"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is_good = said["active"] == true && audience.contains(&"axigen");
    said["email"].as_str().filter(|_| is_good).map(str::to_owned)
}
