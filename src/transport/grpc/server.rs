//! gRPC connections: HTTP/2 with limits, and how they end.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use futures_util::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::{Door, Peer};
use crate::decision::Purpose;
use crate::domain::ListenAddress;
use crate::observe;
use crate::transport::State;
use crate::transport::accept::{Accepted, Acceptor, Stream};
use crate::transport::answer::Names;
use crate::transport::decisions::DoorState;
use crate::transport::socket::ListenError;

/// Most connections at a time. Envoy has one for each of its threads, and more of them only where it asks more at once
/// than [`MOST_STREAMS`].
const MOST_CONNECTIONS: usize = 1024;
/// Most questions under way on one connection.
const MOST_STREAMS: u32 = 1024;
/// Longest question. Envoy lets a request's headers have 60 KiB, where nobody raised that.
const LONGEST_QUESTION: usize = 256 * 1024;
/// Most bytes of somebody who is no proxy, for all of a connection: questions are held until they are whole, and there
/// is room for very many of them. Whoever becomes a proxy by a reload comes anew.
const LONGEST_TALK_OF_STRANGERS: usize = 1024 * 1024;
/// Longest headers of the call itself, in which Envoy tells of traces and deadlines.
const LONGEST_HEADERS: u32 = 16 * 1024;
/// How often a peer must show that it is still there, and how long it may take for that.
const ASK_PEER_EVERY: Duration = Duration::from_secs(60);
const PEER_ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// Longest time for one call, beside the deadline that Envoy sets for it. No question takes so long: this ends those
/// that never come whole.
const LONGEST_CALL: Duration = Duration::from_secs(300);

/// The gRPC listener.
pub struct GrpcServer {
    acceptor: Acceptor,
    door: Arc<DoorState>,
    stopping: CancellationToken,
    drain_timeout: Duration,
}

impl GrpcServer {
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
        let acceptor = Acceptor::open(state, address, MOST_CONNECTIONS)?;
        let door = DoorState::new(observe::Door::Grpc, Purpose::Pass, Names::Upstream, state);
        Ok(Self { acceptor, door, stopping, drain_timeout })
    }

    /// Where it is.
    pub const fn bound(&self) -> &ListenAddress {
        self.acceptor.bound()
    }

    /// Serves until it is stopped and the calls under way have their answers.
    pub async fn run(self) {
        let Self { acceptor, door, stopping, drain_timeout } = self;
        let service = AuthorizationServer::new(Door(door)).max_decoding_message_size(LONGEST_QUESTION);
        let connections = stream::unfold(acceptor, async |mut acceptor| {
            let connection = Connection::new(acceptor.next().await);
            Some((Ok::<_, Infallible>(connection), acceptor))
        });
        let serving = Server::builder()
            .timeout(LONGEST_CALL)
            .max_concurrent_streams(MOST_STREAMS)
            // Browsers that go away have their questions taken back. Envoy minds those who do so all the time; to end
            // its connection for that would end the questions of everybody else as well.
            .http2_max_pending_accept_reset_streams(Some(MOST_STREAMS as usize))
            .http2_max_header_list_size(LONGEST_HEADERS)
            .http2_keepalive_interval(Some(ASK_PEER_EVERY))
            .http2_keepalive_timeout(Some(PEER_ANSWERS_WITHIN))
            .serve_with_incoming_shutdown(service, connections, stopping.cancelled());
        tokio::select! {
            // It has no errors of its own: what breaks is single connections.
            _ = serving => {}
            () = async { stopping.cancelled().await; sleep(drain_timeout).await } => {}
        }
    }
}

/// One connection, for the server of the library.
struct Connection {
    accepted: Accepted,
    /// Bytes that may still come; of a proxy as many as it likes.
    left: Option<usize>,
}

impl Connection {
    fn new(accepted: Accepted) -> Self {
        let left = (!accepted.is_proxy).then_some(LONGEST_TALK_OF_STRANGERS);
        Self { accepted, left }
    }

    fn stream(&mut self) -> Pin<&mut (dyn Stream + 'static)> {
        Pin::new(&mut *self.accepted.stream)
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer(self.accepted.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(self.stream().poll_read(task, into))?;
        if let Some(left) = &mut self.left {
            let talk = into.filled().len() - before;
            *left = left.checked_sub(talk).ok_or(io::ErrorKind::PermissionDenied)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(task, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(task, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.accepted.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(task)
    }
}
