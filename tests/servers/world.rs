//! Everything around the web server: the program before it, the application behind it, and people.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use keyward::demo::process::{Address, Process, TemporaryWorkspace, Workspace, free_address};

use crate::application::{Application, Behind};
use crate::browser::{Call, Connection, HOST};
use crate::example;
use crate::fakes::axigen::{self, Axigen};
use crate::fakes::server::locked;
use crate::support::{Answer, PortalKey, Ticket, password_of};
use crate::web_server::{Places, WebServer};

/// The portal of every example.
pub const PORTAL: PortalKey = PortalKey {
    name: "customer-portal",
    cookie: "portal_session",
    id: "2026a",
    secret: "a secret of at least 32 bytes, shared with the portal",
};
/// Where it signs people in.
pub const LOGIN: &str = "https://portal.example.test/login";

/// Somebody with a mailbox.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub user: &'static str,
    pub name: &'static str,
    pub email: &'static str,
    pub roles: &'static [&'static str],
}

/// She has no role at all.
pub const ALICE: Person = Person { user: "alice", name: "Alice Día", email: "alice@example.test", roles: &[] };
pub const BOB: Person = Person { user: "bob", name: "Bob", email: "bob@example.test", roles: &["admin", "staff"] };
/// Her password is very long, and so is her ticket.
pub const CAROL: Person = Person { user: "carol", name: "Carol", email: "carol@example.test", roles: &[] };
/// The portal has a password of his that is not the mailbox's any more.
pub const DAVE: Person = Person { user: "dave", name: "Dave", email: "dave@example.test", roles: &[] };

impl Person {
    fn password(&self) -> String {
        password_of(self.user).repeat(if self.user == CAROL.user { 130 } else { 1 })
    }

    /// A session at the portal.
    pub fn ticket(&self) -> Ticket {
        let known = if self.user == DAVE.user { "the old password".to_owned() } else { self.password() };
        let ticket = Ticket::of(self.user).portal(PORTAL).password(&known);
        ticket.name(self.name).email(self.email).roles(self.roles)
    }
}

/// What is behind the web server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The webmail of the example.
    Mail,
    /// An application with a form, two of whose cookies browsers get from Keyward.
    Form,
}

/// All of it, running.
pub struct World<S> {
    _server: S,
    pub keyward: Option<Keyward>,
    pub application: Option<Application>,
    pub mail: Axigen,
    pub places: Places,
    config: String,
    behind: Behind,
    /// What was given to a browser and must not be.
    pub leaks: Mutex<Vec<String>>,
    asked: AtomicUsize,
    pub folder: TemporaryWorkspace,
}

impl<S: WebServer> World<S> {
    pub async fn start(kind: Kind) -> Self {
        let mailbox = |person: Person| axigen::Person::new(person.email, &person.password(), person.name);
        let mail = Axigen::start([ALICE, BOB, CAROL, DAVE].map(mailbox).to_vec()).await.unwrap();
        let behind = match kind {
            Kind::Mail => Behind::Mail(mail.url().trim_start_matches("http://").parse().unwrap()),
            Kind::Form => Behind::Form,
        };
        let application = Application::start(free_address().unwrap(), behind).await;
        let free = || free_address().unwrap();
        let places =
            Places { public: free(), auth: free(), fastcgi: free(), grpc: free(), application: application.address };
        let config = match kind {
            Kind::Mail => example::config(S::NAME, &places),
            Kind::Form => example::form(S::NAME, &places),
        };
        let folder = Workspace::temporary().unwrap();
        let keyward = Keyward::start(&folder, &config, &places).await;
        let server = S::start(&folder.directory("server").unwrap(), &places).await;
        Self {
            _server: server,
            keyward: Some(keyward),
            application: Some(application),
            mail,
            places,
            config,
            behind,
            leaks: Mutex::default(),
            asked: AtomicUsize::new(0),
            folder,
        }
    }

    pub async fn restart_keyward(&mut self) {
        drop(self.keyward.take());
        self.keyward = Some(Keyward::start(&self.folder, &self.config, &self.places).await);
    }

    pub async fn end_application(&mut self) {
        if let Some(application) = self.application.take() {
            application.end().await;
        }
    }

    pub async fn start_application(&mut self) {
        self.application = Some(Application::start(self.places.application, self.behind).await);
    }

    /// A name for one request, by which it is found again at the application.
    pub fn name(&self) -> String {
        format!("row-{}", self.asked.fetch_add(1, Ordering::Relaxed))
    }

    /// Asks the web server; 0 is the status where no answer came. Where the web server cannot put a key into the query,
    /// pages are asked for again at the address with the key, once, as browsers do.
    pub async fn browse(&self, row: &str, call: &Call) -> Answer {
        let answer = self.browse_once(row, call).await;
        match self.with_key(&answer) {
            Some(target) if !S::ABILITIES.sets_query => self.browse_once(row, &Call { target, ..call.clone() }).await,
            _ => answer,
        }
    }

    /// The address of our own that a page is sent to for the key in it.
    pub fn with_key(&self, answer: &Answer) -> Option<String> {
        let location = answer.all("Location").pop().filter(|_| answer.status == 302)?;
        let target = location.strip_prefix(&self.url(""))?;
        target.contains("_h=").then(|| target.to_owned())
    }

    async fn browse_once(&self, row: &str, call: &Call) -> Answer {
        let none = Answer { status: 0, headers: Vec::new(), body: Vec::new(), head_length: 0 };
        let Some(mut connection) = Connection::open(self.places.public).await else { return none };
        connection.send(&call.bytes(row, self.places.public.port())).await;
        let answer = connection.answer(call.method == "HEAD").await.unwrap_or(none);
        self.look_for_leaks(call, &answer);
        answer
    }

    /// Nobody's key is for a browser, and nothing that is said about a request to the application. (The mailbox itself
    /// has the key in its links, as the real one does.)
    pub fn look_for_leaks(&self, call: &Call, answer: &Answer) {
        let everything = answer.everything();
        let mailbox = call.target == "/" && answer.status == 200;
        let to_owner = !S::ABILITIES.sets_query && self.with_key(answer).is_some();
        let key = !mailbox && !to_owner && everything.contains(KEY_MARK);
        let inner = ["x-upstream-", "remote-", "x-set-cookie-", "x-axigen-session", "variable-"];
        let inner = answer.headers.iter().find(|(name, _)| inner.iter().any(|start| name.starts_with(start)));
        if key || inner.is_some() {
            let leak =
                format!("{} {}: a key or what is for the application alone:\n{everything}", call.method, call.target);
            locked(&self.leaks).push(leak);
        }
    }

    /// The address of a page, as the browser has it.
    pub fn url(&self, target: &str) -> String {
        format!("http://{HOST}:{}{target}", self.places.public.port())
    }

    /// What Keyward has logged since it was started.
    pub fn log_lines(&self) -> Vec<serde_json::Value> {
        let log = std::fs::read_to_string(self.folder.path().join("keyward/keyward.log")).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    /// What the application got on behalf of a row.
    pub fn arrived(&self, row: &str) -> Vec<crate::application::Arrived> {
        self.application.as_ref().map(|application| application.arrived(row)).unwrap_or_default()
    }
}

/// Every key of an application here begins so.
pub const KEY_MARK: &str = "0000000000000000000000000";

/// A `keyward serve`.
pub struct Keyward {
    _process: Process,
}

impl Keyward {
    async fn start(folder: &Workspace, text: &str, places: &Places) -> Self {
        let ours = folder.directory("keyward").unwrap().with_our_rights();
        let config = ours.write("keyward.toml", text).unwrap();
        let ops: SocketAddr = free_address().unwrap();
        let auth = format!("KEYWARD__LISTEN__AUTH={}", places.auth);
        let ops = format!("KEYWARD__LISTEN__OPS={ops}");
        let program = env!("CARGO_BIN_EXE_keyward");
        let arguments = ["-u", "RUST_LOG", &auth, &ops, program, "serve", "-c", config.to_str().unwrap()];
        let mut process = Process::start("keyward", Path::new("/usr/bin/env"), &arguments, &ours).unwrap();
        for address in [places.auth, places.fastcgi, places.grpc] {
            if address == places.auth || text.contains(&address.to_string()) {
                process.ready(&Address::Tcp(address)).await.unwrap();
            }
        }
        Self { _process: process }
    }
}
