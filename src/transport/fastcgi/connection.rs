//! One connection, from its first byte to its last.

use std::future::pending;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

use super::conversation::{Conversation, Event, Nonsense, Request, Role};
use super::params::Params;
use super::record::{BadRecord, Records, Reply};
use super::server::MOST_CONNECTIONS;
use super::{answer, question};
use crate::transport::decisions::{self, DoorState};
use crate::transport::question::Asked;

/// Longest wait for the first record, and for all variables of a request once it has begun: a web server on the
/// same machine needs no time at all, and sends them in one piece.
const ASKS_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection that is kept may be idle. Longer than nginx keeps one (60 seconds), so that no request is
/// lost on one that is just closing.
const IDLE: Duration = Duration::from_secs(75);
/// Longest wait for a peer to take an answer, which fits into the system's buffers.
const TAKES_WITHIN: Duration = Duration::from_secs(10);
/// How long we listen on after we have closed our side.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes read at once. More are taken where a record is longer.
const BUFFER: usize = 4096;

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Record(#[from] BadRecord),
    #[error(transparent)]
    Nonsense(#[from] Nonsense),
    #[error("nobody takes the answer")]
    NotTaken,
}

type Answering = Pin<Box<dyn Future<Output = Bytes> + Send>>;

/// Serves a connection of this peer until it ends: by its peer, after one request or the last one, or in time.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: Option<IpAddr>,
    door: Arc<DoorState>,
    stopping: CancellationToken,
) {
    let mut records = Framed::with_capacity(stream, Records, BUFFER);
    match converse(&mut records, peer, &door, &stopping).await {
        Ok(()) => close(records.into_inner()).await,
        // Web servers hang up whenever they like; nginx does after each answer's headers.
        Err(Broken::Record(BadRecord::Io(error))) => tracing::debug!(%error, "a FastCGI peer went away"),
        Err(problem) => tracing::info!(%problem, ?peer, "a FastCGI connection was ended"),
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    records: &mut Framed<S, Records>,
    peer: Option<IpAddr>,
    door: &Arc<DoorState>,
    stopping: &CancellationToken,
) -> Result<(), Broken> {
    let mut conversation = Conversation::new(MOST_CONNECTIONS);
    let mut deadline = Instant::now() + ASKS_WITHIN;
    let mut answering: Option<(u16, Answering)> = None;
    // A peer that sends no more may still wait for its answer.
    let mut listens = true;
    while !conversation.is_over() {
        let unasked = conversation.is_idle() && !conversation.is_fresh();
        let record = tokio::select! {
            biased;
            (request, stdout) = finished(&mut answering) => {
                answering = None;
                conversation.answered();
                send(records, Reply::Answer { request, stdout }).await?;
                deadline = Instant::now() + IDLE;
                continue;
            }
            // Whoever has just connected is about to ask.
            () = stopping.cancelled(), if unasked => return Ok(()),
            // Before the records: there may always be another one.
            () = sleep_until(deadline), if answering.is_none() => return Ok(()),
            record = records.next(), if listens => record,
        };
        let Some(record) = record.transpose()? else {
            listens = false;
            if answering.is_none() {
                return Ok(());
            }
            continue;
        };
        let reply = match conversation.take(record)? {
            Event::Nothing => continue,
            Event::Begun => {
                deadline = Instant::now() + ASKS_WITHIN;
                continue;
            }
            Event::Asked(request) => {
                answering = Some((request.id, Box::pin(answer(request, peer, Arc::clone(door)))));
                continue;
            }
            Event::Aborted(reply) => {
                answering = None;
                reply
            }
            Event::Reply(reply) => reply,
        };
        send(records, reply).await?;
        if conversation.is_idle() {
            deadline = Instant::now() + IDLE;
        }
    }
    Ok(())
}

/// The answer that somebody waits for; never, if nobody does.
async fn finished(answering: &mut Option<(u16, Answering)>) -> (u16, Bytes) {
    match answering {
        Some((request, answer)) => (*request, answer.await),
        None => pending().await,
    }
}

/// Asks for a decision, and puts it into the words of CGI. What was not understood is asked about all the same, so
/// that it is counted, and a stranger is told nothing else.
async fn answer(request: Request, peer: Option<IpAddr>, door: Arc<DoorState>) -> Bytes {
    let params = request.params.unwrap_or_else(|problem| {
        tracing::info!(%problem, "the variables of a FastCGI request are not believed");
        Params::default()
    });
    let headers = question::headers(&params);
    let remote = question::remote(&params);
    let original = match (&headers, remote) {
        (Some(_), Some(_)) => question::original(&params),
        _ => None,
    };
    let headers = headers.unwrap_or_default();
    let sign_in = match request.role {
        Role::Authorizer => StatusCode::FOUND,
        // nginx makes an error of any redirect.
        Role::Responder => StatusCode::UNAUTHORIZED,
    };
    let asked = Asked { headers: &headers, nearest: remote.flatten(), original, sign_in };
    answer::write(request.role, decisions::decide(&door, peer, asked).await)
}

/// Sends a reply in one piece.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(records: &mut Framed<S, Records>, reply: Reply) -> Result<(), Broken> {
    match timeout(TAKES_WITHIN, records.send(reply)).await {
        Ok(sent) => Ok(sent?),
        Err(_) => Err(Broken::NotTaken),
    }
}

/// Closes our side and waits for the other: to close with something unread, such as a body that nobody asked for, has
/// the system break the connection off, and the answer may be lost on its way.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    if stream.shutdown().await.is_ok() {
        let _ = timeout(LINGER, copy(&mut stream, &mut sink())).await;
    }
}
