//! The people, what their browsers and the web server send for them, and the connections it goes over.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use keyward::domain::{Clock, Secret, SystemClock};
use keyward::portal::ticket::{NewTicket, TicketKey};

pub const TICKET_SECRET: &str = "only for this bench, and 32 bytes or more";
pub const TICKET_KEY: &str = "2026a";
pub const COOKIE: &str = "portal_session";
pub const HOST: &str = "webmail.example.test";

/// What the shipped nginx example sends for a browser that fetches something within a page, around
/// the ticket.
const BEFORE_TICKET: &str = "GET /authz/auth-request HTTP/1.1\r\n\
Host: keyward\r\n\
X-Original-URL: https://webmail.example.test:443/mail/list?folder=inbox&page=2\r\n\
X-Original-Method: GET\r\n\
X-Forwarded-For: 198.51.100.7\r\n\
Cookie: theme=dark; lang=en; portal_session=";
/// The same lines without the ticket and what browsers add.
pub const ORIGINAL_LINES: &str = "X-Original-URL: https://webmail.example.test:443/mail/list?folder=inbox&page=2\r\n\
X-Original-Method: GET\r\n\
X-Forwarded-For: 198.51.100.7\r\n";
const AFTER_TICKET: &str = "\r\nAccept: */*\r\n\
Accept-Language: en-GB,en;q=0.5\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
Sec-Fetch-Dest: empty\r\n\
Sec-Fetch-Mode: cors\r\n\
Sec-Fetch-Site: same-origin\r\n\r\n";

/// Everybody who has a ticket.
pub struct Crowd {
    tickets: Vec<String>,
}

impl Crowd {
    pub fn of(people: usize) -> Result<Self, Box<dyn Error>> {
        let key = TicketKey::new(TICKET_KEY, &Secret::from(TICKET_SECRET))?;
        let (now, password) = (SystemClock::new().unix(), Secret::from("correct horse"));
        let mint = |person: usize| {
            let (session, user) = (session(person), user(person));
            let mut ticket = NewTicket::new(session.as_str(), user.as_str(), now, now + 8 * 3600);
            ticket.name = Some("Ana Example".into());
            ticket.roles = vec!["staff".into()];
            key.mint(&ticket, Some(&password))
        };
        Ok(Self { tickets: (0..people).map(mint).collect::<Result<_, _>>()? })
    }

    /// The cookie line of somebody's browser.
    pub fn cookie_line(&self, person: usize) -> String {
        format!("Cookie: {COOKIE}={}\r\n", self.tickets[person])
    }

    /// Bytes of one request's head.
    pub fn request_bytes(&self) -> usize {
        BEFORE_TICKET.len() + self.tickets.first().map_or(0, String::len) + AFTER_TICKET.len()
    }

    /// Bytes of a session's and a user's name.
    pub fn name_bytes(&self) -> usize {
        session(0).len() + user(0).len()
    }
}

fn session(person: usize) -> String {
    format!("{:032x}", 0x5eed_0000_0000_u64 + person as u64)
}

fn user(person: usize) -> String {
    format!("user{person:06}@example.test")
}

/// What an answer must hold.
#[derive(Clone, Copy)]
pub enum Ask {
    /// The keys of the very person who asked.
    ForKeys,
    /// The status alone.
    ForAnything,
}

/// Connections that are kept open. All are written to before the first is read again.
pub struct Connections {
    streams: Vec<TcpStream>,
    out: Vec<u8>,
}

impl Connections {
    pub fn open(address: SocketAddr, count: usize) -> Result<Self, Box<dyn Error>> {
        let open = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            Ok::<_, std::io::Error>(stream)
        };
        Ok(Self { streams: (0..count).map(|_| open()).collect::<Result<_, _>>()?, out: Vec::new() })
    }

    /// Asks for these people, in order.
    ///
    /// # Errors
    /// Any answer that is not 200 with what was asked for.
    pub fn ask(
        &mut self,
        crowd: &Crowd,
        whom: impl IntoIterator<Item = usize>,
        ask: Ask,
    ) -> Result<(), Box<dyn Error>> {
        let mut whom = whom.into_iter();
        let mut head = [0; 8192];
        loop {
            let people: Vec<usize> = whom.by_ref().take(self.streams.len()).collect();
            if people.is_empty() {
                return Ok(());
            }
            for (stream, person) in self.streams.iter_mut().zip(&people) {
                write_request(stream, &mut self.out, &crowd.tickets[*person])?;
            }
            for (stream, person) in self.streams.iter_mut().zip(people) {
                let answer = read_head(stream, &mut head)?;
                let keys = format!("_h={}\r\n", super::servers::key(person));
                let held = |text: &str| answer.windows(text.len()).any(|part| part == text.as_bytes());
                if !answer.starts_with(b"HTTP/1.1 200 ") || matches!(ask, Ask::ForKeys if !held(&keys)) {
                    return Err(
                        format!("not the answer to person {person}: {}", String::from_utf8_lossy(answer)).into()
                    );
                }
            }
        }
    }

    /// One whole head of an answer.
    pub fn sample(&mut self, crowd: &Crowd) -> Result<String, Box<dyn Error>> {
        let mut head = [0; 8192];
        write_request(&mut self.streams[0], &mut self.out, &crowd.tickets[0])?;
        Ok(String::from_utf8_lossy(read_head(&mut self.streams[0], &mut head)?).into_owned())
    }
}

fn write_request(stream: &mut TcpStream, out: &mut Vec<u8>, ticket: &str) -> std::io::Result<()> {
    out.clear();
    for part in [BEFORE_TICKET, ticket, AFTER_TICKET] {
        out.extend_from_slice(part.as_bytes());
    }
    stream.write_all(out)
}

/// Reads an answer without a body to its end.
fn read_head<'a>(stream: &mut TcpStream, head: &'a mut [u8]) -> Result<&'a [u8], Box<dyn Error>> {
    let mut length = 0;
    while !head[..length].ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut head[length..])?;
        if read == 0 {
            return Err("the connection was closed".into());
        }
        length += read;
    }
    Ok(&head[..length])
}
