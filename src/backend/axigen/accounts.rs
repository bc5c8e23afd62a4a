//! Axigen's accounts, by its command line: `[backend.accounts]`.
//!
//! Contexts are documented: `UPDATE` and `ADD` enter an object, `COMMIT` saves it and goes one level
//! up, and whatever was not committed is gone with the connection. So a change that meets `-ERR`
//! half-way leaves nothing behind, and one whose fate is unknown can be made again.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::cli::{Cli, Context, broken};
use super::quoting::{plain_name, quoted};
use crate::backend::{AccountChange, AccountRefusal, Accounts};
use crate::config::{Section, trusting};
use crate::domain::{ExposeSecret, Outage, Secret, is_control};

/// How a change ended, where the command line could be asked.
type Applied = Result<(), AccountRefusal>;

/// The settings under `[backend.accounts]`.
pub(super) struct CommandLine {
    host: String,
    port: u16,
    /// `tls`: the listener speaks TLS from the first byte; there is no other way (documented).
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// `user`: an administrator who may manage the accounts of the domains, and nothing else.
    user: String,
    /// `secret`: the administrator's password.
    password: Secret,
    /// `domain`: that of names without one.
    domain: Option<String>,
    /// `password_keyword`: `password` (documented for 10.5), `passwd` in older scripts (seen).
    keyword: &'static str,
    /// `clear_must_change`: whether nobody is asked to choose yet another password (documented keyword;
    /// that WebMail would stop people otherwise is assumed).
    clear_must_change: bool,
}

impl CommandLine {
    /// Reads `[backend.accounts]`, where it was written.
    pub(super) fn read(section: &mut Section) -> Option<Self> {
        let written = section.has("accounts");
        let mut section = section.section("accounts");
        if !written {
            return None;
        }
        let command_line = Self::of(&mut section);
        section.finish();
        command_line
    }

    fn of(section: &mut Section) -> Option<Self> {
        let address = section.text("address").unwrap_or_else(|| "127.0.0.1:7000".to_owned());
        let parts = host_and_port(&address);
        if parts.is_none() {
            section.mistake("address", "must be a host and a port, such as \"127.0.0.1:7000\"");
        }
        let (host, port) = parts.unwrap_or_default();
        let tls = read_tls(section, &host);
        let user = section.required("user");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
        if !user.bytes().all(plain) {
            section.mistake("user", "must have letters, digits, '.', '-', '_' and '@' only");
        }
        let given = section.has("secret") || section.has("secret_file");
        let password = section.secret("secret", "secret_file");
        if password.as_ref().is_some_and(|password| password.expose_secret().chars().any(is_control)) {
            section.mistake("secret", "holds a control character, which would end its line");
        } else if !given {
            section.mistake("secret", "is missing; give secret or secret_file");
        }
        let domain = section.text("domain");
        if domain.as_deref().is_some_and(|domain| plain_name(domain).is_none()) {
            section.mistake("domain", "must be a domain such as \"example.test\"");
        }
        let keywords = [("password", "password"), ("passwd", "passwd")];
        let keyword = section.choice("password_keyword", "password", &keywords);
        let clear_must_change = section.flag("clear_must_change", true);
        Some(Self { host, port, tls: tls?, user, password: password?, domain, keyword, clear_must_change })
    }

    /// The account and the domain of a login, each as a word of a command.
    fn names(&self, login: &str) -> Option<(String, String)> {
        let (account, domain) = login.split_once('@').or_else(|| Some((login, self.domain.as_deref()?)))?;
        Some((format!("\"{}\"", plain_name(account)?), format!("\"{}\"", plain_name(domain)?)))
    }

    async fn change(&self, login: &str, change: &AccountChange) -> Result<Applied, Outage> {
        let Some((account, domain)) = self.names(login) else { return Ok(Err(AccountRefusal::Name)) };
        let password = change.password().map(|password| quoted(password.expose_secret()).map(Secret::from));
        let Some(password) = password.map_or(Some(None), |quoted| quoted.map(Some)) else {
            return Ok(Err(AccountRefusal::Unsendable));
        };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| broken(&error))?;
        // A refusal of it only makes small packets slower.
        let _ = stream.set_nodelay(true);
        let edit = Edit { line: self, account: &account, domain: &domain, change, password: password.as_ref() };
        match &self.tls {
            None => edit.make(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                edit.make(stream.map_err(|error| no_tls(&error))?).await
            }
        }
    }
}

impl Accounts for CommandLine {
    fn foresees(&self, login: &str, change: &AccountChange) -> Option<AccountRefusal> {
        if self.names(login).is_none() {
            return Some(AccountRefusal::Name);
        }
        let password = change.password()?;
        quoted(password.expose_secret()).is_none().then_some(AccountRefusal::Unsendable)
    }

    fn apply<'a>(&'a self, login: &'a str, change: &'a AccountChange) -> BoxFuture<'a, Result<Applied, Outage>> {
        Box::pin(self.change(login, change))
    }
}

/// One change on its way, every value of it quoted.
struct Edit<'a> {
    line: &'a CommandLine,
    account: &'a str,
    domain: &'a str,
    change: &'a AccountChange,
    password: Option<&'a Secret>,
}

impl Edit<'_> {
    async fn make<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Result<Applied, Outage> {
        let mut cli = Cli::open(stream, &self.line.user, &self.line.password).await?;
        let applied = self.make_in(&mut cli).await?;
        cli.quit().await;
        Ok(applied)
    }

    async fn make_in<S: AsyncRead + AsyncWrite + Unpin>(&self, cli: &mut Cli<S>) -> Result<Applied, Outage> {
        let Self { account, domain, .. } = self;
        if !cli.command(&format!("UPDATE DOMAIN NAME {domain}"), Context::Domain).await? {
            return Ok(Err(AccountRefusal::NoDomain));
        }
        match (self.change, self.password) {
            (AccountChange::Password(_), Some(password)) => self.set_password(cli, password).await,
            (AccountChange::Put(_), Some(password)) if self.is_there(cli).await? => {
                self.set_password(cli, password).await
            }
            (AccountChange::Put(_), Some(password)) => {
                let password = password.expose_secret();
                let add = Secret::from(format!("ADD ACCOUNT NAME {account} PASSWORD {password}"));
                if !cli.command(add.expose_secret(), Context::Account).await? {
                    return Ok(Err(AccountRefusal::Change));
                }
                self.commit(cli).await
            }
            (AccountChange::Remove, _) => {
                if !self.is_there(cli).await? {
                    return Ok(Ok(()));
                }
                let removed = cli.command(&format!("REMOVE ACCOUNT NAME {account}"), Context::Domain).await?;
                // Leaving the domain in any other way might undo it (assumed).
                let kept = removed && cli.command("COMMIT", Context::Root).await?;
                Ok(if kept { Ok(()) } else { Err(AccountRefusal::Change) })
            }
            (AccountChange::Password(_) | AccountChange::Put(_), None) => Ok(Err(AccountRefusal::Unsendable)),
        }
    }

    async fn is_there<S: AsyncRead + AsyncWrite + Unpin>(&self, cli: &mut Cli<S>) -> Result<bool, Outage> {
        cli.command(&format!("SHOW ACCOUNT NAME {}", self.account), Context::Domain).await
    }

    async fn set_password<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        cli: &mut Cli<S>,
        password: &Secret,
    ) -> Result<Applied, Outage> {
        if !cli.command(&format!("UPDATE ACCOUNT NAME {}", self.account), Context::Account).await? {
            return Ok(Err(AccountRefusal::NoAccount));
        }
        let set = Secret::from(format!("SET {} {}", self.line.keyword, password.expose_secret()));
        if !cli.command(set.expose_secret(), Context::Account).await? {
            return Ok(Err(AccountRefusal::Password));
        }
        if self.line.clear_must_change && !cli.command("SET mustChangePass no", Context::Account).await? {
            return Ok(Err(AccountRefusal::Change));
        }
        self.commit(cli).await
    }

    /// Saves the account, which is what counts (assumed: the vendor's own recipe leaves the domain
    /// without saving it). An administrator who may not change the domain itself cannot save that.
    async fn commit<S: AsyncRead + AsyncWrite + Unpin>(&self, cli: &mut Cli<S>) -> Result<Applied, Outage> {
        if !cli.command("COMMIT", Context::Domain).await? {
            return Ok(Err(AccountRefusal::Change));
        }
        // From here on it is done, whatever becomes of the conversation.
        let _ = cli.command("COMMIT", Context::Root).await;
        Ok(Ok(()))
    }
}

fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// Reads `tls` and `ca_file`; `None` where they are a mistake.
fn read_tls(section: &mut Section, host: &str) -> Option<Option<(TlsConnector, ServerName<'static>)>> {
    let file = section.text("ca_file");
    if !section.flag("tls", false) {
        if file.is_some() {
            section.mistake("ca_file", "is of no use without tls = true");
        }
        let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|host| host.is_loopback());
        if !loopback {
            section.warn("tls", "is off, and the address is elsewhere: passwords cross the network as they are");
        }
        return Some(None);
    }
    let Some(file) = file else {
        section.mistake("ca_file", "is missing: with tls, name the certificate of who signed Axigen's, in PEM");
        return None;
    };
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        section.mistake("address", "must have a host whose name can stand in a certificate");
        return None;
    };
    let config = trusting(section, Some(&file))?.with_no_client_auth();
    Some(Some((TlsConnector::from(Arc::new(config)), name)))
}

fn no_tls(error: &std::io::Error) -> Outage {
    match error.kind() {
        std::io::ErrorKind::InvalidData => {
            Outage::Protocol("its certificate or its TLS cannot be trusted; see ca_file".to_owned())
        }
        _ => broken(error),
    }
}
