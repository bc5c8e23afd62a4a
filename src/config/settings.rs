use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use tracing::level_filters::LevelFilter;

use super::api::read_api;
use super::backend::BackendSettings;
use super::document::Document;
use super::mistake::Mistakes;
use super::portal::PortalSettings;
use super::route::RouteSettings;
use super::section::Section;
use crate::domain::{ApiKey, ListenAddress};
use crate::observe::logging::Format;

/// A configuration whose portals and back-ends have not been built yet.
///
/// Only their kinds can say whether their settings are right, so whether there is a mistake is
/// known when all of them were built: [`Mistakes::unless_any`].
pub struct Draft {
    /// What needs no kind to be understood.
    pub settings: Settings,
    /// `[[portal]]`, in order.
    pub portals: Vec<PortalSettings>,
    /// `[[backend]]`, in order.
    pub backends: Vec<BackendSettings>,
    /// `[pages]`, for whoever makes the pages.
    pub pages: Section,
    /// `[store]`, for whoever contacts it.
    pub store: Section,
    /// What was noted so far, and what the kinds will note.
    pub mistakes: Mistakes,
}

/// The configuration as the program uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `[listen] auth`.
    pub auth: ListenAddress,
    /// `[listen] ops`, off when it is written as `"off"`.
    pub ops: Option<ListenAddress>,
    /// `[listen] api`, off unless it is written.
    pub api: Option<ListenAddress>,
    /// `[listen] fastcgi`, likewise.
    pub fastcgi: Option<ListenAddress>,
    /// `[listen] grpc`, likewise.
    pub grpc: Option<ListenAddress>,
    /// `[[api.key]]`: who may call the portal's API.
    pub api_keys: Vec<ApiKey>,
    /// `[trust] proxies`: addresses that may say what the original request was.
    pub proxies: Vec<IpNet>,
    /// Whether peers on Unix sockets may, too (`"unix"` in `[trust] proxies`).
    pub trust_unix: bool,
    /// `[limits] answer`: most bytes of headers in an answer.
    pub answer_limit: usize,
    /// `[limits] keys`: most back-end sessions held.
    pub key_limit: usize,
    /// `[limits] sessions`: most portal sessions that Keyward itself keeps.
    pub session_limit: usize,
    /// `[limits] drain_timeout`: longest wait for running requests after `SIGTERM`.
    pub drain_timeout: Duration,
    /// `[log] level`.
    pub log_level: LevelFilter,
    /// `[log] format`.
    pub log_format: Format,
    /// `[logout] return_to`: addresses where a browser may go after sign-out, compared whole.
    pub logout_return_to: Vec<url::Url>,
    /// `[headers]`: names of the identity headers: user, name, email, groups.
    pub identity_headers: [String; 4],
    /// `[[route]]`, in order.
    pub routes: Vec<RouteSettings>,
}

const DEFAULT_AUTH: ListenAddress = ListenAddress::loopback(8420);
const DEFAULT_OPS: ListenAddress = ListenAddress::loopback(9420);
const DEFAULT_PROXIES: [&str; 3] = ["127.0.0.0/8", "::1/128", "unix"];
/// Keys and defaults under `[headers]`.
const IDENTITY_HEADERS: [(&str, &str); 4] =
    [("user", "Remote-User"), ("name", "Remote-Name"), ("email", "Remote-Email"), ("groups", "Remote-Groups")];
/// Headers that mean something else in an answer to a web server, and beginnings of such.
const RESERVED_HEADERS: [&str; 20] = [
    "accept",
    "authorization",
    "cache-control",
    "connection",
    "content-",
    "cookie",
    "date",
    "host",
    "keep-alive",
    "location",
    "proxy-",
    "referrer-policy",
    "retry-after",
    "server",
    "set-cookie",
    "status",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const RESERVED_X_HEADERS: [&str; 7] =
    ["x-accel-", "x-forwarded-", "x-keyward-", "x-original-", "x-real-ip", "x-set-cookie", "x-upstream-"];

impl Draft {
    /// Reads everything but the settings of the kinds.
    #[must_use]
    pub fn read(document: Document) -> Self {
        let mut root = document.into_section();
        let mistakes = root.shared_mistakes();
        let Listen { auth, ops, api, fastcgi, grpc } = read_listen(&mut root);
        let (proxies, trust_unix) = read_trust(&mut root);
        let mut limits = root.section("limits");
        let answer_limit = limits.integer("answer", 16 * 1024, 4096..=1024 * 1024);
        let key_limit = limits.integer("keys", 1_000_000, 1..=100_000_000);
        let session_limit = limits.integer("sessions", 1_000_000, 1..=100_000_000);
        let drain_timeout = limits.duration("drain_timeout", Duration::from_secs(10));
        limits.finish();
        let (log_level, log_format) = read_log(&mut root);
        let logout_return_to = read_return_to(&mut root);
        let identity_headers = read_headers(&mut root);
        let pages = root.section("pages");
        let store = root.section("store");
        let portals = PortalSettings::read_all(&mut root);
        let api_keys = read_api(&mut root, &portals, api.is_some());
        let backends = BackendSettings::read_all(&mut root);
        let routes = RouteSettings::read_all(&mut root, &portals, &backends);
        if routes.is_empty() {
            root.mistake("route", "is missing; write [[route]] with host and portal, or every request is denied");
        }
        root.finish();
        let settings = Settings {
            auth,
            ops,
            api,
            fastcgi,
            grpc,
            api_keys,
            proxies,
            trust_unix,
            answer_limit: usize::try_from(answer_limit).unwrap_or(usize::MAX),
            key_limit: usize::try_from(key_limit).unwrap_or(usize::MAX),
            session_limit: usize::try_from(session_limit).unwrap_or(usize::MAX),
            drain_timeout,
            log_level,
            log_format,
            logout_return_to,
            identity_headers,
            routes,
        };
        Self { settings, portals, backends, pages, store, mistakes }
    }
}

/// `[listen]`.
struct Listen {
    auth: ListenAddress,
    ops: Option<ListenAddress>,
    api: Option<ListenAddress>,
    fastcgi: Option<ListenAddress>,
    grpc: Option<ListenAddress>,
}

fn read_listen(root: &mut Section) -> Listen {
    let mut listen = root.section("listen");
    let auth = ListenAddress::read(&mut listen, "auth", "auth_mode", Some(DEFAULT_AUTH)).unwrap_or_else(|| {
        listen.mistake("auth", "cannot be off; without it nobody could be asked");
        DEFAULT_AUTH
    });
    let ops = ListenAddress::read(&mut listen, "ops", "ops_mode", Some(DEFAULT_OPS));
    let api = ListenAddress::read(&mut listen, "api", "api_mode", None);
    let fastcgi = ListenAddress::read(&mut listen, "fastcgi", "fastcgi_mode", None);
    let grpc = ListenAddress::read(&mut listen, "grpc", "grpc_mode", None);
    if grpc.is_some() && !cfg!(feature = "grpc") {
        listen.mistake("grpc", "is written, and this program was built without gRPC; take one that has it, or \"off\"");
    }
    let mut taken = vec![("auth", &auth)];
    for (key, address) in [("ops", &ops), ("api", &api), ("fastcgi", &fastcgi), ("grpc", &grpc)] {
        let Some(address) = address else { continue };
        if let Some((other, _)) = taken.iter().find(|(_, other)| address.collides_with(other)) {
            listen.mistake(key, &format!("collides with {other}; each listener needs an address of its own"));
        }
        taken.push((key, address));
    }
    listen.finish();
    Listen { auth, ops, api, fastcgi, grpc }
}

fn read_trust(root: &mut Section) -> (Vec<IpNet>, bool) {
    let mut trust = root.section("trust");
    let entries = trust.texts("proxies").unwrap_or_else(|| DEFAULT_PROXIES.map(str::to_owned).to_vec());
    if entries.is_empty() {
        trust.mistake("proxies", "is empty, so every request would be refused; leave it out for the default");
    }
    let mut networks = Vec::new();
    let mut unix = false;
    for (index, entry) in entries.iter().enumerate() {
        if entry == "unix" {
            unix = true;
            continue;
        }
        match parse_network(entry) {
            Ok(network) => networks.push(network),
            Err(message) => trust.mistake(&format!("proxies[{}]", index + 1), &message),
        }
    }
    trust.finish();
    (networks, unix)
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let Ok(network) = parsed else {
        return Err("must be an address, a network such as \"10.0.0.0/8\", or \"unix\"".to_owned());
    };
    if network.prefix_len() == 0 {
        return Err("trusts everybody; name the web servers".to_owned());
    }
    // 10.0.0.5/8 is far more often a slip than a wish, and it trusts sixteen million machines.
    if network != network.trunc() {
        return Err(format!(
            "names one address and a network; write \"{}\" or \"{}\"",
            network.addr(),
            network.trunc()
        ));
    }
    Ok(network)
}

fn read_log(root: &mut Section) -> (LevelFilter, Format) {
    let mut log = root.section("log");
    let level = log.choice(
        "level",
        LevelFilter::INFO,
        &[
            ("error", LevelFilter::ERROR),
            ("warn", LevelFilter::WARN),
            ("info", LevelFilter::INFO),
            ("debug", LevelFilter::DEBUG),
            ("trace", LevelFilter::TRACE),
        ],
    );
    let format =
        log.choice("format", Format::Auto, &[("auto", Format::Auto), ("json", Format::Json), ("text", Format::Text)]);
    log.finish();
    (level, format)
}

fn read_return_to(root: &mut Section) -> Vec<url::Url> {
    let mut logout = root.section("logout");
    let addresses = logout.urls("return_to");
    logout.finish();
    addresses
}

fn read_headers(root: &mut Section) -> [String; 4] {
    let mut headers = root.section("headers");
    let names = IDENTITY_HEADERS.map(|(key, default)| headers.text(key).unwrap_or_else(|| default.to_owned()));
    for (index, name) in names.iter().enumerate() {
        let key = IDENTITY_HEADERS[index].0;
        let lower = name.to_ascii_lowercase();
        // By this name, web servers that speak FastCGI know it.
        let variable = |name: &str| name.strip_prefix("x-").unwrap_or(name).to_owned();
        let as_x = format!("x-{}", variable(&lower));
        let is_taken = |other: &String| variable(&other.to_ascii_lowercase()) == variable(&lower);
        // No underscore: nginx drops such headers, and in CGI it is the same as a hyphen.
        let plain = lower.starts_with(|c: char| c.is_ascii_lowercase())
            && lower.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !plain || lower.len() > 64 {
            headers.mistake(key, "must be a header name of letters, digits and hyphens");
        } else if RESERVED_HEADERS.iter().any(|reserved| is_reserved(&lower, reserved))
            || RESERVED_X_HEADERS.iter().any(|reserved| is_reserved(&as_x, reserved))
        {
            headers.mistake(key, "is a header that has a meaning of its own; take another");
        } else if names[..index].iter().any(is_taken) {
            headers.mistake(key, "is the name of another identity header, but for an X- perhaps; give each its own");
        }
    }
    headers.finish();
    names
}

/// Names are reserved whole, families of names (written with a hyphen at the end) by their beginning.
fn is_reserved(name: &str, reserved: &str) -> bool {
    name == reserved || ((reserved.ends_with('-') || reserved == "x-set-cookie") && name.starts_with(reserved))
}
