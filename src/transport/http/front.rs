//! What stands before the framework: plain questions are answered here, and every other connection is handed over as
//! it is, with what has come on it.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_service::{Service, ServiceFactory, fn_factory, fn_service};
use actix_web::rt;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{self, Unanswered};
use super::doors::{self, HttpDoor};
use super::head::Head;
use super::reply;
use super::worker::Worker;

/// A connection, and who is at its other end. Only a Unix socket has no address.
pub type Accepted<S> = (S, Option<SocketAddr>);

/// Puts `doors` in front of what serves all other connections. Workers stop once `stopping` has ended.
pub fn front<S, F, W>(
    doors: Vec<HttpDoor>,
    others: F,
    stopping: impl Fn() -> W,
) -> impl ServiceFactory<Accepted<S>, Config = (), Response = (), Error = F::Error, InitError = F::InitError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: ServiceFactory<Accepted<HandedOver<S>>, Config = (), Response = ()>,
    F::Service: 'static,
    W: Future<Output = ()> + 'static,
{
    let doors: Rc<[HttpDoor]> = doors.into();
    fn_factory(move || {
        let (worker, stopped) = (Rc::<Worker>::default(), stopping());
        let told = Rc::clone(&worker);
        rt::spawn(async move {
            stopped.await;
            told.stop();
        });
        let (doors, others) = (Rc::clone(&doors), others.new_service(()));
        async move {
            let others = Rc::new(others.await?);
            Ok(fn_service(move |(mut stream, peer): Accepted<S>| {
                let (doors, others, place) = (Rc::clone(&doors), Rc::clone(&others), worker.place());
                async move {
                    let nearest = peer.map(|peer| peer.ip());
                    let answer = async |head: &Head<'_, '_>, manner, out: &mut Vec<u8>| {
                        let Some(door) = doors::at(&doors, head.line.path()) else { return false };
                        let begun = reply::begin(mem::take(out));
                        let write = |answer| reply::write(answer, manner);
                        *out = doors::answer(door, nearest, head.line, &head.headers, begun, write).await;
                        true
                    };
                    match connection::serve(&mut stream, &place, answer).await {
                        Some(Unanswered(bytes)) => others.call((HandedOver { bytes, stream }, peer)).await,
                        None => Ok(()),
                    }
                }
            }))
        }
    })
}

/// A connection that begins with bytes that were read before.
pub struct HandedOver<S> {
    bytes: BytesMut,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for HandedOver<S> {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Pin::new(&mut self.stream).poll_read(task, into);
        }
        let length = self.bytes.len().min(into.remaining());
        into.put_slice(&self.bytes[..length]);
        self.bytes.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HandedOver<S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(task, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}
