//! What stands in for gRPC in a program that was built without it. The configuration knows, so that nothing of this
//! is ever asked for.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::State;
use super::socket::ListenError;
use crate::domain::ListenAddress;

/// There is none.
pub(super) struct GrpcServer(Infallible);

impl GrpcServer {
    /// Refuses.
    pub fn open(
        _: &Arc<State>,
        address: &ListenAddress,
        _: CancellationToken,
        _: Duration,
    ) -> Result<Self, ListenError> {
        Err(ListenError { address: address.to_string(), source: io::ErrorKind::Unsupported.into() })
    }

    pub const fn bound(&self) -> &ListenAddress {
        match self.0 {}
    }

    pub async fn run(self) {
        match self.0 {}
    }
}
