//! Keyward, a provider and a browser.

use std::collections::BTreeMap;

use crate::fakes::openid_provider::{CLIENT, OpenIdProvider, SECRET};
use crate::support::{Answer, Ask, Door, Setup, Sidecar};

pub const MAIL: &str = "https://mail.example.test";
/// The name of the session cookie.
pub const COOKIE: &str = "__Host-keyward-id";

pub struct Stage {
    pub keyward: Sidecar,
    pub provider: OpenIdProvider,
}

/// A browser at the mail's host: it keeps what it is told to, and sends it back.
#[derive(Clone, Default)]
pub struct Browser {
    pub jar: BTreeMap<String, String>,
}

pub fn config(issuer: &str, more: &str) -> String {
    format!(
        "[[route]]\nhost = \"mail.example.test\"\npath = \"/admin\"\nportal = \"id\"\nroles = [\"admin\"]\n\
         [[route]]\nhost = \"mail.example.test\"\npath = \"/api\"\nportal = \"id\"\nauthorization = true\n\
         [[route]]\nhost = \"mail.example.test\"\nportal = \"id\"\n\
         [[portal]]\nname = \"id\"\nkind = \"oidc\"\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT}\"\n\
         client_secret = \"{SECRET}\"\ntimeout = \"5s\"\n{more}\n"
    )
}

pub async fn stage(more: &str) -> Stage {
    let provider = OpenIdProvider::start(&[MAIL]).await.unwrap();
    let setup = Setup::new(&config(&provider.issuer(), more)).environment("RUST_LOG", "trace");
    Stage { keyward: setup.start().await, provider }
}

/// Path and query of an address at the mail's host.
pub fn target(address: &str) -> &str {
    address.strip_prefix(MAIL).unwrap_or(address)
}

impl Stage {
    /// One request of the browser, through a web server that serves https.
    pub async fn send(&self, browser: &mut Browser, method: &str, address: &str, lines: &[&str], body: &str) -> Answer {
        let cookies: Vec<String> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut head = format!("{method} {} HTTP/1.1\r\nHost: keyward\r\n", target(address));
        head += "X-Forwarded-Proto: https\r\nX-Forwarded-Host: mail.example.test\r\n";
        if !cookies.is_empty() {
            head += &format!("Cookie: {}\r\n", cookies.join("; "));
        }
        for line in lines {
            head += &format!("{line}\r\n");
        }
        let answer = self.keyward.exchange(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
        assert_eq!(answer.one("cache-control"), "no-store", "{answer:?}");
        browser.keep(&answer);
        answer
    }

    /// A navigation.
    pub async fn go(&self, browser: &mut Browser, address: &str) -> Answer {
        self.send(browser, "GET", address, &["Accept: text/html", "Sec-Fetch-Mode: navigate"], "").await
    }

    /// Begins a sign-in: the provider's address to which the browser is sent.
    pub async fn begin(&self, browser: &mut Browser, next: &str) -> String {
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let answer = self.go(browser, &format!("/.keyward/login/id?url={next}")).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        answer.one("location")
    }

    /// Goes to the provider and comes back.
    pub async fn sign_in(&self, browser: &mut Browser, next: &str) -> Answer {
        let begun = self.begin(browser, next).await;
        let back = self.provider.visit(&begun).unwrap();
        self.go(browser, &back).await
    }

    /// A browser of somebody who has signed in.
    pub async fn signed_in(&self, user: &str) -> Browser {
        let mut browser = Browser::default();
        self.provider.signs_in(user);
        let answer = self.sign_in(&mut browser, "/").await;
        assert_eq!(answer.status, 303, "{answer:?}");
        browser
    }

    /// What is decided about a page that this browser wants.
    pub async fn ask(&self, browser: &Browser, path: &str) -> Answer {
        let cookies: Vec<String> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let ask = Ask::get(format!("{MAIL}{path}")).cookie(cookies.join("; "));
        self.keyward.ask(Door::AuthRequest, &ask).await
    }
}

impl Browser {
    fn keep(&mut self, answer: &Answer) {
        for line in answer.all("set-cookie") {
            let (name, rest) = line.split_once('=').unwrap();
            let (value, attributes) = rest.split_once("; ").unwrap();
            assert!(attributes.starts_with("Path=/;") && attributes.contains("; HttpOnly"), "{line}");
            assert!(attributes.contains("; SameSite=Lax") && attributes.contains("; Secure"), "{line}");
            assert!(!attributes.contains("Domain"), "{line}");
            if attributes.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    pub fn session(&self) -> Option<&String> {
        self.jar.get(COOKIE)
    }

    /// The names of cookies of sign-ins under way.
    pub fn flows(&self) -> Vec<String> {
        self.jar.keys().filter(|name| name.contains("-flow-")).cloned().collect()
    }
}
