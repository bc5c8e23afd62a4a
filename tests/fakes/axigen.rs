//! A strict stand-in for Axigen WebMail, with both of its login surfaces.
//!
//! It refuses what the real one would refuse (half a pair of keys, a missing `action`, a form that
//! is not cleanly encoded), compares passwords byte by byte, and can be told to answer in each of
//! the ways that are documented, seen or to be feared. Its pages are small enough to be looked at.
//! The demo includes this file by its path, so it uses nothing but its neighbour `server`.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::server::{Fault, Reply, Request, Server, locked};

/// How logins are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// 303, the key in `Location` and another one in the body, as in the published sample.
    Documented,
    /// 200 with both halves, the URL key in the body.
    OkWithJson,
    /// 303 whose key stands in the body only.
    KeyOnlyInBody,
    /// 302 and an absolute `Location`.
    AbsoluteLocation,
    /// The session cookie has another name, still starting with `_h`.
    RenamedCookie,
    /// Everybody is sent to the login page, by redirect.
    RedirectToLoginPage,
    /// Everybody gets the login page, with 200 and a session cookie that opens nothing.
    LoginPage,
    /// `success: false`.
    SaysNo,
    /// Every password has expired.
    PasswordExpired,
    /// A cookie and no key.
    OnlyCookie,
    /// A key and no cookie.
    OnlyKey,
    /// A second step is asked for, in the Mailbox API's way.
    SecondStep,
    /// The Mailbox API opens somebody else's account.
    WrongAccount,
    /// A login with a token sets a cookie as well.
    TokenSetsCookie,
}

/// Somebody who has a mailbox.
#[derive(Clone, Debug)]
pub struct Person {
    pub login: String,
    pub password: String,
    /// Name shown in the mailbox.
    pub name: String,
}

impl Person {
    pub fn new(login: &str, password: &str, name: &str) -> Self {
        Self { login: login.to_owned(), password: password.to_owned(), name: name.to_owned() }
    }
}

/// What happens to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Opened,
    /// Somebody looked at the mailbox through the web server.
    Shown,
    /// Keyward looked whether it is still there.
    Checked,
    Ended,
}

/// When something happened, and to which session.
#[derive(Clone, Debug)]
pub struct Moment {
    pub at: Instant,
    pub login: String,
    /// By this number it is known among all.
    pub session: u64,
    pub event: Event,
}

struct Session {
    number: u64,
    login: String,
    /// Cookie key and URL key.
    cookie: String,
    url_key: String,
    /// What it was opened with, where every call must show that again.
    token: Option<String>,
}

/// Everybody who has a mailbox; the stand-in for the command line may share them.
pub type Mailboxes = Arc<Mutex<Vec<Person>>>;

struct State {
    people: Mailboxes,
    /// Access tokens that are good at the moment, and whose they are.
    tokens: HashMap<String, String>,
    variant: Variant,
    sessions: Vec<Session>,
    attempts: HashMap<String, usize>,
    logins: HashMap<String, usize>,
    /// Whose each cookie key is or was.
    owners: HashMap<String, String>,
    made: u64,
    moments: Vec<Moment>,
    /// How long the answer to a login takes.
    pause: Duration,
}

/// The stand-in, alive until it is dropped.
pub struct Axigen {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Axigen {
    /// Starts with these mailboxes, on a port that the system chooses.
    pub async fn start(people: Vec<Person>) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State {
            people: Arc::new(Mutex::new(people)),
            tokens: HashMap::new(),
            variant: Variant::Documented,
            sessions: Vec::new(),
            attempts: HashMap::new(),
            logins: HashMap::new(),
            owners: HashMap::new(),
            made: 0,
            moments: Vec::new(),
            pause: Duration::ZERO,
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let (reply, pause) = {
                let mut state = locked(&shared);
                let opened = state.made;
                let reply = state.answer(&request);
                (reply, if state.made > opened { state.pause } else { Duration::ZERO })
            };
            async move {
                tokio::time::sleep(pause).await;
                reply.with("Cache-Control", "no-cache, no-store").with("Server", "Axigen-Webmail")
            }
        })
        .await?;
        Ok(Self { server, state })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn add(&self, person: Person) {
        locked(&locked(&self.state).people).push(person);
    }

    /// This token speaks for somebody from now on.
    pub fn accept(&self, token: &str, login: &str) {
        locked(&self.state).tokens.insert(token.to_owned(), login.to_owned());
    }

    /// It does so no more, whatever was opened with it.
    pub fn expire(&self, token: &str) {
        locked(&self.state).tokens.remove(token);
    }

    /// Everybody who has a mailbox, to be shared.
    pub fn mailboxes(&self) -> Mailboxes {
        Arc::clone(&locked(&self.state).people)
    }

    /// Answers logins in another way from now on.
    pub fn set(&self, variant: Variant) {
        locked(&self.state).variant = variant;
    }

    /// Breaks the connection itself, or mends it.
    pub fn misbehave(&self, fault: Option<Fault>) {
        self.server.misbehave(fault);
    }

    /// From now on a session is there at once, but who opened it hears of it so much later.
    pub fn answer_logins_after(&self, pause: Duration) {
        locked(&self.state).pause = pause;
    }

    /// Remembers no request from now on.
    pub fn forget_requests(&self) {
        self.server.forget();
    }

    /// What happened to every session, in order.
    pub fn moments(&self) -> Vec<Moment> {
        locked(&self.state).moments.clone()
    }

    /// Forgets all sessions, as a restart does.
    pub fn drop_sessions(&self) {
        locked(&self.state).sessions.clear();
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        locked(&self.state).sessions.len()
    }

    /// Logins of this person that succeeded.
    pub fn logins(&self, login: &str) -> usize {
        locked(&self.state).logins.get(login).copied().unwrap_or(0)
    }

    /// Whose session this cookie opens, or opened before it ended.
    pub fn owner(&self, cookie: &str) -> Option<String> {
        locked(&self.state).owners.get(cookie).cloned()
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

impl State {
    fn answer(&mut self, request: &Request) -> Reply {
        if let Some(path) = request.path().strip_prefix("/api/v1/") {
            return self.mailbox_api(path, request);
        }
        let query = request.query();
        let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (request.path(), value("action")) {
            ("/" | "/index.hsp", Some("login")) => self.legacy_login(request),
            ("/", Some("logout")) => {
                if let Some(index) = self.session_of(request) {
                    self.note(index, Event::Ended);
                    self.sessions.remove(index);
                }
                Reply::new(303, "").with("Location", "/index.hsp")
            }
            ("/", None) => match self.session_of(request) {
                Some(index) => {
                    // Web servers say for whom they ask.
                    let shown = request.header("x-forwarded-for").is_some();
                    self.note(index, if shown { Event::Shown } else { Event::Checked });
                    self.mailbox(index)
                }
                None => login_page(),
            },
            ("/index.hsp", None) => login_page(),
            _ => Reply::html(404, "<!doctype html><title>Not found</title>"),
        }
    }

    fn legacy_login(&mut self, request: &Request) -> Reply {
        let mut fields = strict_form(request.target.split_once('?').map_or("", |(_, query)| query)).unwrap_or_default();
        if request.method == "POST" {
            let form = request.header("content-type") == Some("application/x-www-form-urlencoded");
            let body = std::str::from_utf8(&request.body).ok().filter(|_| form).and_then(strict_form);
            let Some(body) = body else { return Reply::new(400, "") };
            fields.extend(body);
        }
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        let (login, password) = (field("username").to_owned(), field("password").to_owned());
        let right = self.try_login(&login, &password);
        match self.variant {
            Variant::RedirectToLoginPage => return Reply::new(303, "").with("Location", "/index.hsp?login="),
            Variant::LoginPage => return login_page().with("Set-Cookie", &format!("_hmail={};Path=/", "0".repeat(32))),
            Variant::SaysNo => return Reply::html(200, "{ success: false }"),
            Variant::PasswordExpired => {
                let to = "/index.hsp?passwordExpired=yes&username=ana&domainName=example.test";
                return Reply::new(303, "").with("Location", to);
            }
            _ if !right => return login_page(),
            _ => {}
        }
        let (cookie, url_key) = self.open(&login);
        let name = if self.variant == Variant::RenamedCookie { "_hadea" } else { "_hmail" };
        let cookie = format!("{name}={cookie};Path=/;Version=1;");
        let location = format!("/?_h={url_key}");
        let another = "ffeeddccbbaa99887766554433221100";
        let body = |key: &str| format!("{{ success: true, sessionKey: \"{key}\" }}");
        match self.variant {
            Variant::OkWithJson => Reply::html(200, body(&url_key)).with("Set-Cookie", &cookie),
            Variant::KeyOnlyInBody => {
                Reply::html(303, body(&url_key)).with("Set-Cookie", &cookie).with("Location", "/")
            }
            Variant::AbsoluteLocation => {
                let host = request.header("host").unwrap_or_default();
                Reply::new(302, "").with("Set-Cookie", &cookie).with("Location", &format!("http://{host}{location}"))
            }
            Variant::OnlyCookie => Reply::new(303, "").with("Set-Cookie", &cookie).with("Location", "/"),
            Variant::OnlyKey => Reply::html(303, body(&url_key)).with("Location", &location),
            _ => Reply::html(303, body(another)).with("Set-Cookie", &cookie).with("Location", &location),
        }
    }

    fn mailbox_api(&mut self, path: &str, request: &Request) -> Reply {
        match (request.method.as_str(), path) {
            ("POST", "login/cookie") => {
                let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                if !self.try_login(&text("username"), &text("password")) {
                    return Reply::json(401, &json!({ "code": 401 }));
                }
                let (cookie, session) = self.open(&text("username"));
                let name = if self.variant == Variant::RenamedCookie { "_hadea" } else { "_hmail" };
                let reply = Reply::json(200, &json!({ "sessid": session }));
                let reply = match self.variant {
                    Variant::OnlyKey => reply,
                    _ => reply.with("Set-Cookie", &format!("{name}={cookie}; Path=/; HttpOnly")),
                };
                if self.variant == Variant::SecondStep { reply.with("X-Axigen-2FA", "required") } else { reply }
            }
            ("POST", "login") => self.token_login(request),
            ("GET", "account/info") => match self.session_of(request) {
                Some(index) => {
                    let login = &self.sessions[index].login;
                    let (name, domain) = login.split_once('@').unwrap_or((login, "example.test"));
                    let name = if self.variant == Variant::WrongAccount { "somebody-else" } else { name };
                    let expired = self.variant == Variant::PasswordExpired;
                    let policy = json!({ "mustChangePassword": expired });
                    let account = json!({ "accountName": name, "domainName": domain, "passwordPolicy": policy });
                    Reply::json(200, &account)
                }
                None => Reply::json(401, &json!({ "code": 401 })),
            },
            ("POST", "logout") => match self.session_of(request) {
                Some(index) => {
                    self.note(index, Event::Ended);
                    self.sessions.remove(index);
                    Reply::new(200, "")
                }
                None => Reply::json(401, &json!({ "code": 401 })),
            },
            _ => Reply::json(404, &json!({ "code": 404 })),
        }
    }

    /// Documented: the token in `Authorization`, and nothing else; what it opens is in the body alone.
    fn token_login(&mut self, request: &Request) -> Reply {
        let refused = Reply::json(401, &json!({ "code": 401 }));
        let Some(token) = bearer(request).filter(|_| request.body.is_empty()) else { return refused };
        // Whose it is, nobody knows before it was looked at.
        let login = self.tokens.get(token).cloned();
        *self.attempts.entry(login.clone().unwrap_or_default()).or_default() += 1;
        let Some(login) = login else { return refused };
        *self.logins.entry(login.clone()).or_default() += 1;
        let (cookie, session) = self.open(&login);
        let reply = Reply::json(200, &json!({ "sessid": session }));
        if self.variant == Variant::TokenSetsCookie {
            return reply.with("Set-Cookie", &format!("_hmail={cookie}; Path=/; HttpOnly"));
        }
        if let Some(opened) = self.sessions.last_mut() {
            opened.token = Some(token.to_owned());
        }
        reply
    }

    fn try_login(&mut self, login: &str, password: &str) -> bool {
        *self.attempts.entry(login.to_owned()).or_default() += 1;
        let right = locked(&self.people).iter().any(|person| person.login == login && person.password == password);
        if right {
            *self.logins.entry(login.to_owned()).or_default() += 1;
        }
        right
    }

    /// Two keys that nobody has: the numbers of even and odd sessions never meet.
    fn open(&mut self, login: &str) -> (String, String) {
        self.made += 1;
        let (cookie, url_key) = (format!("{:032x}", self.made * 2), format!("{:032x}", self.made * 2 + 1));
        self.owners.insert(cookie.clone(), login.to_owned());
        let session = Session {
            number: self.made,
            login: login.to_owned(),
            cookie: cookie.clone(),
            url_key: url_key.clone(),
            token: None,
        };
        self.sessions.push(session);
        self.note(self.sessions.len() - 1, Event::Opened);
        (cookie, url_key)
    }

    fn note(&mut self, index: usize, event: Event) {
        let Session { number, login, .. } = &self.sessions[index];
        self.moments.push(Moment { at: Instant::now(), login: login.clone(), session: *number, event });
    }

    /// The session whose two halves the request holds: those that its login gave, and no others.
    fn session_of(&self, request: &Request) -> Option<usize> {
        if let Some(id) = request.header("x-axigen-session") {
            let token = bearer(request).filter(|token| self.tokens.contains_key(*token))?;
            let is = |session: &Session| session.url_key == id && session.token.as_deref() == Some(token);
            return self.sessions.iter().position(is);
        }
        let cookies = request.cookies();
        let cookie = cookies.get("_hmail").or_else(|| cookies.get("_hadea"))?;
        let query = request.query();
        let (_, url_key) = query.iter().find(|(key, _)| key == "_h")?;
        let is = |session: &Session| session.cookie == *cookie && session.url_key == *url_key;
        self.sessions.iter().position(|session| is(session) && session.token.is_none())
    }

    fn mailbox(&self, index: usize) -> Reply {
        let session = &self.sessions[index];
        let people = locked(&self.people);
        let name = people.iter().find(|person| person.login == session.login).map_or("", |person| &person.name);
        let (login, name) = (escaped(&session.login), escaped(name));
        Reply::html(
            200,
            page(
                &format!("Mailbox of {name}"),
                &format!(
                    "<header><b>Axigen stand-in</b><span>{login}</span><a href=\"/?_h={}&amp;action=logout\">Log out</a></header>\
             <h1>Mailbox of {name}</h1><ul><li>Welcome to your mailbox, {name}</li></ul>",
                    session.url_key
                ),
            ),
        )
    }
}

fn bearer(request: &Request) -> Option<&str> {
    request.header("authorization")?.strip_prefix("Bearer ")
}

/// A form as it must be: every pair with `=`, every `%` followed by two digits, and UTF-8 inside.
pub fn strict_form(text: &str) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        fields.push((strictly_decoded(name)?, strictly_decoded(value)?));
    }
    Some(fields)
}

fn strictly_decoded(text: &str) -> Option<String> {
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        let allowed = byte.is_ascii_alphanumeric() || b"-._~*+@%".contains(byte);
        if !allowed || (*byte == b'%' && !(digit(bytes.get(index + 1)) && digit(bytes.get(index + 2)))) {
            return None;
        }
    }
    let text = text.replace('+', " ");
    percent_encoding::percent_decode_str(&text).decode_utf8().ok().map(|text| text.into_owned())
}

fn login_page() -> Reply {
    let form = "<h1>Log in</h1><form method=\"post\" action=\"/?action=login&amp;custom=ajax\">\
                <label>Name <input name=\"username\"></label>\
                <label>Password <input name=\"password\" type=\"password\"></label>\
                <button>Log in</button></form>";
    Reply::html(200, page("Axigen stand-in: log in", form))
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>:root{{color-scheme:light dark}}\
         body{{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}}\
         header{{display:flex;flex-wrap:wrap;gap:0 1rem;border-bottom:2px solid #27c;padding-bottom:.5rem}}\
         header span{{flex:1 1 auto;opacity:.75;overflow-wrap:anywhere}}label{{display:block;margin:.6rem 0}}\
         input,button{{font:inherit;max-width:100%}}h1{{font-size:1.7rem;line-height:1.2;overflow-wrap:anywhere}}\
         ul{{list-style:none;padding:0}}li{{padding:.7rem;border-bottom:1px solid #8884}}</style>{body}</html>"
    )
}

/// Text made harmless inside HTML. (Not the program's own: what checks it must not share its defects.)
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
