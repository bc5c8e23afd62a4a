//! The connections over which the web server asks, by each of the doors that are compared.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::fastcgi;
use super::load::{Crowd, HOST};
use super::webmail::key;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// No answer is longer.
const LONGEST_ANSWER: usize = 8192;

/// Where and how Keyward is asked.
#[derive(Clone)]
pub enum Door {
    Http(SocketAddr),
    HttpOverUnix(PathBuf),
    Fastcgi(SocketAddr),
}

impl From<SocketAddr> for Door {
    fn from(address: SocketAddr) -> Self {
        Self::Http(address)
    }
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

impl Door {
    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Http(address) | Self::Fastcgi(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
            Self::HttpOverUnix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
        }
    }

    const fn is_fastcgi(&self) -> bool {
        matches!(self, Self::Fastcgi(_))
    }
}

/// What an answer must hold.
#[derive(Clone, Copy)]
pub enum Ask {
    /// The keys of the very person who asked.
    ForKeys,
    /// The status alone.
    ForAnything,
}

impl Ask {
    fn is_answered(self, person: usize, answer: &[u8]) -> bool {
        let is_yes = [&b"HTTP/1.1 200 "[..], b"Status: 200 "].iter().any(|yes| answer.starts_with(yes));
        is_yes
            && match self {
                Self::ForKeys => memchr::memmem::find(answer, format!("_h={}\r\n", key(person)).as_bytes()).is_some(),
                Self::ForAnything => true,
            }
    }
}

/// How many answers were right, and one of those that were not.
#[derive(Default)]
pub struct Answers {
    pub right: usize,
    pub wrong: Option<String>,
}

/// Connections that are kept open. All are written to before the first is read again.
pub struct Connections {
    door: Door,
    host: &'static str,
    streams: Vec<Box<dyn Stream>>,
    out: Vec<u8>,
}

impl Connections {
    pub fn open(door: impl Into<Door>, count: usize) -> io::Result<Self> {
        let door = door.into();
        let streams = (0..count).map(|_| door.connect()).collect::<Result<_, _>>()?;
        Ok(Self { door, host: HOST, streams, out: Vec::new() })
    }

    /// To ask for another host.
    pub fn at(self, host: &'static str) -> Self {
        Self { host, ..self }
    }

    /// Asks for these people, in order.
    ///
    /// # Errors
    /// Any answer that is not 200 with what was asked for.
    pub fn ask(&mut self, crowd: &Crowd, whom: impl IntoIterator<Item = usize>, ask: Ask) -> io::Result<()> {
        let mut whom = whom.into_iter();
        loop {
            let people: Vec<usize> = whom.by_ref().take(self.streams.len()).collect();
            if people.is_empty() {
                return Ok(());
            }
            self.send(crowd, people.iter().copied());
            if let Some(wrong) = self.receive(crowd, people, ask).wrong {
                return Err(io::Error::other(wrong));
            }
        }
    }

    /// Asks for these people, one on each connection. Of one that was closed, the answer will be missing.
    pub fn send(&mut self, crowd: &Crowd, people: impl IntoIterator<Item = usize>) {
        for (index, person) in people.into_iter().enumerate() {
            let _ = self.write(index, crowd, person);
        }
    }

    /// Takes the answers to these people. After one that does not come in time, none is waited for.
    pub fn receive(&mut self, crowd: &Crowd, people: impl IntoIterator<Item = usize>, ask: Ask) -> Answers {
        let mut buffer = [0; LONGEST_ANSWER];
        let mut answers = Answers::default();
        for (index, person) in people.into_iter().enumerate() {
            let found = match self.read(index, &mut buffer) {
                // A FastCGI connection ends after so many requests, as it does for a web server.
                Err(_) if self.door.is_fastcgi() => self.ask_anew(index, crowd, person, &mut buffer),
                found => found,
            };
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    answers.wrong = Some(format!("no answer to person {person}: {error}"));
                    if error.kind() == io::ErrorKind::WouldBlock {
                        break;
                    }
                    continue;
                }
            };
            let answer = &buffer[found];
            if ask.is_answered(person, answer) {
                answers.right += 1;
            } else {
                let text = String::from_utf8_lossy(answer);
                answers.wrong = Some(format!("not the answer to person {person}: {text}"));
            }
        }
        answers
    }

    fn ask_anew(&mut self, index: usize, crowd: &Crowd, person: usize, buffer: &mut [u8]) -> io::Result<Range<usize>> {
        self.streams[index] = self.door.connect()?;
        self.write(index, crowd, person)?;
        self.read(index, buffer)
    }

    /// One whole head of an answer.
    pub fn sample(&mut self, crowd: &Crowd) -> io::Result<String> {
        let mut buffer = [0; LONGEST_ANSWER];
        self.write(0, crowd, 0)?;
        let found = self.read(0, &mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[found]).into_owned())
    }

    fn write(&mut self, index: usize, crowd: &Crowd, person: usize) -> io::Result<()> {
        self.out.clear();
        match &self.door {
            Door::Fastcgi(_) => crowd.write_fastcgi(&mut self.out, self.host, person),
            Door::Http(_) | Door::HttpOverUnix(_) => crowd.write_http(&mut self.out, self.host, person),
        }
        self.streams[index].write_all(&self.out)
    }

    fn read(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<Range<usize>> {
        match &self.door {
            Door::Fastcgi(_) => fastcgi::read_answer(&mut self.streams[index], buffer),
            Door::Http(_) | Door::HttpOverUnix(_) => read_head(&mut self.streams[index], buffer),
        }
    }
}

/// Reads a head to its end. A body is that of a refusal, which nobody reads.
fn read_head(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<Range<usize>> {
    let mut length = 0;
    loop {
        match stream.read(&mut buffer[length..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => length += read,
        }
        let is_whole = buffer[..length].ends_with(b"\r\n\r\n");
        if is_whole || memchr::memmem::find(&buffer[..length], b"\r\n\r\n").is_some() {
            return Ok(0..length);
        }
    }
}
