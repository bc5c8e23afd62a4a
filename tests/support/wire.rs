//! HTTP/1.1 in bytes: nothing here repairs what a test wants to send, or hides what came back.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use keyward::observe::Door;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::Address;

/// Longest wait for an answer. Only a defect ever waits so long.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// One answer, its headers in order and with names in lower case.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// Bytes of the status line and all headers.
    pub head_length: usize,
}

impl Answer {
    /// Every value of a header, in order.
    pub fn all(&self, name: &str) -> Vec<String> {
        let named = self.headers.iter().filter(|(held, _)| held.eq_ignore_ascii_case(name));
        named.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect()
    }

    /// The value of a header that must be there exactly once.
    pub fn one(&self, name: &str) -> String {
        let mut all = self.all(name);
        assert_eq!(all.len(), 1, "{name} must be there once: {self:?}");
        all.remove(0)
    }

    /// The value of a header that is there once at most.
    pub fn maybe(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        assert!(all.len() < 2, "{name} is there several times: {self:?}");
        all.pop()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// Why it was refused.
    pub fn reason(&self) -> String {
        self.one("X-Keyward-Reason")
    }

    /// Head and body, for searching.
    pub fn everything(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.headers {
            text += &format!("{name}: {}\n", String::from_utf8_lossy(value));
        }
        text + &String::from_utf8_lossy(&self.body)
    }

    /// An allow must be exactly 200 and complete, whoever it is for.
    pub fn assert_allows(&self, user: &str) -> &Self {
        assert_eq!(self.status, 200, "{self:?}");
        for name in ["X-Upstream-Cookie", "X-Upstream-Uri", "Remote-Name", "Remote-Email", "Remote-Groups"] {
            self.one(name);
        }
        assert_eq!(self.one("Remote-User"), user, "{self:?}");
        assert_eq!(self.one("Cache-Control"), "no-store");
        assert_eq!(self.one("Content-Length"), "0");
        self.one("X-Keyward-Session-Seconds");
        self
    }

    /// A refusal must be one and carry no key and no identity.
    pub fn assert_refuses(&self) -> &Self {
        assert!(self.status == 302 || self.status >= 400, "{self:?}");
        assert_eq!(self.one("Cache-Control"), "no-store", "{self:?}");
        for (name, _) in &self.headers {
            assert!(name != "cookie" && name != "authorization", "{name} in {self:?}");
            let gives_away = ["x-upstream-", "remote-", "set-cookie", "x-set-cookie", "x-keyward-session"];
            assert!(!gives_away.iter().any(|start| name.starts_with(start)), "{name} in {self:?}");
        }
        self
    }

    /// The sign-in page that the browser is sent to or told of.
    pub fn login(&self) -> String {
        self.assert_refuses();
        self.maybe("Location").unwrap_or_else(|| self.one("X-Keyward-Login"))
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection on which bytes are sent as they are.
pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    /// Where questions by FastCGI go, each on a connection of its own, as of Apache and lighttpd.
    fastcgi: Option<SocketAddr>,
}

impl Connection {
    pub async fn open(address: &Address) -> Self {
        match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                Self { stream: Box::new(stream), buffer: Vec::new(), fastcgi: None }
            }
            Address::Unix(path) => Self::open_unix(path).await,
        }
    }

    async fn open_unix(path: &Path) -> Self {
        Self { stream: Box::new(UnixStream::connect(path).await.unwrap()), buffer: Vec::new(), fastcgi: None }
    }

    /// With another listener, for questions by FastCGI.
    pub fn with_fastcgi(self, address: SocketAddr) -> Self {
        Self { fastcgi: Some(address), ..self }
    }

    /// Sends; that the other side has closed is for the reader to find out.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// The next answer, which must come.
    pub async fn answer(&mut self) -> Answer {
        self.read(true).await.expect("an answer, and not the end of the connection")
    }

    /// The next answer to a HEAD.
    pub async fn answer_to_head(&mut self) -> Answer {
        self.read(false).await.expect("an answer, and not the end of the connection")
    }

    /// The next answer, unless the connection ends.
    pub async fn maybe_answer(&mut self) -> Option<Answer> {
        self.read(true).await
    }

    /// An answer that has come already; the end of the connection, or nothing yet, is none.
    pub async fn maybe_answer_at_once(&mut self) -> Option<Answer> {
        tokio::time::timeout(Duration::from_millis(50), self.read(true)).await.ok().flatten()
    }

    /// Sends a question and reads its answer.
    pub async fn ask(&mut self, door: Door, ask: &Ask) -> Answer {
        if door == Door::Fastcgi {
            let address = self.fastcgi.expect("a listener for FastCGI");
            return super::fastcgi::exchange(address, &ask.variables()).await;
        }
        self.send(ask.bytes(door)).await;
        if ask.wire_method_at(door) == "HEAD" { self.answer_to_head().await } else { self.answer().await }
    }

    async fn read(&mut self, with_body: bool) -> Option<Answer> {
        let reading = async {
            loop {
                if let Some(answer) = self.parse(with_body) {
                    return Some(answer);
                }
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(ANSWER_WITHIN, reading).await.expect("an answer in time")
    }

    fn parse(&mut self, with_body: bool) -> Option<Answer> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head_length) = parsed.parse(&self.buffer).unwrap() else { return None };
        let headers: Vec<_> =
            parsed.headers.iter().map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec())).collect();
        let answer = Answer { status: parsed.code.unwrap(), headers, body: Vec::new(), head_length };
        let length = answer.maybe("Content-Length").map_or(0, |length| length.parse().unwrap());
        let length = if with_body { length } else { 0 };
        if self.buffer.len() < head_length + length {
            return None;
        }
        let body = self.buffer[head_length..head_length + length].to_vec();
        self.buffer.drain(..head_length + length);
        Some(Answer { body, ..answer })
    }
}

/// One original request, to be asked about at any door.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The method of the question itself, not of the request it is about.
    wire: String,
    method: Option<String>,
    scheme: String,
    authority: String,
    target: Vec<u8>,
    lines: Vec<u8>,
}

impl Ask {
    /// A GET that is no page: a script, an image, a DAV client.
    pub fn get(url: impl AsRef<[u8]>) -> Self {
        let url = url.as_ref();
        let after_scheme = url.windows(3).position(|three| three == b"://").unwrap();
        let rest = &url[after_scheme + 3..];
        let path = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            wire: "GET".to_owned(),
            method: Some("GET".to_owned()),
            scheme: text(&url[..after_scheme]),
            authority: text(&rest[..path]),
            target: rest[path..].to_vec(),
            lines: Vec::new(),
        }
    }

    /// A person looks at a page.
    pub fn page(url: impl AsRef<[u8]>) -> Self {
        Self::get(url).header("Accept", "text/html,application/xhtml+xml;q=0.9")
    }

    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// The path and the query, whatever they look like.
    pub fn target(self, target: &str) -> Self {
        Self { target: target.as_bytes().to_vec(), ..self }
    }

    /// The host, whatever it looks like.
    pub fn authority(self, authority: &str) -> Self {
        Self { authority: authority.to_owned(), ..self }
    }

    pub fn without_method(mut self) -> Self {
        self.method = None;
        self
    }

    /// The method of the question itself.
    pub fn wire_method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.wire);
        self
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        self.lines.extend_from_slice(value.as_ref());
        self.lines.extend_from_slice(b"\r\n");
        self
    }

    pub fn cookie(self, value: impl AsRef<[u8]>) -> Self {
        self.header("Cookie", value)
    }

    /// The lines by which this door is told of the original request.
    pub fn original(&self, door: Door) -> Vec<(&'static str, Vec<u8>)> {
        let mut lines = match door {
            Door::AuthRequest => {
                let origin = format!("{}://{}", self.scheme, self.authority);
                vec![("X-Original-URL", [origin.as_bytes(), &self.target].concat())]
            }
            Door::ExtAuthz => return vec![("X-Forwarded-Proto", self.scheme.clone().into_bytes())],
            Door::ForwardAuth => vec![
                ("X-Forwarded-Proto", self.scheme.clone().into_bytes()),
                ("X-Forwarded-Host", self.authority.clone().into_bytes()),
                ("X-Forwarded-Uri", self.target.clone()),
            ],
            _ => panic!("{door:?} is told in other ways"),
        };
        if let Some(method) = &self.method {
            let name = if door == Door::AuthRequest { "X-Original-Method" } else { "X-Forwarded-Method" };
            lines.push((name, method.clone().into_bytes()));
        }
        lines
    }

    /// The method of the question; where the request itself is the question, that of the request.
    fn wire_method_at(&self, door: Door) -> &str {
        match (door, &self.method) {
            (Door::ExtAuthz, Some(method)) => method,
            _ => &self.wire,
        }
    }

    /// The doors at which this can be said: where the request itself is the question, it must be one of HTTP.
    pub fn doors(&self) -> impl Iterator<Item = Door> + use<> {
        let token =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let host = self.authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
        let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(byte);
        let line = self.target.starts_with(b"/") && self.target.len() < 65_536 && self.target.iter().all(plain);
        let is_one = self.method.as_deref().is_some_and(token) && host && !self.authority.is_empty() && line;
        super::DOORS.into_iter().filter(move |door| is_one || *door != Door::ExtAuthz)
    }

    /// The question as it travels.
    pub fn bytes(&self, door: Door) -> Vec<u8> {
        self.bytes_to(&format!("/authz/{}", door.as_str()), door)
    }

    /// The question at another path than the door's own.
    pub fn bytes_to(&self, path: &str, door: Door) -> Vec<u8> {
        let (below, host) = match door {
            Door::ExtAuthz => (self.target.as_slice(), self.authority.as_str()),
            _ => (&b""[..], "keyward"),
        };
        let mut bytes = [self.wire_method_at(door).as_bytes(), b" ", path.as_bytes(), below].concat();
        bytes.extend_from_slice(format!(" HTTP/1.1\r\nHost: {host}\r\n").as_bytes());
        for (name, value) in self.original(door) {
            bytes.extend_from_slice(&[name.as_bytes(), b": ", &value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(&self.lines);
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The variables by which a web server tells of the request over FastCGI. As Apache does, it leaves out headers
    /// whose names would look like others' as variables, and makes one of those that come several times.
    fn variables(&self) -> Vec<(String, Vec<u8>)> {
        let mut variables = vec![
            ("REQUEST_SCHEME".to_owned(), self.scheme.clone().into_bytes()),
            ("HTTP_HOST".to_owned(), self.authority.clone().into_bytes()),
            ("REQUEST_URI".to_owned(), self.target.clone()),
            ("REMOTE_ADDR".to_owned(), b"127.0.0.1".to_vec()),
        ];
        variables.extend(self.method.iter().map(|method| ("REQUEST_METHOD".to_owned(), method.clone().into_bytes())));
        for line in self.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
                continue;
            }
            let name = String::from_utf8(name.to_vec()).unwrap().to_ascii_uppercase().replace('-', "_");
            let (name, joint) = (format!("HTTP_{name}"), if name == "COOKIE" { &b"; "[..] } else { b", " });
            match variables.iter_mut().find(|(held, _)| *held == name) {
                Some((_, held)) => *held = [held, joint, value].concat(),
                None => variables.push((name, value.to_vec())),
            }
        }
        variables
    }
}
