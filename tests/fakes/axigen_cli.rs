//! A strict stand-in for Axigen's command line, with the rights of a domain's administrator.
//!
//! What is not committed is not done, a command out of its context is refused, values are read by the
//! documented rules of quoting, and who fails too often before the sign-in is thrown out. It shares its
//! mailboxes with the stand-in for WebMail.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::axigen::{Mailboxes, Person};
use super::server::locked;

/// `maxAuthErrors` and `maxAuthCommands`, as they are shipped.
const MOST_AUTH_ERRORS: usize = 5;
const MOST_AUTH_COMMANDS: usize = 20;

/// What differs between servers.
#[derive(Clone, Debug)]
pub struct Server {
    pub user: String,
    pub password: String,
    /// The only domain that the administrator may manage.
    pub domain: String,
    /// `<account#>` in place of `<domain-account#>`.
    pub new_prompts: bool,
    /// `password` or `passwd`.
    pub keyword: String,
    /// Whether the administrator may change the domain itself.
    pub owns_domain: bool,
    /// Shortest password that is taken.
    pub shortest_password: usize,
    pub tls: Option<Acceptor>,
}

/// A TLS listener's side of the handshake.
#[derive(Clone)]
pub struct Acceptor(pub TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Acceptor")
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            user: "keyward".to_owned(),
            password: "the administrator's \"own\" pass".to_owned(),
            domain: "example.test".to_owned(),
            new_prompts: false,
            keyword: "password".to_owned(),
            owns_domain: true,
            shortest_password: 1,
            tls: None,
        }
    }
}

/// How the answer to the n-th line goes wrong; the banner is the answer to line 0.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Close(usize),
    /// The line is obeyed, and the connection closed in place of an answer.
    ObeyAndClose(usize),
    Hang(usize),
    Garbage(usize),
    EndlessLine(usize),
    EndlessLines(usize),
    /// `-ERR`, and the line is not obeyed.
    Refuse(usize),
    /// `+OK`, in a context where it should not be.
    WrongContext(usize),
}

struct Shared {
    server: Mutex<Server>,
    mailboxes: Mailboxes,
    fault: Mutex<Option<Fault>>,
    lines: Mutex<Vec<String>>,
    connections: AtomicUsize,
    most_connections: AtomicUsize,
    sign_ins: AtomicUsize,
}

/// The stand-in, alive until it is dropped.
pub struct AxigenCli {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl AxigenCli {
    /// On a port that the system chooses.
    pub async fn start(server: Server, mailboxes: Mailboxes) -> io::Result<Self> {
        Self::start_at("127.0.0.1:0".parse().map_err(io::Error::other)?, server, mailboxes).await
    }

    /// On this address, for one that comes back.
    pub async fn start_at(address: SocketAddr, server: Server, mailboxes: Mailboxes) -> io::Result<Self> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(64)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            mailboxes,
            fault: Mutex::new(None),
            lines: Mutex::new(Vec::new()),
            connections: AtomicUsize::new(0),
            most_connections: AtomicUsize::new(0),
            sign_ins: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn misbehave(&self, fault: Option<Fault>) {
        *locked(&self.shared.fault) = fault;
    }

    /// The password of this mailbox.
    pub fn password(&self, login: &str) -> Option<String> {
        let mailboxes = locked(&self.shared.mailboxes);
        mailboxes.iter().find(|person| person.login == login).map(|person| person.password.clone())
    }

    /// Every line that came, in order.
    pub fn lines(&self) -> Vec<String> {
        locked(&self.shared.lines).clone()
    }

    /// Most connections that were open at once.
    pub fn most_connections(&self) -> usize {
        self.shared.most_connections.load(Ordering::SeqCst)
    }

    /// Administrators who signed in.
    pub fn sign_ins(&self) -> usize {
        self.shared.sign_ins.load(Ordering::SeqCst)
    }
}

impl Drop for AxigenCli {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let open = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
            shared.most_connections.fetch_max(open, Ordering::SeqCst);
            let _ = serve(stream, &shared).await;
            shared.connections.fetch_sub(1, Ordering::SeqCst);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let tls = locked(&shared.server).tls.clone();
    match tls {
        None => talk(stream, shared).await,
        Some(Acceptor(acceptor)) => talk(acceptor.accept(stream).await?, shared).await,
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, shared: &Shared) -> io::Result<()> {
    let server = locked(&shared.server).clone();
    let mut session = Session { server, shared, place: Place::Login, errors: 0, commands: 0, draft: None };
    let mut buffer = Vec::new();
    let mut answer = "Axigen command line (a stand-in)\r\nWelcome\r\n<login> ".to_owned();
    for number in 0_usize.. {
        let fault = *locked(&shared.fault);
        match fault {
            Some(Fault::Close(at) | Fault::ObeyAndClose(at)) if at == number => return Ok(()),
            Some(Fault::Hang(at)) if at == number => std::future::pending().await,
            Some(Fault::Garbage(at)) if at == number => answer = "\u{0}\u{1}HTTP/1.1 400\r\n\r\n".to_owned(),
            Some(Fault::EndlessLine(at)) if at == number => loop {
                stream.write_all(&[b'x'; 4096]).await?;
            },
            Some(Fault::EndlessLines(at)) if at == number => loop {
                stream.write_all(b"a line\r\n").await?;
            },
            Some(Fault::WrongContext(at)) if at == number => answer = "+OK: done\r\n<server#> ".to_owned(),
            _ => {}
        }
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
        let Some(line) = read_line(&mut stream, &mut buffer).await? else { return Ok(()) };
        locked(&shared.lines).push(line.clone());
        let refuse = matches!(*locked(&shared.fault), Some(Fault::Refuse(at)) if at == number + 1);
        if matches!(*locked(&shared.fault), Some(Fault::Close(at)) if at == number + 1) {
            return Ok(());
        }
        let said = if refuse { Err("as told") } else { session.obey(&line) };
        let verdict = match said {
            Ok(Some(text)) => format!("+OK: {text}\r\n"),
            Ok(None) => return Ok(()),
            Err(text) => format!("-ERR: {text}\r\n"),
        };
        if session.errors >= MOST_AUTH_ERRORS || session.commands >= MOST_AUTH_COMMANDS {
            return Ok(());
        }
        answer = format!("{verdict}<{}> ", session.prompt());
    }
    Ok(())
}

/// A line without its end, which must be CRLF; `None` at the end of the connection.
async fn read_line<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let line = line.strip_suffix(b"\r\n").ok_or(io::ErrorKind::InvalidData)?;
            return String::from_utf8(line.to_vec()).map(Some).map_err(io::Error::other);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Login,
    Password,
    Root,
    Domain,
    Account,
}

/// An account that was entered and not committed.
struct Draft {
    account: String,
    password: Option<String>,
}

struct Session<'a> {
    server: Server,
    shared: &'a Shared,
    place: Place,
    errors: usize,
    commands: usize,
    draft: Option<Draft>,
}

type Said = Result<Option<&'static str>, &'static str>;

impl Session<'_> {
    fn prompt(&self) -> &'static str {
        match self.place {
            Place::Login => "login",
            Place::Password => "password",
            Place::Root => "#",
            Place::Domain => "domain#",
            Place::Account if self.server.new_prompts => "account#",
            Place::Account => "domain-account#",
        }
    }

    fn obey(&mut self, line: &str) -> Said {
        if self.place == Place::Password {
            return self.sign_in(line);
        }
        if self.place == Place::Login {
            self.commands += 1;
        }
        let words = words(line).ok_or("cannot be read")?;
        let upper: Vec<String> = words.iter().map(|word| word.to_uppercase()).collect();
        let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
        match (self.place, upper.as_slice()) {
            (_, ["QUIT" | "EXIT"]) => Ok(None),
            (Place::Login, ["USER", _]) => {
                self.draft = None;
                self.place = Place::Password;
                self.server.user = if words[1] == self.server.user { words[1].clone() } else { String::new() };
                Ok(Some("password, please"))
            }
            (Place::Root, ["UPDATE", "DOMAIN", "NAME", _]) if words[3] == self.server.domain => {
                self.place = Place::Domain;
                Ok(Some("updating the domain"))
            }
            (Place::Domain, [verb, "ACCOUNT", "NAME", ..]) => self.account(verb, &words[3..]),
            (Place::Account, ["SET", keyword, _]) if keyword.eq_ignore_ascii_case(&self.server.keyword) => {
                if words[2].chars().count() < self.server.shortest_password {
                    return Err("the password is too short");
                }
                let draft = self.draft.as_mut().ok_or("no account")?;
                draft.password = Some(words[2].clone());
                Ok(Some("password set"))
            }
            (Place::Account, ["SET", "MUSTCHANGEPASS", "NO" | "YES"]) => Ok(Some("set")),
            (Place::Account, ["COMMIT"]) => self.commit(),
            (Place::Account, ["BACK"]) => {
                self.draft = None;
                self.place = Place::Domain;
                Ok(Some("nothing changed"))
            }
            (Place::Domain, ["COMMIT"]) if !self.server.owns_domain => Err("you may not change the domain"),
            (Place::Domain, ["COMMIT" | "BACK"]) => {
                self.place = Place::Root;
                Ok(Some("done"))
            }
            _ => Err("not here, or not you"),
        }
    }

    fn sign_in(&mut self, password: &str) -> Said {
        if !self.server.user.is_empty() && password == self.server.password {
            self.shared.sign_ins.fetch_add(1, Ordering::SeqCst);
            self.place = Place::Root;
            return Ok(Some("welcome"));
        }
        self.errors += 1;
        self.place = Place::Login;
        Err("wrong name or password")
    }

    fn login(&self, account: &str) -> String {
        format!("{account}@{}", self.server.domain)
    }

    fn account(&mut self, verb: &str, rest: &[String]) -> Said {
        let [account, rest @ ..] = rest else { return Err("which?") };
        let login = self.login(account);
        let mut mailboxes = locked(&self.shared.mailboxes);
        let there = mailboxes.iter().position(|person| person.login == login);
        match (verb, rest, there) {
            ("SHOW", [], Some(_)) => Ok(Some("shown")),
            ("UPDATE", [], Some(_)) => {
                self.draft = Some(Draft { account: account.clone(), password: None });
                self.place = Place::Account;
                Ok(Some("updating the account"))
            }
            ("ADD", [keyword, password], None) if keyword.eq_ignore_ascii_case("PASSWORD") => {
                if password.chars().count() < self.server.shortest_password {
                    return Err("the password is too short");
                }
                self.draft = Some(Draft { account: account.clone(), password: Some(password.clone()) });
                self.place = Place::Account;
                Ok(Some("adding the account"))
            }
            ("REMOVE", [], Some(index)) => {
                mailboxes.remove(index);
                Ok(Some("removed"))
            }
            _ => Err("no such account, or there is one"),
        }
    }

    fn commit(&mut self) -> Said {
        let draft = self.draft.take().ok_or("no account")?;
        let login = self.login(&draft.account);
        let mut mailboxes = locked(&self.shared.mailboxes);
        match (mailboxes.iter_mut().find(|person| person.login == login), draft.password) {
            (Some(person), Some(password)) => person.password = password,
            (Some(_), None) => {}
            (None, password) => mailboxes.push(Person::new(&login, &password.unwrap_or_default(), &draft.account)),
        }
        self.place = Place::Domain;
        Ok(Some("committed"))
    }
}

/// The words of a command, by the documented rules: between apostrophes everything is literal; between
/// quotes a backslash goes before a quote; outside it goes before a blank, a quote or itself.
fn words(line: &str) -> Option<Vec<String>> {
    if line.chars().any(char::is_control) {
        return None;
    }
    let mut words = Vec::new();
    let mut characters = line.chars().peekable();
    loop {
        while characters.next_if_eq(&' ').is_some() {}
        let Some(first) = characters.next() else { return Some(words) };
        let mut word = String::new();
        match first {
            '\'' => loop {
                match characters.next()? {
                    '\'' => break,
                    literal => word.push(literal),
                }
            },
            '"' => loop {
                match characters.next()? {
                    '"' => break,
                    '\\' => word.push(characters.next()?),
                    literal => word.push(literal),
                }
            },
            mut character => loop {
                match character {
                    '\\' => word.push(characters.next().filter(|next| " '\"\\".contains(*next))?),
                    '\'' | '"' => return None,
                    literal => word.push(literal),
                }
                match characters.next_if(|next| *next != ' ') {
                    Some(next) => character = next,
                    None => break,
                }
            },
        }
        // A word ends where a blank or the line does.
        if characters.peek().is_some_and(|next| *next != ' ') {
            return None;
        }
        words.push(word);
    }
}
