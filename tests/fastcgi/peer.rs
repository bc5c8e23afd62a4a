//! The web server's side: records as they are sent, and what comes back.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::support::{Address, Answer};

/// Longest wait for what must come. Only a defect ever waits so long.
const COMES_WITHIN: Duration = Duration::from_secs(20);

pub const RESPONDER: u16 = 1;
pub const AUTHORIZER: u16 = 2;
pub const KEEP: u8 = 1;

pub const BEGIN: u8 = 1;
pub const ABORT: u8 = 2;
pub const END: u8 = 3;
pub const PARAMS: u8 = 4;
pub const STDIN: u8 = 5;
pub const STDOUT: u8 = 6;
pub const DATA: u8 = 8;
pub const GET_VALUES: u8 = 9;
pub const GET_VALUES_RESULT: u8 = 10;
pub const UNKNOWN_TYPE: u8 = 11;

/// A record, with as many bytes of padding.
pub fn padded(kind: u8, request: u16, content: &[u8], padding: u8) -> Vec<u8> {
    let mut record = vec![1, kind];
    record.extend_from_slice(&request.to_be_bytes());
    record.extend_from_slice(&u16::try_from(content.len()).unwrap().to_be_bytes());
    record.extend_from_slice(&[padding, 0]);
    record.extend_from_slice(content);
    record.extend(std::iter::repeat_n(0xaa, padding.into()));
    record
}

pub fn record(kind: u8, request: u16, content: &[u8]) -> Vec<u8> {
    padded(kind, request, content, 0)
}

pub fn begin(request: u16, role: u16, flags: u8) -> Vec<u8> {
    let [role1, role0] = role.to_be_bytes();
    record(BEGIN, request, &[role1, role0, flags, 0, 0, 0, 0, 0])
}

/// A length as it is written.
fn length(length: usize) -> Vec<u8> {
    match u32::try_from(length).unwrap() {
        short @ ..128 => vec![u8::try_from(short).unwrap()],
        long => (long | 0x8000_0000).to_be_bytes().to_vec(),
    }
}

pub fn pair(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&length(name.len())[..], &length(value.len()), name, value].concat()
}

/// Variables, in their order.
#[derive(Clone, Debug, Default)]
pub struct Params(pub Vec<(String, Vec<u8>)>);

impl Params {
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.0.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// In the place of the one of this name.
    pub fn set(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).with(name, value)
    }

    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(held, _)| held != name);
        self
    }

    pub fn cookie(self, cookie: &str) -> Self {
        self.with("HTTP_COOKIE", cookie)
    }

    /// As a person's browser asks for a page.
    pub fn page(self) -> Self {
        self.with("HTTP_ACCEPT", "text/html,application/xhtml+xml;q=0.9")
    }

    pub fn stream(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(name, value)| pair(name.as_bytes(), value)).collect()
    }

    /// A whole request, in one record.
    pub fn request(&self, request: u16, role: u16, flags: u8) -> Vec<u8> {
        [begin(request, role, flags), record(PARAMS, request, &self.stream()), record(PARAMS, request, b"")].concat()
    }

    /// As Apache sends it: not kept, in records of 16 KiB at most, no end of a body.
    pub fn by_apache(&self) -> Vec<u8> {
        let pieces: Vec<u8> = self.stream().chunks(16 * 1024).flat_map(|piece| record(PARAMS, 1, piece)).collect();
        [begin(1, AUTHORIZER, 0), pieces, record(PARAMS, 1, b"")].concat()
    }

    /// As lighttpd sends it: not kept, one record.
    pub fn by_lighttpd(&self) -> Vec<u8> {
        self.request(1, AUTHORIZER, 0)
    }

    /// As nginx sends it: padded to eight bytes, with the end of an empty body.
    pub fn by_nginx(&self, flags: u8) -> Vec<u8> {
        let stream = self.stream();
        let padding = u8::try_from((8 - stream.len() % 8) % 8).unwrap();
        let ends = [record(PARAMS, 1, b""), record(STDIN, 1, b"")].concat();
        [begin(1, RESPONDER, flags), padded(PARAMS, 1, &stream, padding), ends].concat()
    }
}

/// What a web server says of a request, beside the browser's headers.
fn of_request(url: &str, method: &str) -> (Params, String) {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, target) = rest.split_at(rest.find('/').unwrap());
    let params = Params::default()
        .with("REQUEST_METHOD", method)
        .with("REQUEST_URI", target)
        .with("REQUEST_SCHEME", scheme)
        .with("HTTP_HOST", host)
        .with("REMOTE_ADDR", "198.51.100.7");
    (params, target.to_owned())
}

/// The variables of Apache's `mod_authnz_fcgi`.
pub fn apache(url: &str) -> Params {
    let (params, target) = of_request(url, "GET");
    params
        .with("FCGI_APACHE_ROLE", "AUTHENTICATOR")
        .with("FCGI_ROLE", "AUTHORIZER")
        .with("QUERY_STRING", target.split_once('?').map_or("", |(_, query)| query))
        .with("SCRIPT_FILENAME", "proxy:http://127.0.0.1:9102/")
        .with("GATEWAY_INTERFACE", "CGI/1.1")
        .with("SERVER_PROTOCOL", "HTTP/1.1")
        .with("SERVER_NAME", "configured.example.test")
        .with("SERVER_PORT", "443")
        .with("HTTP_CONNECTION", "close")
        .with("REMOTE_PORT", "40000")
}

/// The variables of lighttpd's authorizer.
pub fn lighttpd(url: &str) -> Params {
    let (params, target) = of_request(url, "GET");
    params
        .with("SCRIPT_NAME", "")
        .with("PATH_INFO", "")
        .with("SCRIPT_FILENAME", "/srv/www/inbox")
        .with("DOCUMENT_ROOT", "/srv/www/")
        .with("QUERY_STRING", target.split_once('?').map_or("", |(_, query)| query))
        .with("REDIRECT_STATUS", "200")
        .with("SERVER_SOFTWARE", "lighttpd/1.4.69")
        .with("SERVER_NAME", "configured.example.test")
        .with("SERVER_ADDR", "127.0.0.1")
        .with("HTTPS", "on")
}

/// The variables of nginx's `fastcgi_pass`, with its stock file, in a location for subrequests.
pub fn nginx(url: &str) -> Params {
    of_request(url, "GET")
        .0
        .with("QUERY_STRING", "")
        .with("CONTENT_TYPE", "text/plain")
        .with("CONTENT_LENGTH", "5")
        .with("SCRIPT_NAME", "/_auth")
        .with("DOCUMENT_URI", "/_auth")
        .with("SERVER_NAME", "_")
        .with("HTTPS", "on")
        .with("REDIRECT_STATUS", "200")
}

/// What came back of one request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Kind, request and content of every record, in order.
    pub records: Vec<(u8, u16, Vec<u8>)>,
    /// All that stood in STDOUT.
    pub stdout: Vec<u8>,
    /// How it ended, by the protocol.
    pub ending: u8,
}

impl Reply {
    /// The answer, as the web server reads it.
    pub fn answer(&self) -> Answer {
        assert_eq!(self.ending, 0, "{self:?}");
        let end = self.stdout.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of the headers");
        let head = String::from_utf8(self.stdout[..end].to_vec()).unwrap();
        let (status, lines) = head.split_once("\r\n").unwrap_or((&head, ""));
        let status = status.strip_prefix("Status: ").expect("Status must come first");
        let line = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.as_bytes().to_vec())
        };
        Answer {
            status: status.split(' ').next().unwrap().parse().unwrap(),
            headers: lines.split_terminator("\r\n").map(line).collect(),
            body: self.stdout[end + 4..].to_vec(),
            head_length: end + 4,
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection of a web server.
pub struct Peer {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Peer {
    pub async fn connect(address: &Address) -> Self {
        let stream: Box<dyn Stream> = match address {
            Address::Tcp(address) => Box::new(TcpStream::connect(address).await.unwrap()),
            Address::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
        };
        Self { stream, buffer: Vec::new() }
    }

    /// Sends; that the other side has closed is for the reader to find out.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Sends no more, and listens on.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The next record; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<(u8, u16, Vec<u8>)> {
        let reading = async {
            loop {
                if let Some(record) = self.take() {
                    return Some(record);
                }
                if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                    assert!(self.buffer.is_empty(), "half a record: {:?}", self.buffer);
                    return None;
                }
            }
        };
        tokio::time::timeout(COMES_WITHIN, reading).await.expect("a record or the end, in time")
    }

    fn take(&mut self) -> Option<(u8, u16, Vec<u8>)> {
        let header: [u8; 8] = self.buffer.get(..8)?.try_into().unwrap();
        assert_eq!((header[0], header[7]), (1, 0), "version and reserved byte");
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let whole = 8 + length + usize::from(header[6]);
        let content = self.buffer.get(8..8 + length)?.to_vec();
        self.buffer.get(..whole)?;
        self.buffer.drain(..whole);
        Some((header[1], u16::from_be_bytes([header[2], header[3]]), content))
    }

    /// All that comes up to the end of a request.
    pub async fn reply(&mut self) -> Reply {
        let (mut records, mut stdout) = (Vec::new(), Vec::new());
        loop {
            let record = self.next().await.expect("the end of a request, and not of the connection");
            records.push(record.clone());
            match record {
                (STDOUT, _, content) => stdout.extend(content),
                (END, _, content) => return Reply { records, stdout, ending: content[4] },
                _ => {}
            }
        }
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request).await;
        self.reply().await.answer()
    }

    /// That nothing comes any more.
    pub async fn assert_closed(&mut self) {
        assert_eq!(self.next().await, None);
    }
}
