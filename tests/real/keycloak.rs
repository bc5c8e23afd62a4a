//! Keycloak as its authors publish it, where `tests/run` has put it, with a database of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyward::demo::DemoError;
use keyward::demo::process::{Process, Workspace, find_program, free_address};
use reqwest::{Client, Method};
use serde_json::Value;
use url::form_urlencoded::Serializer;

const CONFIGURATION: &str = include_str!("../../examples/keycloak-openldap/keycloak.conf");
/// Who may do everything. The database has them: see `tests/run`.
const ADMINISTRATOR: (&str, &str) = ("tests", "tests");
/// Longest wait for a start. Two busy cores take their time over it.
const READY_WITHIN: Duration = Duration::from_secs(150);
/// Time between two looks whether it is there.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Quick to start rather than quick in the long run.
const JAVA_OPTIONS: &str = "JAVA_OPTS_APPEND=-XX:TieredStopAtLevel=1";

/// A running Keycloak.
pub struct Keycloak {
    process: Option<Process>,
    home: Workspace,
    address: SocketAddr,
    client: Client,
}

impl Keycloak {
    /// Starts it below a directory with these realms, which it imports itself, and waits until it has. It
    /// trusts directories whose certificate `truststore`, a PEM file, has signed.
    pub async fn start(directory: &Path, truststore: &Path, realms: &[Value]) -> Result<Self, DemoError> {
        let distribution = distribution();
        // It may write nothing but below the directory, and its files are as we have them.
        let home = Workspace::at(directory)?.with_our_rights();
        for name in ["lib", "providers", "themes"] {
            std::os::unix::fs::symlink(distribution.join(name), home.path().join(name)).unwrap();
        }
        let database = home.directory("data")?.directory("h2")?.path().join("keycloakdb.mv.db");
        fs::copy(distribution.join("data/h2/keycloakdb.mv.db"), database).unwrap();
        let import = home.directory("data")?.directory("import")?;
        for realm in realms {
            import.write(&format!("{}.json", name(realm)), &realm.to_string())?;
        }
        let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Every test has a runtime of its own, and a connection ends with the one in which it was made.
        let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        let address = free_address()?;
        home.directory("conf")?.write("keycloak.conf", &configuration(address, truststore))?;
        let mut keycloak = Self { process: None, home, address, client };
        keycloak.start_again().await?;
        Ok(keycloak)
    }

    /// Starts it where it was, with what it knew.
    pub async fn start_again(&mut self) -> Result<(), DemoError> {
        self.stop();
        let arguments = [
            JAVA_OPTIONS.to_owned(),
            distribution().join("bin/kc.sh").to_string_lossy().into_owned(),
            "start".to_owned(),
            "--optimized".to_owned(),
            format!("-Dkc.home.dir={}", self.home.path().display()),
            "--import-realm".to_owned(),
            "--cache=local".to_owned(),
            "--http-access-log-enabled=true".to_owned(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let env = find_program("env").ok_or(DemoError::Missing("env"))?;
        let mut process = Process::start("keycloak", &env, &arguments, &self.home)?;
        let ready = async {
            // It listens before it knows anything, and says 503 until then.
            while !self.answers("master").await {
                process.check()?;
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        };
        let Ok(ready) = tokio::time::timeout(READY_WITHIN, ready).await else {
            panic!("Keycloak did not come up in time:\n{}", self.log());
        };
        ready?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it; see [`Keycloak::start_again`].
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Whether it still runs.
    pub fn check(&mut self) -> Result<(), DemoError> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a realm calls itself.
    pub fn issuer(&self, realm: &str) -> String {
        format!("{}/realms/{realm}", self.url())
    }

    /// What it wrote since it was started last; a line for each request, too.
    pub fn log(&self) -> String {
        let log = fs::read(self.home.path().join("keycloak.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// How often it was asked for a path below a realm since it was started last.
    pub fn asked(&self, realm: &str, path: &str) -> usize {
        self.log().matches(&format!(" /realms/{realm}{path} ")).count()
    }

    /// Adds a realm to those it has.
    pub async fn import(&self, realm: &Value) {
        self.ask(Method::POST, "", Some(realm)).await;
    }

    /// Asks as the administrator, at a path below `/admin/realms`. It must say yes.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        // Its administrators' tokens are good for one minute.
        let token = self.token("master", ADMINISTRATOR.0, ADMINISTRATOR.1).await;
        let url = format!("{}/admin/realms{path}", self.url());
        let mut request = self.client.request(method, &url).bearer_auth(token);
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{url}: {status}: {text}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    /// The access token that a client of a realm gets for itself.
    pub async fn token(&self, realm: &str, client: &str, secret: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)];
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let url = format!("{}/protocol/openid-connect/token", self.issuer(realm));
        let request = self.client.post(url).header("Content-Type", "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{client} got no token: {status}: {text}");
        let json: Value = serde_json::from_str(&text).unwrap();
        json["access_token"].as_str().unwrap().to_owned()
    }

    async fn answers(&self, realm: &str) -> bool {
        let url = format!("{}/.well-known/openid-configuration", self.issuer(realm));
        self.client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
    }
}

/// The example's, with the address where it listens, without TLS, and the file that it trusts.
fn configuration(listens: SocketAddr, truststore: &Path) -> String {
    let (ip, port) = (listens.ip(), listens.port());
    [
        ("https://sso.example.test", format!("http://{listens}")),
        ("https-certificate-file=/etc/keycloak/tls/certificate.pem", format!("http-enabled=true\nhttp-host={ip}")),
        ("https-certificate-key-file=/etc/keycloak/tls/key.pem", format!("http-port={port}")),
        ("/etc/keycloak/tls/authority.pem", truststore.to_string_lossy().into_owned()),
    ]
    .into_iter()
    .fold(CONFIGURATION.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "the example has no {old} any more");
        text.replace(old, &new)
    })
}

fn name(realm: &Value) -> &str {
    realm["realm"].as_str().unwrap()
}

fn distribution() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/keycloak");
    assert!(path.join("keyward-tests").exists(), "there is no Keycloak at {}; tests/run fetches it", path.display());
    path
}
