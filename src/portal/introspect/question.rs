//! What is asked of the portal, and how.

use std::sync::Arc;
use std::time::Duration;

use url::Position;

use super::said::Said;
use super::settings::{ADDRESS_HEADER, CallSettings, Handing, Reading};
use crate::config::Section;
use crate::domain::{ExposeSecret, Outage, Secret};
use crate::portal::{Shown, Surroundings};
use crate::wire::{HeaderName, Method, Request, Wire};

/// Longest time for a TCP and TLS handshake; a shorter `timeout` cuts it anyway.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest value of a cookie, in bytes: browsers keep none that is longer.
const LONGEST_COOKIE: usize = 4096;

/// The way to the portal.
pub(super) struct Caller {
    cookie: String,
    settings: CallSettings,
    reading: Reading,
    wire: Wire,
    /// Path and query of the question.
    target: String,
}

/// The browser's headers that go along.
#[derive(Clone)]
pub(super) struct Along(Vec<(HeaderName, String)>);

impl Caller {
    /// `None` where nobody could ever be asked, which is noted.
    pub(super) fn new(
        cookie: String,
        settings: CallSettings,
        reading: Reading,
        section: &Section,
        surroundings: &Surroundings,
    ) -> Option<Self> {
        let mut base = settings.url.clone();
        base.set_path("/");
        base.set_query(None);
        let target = settings.url[Position::BeforePath..].to_owned();
        let clock = Arc::clone(&surroundings.clock);
        match Wire::trusting(section.authorities(), base, settings.host.as_deref(), CONNECT_TIMEOUT, clock) {
            Ok(wire) => Some(Self { cookie, settings, reading, wire, target }),
            Err(error) => {
                section.mistake(if settings.host.is_some() { "host" } else { "url" }, &error.to_string());
                None
            }
        }
    }

    /// Whether this is a value that a cookie can have and keep on its way: nothing in it ends the cookie, or
    /// the header.
    pub(super) fn fits(value: &str) -> bool {
        (1..=LONGEST_COOKIE).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')
    }

    /// What of this browser goes along.
    pub(super) fn along(&self, shown: &Shown<'_>) -> Along {
        let Some(browser) = shown.browser else { return Along(Vec::new()) };
        let named = self.settings.forwarded.iter().filter_map(|name| {
            let value = match name.as_str() {
                ADDRESS_HEADER => browser.client().address.to_string(),
                name => browser.header(name)?.to_owned(),
            };
            Some((name.clone(), value))
        });
        Along(named.collect())
    }

    /// The longest wait for one answer.
    pub(super) fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Who is signed in with this cookie?
    pub(super) async fn ask(&self, cookie: &str, along: &Along) -> Result<Said, Outage> {
        let request = self.request(self.settings.method.clone(), &self.target, cookie, along).repeatable();
        let answer = tokio::time::timeout(self.settings.timeout, self.wire.send(&request)).await;
        self.reading.of(&answer.unwrap_or(Err(Outage::TimedOut))?)
    }

    /// Whether the portal is to hear of those who sign out here.
    pub(super) const fn tells_of_ends(&self) -> bool {
        self.settings.logout_url.is_some()
    }

    /// Says that somebody has signed out here. Well, too, where they had at the portal before.
    pub(super) async fn tell_of_end(&self, cookie: &Secret) -> Result<(), Outage> {
        let Some(url) = &self.settings.logout_url else { return Ok(()) };
        let target = &url[Position::BeforePath..];
        let method = self.settings.logout_method.clone();
        let request = self.request(method, target, cookie.expose_secret(), &Along(Vec::new()));
        match self.wire.send(&request).await?.or_outage()?.status() {
            200..=399 | 401 | 404 | 410 => Ok(()),
            status => Err(Outage::Protocol(format!("status {status}"))),
        }
    }

    /// In this order, so that what the browser sent counts less than what is written in the configuration.
    fn request(&self, method: Method, target: &str, cookie: &str, along: &Along) -> Request {
        let has_body = method != Method::GET;
        let mut request = Request::new(method, target.to_owned()).header("accept", b"application/json");
        for (name, value) in &along.0 {
            request = request.header(name.clone(), value.as_bytes());
        }
        for (name, value) in &self.settings.fixed {
            request = request.header(name.clone(), value.expose_secret().as_bytes());
        }
        match self.settings.handing {
            Handing::Form if has_body => request.form(&[(&self.cookie, cookie)]),
            Handing::Json if has_body => request.json(&serde_json::json!({ &*self.cookie: cookie })),
            _ => request.cookies(&format!("{}={cookie}", self.cookie)),
        }
    }
}
