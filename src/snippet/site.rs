//! What the configuration means to a web server, checked so that none of it can write configuration of its own.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use url::Url;

use crate::config::RouteSettings;
use crate::domain::{ListenAddress, UrlKey};

/// Everything that a web server's configuration is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where the web server itself is to listen.
    pub public: SocketAddr,
    /// Where it asks over HTTP, and where Keyward's own pages are.
    pub auth: Door,
    /// Where it asks over FastCGI, if that is on.
    pub fastcgi: Option<Door>,
    /// Where it asks over gRPC, if that is on.
    pub grpc: Option<Door>,
    /// The headers for user, name, e-mail address and groups, as they are written.
    pub identity_headers: [String; 4],
    /// Where people end who sign out, as it stands in a query.
    pub signed_out: Option<String>,
    /// Most bytes of headers in an answer of Keyward: what the web server's buffers must hold.
    pub answer_limit: usize,
    /// The longest time that a question may take: a portal that is asked, and a login.
    pub longest_question: Duration,
    /// The hosts, in the order of the routes.
    pub hosts: Vec<Host>,
}

/// An address of ours, as a web server is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// A port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(String),
}

/// One host name with everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name, in lower case, without port.
    pub name: String,
    /// What is where, the longest path first.
    pub places: Vec<Place>,
}

/// A path and what is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A prefix of whole segments, without a slash at its end; empty for the root.
    pub path: String,
    /// The application, where the route names one.
    pub upstream: Option<Upstream>,
    /// Whether Keyward may go by the client's `Authorization` here.
    pub takes_authorization: bool,
    /// Whether the application has a key in the query that only the web server could put there.
    pub lacks_key: bool,
}

/// An application, as the web server reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The name of the back-end in the configuration: letters, digits, `-` and `_`.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Whether it is spoken to by https.
    pub secure: bool,
    /// Its host, an address in brackets where it is one of IPv6, and its port.
    pub authority: String,
    /// Whether it has a key in the query.
    pub query_key: bool,
    /// Names of cookies that browsers get from Keyward for its scripts.
    pub script_cookies: Vec<String>,
}

/// Why no configuration can be written, in words that name the key and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {message}")]
pub struct SnippetError {
    /// The key in the configuration.
    pub key: String,
    /// What is wrong with it, and what to do.
    pub message: String,
}

impl Site {
    /// Itself, once nothing in it can mean something else in a configuration file.
    ///
    /// # Errors
    /// The first value that could.
    pub fn checked(self) -> Result<Self, SnippetError> {
        for header in &self.identity_headers {
            check("headers", header, b"-")?;
        }
        Ok(self)
    }

    /// How many seconds a web server waits for an answer: longer than the longest question, so that Keyward says
    /// itself what took so long.
    #[must_use]
    pub fn patience(&self) -> u64 {
        self.longest_question.as_secs() + 1
    }

    /// The places of all hosts.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.hosts.iter().flat_map(|host| &host.places)
    }

    /// The applications behind all routes, each once, in the order of the hosts.
    #[must_use]
    pub fn upstreams(&self) -> Vec<&Upstream> {
        let mut upstreams = Vec::new();
        for upstream in self.places().filter_map(|place| place.upstream.as_ref()) {
            if !upstreams.contains(&upstream) {
                upstreams.push(upstream);
            }
        }
        upstreams
    }

    /// An address as it stands in the query of another.
    #[must_use]
    pub fn in_query(url: &Url) -> String {
        let mut text = String::new();
        for byte in url.as_str().bytes() {
            match byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
                true => text.push(char::from(byte)),
                false => text.push_str(&format!("%{byte:02X}")),
            }
        }
        text
    }
}

impl SnippetError {
    /// An error at a key.
    pub fn at(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

impl Door {
    /// The address as a web server can be told of it.
    ///
    /// # Errors
    /// The path of a socket that means something else in some configuration file.
    pub fn new(key: &str, address: &ListenAddress) -> Result<Self, SnippetError> {
        match address {
            ListenAddress::Tcp(address) => {
                // Everywhere is where we listen; asked we are from beside.
                let beside: IpAddr =
                    if address.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
                let ip = if address.ip().is_unspecified() { beside } else { address.ip() };
                Ok(Self::Tcp(SocketAddr::new(ip, address.port())))
            }
            ListenAddress::Unix { path, .. } => {
                let path = path.display().to_string();
                check(key, &path, b"/-._")?;
                Ok(Self::Unix(path))
            }
        }
    }
}

/// `ip:port`, or `unix:/path`.
impl fmt::Display for Door {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{path}"),
        }
    }
}

impl Upstream {
    /// The application at an address.
    ///
    /// # Errors
    /// A name or an address that means something else in some configuration file.
    pub fn new(name: &str, kind: &str, url: &Url) -> Result<Self, SnippetError> {
        let key = format!("backend[{name}].url");
        check(&format!("backend[{name}].name"), name, b"-_")?;
        check(&format!("backend[{name}].kind"), kind, b"-_")?;
        let host = url.host_str().unwrap_or_default();
        check(&key, host, b"-._[]:")?;
        let port = url.port_or_known_default().ok_or_else(|| SnippetError::at(&key, "has no port; write one"))?;
        let authority = format!("{host}:{port}");
        let (name, kind) = (name.to_owned(), kind.to_owned());
        let secure = url.scheme() == "https";
        Ok(Self { name, kind, secure, authority, query_key: false, script_cookies: Vec::new() })
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// The same with what it wants of addresses and browsers.
    ///
    /// # Errors
    /// A cookie whose name means something else in some configuration file.
    pub fn wanting(self, query_key: bool, script_cookies: Vec<String>) -> Result<Self, SnippetError> {
        for cookie in &script_cookies {
            check(&format!("backend[{}].keys.script_cookies", self.name), cookie, b"-_.")?;
        }
        Ok(Self { query_key, script_cookies, ..self })
    }
}

impl Host {
    /// What is behind a place: its own application, or else that of the place around it.
    #[must_use]
    pub fn behind(&self, place: &Place) -> Option<&Upstream> {
        let is_around = |other: &&Place| {
            place.path.strip_prefix(&other.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.places.iter().filter(is_around).find_map(|around| around.upstream.as_ref())
    }

    /// All hosts of these routes, in their order. Where several routes share a path, the first says what is behind it.
    ///
    /// # Errors
    /// Two routes that send one path to different applications by its method.
    pub fn of_routes(routes: &[RouteSettings], upstreams: &[Upstream]) -> Result<Vec<Self>, SnippetError> {
        let mut hosts: Vec<Self> = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let key = format!("route[{}]", index + 1);
            check(&format!("{key}.host"), &route.host, b"-._[]:")?;
            check(&format!("{key}.path"), &route.path, b"/-._~")?;
            let at = match hosts.iter().position(|host| host.name == route.host) {
                Some(at) => at,
                None => {
                    hosts.push(Self { name: route.host.clone(), places: Vec::new() });
                    hosts.len() - 1
                }
            };
            let upstream = upstreams.iter().find(|upstream| route.backend.as_ref() == Some(&upstream.name)).cloned();
            let has_key = upstream.as_ref().is_some_and(|upstream| upstream.query_key);
            let lacks_key = has_key && !route.public && route.url_key == UrlKey::Upstream;
            let places = &mut hosts[at].places;
            match places.iter_mut().find(|place| place.path == route.path) {
                Some(place) if place.upstream == upstream => {
                    place.takes_authorization |= route.authorization;
                    place.lacks_key |= lacks_key;
                }
                Some(_) => {
                    let message = "leads to another back-end than an earlier route with the same host and path; \
                                   no web server can be told that, give it a path of its own";
                    return Err(SnippetError::at(key, message));
                }
                None => {
                    let (path, takes_authorization) = (route.path.clone(), route.authorization);
                    places.push(Place { path, upstream, takes_authorization, lacks_key });
                }
            }
        }
        for host in &mut hosts {
            host.places.sort_by_key(|place| std::cmp::Reverse(place.path.len()));
        }
        Ok(hosts)
    }
}

/// Letters, digits and these, and not nothing unless it is a path.
pub(super) fn check(key: &str, value: &str, more: &[u8]) -> Result<(), SnippetError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
    if value.bytes().all(plain) {
        return Ok(());
    }
    let allowed: Vec<String> = more.iter().map(|byte| char::from(*byte).to_string()).collect();
    let message = format!(
        "is {value:?}, which could mean something else in a web server's configuration; \
         only letters, digits and {} can be written there",
        allowed.join(" ")
    );
    Err(SnippetError::at(key, message))
}
