//! One connection of a web server, from question to question.

use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_util::io::poll_read_buf;

use super::HEAD_TIMEOUT;
use super::head::{self, Head, Reading};
use super::reply::Manner;
use super::worker::Place;
use crate::transport::send::send;

/// Bytes read at once: most questions are shorter.
const BUFFER: usize = 4096;
/// Longest head that is waited for here.
const LONGEST_HEAD: usize = 64 * 1024;
/// Largest answer whose memory is kept for the next.
const LARGEST_KEPT: usize = 16 * 1024;

/// What has come on a connection whose next request is not for us.
#[derive(Debug, PartialEq, Eq)]
pub struct Unanswered(pub BytesMut);

/// Answers plain questions until the connection ends, or until something else comes, which is for the framework.
///
/// `answer` writes an answer, or says that it has none. A peer that hangs up has given up: nobody waits on for its
/// answer.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    place: &Place,
    answer: impl AsyncFn(&Head<'_, '_>, Manner, &mut Vec<u8>) -> bool,
) -> Option<Unanswered> {
    let (mut bytes, mut next, mut out) = (BytesMut::with_capacity(BUFFER), BytesMut::new(), Vec::new());
    // Whoever has just connected is about to ask.
    let mut deadline = Some(Instant::now() + HEAD_TIMEOUT);
    loop {
        let (length, keeps) = match head::read(&bytes, &mut head::room()) {
            Reading::Plain(head) => {
                let keeps = head.keeps && !place.worker.is_stopping();
                let manner = Manner { keeps, head_only: head.line.method == "HEAD" };
                let mut answering = pin!(answer(&head, manner, &mut out));
                let answered = tokio::select! {
                    biased;
                    answered = &mut answering => answered,
                    () = gone(stream, &mut next) => return None,
                };
                if !answered {
                    break;
                }
                (head.length, keeps)
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
        if length == bytes.len() {
            // So all of the room is there again.
            bytes.clear();
        } else {
            bytes.advance(length);
        }
        if !next.is_empty() {
            bytes.extend_from_slice(&next);
            next.clear();
        }
        out.clear();
        out.shrink_to(LARGEST_KEPT);
        deadline = None;
    }
    bytes.extend_from_slice(&next);
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

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use tokio::io::{DuplexStream, duplex};
    use tokio::task::{JoinHandle, LocalSet, spawn_local};
    use tokio::time::sleep;

    use super::super::worker::Worker;
    use super::*;
    use crate::transport::send::TAKES_WITHIN;

    const ASKED: &[u8] = b"GET /ours HTTP/1.1\r\nHost: h\r\n\r\n";
    const PAGE: &[u8] = b"GET /page HTTP/1.1\r\nHost: h\r\n\r\n";
    const FOR_EVER: Duration = Duration::from_secs(1_000_000);

    /// A connection to a server of answers that say whether more may follow.
    struct Connected {
        stream: DuplexStream,
        served: JoinHandle<Option<Unanswered>>,
        worker: Rc<Worker>,
        since: Instant,
    }

    impl Connected {
        /// Whose answers take this long.
        fn with(takes: Duration) -> Self {
            let (stream, mut theirs) = duplex(64);
            let worker = Rc::<Worker>::default();
            let place = worker.place();
            let served = spawn_local(async move {
                serve(&mut theirs, &place, async |head, manner, out| {
                    sleep(takes).await;
                    out.extend_from_slice(if manner.keeps { b"more" } else { b"last" });
                    head.line.target == "/ours"
                })
                .await
            });
            Self { stream, served, worker, since: Instant::now() }
        }

        async fn answer(&mut self) -> String {
            let mut answer = [0; 4];
            self.stream.read_exact(&mut answer).await.unwrap();
            String::from_utf8(answer.to_vec()).unwrap()
        }

        /// What was left, and when.
        async fn ended(self) -> (Option<Unanswered>, Duration) {
            (self.served.await.unwrap(), self.since.elapsed())
        }
    }

    async fn connected<T>(takes: Duration, then: impl AsyncFnOnce(Connected) -> T) -> T {
        LocalSet::new().run_until(async { then(Connected::with(takes)).await }).await
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_after_the_other_however_they_come() {
        connected(Duration::ZERO, async |mut peer| {
            for piece in [1, 7, 64].iter().flat_map(|size| ASKED.chunks(*size)) {
                peer.stream.write_all(piece).await.unwrap();
                sleep(Duration::from_millis(1)).await;
            }
            peer.stream.write_all(&ASKED.repeat(2)).await.unwrap();
            for _ in 0..5 {
                assert_eq!(peer.answer().await, "more");
            }
            // One that is kept may say nothing for as long as it likes.
            sleep(Duration::from_secs(3600)).await;
            peer.stream.write_all(b"GET /ours HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
            assert_eq!(peer.answer().await, "last");
            assert_eq!(peer.ended().await.0, None);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_ours_is_handed_over_whole_with_all_that_follows() {
        for first in
            [PAGE, b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01", b"POST /ours HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"]
        {
            for asked_before in [&b""[..], ASKED] {
                let left = connected(Duration::ZERO, async |mut peer| {
                    let all = [asked_before, first, ASKED].concat();
                    // What is behind it stays unread here.
                    let _ = peer.stream.write_all(&all).await;
                    peer.ended().await.0.unwrap()
                })
                .await;
                assert!(left.0.starts_with(first), "{left:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_or_half_a_word_is_not_waited_for() {
        for said in [&b""[..], b"GET", &ASKED[..ASKED.len() - 1]] {
            let (left, after) = connected(Duration::ZERO, async |mut peer| {
                peer.stream.write_all(said).await.unwrap();
                peer.ended().await
            })
            .await;
            assert_eq!((left, after), (None, HEAD_TIMEOUT), "{said:?}");
        }
        let (_, after) = connected(Duration::ZERO, async |mut peer| {
            peer.stream.write_all(ASKED).await.unwrap();
            peer.answer().await;
            sleep(Duration::from_secs(60)).await;
            peer.stream.write_all(b"GET").await.unwrap();
            peer.ended().await
        })
        .await;
        assert_eq!(after, Duration::from_secs(60) + HEAD_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_hangs_up_holds_no_place_and_what_is_asked_meanwhile_waits() {
        let (left, after) = connected(FOR_EVER, async |mut peer| {
            peer.stream.write_all(ASKED).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            peer.stream.shutdown().await.unwrap();
            peer.ended().await
        })
        .await;
        assert_eq!((left, after), (None, Duration::from_secs(1)));
        connected(Duration::from_secs(2), async |mut peer| {
            peer.stream.write_all(ASKED).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            peer.stream.write_all(ASKED).await.unwrap();
            assert_eq!((peer.answer().await, peer.answer().await), ("more".to_owned(), "more".to_owned()));
            assert_eq!(peer.since.elapsed(), Duration::from_secs(4));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_who_waits_for_nothing_goes_and_who_waits_is_answered_once_more() {
        connected(Duration::from_secs(2), async |mut peer| {
            peer.stream.write_all(ASKED).await.unwrap();
            peer.answer().await;
            sleep(Duration::from_secs(60)).await;
            peer.worker.stop();
            assert_eq!(peer.ended().await, (None, Duration::from_secs(62)));
        })
        .await;
        // Whoever has just connected is about to ask.
        connected(Duration::from_secs(2), async |mut peer| {
            peer.worker.stop();
            sleep(Duration::from_secs(1)).await;
            peer.stream.write_all(ASKED).await.unwrap();
            assert_eq!(peer.answer().await, "last");
            assert_eq!(peer.ended().await, (None, Duration::from_secs(3)));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_no_answer_is_left_even_if_the_one_before_lies_there_still() {
        for length in [64, 1000] {
            let (mut stream, mut theirs) = duplex(64);
            stream.write_all(&ASKED.repeat(2)).await.unwrap();
            let place = Rc::<Worker>::default().place();
            let since = Instant::now();
            let served = serve(&mut theirs, &place, async |_, _, out| {
                out.resize(length, b'.');
                true
            });
            assert_eq!((served.await, since.elapsed()), (None, TAKES_WITHIN), "{length}");
        }
    }
}
