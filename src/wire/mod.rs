//! HTTP towards back-ends and the hosts of portals, as narrow as signing in needs it; [`Errands`], the calls
//! that must arrive although nobody waits for them; and the signed tokens (JWT) that some of them speak.
//!
//! Nothing is followed, remembered, retried or unpacked behind a connector's back, every answer is
//! bounded, and no error repeats what was sent or received: addresses hold keys, bodies passwords.

mod answer;
mod errands;
mod jwt;
mod outage;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use reqwest::header::{HOST, HeaderMap, HeaderValue, IntoHeaderName};
use url::Url;

use crate::config::Authorities;
use crate::domain::Clock;
use crate::domain::Outage;

pub use answer::{Answer, Location};
pub use errands::{Errands, Try};
pub use jwt::{Hs256, claims, json_object};
pub use reqwest::Method;
pub use reqwest::header::HeaderName;

/// Longest body that is read, in bytes.
const LONGEST_BODY: usize = 256 * 1024;
/// Longest header block that is looked at, in bytes.
const LONGEST_HEADERS: usize = 64 * 1024;
/// Most header lines in an answer.
const MOST_HEADERS: usize = 100;
/// Idle connections are closed before the back-end does it (Axigen: after 300 s; seen in a shipped
/// configuration), so that a request rarely meets one that is dying.
const POOL_IDLE: Duration = Duration::from_secs(60);
/// Idle connections kept for checks and logouts.
const POOL_SIZE: usize = 4;

/// The way to one back-end.
#[derive(Clone)]
pub struct Wire {
    /// For whatever may be sent again.
    pooled: Client,
    /// Opens a connection for each request. Logins go here: a pooled connection may be dying, and a
    /// password whose fate is unknown must not be sent twice. Servers that count failed logins per
    /// connection then count each person alone, too.
    fresh: Client,
    base: Url,
    host: Option<HeaderValue>,
    clock: Arc<dyn Clock>,
}

/// Why there is no way to a back-end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not a value for a `Host` header.
    #[error("must be a host name, with a port where the application expects one")]
    Host,
    /// The system's certificates or its resolver cannot be used.
    #[error("the system's certificates or its resolver cannot be used")]
    System,
}

impl Wire {
    /// A way to the back-end at `base`, whose path is put in front of every path that is asked for.
    /// `host` replaces the `Host` header where the back-end serves several names.
    ///
    /// # Errors
    /// [`WireError`] where no request could ever be sent.
    pub fn new(
        base: Url,
        host: Option<&str>,
        connect_timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WireError> {
        Self::trusting(&Authorities::default(), base, host, connect_timeout, clock)
    }

    /// The same, among others that trust the same authorities, which are read once for all.
    ///
    /// # Errors
    /// [`WireError`] where no request could ever be sent.
    pub fn trusting(
        authorities: &Authorities,
        base: Url,
        host: Option<&str>,
        connect_timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WireError> {
        if base.scheme() == "https" && !authorities.are_there() {
            return Err(WireError::System);
        }
        let tls = authorities.http().ok_or(WireError::System)?;
        let client = |idle: usize| {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
                .referer(false)
                .connect_timeout(connect_timeout)
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(idle)
                .http1_max_headers(MOST_HEADERS)
                .build()
                .map_err(|_| WireError::System)
        };
        let host = host.map(host_value).transpose()?;
        Ok(Self { pooled: client(POOL_SIZE)?, fresh: client(0)?, base, host, clock })
    }

    /// The same way to another server of the same application, which has no other name.
    #[must_use]
    pub fn to(&self, base: Url) -> Self {
        Self { base, host: None, ..self.clone() }
    }

    /// The address at the other end.
    #[must_use]
    pub const fn base(&self) -> &Url {
        &self.base
    }
    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`Outage`], without a word of what was sent or received.
    pub async fn send(&self, request: &Request) -> Result<Answer, Outage> {
        match self.send_once(request).await {
            // The server may have closed a kept connection just as we used it.
            Err(outage::Failure::Broken(_)) if request.repeatable => self.send_once(request).await,
            other => other,
        }
        .map_err(Outage::from)
    }

    async fn send_once(&self, request: &Request) -> Result<Answer, outage::Failure> {
        let client = if request.repeatable { &self.pooled } else { &self.fresh };
        let url = self.address(&request.target);
        let mut builder = client.request(request.method.clone(), url.clone()).headers(request.headers.clone());
        if let Some(host) = &self.host {
            builder = builder.header(HOST, host);
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        let mut response = builder.send().await.map_err(|error| outage::judge(&error))?;
        let header_bytes: usize =
            response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if header_bytes > LONGEST_HEADERS {
            return Err(outage::Failure::Protocol("its headers are too long"));
        }
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        let mut is_cut = false;
        while let Some(chunk) = response.chunk().await.map_err(|error| outage::judge(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_BODY {
                if request.beginning_only {
                    body.truncate(LONGEST_BODY);
                    is_cut = true;
                    break;
                }
                return Err(outage::Failure::Protocol("its body is too long"));
            }
        }
        let authority = self.host.as_ref().and_then(|host| host.to_str().ok()).map(str::to_owned);
        Ok(Answer::new(status, headers, body, is_cut, url, authority, self.clock.unix()))
    }

    /// Where time comes from, as the answers have it.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The whole address of a path with its query.
    #[must_use]
    pub fn address(&self, target: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let path = format!("{}{path}", self.base.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_query(query);
        url
    }
}

fn host_value(host: &str) -> Result<HeaderValue, WireError> {
    let parsed = Url::parse(&format!("http://{host}/")).map_err(|_| WireError::Host)?;
    let bare = parsed.path() == "/" && parsed.query().is_none() && parsed.username().is_empty();
    if !bare || parsed.fragment().is_some() || parsed.password().is_some() {
        return Err(WireError::Host);
    }
    HeaderValue::from_str(host).map_err(|_| WireError::Host)
}

/// One request, below the back-end's address.
pub struct Request {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    repeatable: bool,
    beginning_only: bool,
}

impl Request {
    /// A `GET` of a path with its query, over a connection of its own.
    #[must_use]
    pub fn get(target: impl Into<String>) -> Self {
        Self::new(Method::GET, target.into())
    }

    /// A `POST` to a path with its query, over a connection of its own.
    #[must_use]
    pub fn post(target: impl Into<String>) -> Self {
        Self::new(Method::POST, target.into())
    }

    /// Any method, of a path with its query, over a connection of its own.
    #[must_use]
    pub fn new(method: Method, target: String) -> Self {
        let headers = HeaderMap::new();
        Self { method, target, headers, body: None, repeatable: false, beginning_only: false }
    }

    /// Adds a header; one that cannot stand in a request (a line break) or is empty is left out.
    #[must_use]
    pub fn header(mut self, name: impl IntoHeaderName, value: &[u8]) -> Self {
        if let Ok(value) = HeaderValue::from_bytes(value)
            && !value.is_empty()
        {
            self.headers.insert(name, value);
        }
        self
    }

    /// Sets the cookies as they stand in the header.
    #[must_use]
    pub fn cookies(self, cookies: &str) -> Self {
        self.header("cookie", cookies.as_bytes())
    }

    /// Sends a form, in UTF-8.
    #[must_use]
    pub fn form(mut self, fields: &[(&str, &str)]) -> Self {
        self.body = Some(form_encoded(fields).into_bytes());
        self.header("content-type", b"application/x-www-form-urlencoded")
    }

    /// Sends JSON.
    #[must_use]
    pub fn json(mut self, value: &serde_json::Value) -> Self {
        self.body = Some(value.to_string().into_bytes());
        self.header("content-type", b"application/json")
    }

    /// Sends these bytes, of which a header says what they are.
    #[must_use]
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }

    /// Says that this may be sent twice: over a kept connection, and once more when that broke.
    #[must_use]
    pub const fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Says that the first 256 KiB of the body are enough; else more is an outage.
    #[must_use]
    pub const fn beginning_only(mut self) -> Self {
        self.beginning_only = true;
        self
    }
}

/// Whether a text can stand in a header.
#[must_use]
pub fn is_header_value(text: &str) -> bool {
    HeaderValue::from_bytes(text.as_bytes()).is_ok()
}

/// Everything but what RFC 3986 leaves alone: a `+` for a blank is not understood by everyone.
pub const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `name=value&…`, percent-encoded.
#[must_use]
pub fn form_encoded(fields: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend(utf8_percent_encode(name, FORM));
        text.push('=');
        text.extend(utf8_percent_encode(value, FORM));
    }
    text
}
