//! Between a server and `ldap3`: lets through whole answers of the right shape to the one question that was
//! asked, and ends the connection at anything else. See [`super::message`] for why.

use std::io;

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, StdStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use super::message::{self, Asked, Malformed};

/// Most bytes of answers to one question: entries come one message each.
const MOST_BYTES: usize = 4 * message::LONGEST;
/// How much is read at once.
const CHUNK: usize = 16 * 1024;
/// Takes leave (UnbindRequest), so that the server does not take us for lost. Nothing else has this id then.
const UNBIND: [u8; 7] = [0x30, 0x05, 0x02, 0x01, 0x7f, 0x42, 0x00];

/// A handle to ask with. The connection ends when it is dropped.
///
/// # Errors
/// The system has no sockets left.
pub(super) async fn guarded<S>(server: S) -> io::Result<Ldap>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (ours, its) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let inside = UnixStream::from_std(ours)?;
    let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(its));
    // The address is not looked at where there is a stream.
    let made = LdapConnAsync::with_settings(settings, "ldapi:///").await;
    let (driver, handle) = made.map_err(io::Error::from)?;
    tokio::spawn(async move {
        // Whoever waits for an answer notices that the connection has ended.
        let _ = driver.drive().await;
    });
    let border = Border { server, inside, asked: None, bytes_left: 0, request: Vec::new(), answer: Vec::new() };
    tokio::spawn(border.keep());
    Ok(handle)
}

struct Border<S> {
    server: S,
    inside: UnixStream,
    asked: Option<Asked>,
    /// Of answers to what was asked.
    bytes_left: usize,
    /// What has come of the next request, and of the next answer.
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Border<S> {
    async fn keep(mut self) {
        if self.pass().await.is_ok() {
            let _ = self.server.write_all(&UNBIND).await;
        }
        let _ = self.server.shutdown().await;
    }

    /// Until we end it (`Ok`), or the server does, or breaks the rules.
    async fn pass(&mut self) -> Result<(), Malformed> {
        let (mut from_inside, mut from_server) = (vec![0; CHUNK], vec![0; CHUNK]);
        loop {
            tokio::select! {
                read = self.inside.read(&mut from_inside) => match read {
                    Ok(0) | Err(_) => return Ok(()),
                    Ok(count) => self.take_request(&from_inside[..count]).await?,
                },
                read = self.server.read(&mut from_server) => match read {
                    Ok(0) | Err(_) => return Err(Malformed),
                    Ok(count) => self.take_answer(&from_server[..count]).await?,
                },
            }
        }
    }

    async fn take_request(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.request.extend_from_slice(bytes);
        while let Some(whole) = next_message(&mut self.request)? {
            self.asked = message::asked(&whole)?;
            self.bytes_left = MOST_BYTES;
            self.server.write_all(&whole).await.map_err(|_| Malformed)?;
            self.server.flush().await.map_err(|_| Malformed)?;
        }
        Ok(())
    }

    async fn take_answer(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.bytes_left = self.bytes_left.checked_sub(bytes.len()).ok_or(Malformed)?;
        self.answer.extend_from_slice(bytes);
        while let Some(whole) = next_message(&mut self.answer)? {
            let asked = self.asked.ok_or(Malformed)?;
            if message::check_answer(&whole, asked)? {
                self.asked = None;
            }
            self.inside.write_all(&whole).await.map_err(|_| Malformed)?;
        }
        Ok(())
    }
}

/// Takes the first message out, when it is whole.
fn next_message(buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, Malformed> {
    let Some(length) = message::length(buffer)?.filter(|length| *length <= buffer.len()) else { return Ok(None) };
    let rest = buffer.split_off(length);
    Ok(Some(std::mem::replace(buffer, rest)))
}
