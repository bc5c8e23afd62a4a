//! Ports and Unix sockets, opened.

use std::fs::Permissions;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Socket, TcpKeepalive, Type};

use crate::domain::ListenAddress;

/// How long a connection may be idle before the system asks whether its peer is still there. Idle ones
/// are closed by the web server (nginx: after 60 seconds), so that no question is lost on one that is
/// just closing; a timer of ours would have to be set anew for every request, which costs more than
/// reading the ticket's JSON.
const ASK_PEER_AFTER: Duration = Duration::from_secs(75);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    pub(super) address: String,
    pub(super) source: io::Error,
}

/// An open listener.
pub(super) enum Opened {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Opens an address, and tells which it is: with the port that the system chose, where 0 was asked for.
pub(super) fn open(address: &ListenAddress) -> Result<(Opened, ListenAddress), ListenError> {
    let opened = match address {
        ListenAddress::Tcp(asked) => listen_on_port(*asked).and_then(|listener| {
            let bound = listener.local_addr()?;
            Ok((Opened::Tcp(listener), ListenAddress::Tcp(bound)))
        }),
        ListenAddress::Unix { path, mode } => {
            listen_on_socket(path, *mode).map(|socket| (Opened::Unix(socket), address.clone()))
        }
    };
    opened.map_err(|source| ListenError { address: address.to_string(), source })
}

/// Opens a port. What is set here holds for every connection that is accepted.
fn listen_on_port(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Else a restart would have to wait for connections of the process before.
    socket.set_reuse_address(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(ASK_PEER_AFTER))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Opens a Unix socket in the place of one that a dead process left behind; a living one keeps it.
fn listen_on_socket(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let nobody_listens =
        || UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_socket && nobody_listens() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}
