use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;
use crate::domain::LoginName;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `ip:port`.
    Tcp(SocketAddr),
    /// `unix:/path`, with the file's mode.
    Unix {
        /// The socket's path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix { path, .. } => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// The whole configuration, checked as far as it can be without knowing the kinds.
pub struct Settings {
    /// `[listen] auth`.
    pub auth: ListenAddress,
    /// `[listen] ops`, off when it is written as `"off"`.
    pub ops: Option<ListenAddress>,
    /// `[trust] proxies`: addresses that may say what the original request was.
    pub proxies: Vec<ipnet::IpNet>,
    /// Whether peers on Unix sockets may, too (`"unix"` in `[trust] proxies`).
    pub trust_unix: bool,
    /// `[limits] answer`: most bytes of headers in an answer.
    pub answer_limit: usize,
    /// `[limits] keys`: most back-end sessions held.
    pub key_limit: usize,
    /// `[limits] drain_timeout`: longest wait for running requests after `SIGTERM`.
    pub drain_timeout: Duration,
    /// `[log] level`.
    pub log_level: tracing::level_filters::LevelFilter,
    /// `[log] format`.
    pub log_format: crate::observe::logging::Format,
    /// `[logout] return_to`: addresses where a browser may go after sign-out, compared whole.
    pub logout_return_to: Vec<url::Url>,
    /// `[headers]`: names of the identity headers: user, name, email, groups.
    pub identity_headers: [String; 4],
    /// `[[portal]]`.
    pub portals: Vec<PortalSettings>,
    /// `[[backend]]`.
    pub backends: Vec<BackendSettings>,
    /// `[[route]]`, in order.
    pub routes: Vec<RouteSettings>,
}

/// One `[[portal]]`. What its kind wants stands in `section`, to be read and finished by the kind.
pub struct PortalSettings {
    /// Its name, unique.
    pub name: String,
    /// Its kind, not looked up yet.
    pub kind: String,
    /// Where people sign in; `{url}` stands for the address to return to.
    pub login_url: String,
    /// The rest.
    pub section: Section,
}

/// One `[[backend]]`. What its kind wants stands in `section`, to be read and finished by the kind.
pub struct BackendSettings {
    /// Its name, unique.
    pub name: String,
    /// Its kind, not looked up yet.
    pub kind: String,
    /// Where it is reached, server-side.
    pub url: url::Url,
    /// `credentials`: what the login uses.
    pub credentials: CredentialSource,
    /// `login`: the template of the name used there.
    pub login: LoginName,
    /// Deadlines and limits.
    pub limits: BackendLimits,
    /// `[backend.roles]`: external role to internal one; empty for "as they are".
    pub roles: Vec<(String, String)>,
    /// The rest.
    pub section: Section,
}

/// What a login at a back-end uses (`credentials`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// The password that came with the portal session.
    Portal,
    /// Nothing but the name.
    None,
}

/// Deadlines and limits that every back-end has, whatever its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendLimits {
    /// What one request waits for a login, queueing included; also the deadline of the login itself.
    pub login_timeout: Duration,
    /// Logins at once.
    pub max_logins: usize,
    /// Longest time without a decision before the session is ended.
    pub idle_timeout: Duration,
    /// Longest life of a session.
    pub max_age: Duration,
    /// Time between refreshes of a session that is in use.
    pub keep_alive_interval: Duration,
    /// How long a refused password is remembered.
    pub refused_for: Duration,
    /// First pause after an outage; doubles up to one minute.
    pub failure_backoff: Duration,
}

/// One `[[route]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// Host name in lower case, without port.
    pub host: String,
    /// Prefix of whole segments, without a slash at its end; empty for the root.
    pub path: String,
    /// Methods, empty for all.
    pub methods: Vec<String>,
    /// Name of a portal; none only where `public`.
    pub portal: Option<String>,
    /// Name of a back-end, if the route has one.
    pub backend: Option<String>,
    /// Any of these; empty for every signed-in user.
    pub roles: Vec<String>,
    /// Whether everybody may.
    pub public: bool,
}
