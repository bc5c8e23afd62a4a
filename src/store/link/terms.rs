//! How the store is reached, as `[store]` says it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Section, read_secret_file, trusting};
use crate::domain::{ExposeSecret, Secret};

/// Default of `[store] timeout`.
const TIMEOUT: Duration = Duration::from_millis(500);
const NO_ADDRESS: &str = "must be host:port, such as \"127.0.0.1:6379\" or \"[::1]:6379\"";

/// Which store it is. Another one would know nothing of what is in this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct LinkTerms {
    pub mode: Mode,
    pub addresses: Vec<Address>,
    /// What the Sentinels call the primary; empty without any.
    pub sentinel_name: String,
    pub database: i64,
    pub prefix: String,
}

/// What may change while running.
pub(in crate::store) struct Access {
    /// Longest time that a call takes.
    pub timeout: Duration,
    pub tls: Option<TlsConnector>,
    pub login: Login,
    /// For the Sentinels.
    pub sentinel_login: Login,
}

/// How many servers there are, and how the one to ask is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Mode {
    Single,
    Sentinel,
    Cluster,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// As whom we come.
#[derive(Clone, Default)]
pub(in crate::store) struct Login {
    pub user: Option<String>,
    password: Option<Password>,
}

#[derive(Clone)]
enum Password {
    Given(Secret),
    /// Read again for every connection.
    InFile(PathBuf),
}

impl Login {
    /// The password as it is now, if there is any.
    ///
    /// # Errors
    /// Its file cannot be read, or is empty: it is just being written.
    pub fn password(&self) -> std::io::Result<Option<Secret>> {
        match &self.password {
            None => Ok(None),
            Some(Password::Given(secret)) => Ok(Some(secret.clone())),
            Some(Password::InFile(path)) => match read_secret_file(path)? {
                secret if secret.expose_secret().is_empty() => Err(std::io::Error::other("it is empty")),
                secret => Ok(Some(secret)),
            },
        }
    }

    /// Whether the password is another one than this.
    pub fn has_changed_from(&self, password: Option<&Secret>) -> bool {
        let old = password.map(ExposeSecret::expose_secret);
        matches!(self.password(), Ok(Some(secret)) if Some(secret.expose_secret()) != old)
    }
}

impl Address {
    /// From `host:port` or `[address]:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').filter(|host| host.parse::<std::net::Ipv6Addr>().is_ok())?,
            // More than one colon without brackets could mean anything.
            None => Some(host).filter(|host| !host.contains(':'))?,
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        let is_host = !host.is_empty() && host.bytes().all(plain);
        is_host.then(|| Self::Tcp { host: host.to_owned(), port })
    }

    fn is_here(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => {
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// Reads what `[store]` says of the way there.
pub(in crate::store) fn read(section: &mut Section) -> Option<(LinkTerms, Access)> {
    let modes = [("single", Mode::Single), ("sentinel", Mode::Sentinel), ("cluster", Mode::Cluster)];
    let mode = section.choice("mode", Mode::Single, &modes);
    let addresses = read_addresses(section, mode);
    let tls = read_tls(section);
    let login = read_login(section, "user", ("password", "password_file"));
    let sentinel_login = read_login(section, "sentinel_user", ("sentinel_password", "sentinel_password_file"));
    let sentinel_name = section.text("sentinel_name").unwrap_or_default();
    match mode {
        Mode::Sentinel if sentinel_name.is_empty() => section.mistake(
            "sentinel_name",
            "is missing; write what the Sentinels call the primary, the name in their `sentinel monitor` line",
        ),
        Mode::Single | Mode::Cluster if !sentinel_name.is_empty() => {
            section.mistake("sentinel_name", "has a meaning only with mode = \"sentinel\"; leave it out");
        }
        _ => {}
    }
    if mode != Mode::Sentinel && sentinel_login.password.is_some() {
        section.mistake("sentinel_password", "has a meaning only with mode = \"sentinel\"; leave it out");
    }
    let database = section.integer("database", 0, 0..=65535);
    if mode == Mode::Cluster && database != 0 {
        section.mistake("database", "must be 0 with mode = \"cluster\": a Cluster has no other");
    }
    let is_open = matches!(tls, Some(None)) && addresses.iter().any(|address| !address.is_here());
    if is_open && login.password.is_some() {
        section.warn(
            "tls",
            "is off and a server is elsewhere, so that the password crosses the network as it is; write tls = true",
        );
    }
    let prefix = section.text("prefix").unwrap_or_else(|| "keyward".to_owned());
    if prefix.is_empty() || prefix.len() > 64 || prefix.bytes().any(|byte| b"{}".contains(&byte) || byte <= b' ') {
        section.mistake("prefix", "must have 1 to 64 characters, without braces and spaces");
    }
    let timeout = section.duration("timeout", TIMEOUT);
    let database = i64::try_from(database).unwrap_or_default();
    let terms = LinkTerms { mode, addresses, sentinel_name, database, prefix };
    Some((terms, Access { timeout, tls: tls?, login, sentinel_login }))
}

fn read_addresses(section: &mut Section, mode: Mode) -> Vec<Address> {
    let texts = section.text_or_texts("addresses").unwrap_or_default();
    if texts.is_empty() && !section.noted("addresses") {
        let what = match mode {
            Mode::Single => "the server listens, such as [\"127.0.0.1:6379\"]",
            Mode::Sentinel => "the Sentinels listen, such as [\"10.0.0.1:26379\", \"10.0.0.2:26379\"]",
            Mode::Cluster => "some of its nodes listen, such as [\"10.0.0.1:6379\", \"10.0.0.2:6379\"]",
        };
        section.mistake("addresses", &format!("is missing; write where {what}"));
    }
    if mode == Mode::Single && texts.len() > 1 {
        let what = "must be one address; for several servers write mode = \"sentinel\" or mode = \"cluster\"";
        section.mistake("addresses", what);
    }
    let mut addresses = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let place = format!("addresses[{}]", index + 1);
        match (text.strip_prefix("unix:"), Address::parse(text)) {
            (Some(_), _) if mode != Mode::Single => {
                section.mistake(&place, "is a socket, and only mode = \"single\" has those; write host:port");
            }
            (Some(path), _) if Path::new(path).is_absolute() => addresses.push(Address::Unix(path.into())),
            (Some(_), _) => section.mistake(&place, "must have an absolute path after unix:"),
            (None, Some(address)) => addresses.push(address),
            (None, None) => section.mistake(&place, NO_ADDRESS),
        }
    }
    addresses
}

fn read_login(section: &mut Section, user_key: &'static str, keys: (&'static str, &'static str)) -> Login {
    let (key, file_key) = keys;
    let user = section.text(user_key);
    let given = section.has(key) || section.has(file_key);
    let password = section.secret_and_file(key, file_key).map(|(secret, file)| match file {
        Some(file) => Password::InFile(file),
        None => Password::Given(secret),
    });
    if user.is_some() && !given {
        section.mistake(key, &format!("is missing: {user_key} without a password is nobody; give {key} or {file_key}"));
    }
    Login { user, password }
}

/// `None` after a mistake.
#[expect(clippy::option_option, reason = "the inner one is whether there is any, the outer one whether it is right")]
fn read_tls(section: &mut Section) -> Option<Option<TlsConnector>> {
    let is_on = section.flag("tls", false);
    let [ca_file, certificate_file, key_file] =
        ["ca_file", "certificate_file", "key_file"].map(|key| (key, section.text(key)));
    if !is_on {
        for (key, _) in [ca_file, certificate_file, key_file].into_iter().filter(|(_, file)| file.is_some()) {
            section.mistake(key, "has a meaning only with tls = true; write that, or leave it out");
        }
        return Some(None);
    }
    let config = trusting(section, ca_file.1.as_deref())?;
    let config = match (certificate_file.1, key_file.1) {
        (None, None) => config.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
            let Some(chain) = chain.ok().filter(|chain| !chain.is_empty()) else {
                section.mistake("certificate_file", "names a file that cannot be read, or holds no certificate in PEM");
                return None;
            };
            let Ok(key) = PrivateKeyDer::from_pem_file(key) else {
                section.mistake("key_file", "names a file that cannot be read, or holds no private key in PEM");
                return None;
            };
            match config.with_client_auth_cert(chain, key) {
                Ok(config) => config,
                Err(_) => {
                    section.mistake("key_file", "does not fit the certificate in certificate_file");
                    return None;
                }
            }
        }
        (Some(_), None) => {
            section.mistake("key_file", "is missing: a certificate without its key proves nothing");
            return None;
        }
        (None, Some(_)) => {
            section.mistake("certificate_file", "is missing: whose key is that?");
            return None;
        }
    };
    Some(Some(TlsConnector::from(Arc::new(config))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> (Option<(LinkTerms, Access)>, Vec<String>) {
        let mut section = Section::from_toml(text).unwrap();
        let read = read(&mut section);
        (read, section.mistakes().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn addresses_are_told_apart() {
        let tcp = |host: &str, port| Some(Address::Tcp { host: host.to_owned(), port });
        for (text, address) in [
            ("127.0.0.1:6379", tcp("127.0.0.1", 6379)),
            ("redis.example.test:1", tcp("redis.example.test", 1)),
            ("redis_master:65535", tcp("redis_master", 65535)),
            ("[::1]:6379", tcp("::1", 6379)),
            ("::1:6379", None),
            ("[redis]:6379", None),
            ("[::1]", None),
            ("redis", None),
            (":6379", None),
            ("redis:", None),
            ("redis:0", None),
            ("redis:65536", None),
            ("redis://redis:6379", None),
            ("user:password@redis:6379", None),
            ("re dis:6379", None),
        ] {
            assert_eq!(Address::parse(text), address, "{text}");
            if let Some(address) = address {
                assert_eq!(address.to_string(), text);
            }
        }
    }

    #[test]
    fn what_is_right_is_taken() {
        for text in [
            "addresses = \"127.0.0.1:6379\"",
            "addresses = [\"unix:/run/redis.sock\"]",
            "mode = \"sentinel\"\naddresses = [\"a:1\", \"[::1]:2\"]\nsentinel_name = \"m\"\nsentinel_password = \"p\"",
            "mode = \"cluster\"\naddresses = [\"a:1\", \"b:2\"]\nuser = \"u\"\npassword = \"p\"",
        ] {
            let (read, mistakes) = read_text(text);
            assert!(read.is_some() && mistakes.is_empty(), "{text}: {mistakes:?}");
        }
    }

    #[test]
    fn every_mistake_names_its_key_and_no_secret() {
        let one = "addresses = [\"a:1\"]\n";
        for (text, key) in [
            ("", "addresses: is missing; write where the server"),
            ("mode = \"sentinel\"\nsentinel_name = \"m\"", "addresses: is missing; write where the Sentinels"),
            ("mode = \"cluster\"", "addresses: is missing; write where some"),
            ("mode = \"ring\"\naddresses = [\"a:1\"]", "mode: must be one of"),
            ("addresses = [\"a:1\", \"b:1\"]", "addresses: must be one address"),
            ("addresses = [\"a\"]", "addresses[1]: must be host:port"),
            ("addresses = [\"unix:redis.sock\"]", "addresses[1]: must have an absolute path"),
            ("mode = \"cluster\"\naddresses = [\"a:1\", \"unix:/s\"]", "addresses[2]: is a socket"),
            (&format!("{one}mode = \"sentinel\""), "sentinel_name: is missing"),
            (&format!("{one}sentinel_name = \"m\""), "sentinel_name: has a meaning only"),
            (&format!("{one}sentinel_password = \"hidden\""), "sentinel_password: has a meaning only"),
            (&format!("{one}mode = \"cluster\"\ndatabase = 1"), "database: must be 0"),
            (&format!("{one}user = \"u\""), "password: is missing"),
            (&format!("{one}password = \"hidden\"\npassword_file = \"f\""), "password: is given twice"),
            (&format!("{one}password_file = \"/hidden\""), "password_file: names a file"),
            (&format!("{one}prefix = \"a{{b\""), "prefix: must have"),
            (&format!("{one}ca_file = \"f\""), "ca_file: has a meaning only with tls"),
            (&format!("{one}tls = true\nca_file = \"/nowhere\""), "ca_file: names a file"),
            (&format!("{one}timeout = \"0s\""), "timeout: must be"),
        ] {
            let (_, mistakes) = read_text(text);
            assert_eq!(mistakes.len(), 1, "{text}: {mistakes:?}");
            assert!(mistakes[0].contains(key) && !mistakes[0].contains("hidden"), "{text}: {mistakes:?}");
        }
    }

    #[test]
    fn a_password_in_a_file_is_the_one_that_stands_there_now() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old\n").unwrap();
        let text = format!("addresses = [\"a:1\"]\npassword_file = {:?}", file.path());
        let login = read_text(&text).0.unwrap().1.login;
        let old = login.password().unwrap();
        assert!(!login.has_changed_from(old.as_ref()));
        std::fs::write(file.path(), "").unwrap();
        assert!(!login.has_changed_from(old.as_ref()), "it is being written");
        assert!(login.password().is_err(), "nothing is no password");
        std::fs::write(file.path(), "new\n").unwrap();
        assert!(login.has_changed_from(old.as_ref()));
        assert_eq!(login.password().unwrap().unwrap().expose_secret(), "new");
        drop(file);
        assert!(login.password().is_err() && !login.has_changed_from(old.as_ref()));
    }
}
