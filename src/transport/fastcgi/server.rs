//! All FastCGI connections: who may have one, how many there are, and how they end.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::{self, Answering};
use super::decide;
use crate::decision::Purpose;
use crate::domain::ListenAddress;
use crate::observe::Door;
use crate::transport::State;
use crate::transport::decisions::DoorState;
use crate::transport::socket::{self, ListenError, Opened};

/// Most connections at a time. Each is a request that waits for a first login at worst, and ends in time; who comes
/// after them waits in the system's queue.
pub const MOST_CONNECTIONS: usize = 8192;
/// Most connections of peers that are no proxies. They get their refusal, but no place of those that are.
const MOST_STRANGERS: usize = 32;
/// Pause after the system had no room for another connection. Some will have ended by then.
const PAUSE: Duration = Duration::from_millis(100);

/// Whatever bytes come in by.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
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

/// The FastCGI listener.
pub struct FastcgiServer {
    listener: Listener,
    bound: ListenAddress,
    door: Arc<DoorState>,
    state: Arc<State>,
    stopping: CancellationToken,
    drain_timeout: Duration,
}

impl FastcgiServer {
    /// Opens it. `stopping` ends it, at most `drain_timeout` later.
    ///
    /// # Errors
    /// An address that is taken or not ours.
    pub fn open(
        state: &Arc<State>,
        address: &ListenAddress,
        stopping: CancellationToken,
        drain_timeout: Duration,
    ) -> Result<Self, ListenError> {
        let (opened, bound) = socket::open(address)?;
        let listener = Listener::new(opened).map_err(|source| ListenError { address: address.to_string(), source })?;
        let door = DoorState::new(Door::Fastcgi, Purpose::Pass, state);
        Ok(Self { listener, bound, door, state: Arc::clone(state), stopping, drain_timeout })
    }

    /// Where it is.
    pub const fn bound(&self) -> &ListenAddress {
        &self.bound
    }

    /// Serves until it is stopped and the requests under way have their answers.
    pub async fn run(self) {
        let mut connections = JoinSet::new();
        self.accept(&mut connections).await;
        let Self { listener, drain_timeout, .. } = self;
        // Whoever comes now is to be told at once.
        drop(listener);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(drain_timeout, all_ended).await.is_err() {
            connections.shutdown().await;
        }
    }

    async fn accept(&self, connections: &mut JoinSet<()>) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let strangers = Arc::new(Semaphore::new(MOST_STRANGERS));
        let mut was_told = false;
        loop {
            while connections.try_join_next().is_some() {}
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (self.listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                () = self.stopping.cancelled() => return,
                next = next => next,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_about_one(&error) => continue,
                Err(error) => {
                    if !was_told {
                        tracing::error!(%error, "no FastCGI connection can be taken; the limit of open files may be too low");
                        was_told = true;
                    }
                    sleep(PAUSE).await;
                    continue;
                }
            };
            was_told = false;
            let is_proxy = self.state.live.load().trust.is_proxy(peer);
            let place = if is_proxy { place.ok() } else { Arc::clone(&strangers).try_acquire_owned().ok() };
            let Some(place) = place else { continue };
            let (door, stopping) = (Arc::clone(&self.door), self.stopping.clone());
            let answer = move |request| -> Answering { Box::pin(decide(request, peer, Arc::clone(&door))) };
            connections.spawn(async move {
                connection::serve(stream, peer, answer, stopping).await;
                drop(place);
            });
        }
    }
}

/// Whether only this one connection failed, before it was taken.
fn is_about_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | NotConnected)
}
