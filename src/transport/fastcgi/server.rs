//! All FastCGI connections: who may have one, how many there are, and how they end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Decisions, connection};
use crate::decision::Purpose;
use crate::domain::ListenAddress;
use crate::observe::Door;
use crate::transport::State;
use crate::transport::accept::{Accepted, Acceptor};
use crate::transport::answer::Names;
use crate::transport::decisions::DoorState;
use crate::transport::socket::ListenError;

/// Most connections at a time. Each is a request that waits for a first login at worst, and ends in time.
pub const MOST_CONNECTIONS: usize = 8192;

/// The FastCGI listener.
pub struct FastcgiServer {
    acceptor: Acceptor,
    door: Arc<DoorState>,
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
        let acceptor = Acceptor::open(state, address, MOST_CONNECTIONS)?;
        let door = DoorState::new(Door::Fastcgi, Purpose::Pass, Names::Variables, state);
        Ok(Self { acceptor, door, stopping, drain_timeout })
    }

    /// Where it is.
    pub const fn bound(&self) -> &ListenAddress {
        self.acceptor.bound()
    }

    /// Serves until it is stopped and the requests under way have their answers.
    pub async fn run(mut self) {
        let mut connections = JoinSet::new();
        self.accept(&mut connections).await;
        let Self { acceptor, drain_timeout, .. } = self;
        // Whoever comes now is to be told at once.
        drop(acceptor);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(drain_timeout, all_ended).await.is_err() {
            connections.shutdown().await;
        }
    }

    async fn accept(&mut self, connections: &mut JoinSet<()>) {
        loop {
            while connections.try_join_next().is_some() {}
            let Accepted { stream, peer, place, .. } = tokio::select! {
                () = self.stopping.cancelled() => return,
                accepted = self.acceptor.next() => accepted,
            };
            let desk = Decisions { door: Arc::clone(&self.door), peer };
            // One for each, since every look at one takes a lock.
            let stopping = self.stopping.child_token();
            connections.spawn(async move {
                connection::serve(stream, peer, &desk, stopping).await;
                drop(place);
            });
        }
    }
}
