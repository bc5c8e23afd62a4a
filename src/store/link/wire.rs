//! One connection to one server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisResult, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::rustls::pki_types::ServerName;

use super::terms::{Access, Address, Login};
use super::trouble::Trouble;
use crate::domain::{ExposeSecret, Secret};
use crate::store::StoreOutage;

/// A connection that many can use at once; answers come in the order of the questions.
pub(super) struct Wire {
    pub address: Address,
    connection: MultiplexedConnection,
    /// Told when it is gone.
    ended: watch::Receiver<()>,
    /// The password that it was made with.
    pub password: Option<Secret>,
    made: Instant,
    /// When the last answer came, in milliseconds since it was made.
    answered: AtomicU64,
}

impl Wire {
    /// Makes one, and sees that the server answers within [`Access::timeout`].
    pub async fn dial(
        access: &Access,
        address: &Address,
        login: &Login,
        database: i64,
    ) -> Result<Arc<Self>, StoreOutage> {
        let unreachable = |error: std::io::Error| StoreOutage::Unreachable(error.to_string());
        let password = login.password().map_err(|error| {
            // An outage like one of the server's: the file may come back.
            StoreOutage::Unreachable(format!("the file of the password cannot be read: {error}"))
        })?;
        let (connection, ended) = match (address, &access.tls) {
            (Address::Unix(path), _) => speak(UnixStream::connect(path).await.map_err(unreachable)?).await,
            (Address::Tcp { host, port }, tls) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                stream.set_nodelay(true).map_err(unreachable)?;
                match tls {
                    None => speak(stream).await,
                    Some(tls) => {
                        let name = ServerName::try_from(host.clone());
                        let name = name.map_err(|error| StoreOutage::Unreachable(error.to_string()))?;
                        speak(tls.connect(name, stream).await.map_err(unreachable)?).await
                    }
                }
            }
        }
        .map_err(|error| StoreOutage::Unreachable(error.category().to_owned()))?;
        let (made, answered) = (Instant::now(), AtomicU64::new(0));
        let wire = Self { address: address.clone(), connection, ended, password, made, answered };
        wire.introduce(login, database).await?;
        match tokio::time::timeout(access.timeout, wire.ping()).await {
            Ok(Ok(())) => Ok(Arc::new(wire)),
            Ok(Err(outage)) => Err(outage),
            Err(_) => Err(StoreOutage::TimedOut),
        }
    }

    async fn introduce(&self, login: &Login, database: i64) -> Result<(), StoreOutage> {
        if let Some(password) = &self.password {
            let mut command = redis::cmd("AUTH");
            if let Some(user) = &login.user {
                command.arg(user);
            }
            command.arg(password.expose_secret());
            self.ask(&command, false).await.map_err(outage)?;
        }
        if database != 0 {
            self.ask(redis::cmd("SELECT").arg(database), false).await.map_err(outage)?;
        }
        Ok(())
    }

    /// Whether the server answers at all. A user who may not ask even that is answered, too.
    pub async fn ping(&self) -> Result<(), StoreOutage> {
        match self.ask(&redis::cmd("PING"), false).await {
            Ok(_) => Ok(()),
            Err(Trouble::Outage(StoreOutage::Unable(word))) if word == "NOPERM" => Ok(()),
            Err(trouble) => Err(outage(trouble)),
        }
    }

    /// Asks the server. `asking` is for what another node sent us here for once.
    pub async fn ask(&self, command: &Cmd, asking: bool) -> Result<Value, Trouble> {
        let mut connection = self.connection.clone();
        let answer = if asking {
            let mut both = redis::pipe();
            both.cmd("ASKING").add_command(command.clone());
            let answers = connection.send_packed_commands(&both, 0, 2).await;
            answers.map(|mut answers| answers.pop().unwrap_or(Value::Nil))
        } else {
            connection.send_packed_command(command).await
        };
        if answer.is_ok() {
            self.answered.store(self.age(), Ordering::Relaxed);
        }
        answer.and_then(Value::extract_error).map_err(|error| Trouble::of(&error, &self.address))
    }

    /// Whether anything was answered since then.
    pub fn has_answered_since(&self, then: Instant) -> bool {
        self.made + Duration::from_millis(self.answered.load(Ordering::Relaxed)) >= then
    }

    /// Milliseconds since it was made.
    pub fn age(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether it is gone.
    pub fn has_ended(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    /// Waits until it is gone.
    pub async fn ended(&self) {
        // Nothing is ever sent: what is waited for is that nobody is left to send.
        let _ = self.ended.clone().changed().await;
    }
}

/// What is left of trouble where nobody is sent elsewhere.
pub(super) fn outage(trouble: Trouble) -> StoreOutage {
    let word = match trouble {
        Trouble::Outage(outage) => return outage,
        Trouble::Elsewhere { asking: false, .. } => "MOVED",
        Trouble::Elsewhere { asking: true, .. } => "ASK",
        Trouble::TryAgain => "TRYAGAIN",
        Trouble::NoScript => "NOSCRIPT",
    };
    StoreOutage::Unable(word.to_owned())
}

async fn speak<S>(stream: S) -> RedisResult<(MultiplexedConnection, watch::Receiver<()>)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // We say who we are ourselves: the library keeps the server's own word for a refusal to itself.
    let nobody = RedisConnectionInfo::default().set_skip_set_lib_name();
    // Whoever asks has a time of their own.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let (connection, driver) = MultiplexedConnection::new_with_config(&nobody, stream, config).await?;
    let (alive, ended) = watch::channel(());
    tokio::spawn(async move {
        driver.await;
        drop(alive);
    });
    Ok((connection, ended))
}
