//! One connection of a web server, from question to question.

use std::future::{pending, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::io::poll_read_buf;

use super::HEAD_TIMEOUT;
use super::doors::{self, HttpDoor};
use super::head::{self, Reading};
use super::reply::{self, Manner};
use super::worker::Place;
use crate::transport::answer::Answer;

/// Bytes read at once: most questions are shorter.
const BUFFER: usize = 4096;
/// Longest head that is waited for here.
const LONGEST_HEAD: usize = 64 * 1024;
/// Largest answer whose memory is kept for the next.
const LARGEST_KEPT: usize = 16 * 1024;
/// Longest wait for a peer to take an answer, which fits into the system's buffers.
const TAKES_WITHIN: Duration = Duration::from_secs(10);

/// What has come on a connection whose next request is no plain question.
pub struct Unanswered(pub BytesMut);

/// Answers plain questions until the connection ends, or until something else comes, which is for the framework.
///
/// A peer that hangs up has given up: nobody waits on for its answer.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    peer: Option<IpAddr>,
    doors: &[HttpDoor],
    place: &Place,
) -> Option<Unanswered> {
    let (mut bytes, mut next, mut out) = (BytesMut::with_capacity(BUFFER), BytesMut::new(), Vec::new());
    // Whoever has just connected is about to ask.
    let mut deadline = Some(Instant::now() + HEAD_TIMEOUT);
    loop {
        let (length, keeps) = match head::read(&bytes, &mut head::room()) {
            Reading::Plain(head) => {
                let Some(door) = doors::at(doors, head.line.path()) else { break };
                let keeps = head.keeps && !place.worker.is_stopping();
                let manner = Manner { keeps, head_only: head.line.method == "HEAD" };
                let write = |answer: Answer<'_>| reply::write(&mut out, answer, manner);
                tokio::select! {
                    biased;
                    () = doors::answer(door, peer, head.line, &head.headers, write) => (head.length, keeps),
                    () = gone(stream, &mut next) => return None,
                }
            }
            Reading::Unfinished if bytes.len() < LONGEST_HEAD => {
                if !more(stream, &mut bytes, place, deadline).await {
                    return None;
                }
                deadline = deadline.or_else(|| Some(Instant::now() + HEAD_TIMEOUT));
                continue;
            }
            Reading::Unfinished | Reading::Other => break,
        };
        if send(stream, &out).await.is_err() || !keeps {
            let _ = stream.shutdown().await;
            return None;
        }
        bytes.advance(length);
        bytes.extend_from_slice(&next.split());
        out.clear();
        out.shrink_to(LARGEST_KEPT);
        deadline = None;
    }
    Some(Unanswered(bytes))
}

/// Waits for more bytes; false if none will come. One that has had its answers and has asked nothing since is not
/// waited for when the worker stops.
async fn more<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes: &mut BytesMut,
    place: &Place,
    deadline: Option<Instant>,
) -> bool {
    if bytes.capacity() - bytes.len() < BUFFER / 4 {
        bytes.reserve(BUFFER);
    }
    let came = poll_fn(|task| match poll_read_buf(Pin::new(&mut *stream), task, bytes) {
        Poll::Ready(read) => Poll::Ready(matches!(read, Ok(1..))),
        Poll::Pending if deadline.is_some() => Poll::Pending,
        Poll::Pending if place.worker.is_stopping() => Poll::Ready(false),
        Poll::Pending => {
            place.wake_at_the_end(task);
            Poll::Pending
        }
    });
    match deadline {
        Some(deadline) => timeout_at(deadline, came).await.unwrap_or(false),
        None => came.await,
    }
}

/// Ends when the peer hangs up. What it sends meanwhile is kept, up to a limit.
async fn gone<S: AsyncRead + Unpin>(stream: &mut S, next: &mut BytesMut) {
    while next.len() < BUFFER {
        if !matches!(stream.read_buf(next).await, Ok(1..)) {
            return;
        }
    }
    pending().await
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, answer: &[u8]) -> io::Result<()> {
    // At once, nearly always: the timer is for the rest.
    match Pin::new(&mut *stream).write(answer).await? {
        sent if sent == answer.len() => Ok(()),
        sent => timeout(TAKES_WITHIN, stream.write_all(&answer[sent..])).await?,
    }
}
