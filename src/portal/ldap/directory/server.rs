//! One server of the directory: how it is reached, and connections to it that are kept.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::border::guarded;
use super::codes::{Failure, SUCCESS, name};
use super::connection::{Connection, Found, Question};
use super::message;
use super::rest::Rest;
use crate::domain::{Clock, Moment, Outage, Secret};

/// Kept connections are closed before a server or a firewall does it, which many do after minutes.
const IDLE: Duration = Duration::from_secs(60);
/// Asks for TLS (RFC 4511, section 4.14), with the id 1.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Address {
    /// Whether what is sent there stays on this machine.
    pub(super) fn is_here(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

/// How a connection is kept from others' eyes.
#[derive(Clone)]
pub(super) enum Security {
    /// Not at all.
    Plain,
    /// From its first byte on.
    Tls(TlsConnector, ServerName<'static>),
    /// From a first question on (StartTLS), or there is no connection.
    StartTls(TlsConnector, ServerName<'static>),
}

/// Who we are to the directory, where we are somebody.
pub(super) struct Account {
    pub dn: String,
    pub password: Secret,
}

/// One server.
pub(super) struct Server {
    /// As it is configured, for logs.
    pub url: String,
    pub rest: Rest,
    address: Address,
    security: Security,
    account: Option<Arc<Account>>,
    clock: Arc<dyn Clock>,
    /// Connections of our own account, the latest last. Nobody else ever binds on one.
    idle: Mutex<Vec<(Moment, Connection)>>,
    /// Whether it follows chains of groups by itself, once it has said so.
    pub chains: OnceLock<bool>,
}

impl Server {
    pub(super) fn new(
        url: String,
        address: Address,
        security: Security,
        account: Option<Arc<Account>>,
        clock: &Arc<dyn Clock>,
        timeout: Duration,
    ) -> Self {
        let rest = Rest::new(Arc::clone(clock), timeout);
        let (clock, idle) = (Arc::clone(clock), Mutex::new(Vec::new()));
        Self { url, rest, address, security, account, clock, idle, chains: OnceLock::new() }
    }

    /// A new connection, on which nobody has said who they are.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        self.open().await.map_err(Failure::Server)
    }

    /// A connection of our own account.
    pub(super) async fn reader(&self) -> Result<Reader<'_>, Failure> {
        let (connection, was_kept) = match self.take_idle() {
            Some(connection) => (connection, true),
            None => (self.connect_as_ourselves().await?, false),
        };
        Ok(Reader { server: self, connection, was_kept, is_ours: true })
    }

    async fn connect_as_ourselves(&self) -> Result<Connection, Failure> {
        let mut connection = self.connect().await?;
        let Some(account) = &self.account else { return Ok(connection) };
        let code = connection.bind(&account.dn, &account.password).await?;
        if code == SUCCESS {
            return Ok(connection);
        }
        // The server rests after this, so that our own account is not locked by trying.
        let why = format!("it does not take bind_dn and its password: {code}, {}", name(code));
        Err(Failure::Server(Outage::Protocol(why)))
    }

    fn take_idle(&self) -> Option<Connection> {
        let now = self.clock.now();
        let mut idle = self.idle.lock();
        idle.retain_mut(|(since, connection)| now.since(*since) < IDLE && !connection.has_ended());
        idle.pop().map(|(_, connection)| connection)
    }

    async fn open(&self) -> Result<Connection, Outage> {
        let handle = match &self.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| unreachable(&error))?;
                guarded(stream).await
            }
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| unreachable(&error))?;
                stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
                self.secure(stream).await?
            }
        };
        handle.map(Connection::new).map_err(|error| unreachable(&error))
    }

    async fn secure(&self, mut stream: TcpStream) -> Result<std::io::Result<ldap3::Ldap>, Outage> {
        let (connector, name) = match &self.security {
            Security::Plain => return Ok(guarded(stream).await),
            Security::Tls(connector, name) => (connector, name),
            Security::StartTls(connector, name) => {
                start_tls(&mut stream).await?;
                (connector, name)
            }
        };
        let stream = connector.connect(name.clone(), stream).await.map_err(|error| no_tls(&error))?;
        Ok(guarded(stream).await)
    }
}

/// A connection for one question after the other, by somebody who may read.
pub(super) struct Reader<'a> {
    server: &'a Server,
    connection: Connection,
    was_kept: bool,
    /// A person's own connection never becomes ours.
    is_ours: bool,
}

impl<'a> Reader<'a> {
    /// That of a person, who reads about themselves.
    pub(super) const fn of_a_person(server: &'a Server, connection: Connection) -> Self {
        Self { server, connection, was_kept: false, is_ours: false }
    }

    /// Which server it leads to.
    pub(super) const fn server(&self) -> &'a Server {
        self.server
    }

    /// The connection alone, for a change that only our own account may make.
    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// Looks for entries. A connection that was kept may have died meanwhile, and says nothing of the server.
    pub(super) async fn search(&mut self, question: &Question<'_>) -> Result<Found, Failure> {
        match self.connection.search(question).await {
            Err(Failure::Server(_)) if self.was_kept => {
                // The others have hardly outlived it.
                self.server.idle.lock().clear();
                self.connection = self.server.connect_as_ourselves().await?;
                self.was_kept = false;
                self.connection.search(question).await
            }
            other => other,
        }
    }

    /// Keeps the connection for the next question. One whose question was not answered to the end is dropped
    /// instead.
    pub(super) fn give_back(self) {
        if self.is_ours {
            let now = self.server.clock.now();
            self.server.idle.lock().push((now, self.connection));
        }
    }
}

async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<(), Outage> {
    let refused = |why: &str| Outage::Protocol(format!("it does not begin TLS: {why}"));
    stream.write_all(START_TLS).await.map_err(|error| unreachable(&error))?;
    let asked = message::asked(START_TLS).ok().flatten().ok_or_else(|| refused("it was not asked"))?;
    let mut answer = Vec::new();
    // Not a byte more than the answer: what comes behind it in the clear is from somebody else.
    let mut missing = 2;
    while missing > 0 {
        let start = answer.len();
        answer.resize(start + missing, 0);
        let read = stream.read_exact(&mut answer[start..]).await;
        read.map_err(|_| refused("the connection ended"))?;
        missing = match message::length(&answer) {
            Ok(Some(length)) => length.saturating_sub(answer.len()),
            Ok(None) => 1,
            Err(_) => return Err(refused("that is no answer")),
        };
    }
    if message::check_answer(&answer, asked) != Ok(true) {
        return Err(refused("that is no answer"));
    }
    match message::result_code(&answer) {
        Ok(SUCCESS) => Ok(()),
        Ok(code) => Err(refused(&format!("{code}, {}", name(code)))),
        Err(_) => Err(refused("that is no answer")),
    }
}

fn unreachable(error: &std::io::Error) -> Outage {
    Outage::Unreachable(error.to_string())
}

fn no_tls(error: &std::io::Error) -> Outage {
    match error.kind() {
        std::io::ErrorKind::InvalidData => {
            Outage::Protocol("its certificate or its TLS cannot be trusted; see ca_file".to_owned())
        }
        _ => unreachable(error),
    }
}
