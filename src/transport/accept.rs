//! Connections of the listeners that are no web server's: who may have one, and how many there are.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::State;
use super::socket::{self, ListenError, Opened};
use crate::domain::ListenAddress;

/// Most connections of peers that are no proxies. They get their refusal, but no place of those that are.
const MOST_STRANGERS: usize = 32;
/// Pause after the system had no room for another connection. Some will have ended by then.
const PAUSE: Duration = Duration::from_millis(100);
/// How often that is told at most.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Whatever bytes come in by.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One connection.
pub(super) struct Accepted {
    pub stream: Box<dyn Stream>,
    /// Whose it is; only a Unix socket has no address.
    pub peer: Option<IpAddr>,
    /// Whether its word was taken when it came.
    #[cfg_attr(not(feature = "grpc"), expect(dead_code, reason = "only the gRPC door bounds what strangers say"))]
    pub is_proxy: bool,
    /// Held as long as the connection lasts.
    pub place: OwnedSemaphorePermit,
}

/// A listener, and the places for those who come.
pub(super) struct Acceptor {
    listener: Listener,
    bound: ListenAddress,
    state: Arc<State>,
    places: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    told: Option<Instant>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    /// Opens an address for at most so many connections at a time; who comes after them waits in the system's queue.
    ///
    /// # Errors
    /// An address that is taken or not ours.
    pub fn open(state: &Arc<State>, address: &ListenAddress, most: usize) -> Result<Self, ListenError> {
        let (opened, bound) = socket::open(address)?;
        let listener = Listener::new(opened).map_err(|source| ListenError { address: address.to_string(), source })?;
        Ok(Self {
            listener,
            bound,
            state: Arc::clone(state),
            places: Arc::new(Semaphore::new(most)),
            strangers: Arc::new(Semaphore::new(MOST_STRANGERS)),
            told: None,
        })
    }

    /// Where it is.
    pub const fn bound(&self) -> &ListenAddress {
        &self.bound
    }

    /// The next connection, whenever there is one. Nothing is lost where nobody waits for it any more.
    pub async fn next(&mut self) -> Accepted {
        loop {
            let place = Arc::clone(&self.places).acquire_owned().await;
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let is_proxy = self.state.live.load().trust.is_proxy(peer);
                    let place =
                        if is_proxy { place.ok() } else { Arc::clone(&self.strangers).try_acquire_owned().ok() };
                    if let Some(place) = place {
                        return Accepted { stream, peer, is_proxy, place };
                    }
                }
                Err(error) if is_about_one(&error) => {}
                Err(error) => {
                    if self.told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
                        let at = &self.bound;
                        tracing::error!(%at, %error, "no connection can be taken; the limit of open files may be too low");
                        self.told = Some(Instant::now());
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Listener {
    fn new(opened: Opened) -> io::Result<Self> {
        Ok(match opened {
            Opened::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Self::Tcp(TcpListener::from_std(listener)?)
            }
            Opened::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Self::Unix(UnixListener::from_std(listener)?)
            }
        })
    }

    /// The next connection, and its peer's address, which Unix sockets have none of.
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // An answer is one piece, and nothing comes after it to wait for.
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Some(peer.ip())))
            }
            Self::Unix(listener) => Ok((Box::new(listener.accept().await?.0), None)),
        }
    }
}

/// Whether only this one connection failed, before it was taken.
fn is_about_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | NotConnected)
}
