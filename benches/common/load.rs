//! The people, and what their browsers and the web server send for them.

use std::error::Error;
use std::num::ParseIntError;

use keyward::domain::{Clock, Secret, SystemClock};
use keyward::portal::ticket::{NewTicket, TicketKey};

use super::fastcgi;
use super::servers::available_bytes;

const TICKET_SECRET: &str = "only for this bench, and 32 bytes or more";
const TICKET_KEY: &str = "2026a";
const COOKIE: &str = "portal_session";
pub const HOST: &str = "webmail.example.test";

/// What the shipped nginx examples send for a browser that fetches something within a page, around its host and its
/// ticket, over HTTP.
const BEFORE_HOST: &str = "GET /authz/auth-request HTTP/1.1\r\n\
Host: keyward\r\n\
X-Original-URL: https://";
const BEFORE_TICKET: &str = ":443/mail/list?folder=inbox&page=2\r\n\
X-Original-Method: GET\r\n\
X-Forwarded-For: 198.51.100.7\r\n\
Cookie: theme=dark; lang=en; portal_session=";
const AFTER_TICKET: &str = "\r\nAccept: */*\r\n\
Accept-Language: en-GB,en;q=0.5\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
Sec-Fetch-Dest: empty\r\n\
Sec-Fetch-Mode: cors\r\n\
Sec-Fetch-Site: same-origin\r\n\r\n";
/// The same over FastCGI, without host and cookies.
const VARIABLES: [(&str, &str); 10] = [
    ("REQUEST_METHOD", "GET"),
    ("REQUEST_SCHEME", "https"),
    ("REQUEST_URI", "/mail/list?folder=inbox&page=2"),
    ("REMOTE_ADDR", "198.51.100.7"),
    ("HTTP_ACCEPT", "*/*"),
    ("HTTP_ACCEPT_LANGUAGE", "en-GB,en;q=0.5"),
    ("HTTP_USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("HTTP_SEC_FETCH_DEST", "empty"),
    ("HTTP_SEC_FETCH_MODE", "cors"),
    ("HTTP_SEC_FETCH_SITE", "same-origin"),
];
/// The lines of the question over HTTP that say what was asked for.
pub const ORIGINAL_LINES: &str = "X-Original-URL: https://webmail.example.test:443/mail/list?folder=inbox&page=2\r\n\
X-Original-Method: GET\r\n\
X-Forwarded-For: 198.51.100.7\r\n";

/// Names how many sessions are many.
const SESSIONS: &str = "KEYWARD_SESSIONS";
/// Where nothing is said, and where there is no memory for so many.
const MANY: [usize; 2] = [1_000_000, 100_000];
/// What the first takes, half of it for the tickets.
const MEMORY_FOR_MANY: usize = 3 << 30;

/// How many sessions are many.
///
/// # Errors
/// Something else than a number in `KEYWARD_SESSIONS`.
pub fn many() -> Result<usize, ParseIntError> {
    let default = MANY[usize::from(available_bytes() < MEMORY_FOR_MANY)];
    std::env::var(SESSIONS).map_or(Ok(default), |number| number.parse())
}

/// The portal that everybody's ticket is from, as Keyward knows it.
pub fn portal() -> String {
    format!(
        r#"
[[portal]]
name      = "customer-portal"
kind      = "ticket"
cookie    = "{COOKIE}"
login_url = "https://portal.example.test/login?next={{url}}"
[[portal.key]]
id     = "{TICKET_KEY}"
secret = "{TICKET_SECRET}"
"#
    )
}

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

    /// All cookies of somebody's browser.
    pub fn cookies(&self, person: usize) -> String {
        format!("theme=dark; lang=en; {COOKIE}={}", self.tickets[person])
    }

    /// What the web server asks for somebody over HTTP.
    pub fn write_http(&self, out: &mut Vec<u8>, host: &str, person: usize) {
        for part in [BEFORE_HOST, host, BEFORE_TICKET, &self.tickets[person], AFTER_TICKET] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// The same over FastCGI.
    pub fn write_fastcgi(&self, out: &mut Vec<u8>, host: &str, person: usize) {
        let cookies = self.cookies(person);
        let own = [("HTTP_HOST", host), ("HTTP_COOKIE", &cookies)];
        fastcgi::write_request(out, VARIABLES.into_iter().chain(own));
    }

    /// Bytes of one request's head.
    pub fn request_bytes(&self) -> usize {
        let mut out = Vec::new();
        self.write_http(&mut out, HOST, 0);
        out.len()
    }

    /// Bytes of a session's and a user's name.
    pub fn name_bytes(&self) -> usize {
        session(0).len() + user(0).len()
    }
}

fn session(person: usize) -> String {
    format!("{:032x}", 0x5eed_0000_0000_u64 + person as u64)
}

/// Their name, at the portal and at the back-end.
pub fn user(person: usize) -> String {
    format!("user{person:06}@example.test")
}
