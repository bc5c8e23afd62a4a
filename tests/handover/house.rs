//! Keyward behind a web server that listens for several hosts, and a browser as far as hand-overs need one.

use std::collections::HashMap;

use crate::fakes::axigen::Axigen;
use crate::support::{APP_PORTAL, Answer, Setup, Sidecar, Ticket, mailboxes};

pub struct House {
    pub keyward: Sidecar,
    pub mail: Axigen,
}

impl House {
    /// With these lines in `[backend.enter]`, and routes to the back-end `mail` that begin with these.
    pub async fn start(enter: &str, routes: &[&str]) -> Self {
        Self::with(enter, routes, |config| Setup::new(&config)).await
    }

    /// Set up in another way, with this configuration.
    pub async fn with(enter: &str, routes: &[&str], set_up: impl FnOnce(String) -> Setup) -> Self {
        let mail = mailboxes().await;
        let keyward = set_up(Self::config(&mail.url(), enter, routes)).start().await;
        Self { keyward, mail }
    }

    pub fn config(mail: &str, enter: &str, routes: &[&str]) -> String {
        let crate::support::PortalKey { name, cookie, id, secret } = APP_PORTAL;
        let portal = format!(
            "[[portal]]\nname = \"{name}\"\nkind = \"ticket\"\ncookie = \"{cookie}\"\n\
             login_url = \"https://portal.example.test/login?next={{url}}\"\n\
             [[portal.key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n"
        );
        let backend = |name: &str| {
            format!("[[backend]]\nname = \"{name}\"\nkind = \"axigen\"\nurl = \"{mail}\"\n[backend.enter]\n{enter}\n")
        };
        let route =
            |backend: &str, host: &str| format!("[[route]]\n{host}\nportal = \"{name}\"\nbackend = \"{backend}\"\n");
        let routes: String = routes.iter().map(|start| route("mail", start)).collect();
        let other = route("files", "host = \"files.other.test\"");
        format!("{portal}{}{}{routes}{other}", backend("mail"), backend("files"))
    }

    /// Asks for an address, with more header lines.
    pub async fn get(&self, address: &str, lines: &[&str]) -> Answer {
        self.send("GET", address, lines, "").await
    }

    /// Sends JSON as a script of a page of this origin does.
    pub async fn post(&self, address: &str, origin: &str, lines: &[&str], body: &str) -> Answer {
        let own = format!("Origin: {origin}");
        let lines = [&["Content-Type: application/json", own.as_str()], lines].concat();
        self.send("POST", address, &lines, body).await
    }

    pub async fn send(&self, method: &str, address: &str, lines: &[&str], body: &str) -> Answer {
        let (scheme, rest) = address.split_once("://").unwrap();
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let answer = self.keyward.exchange(format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: {scheme}\r\nX-Forwarded-Host: {host}\r\n\
             Accept: {}\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            if method == "GET" { "text/html" } else { "*/*" },
            body.len()
        ));
        let answer = answer.await;
        assert_eq!(
            (answer.one("Cache-Control").as_str(), answer.one("Referrer-Policy").as_str()),
            ("no-store", "no-referrer"),
            "{address}: {answer:?}"
        );
        answer
    }
}

/// A browser: cookies by host, and redirects.
#[derive(Clone, Default)]
pub struct Browser {
    /// By host, or by domain with a dot before it.
    jar: HashMap<String, Vec<(String, String)>>,
    /// Every address it was at.
    pub way: Vec<String>,
}

impl Browser {
    /// Signed in at the portal.
    pub fn of(ticket: &Ticket) -> Self {
        let mut browser = Self::default();
        browser.set("portal.example.test", &ticket.cookie());
        browser
    }

    /// Takes a cookie for a host, as `name=value` with attributes behind it.
    pub fn set(&mut self, host: &str, line: &str) {
        let mut attributes = line.split("; ");
        let (name, value) = attributes.next().unwrap().split_once('=').unwrap();
        let domain = attributes.clone().find_map(|attribute| attribute.strip_prefix("Domain="));
        let place = domain.map_or_else(|| host.to_owned(), |domain| format!(".{domain}"));
        let cookies = self.jar.entry(place).or_default();
        cookies.retain(|(held, _)| held != name);
        if !attributes.any(|attribute| attribute == "Max-Age=0") {
            cookies.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The `Cookie` line for a host.
    pub fn cookies(&self, host: &str) -> String {
        let reaches = |place: &str| place == host || format!(".{host}").ends_with(place) && place.starts_with('.');
        let sent = self.jar.iter().filter(|(place, _)| reaches(place)).flat_map(|(_, cookies)| cookies);
        let sent: Vec<String> = sent.map(|(name, value)| format!("{name}={value}")).collect();
        format!("Cookie: {}", sent.join("; "))
    }

    pub fn cookie(&self, host: &str, name: &str) -> Option<String> {
        let line = self.cookies(host);
        let pairs = line.strip_prefix("Cookie: ")?.split("; ").filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find_map(|(held, value)| (held == name).then(|| value.to_owned()))
    }

    /// One step: the answer, whose cookies were taken.
    pub async fn step(&mut self, house: &House, address: &str) -> Answer {
        let host = url::Url::parse(address).unwrap().host_str().unwrap().to_owned();
        self.way.push(address.to_owned());
        let answer = house.get(address, &[&self.cookies(&host), "Sec-Fetch-Mode: navigate"]).await;
        answer.all("Set-Cookie").iter().for_each(|line| self.set(&host, line));
        answer
    }

    /// Follows redirects from one hand-over to the next, and says where the last one leads.
    pub async fn enter(&mut self, house: &House, address: &str) -> String {
        let mut address = address.to_owned();
        for _ in 0..8 {
            let answer = self.step(house, &address).await;
            assert_eq!(answer.status, 303, "{address}: {answer:?}");
            address = answer.one("Location");
            if !address.contains("/.keyward/enter/") || address.contains("?next=") {
                return address;
            }
        }
        panic!("round in circles: {:#?}", self.way)
    }
}
