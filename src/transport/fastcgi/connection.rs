//! One connection, from its first byte to its last.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::io::poll_read_buf;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::conversation::{Conversation, Event, Nonsense, Request};
use super::record::{BadVersion, Record, cut_off};
use super::server::MOST_CONNECTIONS;
use crate::transport::send::send;

/// Longest wait for the first record, and for all variables of a request once it has begun: a web server on the
/// same machine needs no time at all, and sends them in one piece.
const ASKS_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection that is kept may be idle. Longer than nginx keeps one (60 seconds), so that no request is
/// lost on one that is just closing.
const IDLE: Duration = Duration::from_secs(75);
/// How long we listen on after we have closed our side.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes read at once: most requests are shorter. More are taken where a record is longer.
const BUFFER: usize = 4096;
/// Most memory for records, and for an answer, that is kept for the next.
const LARGEST_KEPT: usize = 16 * 1024;

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Record(#[from] BadVersion),
    #[error(transparent)]
    Nonsense(#[from] Nonsense),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("nobody takes the answer")]
    NotTaken,
    #[error("nothing came in time")]
    Silent,
    /// Web servers hang up when their browser has, and nobody waits on for the answer.
    #[error("it hung up before its answer")]
    HungUp,
}

/// Who answers.
pub trait Desk: Send + Sync {
    /// Writes the answer to a request, with the end of that.
    fn answer(&self, request: &mut Request, out: &mut Vec<u8>) -> impl Future<Output = ()> + Send;
}

/// Serves a connection until it ends: by its peer, after one request or the last one, or in time. When `stopping`,
/// it ends as soon as nobody waits for an answer.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: Option<IpAddr>,
    desk: &impl Desk,
    stopping: CancellationToken,
) {
    let mut wire = Wire { stream, bytes: Vec::with_capacity(BUFFER), taken: 0 };
    match converse(&mut wire, desk, stopping).await {
        Ok(()) => close(wire.stream).await,
        // Nobody waits for anything, and nothing is unread.
        Err(Broken::Silent | Broken::HungUp) => {}
        // Web servers hang up whenever they like; nginx does after each answer's headers.
        Err(Broken::Io(error)) => tracing::debug!(%error, "a FastCGI peer went away"),
        Err(problem) => tracing::info!(%problem, ?peer, "a FastCGI connection was ended"),
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    desk: &impl Desk,
    stopping: CancellationToken,
) -> Result<(), Broken> {
    let (mut conversation, mut out) = (Conversation::new(MOST_CONNECTIONS), Vec::new());
    // How long the peer is waited for from now on; nothing where what came last has changed nothing about that.
    let mut within = Some(ASKS_WITHIN);
    let mut until = Instant::now() + ASKS_WITHIN;
    let (alarm, stopped) = (pin!(sleep_until(until)), pin!(stopping.cancelled_owned()));
    let mut patience = Patience { alarm, stopped };
    while !conversation.is_over() {
        let Some(record) = wire.next()? else {
            match within.take() {
                Some(within) => until = Instant::now() + within,
                // There may always be more of what comes to nothing.
                None if Instant::now() >= until => return Err(Broken::Silent),
                None => {}
            }
            // Whoever has just connected is about to ask.
            let may_stop = conversation.is_idle() && !conversation.is_fresh();
            if wire.more(&mut patience, until, may_stop).await? == 0 {
                return Ok(());
            }
            continue;
        };
        match conversation.take(record)? {
            Event::Nothing => continue,
            Event::Begun => within = Some(ASKS_WITHIN),
            Event::Asked(mut request) => {
                let aborted = {
                    let mut answering = pin!(desk.answer(&mut request, &mut out));
                    tokio::select! {
                        biased;
                        () = &mut answering => false,
                        aborted = wire.until_aborted(&mut conversation) => aborted.map(|()| true)?,
                    }
                };
                conversation.reuse(request.variables);
                if !aborted {
                    conversation.answered();
                    wire.send(&out).await?;
                }
                out.clear();
                out.shrink_to(LARGEST_KEPT);
            }
            Event::Aborted(reply) | Event::Reply(reply) => wire.send(&reply.to_bytes()).await?,
        }
        if conversation.is_idle() {
            within = Some(IDLE);
        }
    }
    Ok(())
}

/// What a connection that waits for its peer waits for beside.
struct Patience<'a> {
    /// Goes off no later than it should, and is then put off: to do that once in a while costs less than every time.
    alarm: Pin<&'a mut Sleep>,
    stopped: Pin<&'a mut WaitForCancellationFutureOwned>,
}

impl Patience<'_> {
    fn poll_end(&mut self, task: &mut Context<'_>, until: Instant, may_stop: bool) -> Poll<()> {
        if may_stop && self.stopped.as_mut().poll(task).is_ready() {
            return Poll::Ready(());
        }
        if until < self.alarm.deadline() {
            self.alarm.as_mut().reset(until);
        }
        while self.alarm.as_mut().poll(task).is_ready() {
            if self.alarm.deadline() == until {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(until);
        }
        Poll::Pending
    }
}

/// A stream, and what of it was read and not yet taken.
struct Wire<S> {
    stream: S,
    bytes: Vec<u8>,
    taken: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// The next record that is there whole.
    fn next(&mut self) -> Result<Option<Record<'_>>, BadVersion> {
        let mut rest = &self.bytes[self.taken..];
        let record = cut_off(&mut rest)?;
        self.taken = self.bytes.len() - rest.len();
        Ok(record)
    }

    /// Reads more; 0 bytes are the end.
    fn poll_read(&mut self, task: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(LARGEST_KEPT);
        } else {
            self.bytes.drain(..self.taken);
        }
        self.taken = 0;
        // With room to spare, since a read that fills its buffer is followed by another one.
        if self.bytes.capacity() - self.bytes.len() < BUFFER / 4 {
            self.bytes.reserve(BUFFER);
        }
        poll_read_buf(Pin::new(&mut self.stream), task, &mut self.bytes)
    }

    async fn more(&mut self, patience: &mut Patience<'_>, until: Instant, may_stop: bool) -> Result<usize, Broken> {
        poll_fn(|task| match self.poll_read(task) {
            Poll::Ready(read) => Poll::Ready(Ok(read?)),
            Poll::Pending => patience.poll_end(task, until, may_stop).map(|()| Err(Broken::Silent)),
        })
        .await
    }

    /// Listens while an answer is on its way: ends when nobody wants that any more, and has been told so unless it has
    /// hung up.
    async fn until_aborted(&mut self, conversation: &mut Conversation) -> Result<(), Broken> {
        loop {
            while let Some(record) = self.next()? {
                match conversation.take(record)? {
                    Event::Reply(reply) => self.send(&reply.to_bytes()).await?,
                    Event::Aborted(reply) => return self.send(&reply.to_bytes()).await,
                    // No request is taken beside another.
                    Event::Nothing | Event::Begun | Event::Asked(_) => {}
                }
            }
            if poll_fn(|task| self.poll_read(task)).await? == 0 {
                return Err(Broken::HungUp);
            }
        }
    }

    /// Sends all of this.
    async fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        send(&mut self.stream, bytes).await.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Broken::NotTaken,
            _ => Broken::Io(error),
        })
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
    use tokio::time::sleep;

    use super::super::record::{begin_answer, end_answer};
    use super::*;
    use crate::transport::send::TAKES_WITHIN;

    /// A request that is kept, and its answer.
    const ASKED: &[u8] = b"\x01\x01\0\x01\0\x08\0\0\0\x02\x01\0\0\0\0\0\x01\x04\0\x01\0\0\0\0";
    const ANSWERED: &[u8] =
        b"\x01\x06\0\x01\0\x03\0\0yes\x01\x06\0\x01\0\0\0\0\x01\x03\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0";

    /// Says yes, again and again up to this length, after this time.
    struct Yes {
        takes: Duration,
        length: usize,
    }

    impl Desk for Yes {
        async fn answer(&self, request: &mut Request, out: &mut Vec<u8>) {
            sleep(self.takes).await;
            begin_answer(out);
            out.extend(b"yes".iter().cycle().take(self.length));
            end_answer(out, request.id);
        }
    }

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
            let told = stopping.clone();
            let served = tokio::spawn(async move { serve(theirs, None, &Yes { takes, length: 3 }, told).await });
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
                sleep(Duration::from_millis(300)).await;
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
        let long = Yes { takes: Duration::ZERO, length: 1000 };
        let served = tokio::spawn(async move { serve(theirs, None, &long, CancellationToken::new()).await });
        let since = Instant::now();
        stream.write_all(ASKED).await.unwrap();
        served.await.unwrap();
        assert_eq!(since.elapsed(), TAKES_WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn nor_is_one_whose_last_answer_lies_there_still() {
        let (mut stream, theirs) = duplex(64);
        // As long as what can be on its way.
        let filling = Yes { takes: Duration::ZERO, length: 64 - ANSWERED.len() + b"yes".len() };
        let served = tokio::spawn(async move { serve(theirs, None, &filling, CancellationToken::new()).await });
        let since = Instant::now();
        stream.write_all(&ASKED.repeat(2)).await.unwrap();
        served.await.unwrap();
        assert_eq!(since.elapsed(), TAKES_WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_answered_in_turn_however_they_come() {
        let mut peer = Connected::with(Duration::ZERO);
        for size in [1, 7, 16, 24, 48] {
            let (mut reading, mut writing) = tokio::io::split(&mut peer.stream);
            let asking = async {
                for piece in ASKED.repeat(4).chunks(size) {
                    writing.write_all(piece).await.unwrap();
                }
            };
            let mut answers = vec![0; 4 * ANSWERED.len()];
            let (_, read) = tokio::join!(asking, reading.read_exact(&mut answers));
            read.unwrap();
            assert_eq!(answers, ANSWERED.repeat(4), "{size}");
        }
        assert_eq!(peer.since.elapsed(), Duration::ZERO);
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
    async fn a_peer_that_hangs_up_has_given_up_unless_its_answer_is_there() {
        for takes in [Duration::ZERO, Duration::from_secs(3600)] {
            let mut peer = Connected::with(takes);
            peer.send(ASKED).await;
            peer.stream.shutdown().await.unwrap();
            if takes.is_zero() {
                peer.answer().await;
            }
            assert_eq!(peer.closed_after().await, Duration::ZERO);
        }
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
