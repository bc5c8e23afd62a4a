//! A strict stand-in for the Open-Xchange middleware and the web server in front of it, as far as signing
//! in goes.
//!
//! It computes the names of its cookies as the real one does, from the `User-Agent` of *each* request, so
//! whoever sends another one is refused; it finds the browser's address behind the proxies it knows, and
//! ends a session that is used from elsewhere. Built from OX's documentation and its published source
//! (7.x); what is assumed says so. Its pages are small enough to be looked at.

mod cookies;
mod login;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::axigen::{escaped, strict_form};
use super::server::{Fault, Reply, Request, Server, locked};

pub use cookies::{name_hash, public_hash};

/// The client name of App Suite.
pub const APP_SUITE: &str = "open-xchange-appsuite";
/// The salt that is configured where nobody configured one.
pub const DEFAULT_SALT: &str = "replaceMe1234567890";

/// What the server does otherwise than usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variant {
    Usual,
    /// Before 7.10.3: a login sets no session cookie, the action `store` does. Its JSON is `text/javascript`.
    Older,
    /// Every login ends with this error, `{"code": …}` and a text in some language.
    Error(&'static str),
    /// Every login is asked to go on at this address, by LGI-0016.
    Redirect(&'static str),
    /// A login sets no secret cookie.
    NoSecret,
    /// A login sets two secret cookies.
    TwoSecrets,
    /// A login sets the cookies and names no session.
    NoSession,
    /// `formlogin` redirects to an absolute address under https.
    AbsoluteLocation,
    /// `formlogin` answers an error with this page.
    ErrorPage(&'static str),
    /// `formlogin` answers an error with JSON.
    ErrorInJson,
    /// A logout fails inside: 200, nothing deleted, and the session lives on.
    LogoutFails,
    /// A logout works, and its answer deletes nothing.
    SilentLogout,
    /// `refreshSecret` gives a new secret, from another node.
    NewSecret,
    /// `refreshSecret` takes the cookies away, without an error.
    TakesSecret,
    /// `refreshSecret` answers with this error.
    CheckError(&'static str),
}

/// Somebody who has a mailbox.
#[derive(Clone, Debug)]
pub struct Person {
    pub login: String,
    pub password: String,
    pub context: u32,
    pub user: u32,
}

struct Session {
    id: String,
    secret: String,
    public: String,
    person: usize,
    client: String,
    address: String,
    /// The hash in the names of its cookies, as it was at the login.
    hash: String,
    public_hash: String,
    auth_id: String,
}

/// How the server is configured.
#[derive(Clone, Debug)]
pub struct Options {
    /// `com.openexchange.cookie.hash.salt`.
    pub salt: String,
    /// `com.openexchange.cookie.hash.fields`.
    pub hash_fields: Vec<&'static str>,
    /// `com.openexchange.server.knownProxies`; the peer itself is not looked at.
    pub known_proxies: Vec<&'static str>,
    /// `com.openexchange.IPCheck`.
    pub ip_check: bool,
    /// Old `com.openexchange.sessiond.autologin`: whether autologin works at all.
    pub autologin: bool,
    /// `com.openexchange.sessiond.maxSessionPerUser`.
    pub sessions_per_user: usize,
    /// Failed logins of one address and User-Agent before it is told to wait.
    pub failed_logins: usize,
    /// Each person in a shard of their own, else all in `default`.
    pub shards: bool,
    /// Contexts that are locked.
    pub locked_contexts: Vec<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            salt: DEFAULT_SALT.to_owned(),
            hash_fields: Vec::new(),
            known_proxies: Vec::new(),
            ip_check: true,
            autologin: true,
            sessions_per_user: 100,
            failed_logins: 50,
            shards: false,
            locked_contexts: Vec::new(),
        }
    }
}

struct State {
    people: Vec<Person>,
    options: Options,
    variant: Variant,
    sessions: Vec<Session>,
    http_sessions: HashSet<String>,
    failures: HashMap<(String, Vec<u8>), usize>,
    attempts: HashMap<String, usize>,
    made: u64,
}

/// The stand-in, alive until it is dropped.
pub struct OpenXchange {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl OpenXchange {
    /// Starts with mailboxes for these names and passwords, on a port that the system chooses.
    pub async fn start(people: &[(&str, &str)], options: Options) -> io::Result<Self> {
        let people = people.iter().zip(3..).map(|((login, password), user)| Person {
            login: (*login).to_owned(),
            password: (*password).to_owned(),
            context: 1,
            user,
        });
        let state = Arc::new(Mutex::new(State {
            people: people.collect(),
            options,
            variant: Variant::Usual,
            sessions: Vec::new(),
            http_sessions: HashSet::new(),
            failures: HashMap::new(),
            attempts: HashMap::new(),
            made: 0,
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let reply = locked(&shared).answer(&request);
            async move { reply.with("Cache-Control", "no-store, no-cache") }
        })
        .await?;
        Ok(Self { server, state })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn set(&self, variant: Variant) {
        locked(&self.state).variant = variant;
    }

    pub fn configure(&self, change: impl FnOnce(&mut Options)) {
        change(&mut locked(&self.state).options);
    }

    pub fn misbehave(&self, fault: Option<Fault>) {
        self.server.misbehave(fault);
    }

    /// Forgets all sessions, as a restart does.
    pub fn drop_sessions(&self) {
        locked(&self.state).sessions.clear();
    }

    /// Forgets the HTTP sessions, as their timeout does: the next answer sets another `JSESSIONID`.
    pub fn drop_http_sessions(&self) {
        locked(&self.state).http_sessions.clear();
    }

    pub fn sessions(&self) -> usize {
        locked(&self.state).sessions.len()
    }

    /// Logins of this person that were tried.
    pub fn attempts(&self, login: &str) -> usize {
        locked(&self.state).attempts.get(login).copied().unwrap_or(0)
    }

    /// Everything that was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }
}

/// The parameters of a request, query and form together, as a servlet sees them.
struct Parameters {
    query: Vec<(String, String)>,
    body: Vec<(String, String)>,
}

impl Parameters {
    /// `None` where the encoding is not clean.
    fn of(request: &Request) -> Option<Self> {
        let query = strict_form(request.target.split_once('?').map_or("", |(_, query)| query))?;
        let is_form = request.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form"));
        let body = if request.method == "POST" && is_form {
            strict_form(std::str::from_utf8(&request.body).ok()?)?
        } else {
            Vec::new()
        };
        Some(Self { query, body })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().chain(&self.body).find(|(held, _)| held == name).map(|(_, value)| value.as_str())
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Reply {
        let Some(parameters) = Parameters::of(request) else { return Reply::new(400, "") };
        // The web server in front maps the second onto the first.
        let module =
            ["/ajax/", "/appsuite/api/"].iter().find_map(|prefix| request.path().strip_prefix(prefix)).unwrap_or("");
        let reply = match (module, parameters.get("action")) {
            ("login", Some(action)) => self.login_servlet(action, &parameters, request),
            ("mail", Some("all")) => self.ordinary(&parameters, request),
            _ if request.path() == "/appsuite/" => self.user_interface(request),
            _ => Reply::html(404, "<!doctype html><title>Not found</title>"),
        };
        self.with_http_session(request, reply)
    }

    /// An ordinary module: session, secret, address, in this order.
    fn ordinary(&mut self, parameters: &Parameters, request: &Request) -> Reply {
        match self.find(parameters, request) {
            Err(code) => self.error_to(request, code),
            Ok(index) if !self.address_fits(index, request) => {
                let session = self.sessions.remove(index);
                let reply = self.error_to(request, "SES-0205");
                deleting(&session, reply)
            }
            Ok(index) => {
                let login = &self.people[self.sessions[index].person].login;
                self.json(&json!({ "data": [[format!("Welcome, {login}")]] }))
            }
        }
    }

    /// The page of the user interface. The real one is a script that begins with `autologin`; here the
    /// server does what the script would do, and shows the mailbox or the form.
    fn user_interface(&mut self, request: &Request) -> Reply {
        match self.by_cookies(APP_SUITE, request).filter(|index| self.address_fits(*index, request)) {
            Some(index) => {
                let login = escaped(&self.people[self.sessions[index].person].login);
                Reply::html(200, format!("<!doctype html><title>Mailbox</title><h1>Mailbox of {login}</h1>"))
            }
            None => {
                Reply::html(200, "<!doctype html><title>Log in</title><form><input name=name><input type=\"password\">")
            }
        }
    }

    /// The session that the parameter names, if the request has its secret under the name that belongs to
    /// its own User-Agent and the session's client.
    fn find(&self, parameters: &Parameters, request: &Request) -> Result<usize, &'static str> {
        let id = parameters.get("session").ok_or("SES-0201")?;
        let index = self.sessions.iter().position(|session| session.id == id).ok_or("SES-0203")?;
        let session = &self.sessions[index];
        let name = format!("open-xchange-secret-{}", self.hash_for(&session.client, request));
        let cookies = request.cookies();
        if cookies.get(&name) == Some(&session.secret) { Ok(index) } else { Err("SES-0206") }
    }

    fn by_cookies(&self, client: &str, request: &Request) -> Option<usize> {
        let cookies = request.cookies();
        let hash = self.hash_for(client, request);
        let (id, secret) = (
            cookies.get(&format!("open-xchange-session-{hash}"))?,
            cookies.get(&format!("open-xchange-secret-{hash}"))?,
        );
        self.sessions.iter().position(|session| session.id == *id && session.secret == *secret)
    }

    fn address_fits(&self, index: usize, request: &Request) -> bool {
        !self.options.ip_check || self.sessions[index].address == self.remote_address(request)
    }

    /// The rightmost forwarded address that is no known proxy, else the peer's.
    fn remote_address(&self, request: &Request) -> String {
        let forwarded = request.header("x-forwarded-for").unwrap_or_default();
        let known = |address: &&str| self.options.known_proxies.contains(address);
        let address = forwarded.rsplit(',').map(str::trim).find(|address| !address.is_empty() && !known(address));
        address.filter(|address| address.parse::<std::net::IpAddr>().is_ok()).unwrap_or("127.0.0.1").to_owned()
    }

    fn hash_for(&self, client: &str, request: &Request) -> String {
        name_hash(user_agent(request), client, &self.hash_values(request), &self.options.salt)
    }

    fn hash_values<'r>(&self, request: &'r Request) -> Vec<&'r [u8]> {
        self.options.hash_fields.iter().filter_map(|name| raw_header(request, name)).collect()
    }

    /// Every request belongs to an HTTP session, which is made where none is known.
    fn with_http_session(&mut self, request: &Request, reply: Reply) -> Reply {
        let known = request.cookies().get("JSESSIONID").is_some_and(|id| self.http_sessions.contains(id));
        let makes_one = matches!((reply.status, reply.body.is_empty()), (200, false) | (302, _));
        if known || request.path() == "/appsuite/" || !makes_one {
            return reply;
        }
        self.made += 1;
        let id = format!("{}.OX1", 4700 + self.made);
        self.http_sessions.insert(id.clone());
        reply.with("Set-Cookie", &format!("JSESSIONID={id}; Path=/{}", security(request)))
    }

    fn json(&self, value: &Value) -> Reply {
        let reply = Reply::new(200, value.to_string());
        let kind = if self.variant == Variant::Older { "text/javascript" } else { "application/json" };
        reply.with("Content-Type", &format!("{kind}; charset=UTF-8"))
    }

    /// An error of an ordinary module: a page with 403 for whoever takes no JSON.
    fn error_to(&self, request: &Request, code: &str) -> Reply {
        match request.header("accept") {
            Some(accept) if !accept.contains("json") && !accept.contains("*/*") => {
                Reply::html(403, format!("<!doctype html><title>{code}</title>"))
            }
            _ => self.error(code),
        }
    }

    /// Status 200, and a text in the server's language.
    fn error(&self, code: &str) -> Reply {
        self.json(&json!({
            "error": "Das hat leider nicht geklappt.",
            "error_params": [],
            "category": 1,
            "categories": "USER_INPUT",
            "code": code,
            "error_id": "-1234-5",
        }))
    }
}

fn raw_header<'r>(request: &'r Request, name: &str) -> Option<&'r [u8]> {
    let (_, value) = request.headers.iter().find(|(held, _)| held.eq_ignore_ascii_case(name))?;
    Some(value.as_slice()).filter(|value| !value.is_empty())
}

fn user_agent(request: &Request) -> &[u8] {
    raw_header(request, "user-agent").unwrap_or_default()
}

fn security(request: &Request) -> &'static str {
    if request.header("x-forwarded-proto") == Some("https") { "; Secure; HttpOnly" } else { "; HttpOnly" }
}

fn deleting(session: &Session, reply: Reply) -> Reply {
    let Session { hash, public_hash, .. } = session;
    let names = [
        format!("open-xchange-secret-{hash}"),
        format!("open-xchange-session-{hash}"),
        format!("open-xchange-public-session-{public_hash}"),
        "JSESSIONID".to_owned(),
    ];
    names.iter().fold(reply, |reply, name| {
        reply.with("Set-Cookie", &format!("{name}=; Path=/; Max-Age=0; Expires=Thu, 01-Jan-1970 00:00:10 GMT"))
    })
}
