//! One connection, from its first byte to its last.

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::OptionFuture;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

use super::conversation::{Conversation, Event, Nonsense, Request};
use super::record::{BadRecord, Records, Reply};
use super::server::MOST_CONNECTIONS;

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
    #[error("nothing came in time")]
    Silent,
}

/// Serves a connection until it ends: by its peer, after one request or the last one, or in time. When `stopping`,
/// it ends as soon as nobody waits for an answer.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin, A: Future<Output = Bytes>>(
    stream: S,
    peer: Option<IpAddr>,
    answer: impl Fn(Request) -> A,
    stopping: CancellationToken,
) {
    let mut records = Framed::with_capacity(stream, Records, BUFFER);
    match converse(&mut records, answer, &stopping).await {
        Ok(()) => close(records.into_inner()).await,
        // Nobody waits for anything, and nothing is unread.
        Err(Broken::Silent) => {}
        // Web servers hang up whenever they like; nginx does after each answer's headers.
        Err(Broken::Record(BadRecord::Io(error))) => tracing::debug!(%error, "a FastCGI peer went away"),
        Err(problem) => tracing::info!(%problem, ?peer, "a FastCGI connection was ended"),
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin, A: Future<Output = Bytes>>(
    records: &mut Framed<S, Records>,
    answer: impl Fn(Request) -> A,
    stopping: &CancellationToken,
) -> Result<(), Broken> {
    let mut conversation = Conversation::new(MOST_CONNECTIONS);
    // One for the whole connection: to put it off costs less than to make another for each record.
    let mut deadline = pin!(sleep(ASKS_WITHIN));
    // The request that waits, and its answer, which has one place for all requests instead of a box for each.
    let mut waiting: Option<u16> = None;
    let mut answering = pin!(OptionFuture::<A>::default());
    // A peer that sends no more may still wait for its answer.
    let mut listens = true;
    while !conversation.is_over() && (listens || waiting.is_some()) {
        let unasked = conversation.is_idle() && !conversation.is_fresh();
        let record = tokio::select! {
            biased;
            Some((stdout, request)) = async { answering.as_mut().await.zip(waiting) }, if waiting.is_some() => {
                waiting = None;
                answering.set(None.into());
                conversation.answered();
                send(records, Reply::Answer { request, stdout }).await?;
                deadline.as_mut().reset(Instant::now() + IDLE);
                continue;
            }
            // Whoever has just connected is about to ask.
            () = stopping.cancelled(), if unasked => return Err(Broken::Silent),
            // Before the records: there may always be another one.
            () = deadline.as_mut(), if waiting.is_none() => return Err(Broken::Silent),
            record = records.next(), if listens => record,
        };
        let Some(record) = record.transpose()? else {
            listens = false;
            continue;
        };
        let reply = match conversation.take(record)? {
            Event::Nothing => continue,
            Event::Begun => {
                deadline.as_mut().reset(Instant::now() + ASKS_WITHIN);
                continue;
            }
            Event::Asked(request) => {
                waiting = Some(request.id);
                answering.set(Some(answer(request)).into());
                continue;
            }
            Event::Aborted(reply) => {
                waiting = None;
                answering.set(None.into());
                reply
            }
            Event::Reply(reply) => reply,
        };
        send(records, reply).await?;
        if conversation.is_idle() {
            deadline.as_mut().reset(Instant::now() + IDLE);
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    /// A request that is kept, and its answer.
    const ASKED: &[u8] = b"\x01\x01\0\x01\0\x08\0\0\0\x02\x01\0\0\0\0\0\x01\x04\0\x01\0\0\0\0";
    const ANSWERED: &[u8] =
        b"\x01\x06\0\x01\0\x03\0\0yes\x01\x06\0\x01\0\0\0\0\x01\x03\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0";

    struct Connected {
        stream: DuplexStream,
        served: JoinHandle<()>,
        stopping: CancellationToken,
        since: Instant,
    }

    impl Connected {
        /// Whose answers take this long.
        fn with(takes: Duration) -> Self {
            let (stream, theirs) = duplex(64);
            let stopping = CancellationToken::new();
            let answer = move |_| async move {
                tokio::time::sleep(takes).await;
                Bytes::from_static(b"yes")
            };
            let served = tokio::spawn(serve(theirs, None, answer, stopping.clone()));
            Self { stream, served, stopping, since: Instant::now() }
        }

        async fn send(&mut self, bytes: &[u8]) {
            self.stream.write_all(bytes).await.unwrap();
        }

        async fn answer(&mut self) {
            let mut answer = [0; ANSWERED.len()];
            self.stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, ANSWERED);
        }

        /// How long it lasted until nothing more came.
        async fn closed_after(&mut self) -> Duration {
            let mut rest = Vec::new();
            self.stream.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"");
            self.since.elapsed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_is_not_waited_for() {
        for sent in [&b""[..], b"\x01\x01\0", &ASKED[..16], &ASKED[..17]] {
            let mut peer = Connected::with(Duration::ZERO);
            peer.send(sent).await;
            assert_eq!(peer.closed_after().await, ASKS_WITHIN, "{sent:?}");
            // Nor to close in turn.
            peer.served.await.unwrap();
            assert_eq!(peer.since.elapsed(), ASKS_WITHIN);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn to_talk_beside_the_point_gains_no_time() {
        let mut peer = Connected::with(Duration::ZERO);
        peer.send(&ASKED[..16]).await;
        let Connected { mut stream, served, since, .. } = peer;
        let talk = async {
            // A body to a request that is not there.
            while stream.write_all(b"\x01\x05\0\x09\0\x01\0\0x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        tokio::select! {
            () = talk => panic!("it closed, and is not at its end"),
            ended = served => ended.unwrap(),
        }
        assert_eq!(since.elapsed(), ASKS_WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_decision_is_waited_for_and_an_idle_connection_is_not() {
        let takes = Duration::from_secs(60);
        let mut peer = Connected::with(takes);
        for _ in 0..2 {
            peer.send(ASKED).await;
            peer.answer().await;
        }
        assert_eq!(peer.closed_after().await, 2 * takes + IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_last_answer_what_still_comes_is_read_for_a_while() {
        let mut peer = Connected::with(Duration::ZERO);
        peer.send(&[&ASKED[..10], b"\0", &ASKED[11..]].concat()).await;
        peer.answer().await;
        assert_eq!(peer.closed_after().await, Duration::ZERO);
        peer.send(&[b'x'; 100_000]).await;
        assert!(!peer.served.is_finished());
        peer.served.await.unwrap();
        assert_eq!(peer.since.elapsed(), LINGER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_no_answer_is_left() {
        let (mut stream, theirs) = duplex(64);
        let answer = |_| async { Bytes::from(vec![b'x'; 1000]) };
        let served = tokio::spawn(serve(theirs, None, answer, CancellationToken::new()));
        let since = Instant::now();
        stream.write_all(ASKED).await.unwrap();
        served.await.unwrap();
        assert_eq!(since.elapsed(), TAKES_WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_of_the_process_requests_are_answered_and_idle_connections_closed() {
        let takes = Duration::from_secs(3);
        let mut waiting = Connected::with(takes);
        waiting.send(ASKED).await;
        let mut idle = Connected::with(Duration::ZERO);
        idle.send(ASKED).await;
        idle.answer().await;
        let mut fresh = Connected::with(Duration::ZERO);
        for peer in [&waiting, &idle, &fresh] {
            peer.stopping.cancel();
        }
        assert_eq!(idle.closed_after().await, Duration::ZERO);
        fresh.send(ASKED).await;
        fresh.answer().await;
        assert_eq!(fresh.closed_after().await, Duration::ZERO);
        waiting.answer().await;
        assert_eq!(waiting.closed_after().await, takes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_sends_no_more_gets_its_answer() {
        let takes = Duration::from_secs(3);
        let mut peer = Connected::with(takes);
        peer.send(ASKED).await;
        peer.stream.shutdown().await.unwrap();
        peer.answer().await;
        assert_eq!(peer.closed_after().await, takes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_aborted_ends_before_its_answer() {
        let mut peer = Connected::with(Duration::from_secs(3600));
        peer.send(ASKED).await;
        peer.send(b"\x01\x02\0\x01\0\0\0\0").await;
        let mut end = [0; 16];
        peer.stream.read_exact(&mut end).await.unwrap();
        assert_eq!(end, b"\x01\x03\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0"[..]);
        assert_eq!(peer.since.elapsed(), Duration::ZERO);
    }
}
