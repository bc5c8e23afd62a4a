//! What a back-end answered, and how to read it.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::{AsHeaderName, DATE, HeaderMap, LOCATION, RETRY_AFTER, SET_COOKIE};
use url::Url;

use crate::domain::Outage;
use crate::domain::UnixSeconds;

/// A complete answer.
pub struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    /// Whether the body went on.
    is_cut: bool,
    asked: Url,
    /// The host that was named in the request, where it is not the address's own.
    authority: Option<String>,
    received: UnixSeconds,
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Answer({})", self.status)
    }
}

/// Where a redirect leads. It is judged, never followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// To the same server: the path and, without its `?`, the query.
    Here {
        /// The path.
        path: String,
        /// The query, empty if there was none.
        query: String,
    },
    /// To another scheme, host or port.
    Elsewhere,
    /// To something that is no address.
    Unreadable,
}

impl Location {
    /// The first value of this name in the query.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        let Self::Here { query, .. } = self else { return None };
        url::form_urlencoded::parse(query.as_bytes()).find_map(|(key, value)| (key == name).then(|| value.into_owned()))
    }
}

/// One `Set-Cookie` line.
#[derive(Clone, PartialEq, Eq)]
pub struct SetCookie {
    /// The cookie's name.
    pub name: String,
    /// Its value, as it stands there.
    pub value: String,
    /// Whether the line takes the cookie away.
    pub deletes: bool,
}

impl fmt::Debug for SetCookie {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SetCookie({})", self.name)
    }
}

impl Answer {
    pub(super) const fn new(
        status: u16,
        headers: HeaderMap,
        body: Vec<u8>,
        is_cut: bool,
        asked: Url,
        authority: Option<String>,
        received: UnixSeconds,
    ) -> Self {
        Self { status, headers, body, is_cut, asked, authority, received }
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The body as text; what is no UTF-8 in it is replaced.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Whether this is the beginning of a longer body, so that nothing follows from what is missing in it.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// A header's first value, if it is text.
    #[must_use]
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The outage that the status alone tells of: any 5xx, and 429.
    #[must_use]
    pub fn outage(&self) -> Option<Outage> {
        let retry_after = || {
            let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
            let seconds = text.parse().ok().or_else(|| {
                let when = unix(httpdate::parse_http_date(text).ok()?);
                Some(when.saturating_sub(self.server_time()))
            });
            seconds.map(Duration::from_secs)
        };
        match self.status {
            429 => Some(Outage::Throttled { retry_after: retry_after() }),
            503 if retry_after().is_some() => Some(Outage::Throttled { retry_after: retry_after() }),
            500..=599 => Some(Outage::Unreachable(format!("it answered with status {}", self.status))),
            _ => None,
        }
    }

    /// The answer, unless its status tells of an outage.
    ///
    /// # Errors
    /// What [`outage`](Self::outage) tells.
    pub fn or_outage(self) -> Result<Self, Outage> {
        self.outage().map_or(Ok(self), Err)
    }

    /// Whether the status is one of a redirect.
    #[must_use]
    pub const fn redirects(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }

    /// Where the `Location` header leads, if there is one.
    #[must_use]
    pub fn location(&self) -> Option<Location> {
        let value = self.headers.get(LOCATION)?;
        let target = value.to_str().ok().and_then(|text| self.asked.join(text).ok());
        let Some(target) = target else { return Some(Location::Unreadable) };
        let named =
            self.authority.as_deref().and_then(|host| Url::parse(&format!("{}://{host}/", self.asked.scheme())).ok());
        let same = |known: &Url| known.origin() == target.origin();
        if !same(&self.asked) && !named.as_ref().is_some_and(same) {
            return Some(Location::Elsewhere);
        }
        Some(Location::Here { path: target.path().to_owned(), query: target.query().unwrap_or_default().to_owned() })
    }

    /// What stands behind the `#` of the `Location` header, wherever it leads. That part of an address is
    /// for the browser alone, so some applications hand it their keys there.
    #[must_use]
    pub fn location_fragment(&self) -> Option<String> {
        let text = self.headers.get(LOCATION)?.to_str().ok()?;
        Some(self.asked.join(text).ok()?.fragment()?.to_owned())
    }

    /// Whether the `Location` header leads to the server at this address, whatever the path.
    #[must_use]
    pub fn leads_to(&self, server: &Url) -> bool {
        let target = self.headers.get(LOCATION).and_then(|value| self.asked.join(value.to_str().ok()?).ok());
        target.is_some_and(|target| target.origin() == server.origin())
    }

    /// All `Set-Cookie` lines that can be read, in order.
    #[must_use]
    pub fn set_cookies(&self) -> Vec<SetCookie> {
        self.headers.get_all(SET_COOKIE).iter().filter_map(|line| self.set_cookie(line.to_str().ok()?)).collect()
    }

    /// What the cookies of this answer come to, as a browser would keep them: the last line of a
    /// name wins, and a deletion deletes.
    #[must_use]
    pub fn cookies_left(&self) -> Vec<SetCookie> {
        let mut left: Vec<SetCookie> = Vec::new();
        for cookie in self.set_cookies() {
            left.retain(|held| held.name != cookie.name);
            left.push(cookie);
        }
        left.retain(|cookie| !cookie.deletes);
        left
    }

    fn set_cookie(&self, line: &str) -> Option<SetCookie> {
        let mut parts = line.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let (mut age, mut expires) = (None, None);
        for attribute in parts {
            let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            if key.trim().eq_ignore_ascii_case("max-age") {
                age = value.trim().parse::<i64>().ok();
            } else if key.trim().eq_ignore_ascii_case("expires") {
                // Old PHP writes `Thu, 01-Jan-1970 …`, which is in no standard.
                expires = httpdate::parse_http_date(&value.trim().replace('-', " ")).ok().map(unix);
            }
        }
        let deletes = match (age, expires) {
            (Some(age), _) => age <= 0,
            (None, Some(expires)) => expires <= self.server_time(),
            (None, None) => false,
        };
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        (!name.is_empty()).then_some(SetCookie { name, value, deletes })
    }

    /// The time at the server: its dates are meant on its own clock, which may be wrong.
    #[must_use]
    pub fn server_time(&self) -> UnixSeconds {
        let date = self.headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        date.map_or(self.received, unix)
    }
}

fn unix(time: std::time::SystemTime) -> UnixSeconds {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
