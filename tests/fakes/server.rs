//! A tiny HTTP/1.1 server, written in bytes so that it can misbehave on command.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query, undecoded.
    pub target: String,
    /// Names in lower case, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The decoded query.
    pub fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// The first header of this name, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(held, _)| held == name)?;
        std::str::from_utf8(value).ok()
    }

    /// The cookies, first of a name wins.
    pub fn cookies(&self) -> HashMap<String, String> {
        let mut cookies = HashMap::new();
        for pair in self.header("cookie").unwrap_or_default().split(';') {
            if let Some((name, value)) = pair.trim().split_once('=') {
                cookies.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
        cookies
    }
}

/// A well-behaved answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub fn html(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, body).with("Content-Type", "text/html; charset=utf-8")
    }

    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, body.to_string()).with("Content-Type", "application/json")
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Answer\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        [head.as_bytes(), &self.body].concat()
    }
}

/// How an answer goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Closed before the status line.
    CloseAtOnce,
    /// Half of the answer, then closed.
    HalfAnswer,
    /// No answer, and the connection stays open.
    Hang,
    /// One byte at a time, with this pause.
    Drip(Duration),
    EndlessHeaders,
    EndlessBody,
    /// Bytes that are no HTTP.
    Garbage,
    /// This instead of the real answer.
    Instead(Reply),
    /// The real answer, with this many cookies more.
    ManyCookies(usize),
    /// The real answer, with this in place of the value of every cookie that a login sets.
    Keys(String),
}

type Handling = Pin<Box<dyn Future<Output = Reply> + Send>>;

struct Shared {
    handler: Box<dyn Fn(Request) -> Handling + Send + Sync>,
    fault: Mutex<Option<Fault>>,
    requests: Mutex<Vec<Request>>,
    forgets: AtomicBool,
}

/// A server on loopback that lives until it is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Listens on a port that the system chooses.
    pub async fn start<H, F>(handler: H) -> io::Result<Self>
    where
        H: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let handler: Box<dyn Fn(Request) -> Handling + Send + Sync> =
            Box::new(move |request| Box::pin(handler(request)));
        let shared = Arc::new(Shared {
            handler,
            fault: Mutex::default(),
            requests: Mutex::default(),
            forgets: AtomicBool::new(false),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes every following answer go wrong in this way, until told otherwise.
    pub fn misbehave(&self, fault: Option<Fault>) {
        *locked(&self.shared.fault) = fault;
    }

    /// Remembers no request from now on, for those who will be asked very often.
    pub fn forget(&self) {
        self.shared.forgets.store(true, Ordering::Relaxed);
    }

    /// Everything that was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.shared.requests).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A lock that a failed test cannot poison for the next one.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and with it every connection.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let _ = serve(stream, &shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await? {
        if !shared.forgets.load(Ordering::Relaxed) {
            locked(&shared.requests).push(request.clone());
        }
        let fault = locked(&shared.fault).clone();
        let last = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        match fault {
            None => {
                let reply = (shared.handler)(request).await;
                stream.write_all(&reply.bytes()).await?;
            }
            Some(fault) => {
                if !go_wrong(&mut stream, fault, request, shared).await? {
                    return Ok(());
                }
            }
        }
        if last {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the connection goes on.
async fn go_wrong(stream: &mut TcpStream, fault: Fault, request: Request, shared: &Shared) -> io::Result<bool> {
    match fault {
        Fault::CloseAtOnce => return Ok(false),
        Fault::Hang => std::future::pending().await,
        Fault::Garbage => {
            stream.write_all(b"\x16\x03\x01 this is not HTTP\r\n\r\n").await?;
            return Ok(false);
        }
        Fault::EndlessHeaders => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            for number in 0_u64.. {
                stream.write_all(format!("X-Header-{number}: {}\r\n", "x".repeat(1000)).as_bytes()).await?;
            }
        }
        Fault::EndlessBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 4096]).await?;
            }
        }
        Fault::Instead(reply) => stream.write_all(&reply.bytes()).await?,
        Fault::HalfAnswer => {
            let bytes = (shared.handler)(request).await.with("X-Padding", "so that there is a half").bytes();
            let half = bytes.len() / 2;
            stream.write_all(&bytes[..half]).await?;
            return Ok(false);
        }
        Fault::Drip(pause) => {
            for byte in (shared.handler)(request).await.bytes() {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(pause).await;
            }
        }
        Fault::ManyCookies(count) => {
            let mut reply = (shared.handler)(request).await;
            for number in 0..count {
                reply = reply.with("Set-Cookie", &format!("_hx{number}=0123456789abcdef0123456789abcdef"));
            }
            stream.write_all(&reply.bytes()).await?;
        }
        Fault::Keys(key) => {
            let target = &request.target;
            let marks = ["action=login", "preauth=", "SSOLOGIN=", "/login?token="];
            let login = request.method == "POST" || marks.iter().any(|mark| target.contains(mark));
            let mut reply = (shared.handler)(request).await;
            for (name, value) in &mut reply.headers {
                if login
                    && name.eq_ignore_ascii_case("set-cookie")
                    && let Some((cookie, _)) = value.split_once('=')
                {
                    *value = format!("{cookie}={key}; Path=/");
                }
            }
            // A login without a cookie names its session in the body.
            let sets_cookie = reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
            if login
                && !sets_cookie
                && let Ok(mut body) = serde_json::from_slice::<serde_json::Value>(&reply.body)
                && let Some(session) = body.get_mut("sessid")
            {
                *session = key.into();
                reply.body = body.to_string().into_bytes();
            }
            stream.write_all(&reply.bytes()).await?;
        }
    }
    Ok(true)
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some((mut request, head)) = parse(buffer) {
            let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            while buffer.len() < head + length {
                if stream.read_buf(buffer).await? == 0 {
                    return Ok(None);
                }
            }
            request.body = buffer[head..head + length].to_vec();
            buffer.drain(..head + length);
            return Ok(Some(request));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse(buffer: &[u8]) -> Option<(Request, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = parsed.parse(buffer) else { return None };
    let (method, target) = (parsed.method?.to_owned(), parsed.path?.to_owned());
    let headers =
        parsed.headers.iter().map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec())).collect();
    Some((Request { method, target, headers, body: Vec::new() }, head))
}

/// Reads one answer of another server, for a proxy that stands in front of a real one.
pub async fn forward(address: SocketAddr, request: &Request) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(address).await?;
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target).into_bytes();
    for (name, value) in request.headers.iter().filter(|(name, _)| name != "connection") {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"connection: close\r\n\r\n");
    stream.write_all(&[head.as_slice(), &request.body].concat()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Response::new(&mut headers);
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let Ok(httparse::Status::Complete(head)) = parsed.parse(&bytes) else { return Err(broken()) };
    let mut reply = Reply::new(parsed.code.ok_or_else(broken)?, &bytes[head..]);
    for header in parsed.headers.iter() {
        let name = header.name.to_ascii_lowercase();
        // PHP's own server closes instead of counting, so the body is everything that came.
        if !matches!(name.as_str(), "content-length" | "connection") {
            reply = reply.with(header.name, &String::from_utf8_lossy(header.value));
        }
    }
    Ok(reply)
}
