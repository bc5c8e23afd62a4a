//! A browser in bytes: nothing here repairs what a row wants to send, or hides what came back.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::Answer;

/// The header by which a request is found again at the application.
pub const ROW: &str = "X-Row";
/// The host of every example.
pub const HOST: &str = "webmail.example.test";
/// Longest wait for an answer: longer than any web server waits for Keyward.
const ANSWER_WITHIN: Duration = Duration::from_secs(50);

/// One request of a browser.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub target: String,
    pub host: String,
    pub lines: Vec<(String, String)>,
    pub body: Option<String>,
    /// Whether the body goes out in chunks.
    pub pieces: bool,
}

impl Call {
    /// A script, a picture, a calendar: no page.
    pub fn get(target: &str) -> Self {
        let (method, target, host) = ("GET".to_owned(), target.to_owned(), HOST.to_owned());
        Self { method, target, host, lines: Vec::new(), body: None, pieces: false }
    }

    /// A person looks at a page.
    pub fn page(target: &str) -> Self {
        Self::get(target).line("Accept", "text/html,application/xhtml+xml;q=0.9").line("Sec-Fetch-Mode", "navigate")
    }

    /// A form is sent.
    pub fn form(target: &str, body: &str) -> Self {
        let page = Self::page(target).method("POST").line("Content-Type", "application/x-www-form-urlencoded");
        Self { body: Some(body.to_owned()), ..page }
    }

    /// The same body, in pieces of which nobody knows the number.
    pub fn in_pieces(self) -> Self {
        Self { pieces: true, ..self }
    }

    pub fn method(self, method: &str) -> Self {
        Self { method: method.to_owned(), ..self }
    }

    pub fn host(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    pub fn line(mut self, name: &str, value: &str) -> Self {
        self.lines.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As it travels, on a connection of its own unless it wants to keep it. `{port}` is that of the web server.
    pub fn bytes(&self, row: &str, port: u16) -> Vec<u8> {
        let Self { method, target, host, lines, body, pieces } = self;
        let target = target.replace("{port}", &port.to_string());
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}:{port}\r\n{ROW}: {row}\r\n");
        if !lines.iter().any(|(name, _)| name == "Connection") {
            text += "Connection: close\r\n";
        }
        for (name, value) in lines {
            text += &format!("{name}: {value}\r\n");
        }
        match body {
            None => text += "\r\n",
            Some(body) if *pieces => {
                let (one, two) = body.split_at(body.len() / 2);
                let pieces: String = [one, two].map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).concat();
                text += &format!("Transfer-Encoding: chunked\r\n\r\n{pieces}0\r\n\r\n");
            }
            Some(body) => text += &format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        }
        text.into_bytes()
    }
}

/// A connection to the web server.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        Some(Self { stream, buffer: Vec::new() })
    }

    /// From this address of our own.
    pub async fn open_from(ours: IpAddr, address: SocketAddr) -> Option<Self> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind(SocketAddr::new(ours, 0)).ok()?;
        let stream = socket.connect(address).await.ok()?;
        Some(Self { stream, buffer: Vec::new() })
    }

    /// Sends; that the other side has closed is for the reader to find out.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next answer, unless none comes.
    pub async fn answer(&mut self, to_head: bool) -> Option<Answer> {
        let reading = async {
            loop {
                if let Some((answer, length)) = parse(&self.buffer, to_head, false) {
                    self.buffer.drain(..length);
                    return Some(answer);
                }
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) | Err(_) => return parse(&self.buffer, to_head, true).map(|(answer, _)| answer),
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(ANSWER_WITHIN, reading).await.ok().flatten()
    }

    /// This many bytes, after an upgrade.
    pub async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        let reading = async {
            while self.buffer.len() < length {
                if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                    return None;
                }
            }
            Some(self.buffer.drain(..length).collect())
        };
        tokio::time::timeout(ANSWER_WITHIN, reading).await.ok().flatten()
    }
}

/// The first answer and its length. Where none was announced a body ends with the connection.
fn parse(buffer: &[u8], to_head: bool, ended: bool) -> Option<(Answer, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = parsed.parse(buffer) else { return None };
    let lines: Vec<_> =
        parsed.headers.iter().map(|line| (line.name.to_ascii_lowercase(), line.value.to_vec())).collect();
    let status = parsed.code?;
    let counted = |name: &str| lines.iter().any(|(held, _)| held == name);
    let (body, length) = match (to_head || matches!(status, 101 | 204 | 304), ended) {
        (true, _) => (Vec::new(), 0),
        (false, false) if !counted("content-length") && !counted("transfer-encoding") => return None,
        (false, true) if !counted("content-length") && !counted("transfer-encoding") => {
            (buffer[head..].to_vec(), buffer.len() - head)
        }
        (false, _) => whole_body(&lines, &buffer[head..])?,
    };
    Some((Answer { status, headers: lines, body, head_length: head }, head + length))
}

/// The body behind these header lines and its length on the wire, once all of it is there.
pub fn whole_body(lines: &[(String, Vec<u8>)], rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let header = |name: &str| lines.iter().find(|(held, _)| held.eq_ignore_ascii_case(name));
    if header("transfer-encoding").is_none() {
        let length = header("content-length").map_or("0", |(_, value)| std::str::from_utf8(value).unwrap_or("0"));
        let length = length.trim().parse().unwrap_or(0);
        return (rest.len() >= length).then(|| (rest[..length].to_vec(), length));
    }
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = rest[at..].windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[at..at + line]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        at += line + 2;
        if rest.len() < at + size + 2 {
            return None;
        }
        body.extend_from_slice(&rest[at..at + size]);
        at += size + 2;
        if size == 0 {
            return Some((body, at));
        }
    }
}
