//! How an answer leaves.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Longest wait for a peer to take an answer, which fits into the system's buffers.
pub const TAKES_WITHIN: Duration = Duration::from_secs(10);

/// Sends all of this. Fails with [`io::ErrorKind::TimedOut`] where nobody takes it.
pub async fn send<S: AsyncWrite + Unpin>(stream: &mut S, answer: &[u8]) -> io::Result<()> {
    // At once, nearly always: the timer is for the rest.
    let sent = poll_fn(|task| match Pin::new(&mut *stream).poll_write(task, answer) {
        Poll::Ready(sent) => Poll::Ready(sent),
        Poll::Pending => Poll::Ready(Ok(0)),
    });
    match sent.await? {
        sent if sent == answer.len() => Ok(()),
        sent => timeout(TAKES_WITHIN, stream.write_all(&answer[sent..])).await?,
    }
}
