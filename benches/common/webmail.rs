//! The back-end that everybody is signed in to, in the way that is documented for Axigen.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// The keys that it gives this person, both halves alike.
pub fn key(person: usize) -> String {
    format!("{person:032x}")
}

/// A back-end that signs everybody in, and counts.
pub struct Webmail {
    pub address: SocketAddr,
    asked: Arc<Asked>,
}

/// How often it was asked for what, and by whom.
#[derive(Default)]
struct Asked {
    logins: AtomicUsize,
    checks: AtomicUsize,
    order: Mutex<Vec<usize>>,
}

impl Webmail {
    /// One that signs in at once.
    pub fn start() -> io::Result<Self> {
        Self::taking(Duration::ZERO)
    }

    /// One that takes so long for each login.
    pub fn taking(time: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, asked) = (listener.local_addr()?, Arc::<Asked>::default());
        let counting = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = Arc::clone(&counting);
                // A connection that breaks is the client's to notice.
                std::thread::spawn(move || serve(&stream, &asked, time).is_ok());
            }
        });
        Ok(Self { address, asked })
    }

    /// Logins so far.
    pub fn logins(&self) -> usize {
        self.asked.logins.load(Ordering::Relaxed)
    }

    /// Checks of sessions so far.
    pub fn checks(&self) -> usize {
        self.asked.checks.load(Ordering::Relaxed)
    }

    /// Who has come for a login since this was asked last, in order.
    pub fn take_order(&self) -> Vec<usize> {
        std::mem::take(&mut self.asked.order.lock())
    }

    /// Bytes of the keys of one session, cookie and query pair.
    pub fn key_bytes(&self) -> usize {
        "_hmail=".len() + "_h=".len() + 2 * key(0).len()
    }

    /// Signs somebody in without anybody in between, over a connection of its own, as Keyward does.
    pub fn sign_in(&self, person: usize) -> io::Result<()> {
        let body = format!("username={}&password=correct+horse", super::load::user(person).replace('@', "%40"));
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        write!(
            stream,
            "POST /?action=login HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let (mut answer, mut length) = ([0; 1024], 0);
        while !answer[..length].ends_with(b"\r\n\r\n") {
            match stream.read(&mut answer[length..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => length += read,
            }
        }
        Ok(())
    }
}

fn serve(stream: &TcpStream, asked: &Asked, time: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let (mut length, mut is_logout) = (0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            is_logout |= line.contains("action=logout");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or_default();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body);
        let Some((_, number)) = body.split_once("username=user") else {
            asked.checks.fetch_add(usize::from(!is_logout), Ordering::Relaxed);
            writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        let person = digits.parse().unwrap_or_default();
        asked.logins.fetch_add(1, Ordering::Relaxed);
        asked.order.lock().push(person);
        if !time.is_zero() {
            std::thread::sleep(time);
        }
        let key = key(person);
        let answer = format!(
            "HTTP/1.1 303 See Other\r\nLocation: /?_h={key}\r\nSet-Cookie: _hmail={key}; path=/\r\n\
             Content-Length: 0\r\n\r\n"
        );
        writer.write_all(answer.as_bytes())?;
    }
}
