//! The application behind the web server: it remembers byte for byte what arrives, and answers as its path says.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::browser::{ROW, whole_body};
use crate::fakes::server::{Reply, Request, forward, locked};
use crate::world::KEY_MARK;

/// What it is besides what every row wants of it.
#[derive(Clone, Copy, Debug)]
pub enum Behind {
    /// The strict stand-in for Axigen, here.
    Mail(SocketAddr),
    /// An application with a form, whose scripts read two of its three cookies.
    Form,
}

/// One request as it came over the wire.
#[derive(Clone)]
pub struct Arrived {
    pub method: String,
    pub target: String,
    /// Names as they were written.
    pub lines: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// As it was sent, less the body.
impl fmt::Debug for Arrived {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} {}", self.method, self.target)?;
        let mut lines = self.lines.iter().map(|(name, value)| (name, String::from_utf8_lossy(value)));
        lines.try_for_each(|(name, value)| writeln!(formatter, "    {name}: {value}"))
    }
}

impl Arrived {
    /// Every value of a header, in order, in every spelling that a CGI program would take for it.
    pub fn all(&self, name: &str) -> Vec<String> {
        let folded = |name: &str| name.replace('_', "-").to_ascii_lowercase();
        let named = self.lines.iter().filter(|(held, _)| folded(held) == folded(name));
        named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// Of which row it is; nothing where Keyward itself asks.
    pub fn row(&self) -> Option<String> {
        self.all(ROW).pop()
    }
}

/// Running, until it is dropped.
pub struct Application {
    pub address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Application {
    pub async fn start(address: SocketAddr, behind: Behind) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let accepting = Some(tokio::spawn(accept(listener, behind, Arc::clone(&arrived))));
        Self { address, arrived, accepting }
    }

    /// Ends it, and leaves the address to whoever comes next.
    pub async fn end(mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// All that came on behalf of this row.
    pub fn arrived(&self, row: &str) -> Vec<Arrived> {
        let mut all = self.everything();
        all.retain(|arrived| arrived.row().as_deref() == Some(row));
        all
    }

    /// All that came.
    pub fn everything(&self) -> Vec<Arrived> {
        locked(&self.arrived).clone()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

async fn accept(listener: TcpListener, behind: Behind, arrived: Arc<Mutex<Vec<Arrived>>>) {
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let arrived = Arc::clone(&arrived);
        connections.spawn(async move {
            let _ = serve(stream, behind, &arrived).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, behind: Behind, all: &Mutex<Vec<Arrived>>) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(arrived) = read(&mut stream, &mut buffer).await? {
        locked(all).push(arrived.clone());
        if arrived.target.starts_with("/socket") && arrived.all("Upgrade") == ["websocket"] {
            return echo(stream, buffer).await;
        }
        let reply = answer(&arrived, behind).await;
        stream.write_all(&bytes(&reply, arrived.method == "HEAD")).await?;
        if arrived.all("Connection").iter().any(|value| value.eq_ignore_ascii_case("close")) {
            return Ok(());
        }
    }
    Ok(())
}

/// A WebSocket as far as a web server sees one: after the upgrade bytes go both ways.
async fn echo(mut stream: TcpStream, mut bytes: Vec<u8>) -> io::Result<()> {
    let upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(upgraded.as_bytes()).await?;
    loop {
        stream.write_all(&std::mem::take(&mut bytes)).await?;
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}

async fn answer(arrived: &Arrived, behind: Behind) -> Reply {
    let path = arrived.target.split('?').next().unwrap_or_default();
    if let Some(status) = path.strip_prefix("/says/").and_then(|status| status.parse().ok()) {
        return Reply::html(status, format!("the application says {status}")).with("X-Application", "itself");
    }
    match (path, behind) {
        ("/cookies", _) => Reply::new(200, "two cookies")
            .with("Set-Cookie", "first=1; Path=/; HttpOnly")
            .with("Set-Cookie", "second=2; Path=/; Expires=Fri, 31 Dec 2038 23:59:59 GMT"),
        ("/", Behind::Mail(mail)) => mailed(arrived, mail).await,
        (_, Behind::Mail(mail)) if arrived.row().is_none() => mailed(arrived, mail).await,
        ("/moved", _) => Reply::new(302, "").with("Location", "/inbox?moved=1"),
        ("/login", Behind::Form) => Reply::new(200, "welcome")
            .with("Set-Cookie", &format!("sid={}; HttpOnly", form_key(&String::from_utf8_lossy(&arrived.body))))
            .with("Set-Cookie", "csrf=C1")
            .with("Set-Cookie", "lang=en"),
        _ => Reply::new(200, "here").with("Content-Type", "text/plain"),
    }
}

/// The key of whoever is in this form, or has this name: bob's is as long as they come.
pub fn form_key(form: &str) -> String {
    if form.contains("bob") { format!("{KEY_MARK}{}", "b".repeat(3500)) } else { format!("{KEY_MARK}S1") }
}

async fn mailed(arrived: &Arrived, mail: SocketAddr) -> Reply {
    let lines = arrived.lines.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("transfer-encoding"));
    let headers = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    let (method, target) = (arrived.method.clone(), arrived.target.clone());
    let request = Request { method, target, headers, body: arrived.body.clone() };
    forward(mail, &request).await.unwrap_or_else(|_| Reply::new(502, ""))
}

fn bytes(reply: &Reply, to_head: bool) -> Vec<u8> {
    let lines: String = reply.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let (status, length) = (reply.status, reply.body.len());
    let head = format!("HTTP/1.1 {status} Answer\r\n{lines}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), if to_head { &[] } else { &reply.body }].concat()
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Arrived>> {
    loop {
        if let Some((arrived, length)) = parse(buffer) {
            buffer.drain(..length);
            return Ok(Some(arrived));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// The first request, and how long it is, once all of it is there.
fn parse(buffer: &[u8]) -> Option<(Arrived, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = parsed.parse(buffer) else { return None };
    let (method, target) = (parsed.method?.to_owned(), parsed.path?.to_owned());
    let lines: Vec<_> = parsed.headers.iter().map(|line| (line.name.to_owned(), line.value.to_vec())).collect();
    let (body, length) = whole_body(&lines, &buffer[head..])?;
    Some((Arrived { method, target, lines, body }, head + length))
}
