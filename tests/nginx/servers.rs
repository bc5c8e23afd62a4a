//! Two small servers with a script instead of a mind, and a client that sends bytes as they are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A head, request's or response's, and the body that was announced.
#[derive(Clone, Debug)]
pub struct Message {
    pub start: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Message {
    /// Every value of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(held, _)| held.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header that is there once at most.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there {} times: {all:?}", all.len());
        all.first().copied()
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Method and target of a request.
    pub fn asked(&self) -> &str {
        self.start.rsplit_once(' ').unwrap().0
    }

    pub fn names(&self) -> Vec<String> {
        self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect()
    }
}

/// Reads one message. `announced` is false for a server that never waits for a body.
fn read_message(stream: &mut TcpStream, buffer: &mut Vec<u8>, announced: bool) -> Option<Message> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        read_more(stream, buffer)?;
    };
    let head: Vec<u8> = buffer.drain(..head_end + 4).collect();
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.trim_end().split("\r\n");
    let start = lines.next()?.to_owned();
    let headers = lines.filter_map(|line| line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, ""))));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut message = Message { start, headers, body: String::new() };
    let length = message.header("Content-Length").and_then(|length| length.parse::<usize>().ok());
    if !announced {
        return Some(message);
    }
    if message.header("Transfer-Encoding").is_some() {
        while !buffer.ends_with(b"0\r\n\r\n") {
            read_more(stream, buffer)?;
        }
        message.body = String::from_utf8_lossy(&std::mem::take(buffer)).into_owned();
        return Some(message);
    }
    let Some(length) = length else { return Some(message) };
    while buffer.len() < length {
        read_more(stream, buffer)?;
    }
    message.body = String::from_utf8_lossy(&buffer.drain(..length).collect::<Vec<_>>()).into_owned();
    Some(message)
}

fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 8192];
    match stream.read(&mut chunk) {
        Ok(0) | Err(_) => None,
        Ok(length) => {
            buffer.extend_from_slice(&chunk[..length]);
            Some(())
        }
    }
}

type Script = dyn Fn(&Message) -> String + Send + Sync;

/// A server that answers as its script says, and remembers what it was asked.
pub struct Scripted {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Message>>>,
    connections: Arc<AtomicUsize>,
}

impl Scripted {
    /// Starts one. `reads_bodies`: an application does, the decision service does not.
    pub fn start(reads_bodies: bool, script: impl Fn(&Message) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let script: Arc<Script> = Arc::new(script);
        let (all, count) = (Arc::clone(&seen), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let (all, script) = (Arc::clone(&all), Arc::clone(&script));
                std::thread::spawn(move || serve(stream.unwrap(), reads_bodies, &all, &*script));
            }
        });
        Self { address, seen, connections }
    }

    /// Everything it was asked since the last time.
    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// The only thing it was asked since the last time.
    pub fn only(&self) -> Message {
        let mut all = self.take();
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, reads_bodies: bool, seen: &Mutex<Vec<Message>>, script: &Script) {
    let mut buffer = Vec::new();
    while let Some(request) = read_message(&mut stream, &mut buffer, reads_bodies) {
        seen.lock().unwrap().push(request.clone());
        let answer = script(&request);
        if answer.is_empty() || stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// An answer with this status, these header lines and this body.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} X\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Sends these bytes on a connection of their own and reads one answer.
pub fn send(address: SocketAddr, bytes: &str) -> Message {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    // An answer to HEAD announces a body that does not come.
    read_message(&mut stream, &mut Vec::new(), !bytes.starts_with("HEAD ")).unwrap()
}
