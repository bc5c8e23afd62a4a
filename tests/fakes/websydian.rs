//! A strict stand-in for a site of Websydian Express and the function that its developer writes.
//!
//! Made from the vendor's pages: a session is made by the first request, the function runs then and
//! never again, what goes wrong in it is ignored, the user of a session is never replaced, and every
//! page comes with 200. What is not published (how to end a session) is made up here, and is a setting
//! of the connector.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::axigen::escaped;
use super::server::{Fault, Reply, Request, Server, forward, locked};

/// The path of the site.
pub const SITE: &str = "/express/site/shop";
/// The name of its cookie.
pub const COOKIE: &str = "WSYID1/express/site/shop";
/// A function of the site that ends the session of the cookie.
pub const END: &str = "/express/site/shop/end";
/// Where pages post their events, with the in-page key.
pub const EVENTS: &str = "/express/events";
/// As many roles as the function reads.
const MOST_ROLES: usize = 20;

/// How the function asks whether somebody is good.
#[derive(Clone, Debug)]
pub enum Asks {
    /// A table of its own: every pair here.
    Passwords(Vec<(String, String)>),
    /// The service, in one of its spellings.
    Service { spelling: Spelling, address: SocketAddr, path: String, key: Key },
    /// Like the dummy of the vendor's example: any pair that is not empty is good.
    Anything,
    /// Nobody: there is no such function.
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    Soap,
    Xml,
    Json,
}

/// How it shows the service's key.
#[derive(Clone, Debug)]
pub enum Key {
    Header(String, String),
    Basic(String),
    /// It stands in the path.
    InPath,
}

/// What the function does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// It turns the name into capitals before it asks.
    Capitals,
    /// Its fields have a fixed length, filled up with blanks.
    Padded,
    /// It asks, and cannot write the user into the session.
    NoUser,
    /// It asks twice.
    Twice,
}

struct Session {
    user: Option<String>,
    roles: Vec<String>,
    sid: String,
}

struct State {
    asks: Asks,
    slip: Option<Slip>,
    /// Who is in the user table; `None` where the function creates whoever is missing.
    known: Option<Vec<String>>,
    /// The cookie's name, where it is not the published one.
    cookie: String,
    signature_key: u128,
    made: u64,
    sessions: HashMap<String, Session>,
    /// Logins of a user record's making, which are inactive.
    created: Vec<String>,
}

/// The stand-in, alive until it is dropped.
pub struct Websydian {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Websydian {
    /// A site whose function asks in this way, on a port that the system chooses.
    pub async fn start(asks: Asks) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State {
            asks,
            slip: None,
            known: None,
            cookie: COOKIE.to_owned(),
            signature_key: rand::random(),
            made: 0,
            sessions: HashMap::new(),
            created: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let shared = Arc::clone(&shared);
            async move { answer(&shared, &request).await }
        })
        .await?;
        Ok(Self { server, state })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn misbehave(&self, fault: Option<Fault>) {
        self.server.misbehave(fault);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// Has the function ask in another way from now on.
    pub fn ask(&self, asks: Asks) {
        locked(&self.state).asks = asks;
    }

    /// Has the function do something wrong.
    pub fn slip(&self, slip: Option<Slip>) {
        locked(&self.state).slip = slip;
    }

    /// Has the function create nobody: only these are users.
    pub fn know_only(&self, users: &[&str]) {
        locked(&self.state).known = Some(users.iter().map(|user| (*user).to_owned()).collect());
    }

    pub fn rename_cookie(&self, name: &str) {
        locked(&self.state).cookie = name.to_owned();
    }

    /// Lets every session time out.
    pub fn drop_sessions(&self) {
        locked(&self.state).sessions.clear();
    }

    /// Sessions of people, and anonymous ones.
    pub fn sessions(&self) -> (usize, usize) {
        let state = locked(&self.state);
        let people = state.sessions.values().filter(|session| session.user.is_some()).count();
        (people, state.sessions.len() - people)
    }

    /// The roles of this user's only session.
    pub fn roles(&self, user: &str) -> Vec<String> {
        let state = locked(&self.state);
        let mut theirs = state.sessions.values().filter(|session| session.user.as_deref() == Some(user));
        theirs.next().map(|session| session.roles.clone()).unwrap_or_default()
    }

    /// User records that the function created.
    pub fn created(&self) -> Vec<String> {
        locked(&self.state).created.clone()
    }
}

async fn answer(shared: &Mutex<State>, request: &Request) -> Reply {
    let Ok(held) = locked(shared).session_of(request) else {
        return Reply::html(400, "<!doctype html><p>Two session cookies");
    };
    match (request.method.as_str(), request.path()) {
        ("GET", SITE) => match held {
            // A live cookie restores its session, whatever the parameters say.
            Some(id) => locked(shared).page(&id),
            None => {
                let id = locked(shared).create();
                let query = request.query();
                let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
                if let (Some(login), Some(password)) = (value("SSOLOGIN"), value("SSOPWD")) {
                    // Whatever it returns is ignored.
                    let _ = session_after_create(shared, &id, &login, &password).await;
                }
                let state = locked(shared);
                let set = format!("{}={}; Path=/; HttpOnly", state.cookie, state.signed(&id));
                state.page(&id).with("Set-Cookie", &set)
            }
        },
        ("GET", END) => {
            if let Some(id) = held {
                locked(shared).sessions.remove(&id);
            }
            ended(shared)
        }
        ("POST", EVENTS) => {
            let form: HashMap<String, String> = url::form_urlencoded::parse(&request.body).into_owned().collect();
            let mut state = locked(shared);
            let right = held.filter(|id| form.get("WSYD_SID") == Some(&state.sessions[id].sid));
            match (right, form.get("WSYD_EVENT").map(String::as_str)) {
                (Some(id), Some("LogOff")) => {
                    state.sessions.remove(&id);
                    drop(state);
                    ended(shared)
                }
                _ => Reply::html(200, "<!doctype html><p>Illegal WSYD_SID"),
            }
        }
        _ => Reply::html(404, "<!doctype html><title>Not found</title>"),
    }
}

fn ended(shared: &Mutex<State>) -> Reply {
    let deleted = format!("{}=; Path=/; Max-Age=0", locked(shared).cookie);
    Reply::html(200, "<!doctype html><p>Goodbye").with("Set-Cookie", &deleted)
}

/// The function, step by step as the vendor's example has it.
async fn session_after_create(shared: &Mutex<State>, id: &str, login: &str, password: &str) -> Option<()> {
    if login.is_empty() || password.is_empty() {
        return None;
    }
    let (asks, slip) = {
        let state = locked(shared);
        (state.asks.clone(), state.slip)
    };
    let (mut asked, mut proof) = (login.to_owned(), password.to_owned());
    match slip {
        Some(Slip::Capitals) => asked = asked.to_uppercase(),
        Some(Slip::Padded) => (asked, proof) = (format!("{asked:<60}"), format!("{proof:<60}")),
        _ => {}
    }
    let roles = match &asks {
        Asks::Passwords(people) => {
            people.iter().any(|(name, right)| name == login && right == password).then(Vec::new)?
        }
        Asks::Service { .. } => {
            let roles = authorize_session(&asks, &asked, &proof).await?;
            if slip == Some(Slip::Twice) && authorize_session(&asks, &asked, &proof).await.is_none() {
                return None;
            }
            roles
        }
        Asks::Anything => Vec::new(),
        Asks::Nobody => return None,
    };
    let mut state = locked(shared);
    if state.known.as_ref().is_some_and(|known| !known.iter().any(|user| user == login)) {
        return None;
    }
    if slip == Some(Slip::NoUser) {
        return None;
    }
    if state.known.is_none() && !state.created.iter().any(|user| user == login) {
        state.created.push(login.to_owned());
    }
    let session = state.sessions.get_mut(id)?;
    assert!(session.user.is_none(), "the user of a session is never replaced");
    session.user = Some(login.to_owned());
    session.roles = roles.into_iter().take(MOST_ROLES).collect();
    Some(())
}

/// The roles, if the service says that the session is to be theirs.
async fn authorize_session(asks: &Asks, login: &str, password: &str) -> Option<Vec<String>> {
    let Asks::Service { spelling, address, path, key } = asks else { return None };
    let fields = |prefix: &str| {
        let (login, password) = (escaped(login), escaped(password));
        format!("<{prefix}Login>{login}</{prefix}Login><{prefix}Password>{password}</{prefix}Password>")
    };
    let (kind, body) = match spelling {
        Spelling::Soap => (
            "text/xml; charset=utf-8",
            format!(
                "<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body>\
                 <a:AuthorizeSession xmlns:a=\"urn:sso:websydian\">{}</a:AuthorizeSession></soap:Body></soap:Envelope>",
                fields("a:")
            ),
        ),
        Spelling::Xml => ("text/xml", format!("<AuthorizeSession>{}</AuthorizeSession>", fields(""))),
        Spelling::Json => ("application/json", json!({ "login": login, "password": password }).to_string()),
    };
    let mut headers = vec![
        ("host".to_owned(), address.to_string().into_bytes()),
        ("content-type".to_owned(), kind.as_bytes().to_vec()),
        ("content-length".to_owned(), body.len().to_string().into_bytes()),
        ("soapaction".to_owned(), b"\"urn:sso:AuthorizeSession\"".to_vec()),
    ];
    match key {
        Key::Header(name, key) => headers.push((name.clone(), key.as_bytes().to_vec())),
        Key::Basic(key) => {
            let coded = BASE64_STANDARD.encode(format!("express:{key}"));
            headers.push(("authorization".to_owned(), format!("Basic {coded}").into_bytes()));
        }
        Key::InPath => {}
    }
    let (method, target) = ("POST".to_owned(), path.clone());
    let reply = forward(*address, &Request { method, target, headers, body: body.into_bytes() }).await.ok()?;
    let text = String::from_utf8(reply.body).ok().filter(|_| reply.status == 200)?;
    let (valid, roles) = match spelling {
        Spelling::Soap => {
            let roles = within(&text, "a:Role");
            assert_eq!(within(&text, "a:RoleCount"), [roles.len().to_string()], "{text}");
            (within(&text, "a:Valid") == ["Y"], roles)
        }
        Spelling::Xml => (text.contains("<AuthorizeSessionResult valid=\"Y\">"), within(&text, "Role")),
        Spelling::Json => {
            let answer: Value = serde_json::from_str(&text).ok()?;
            let roles = answer["roles"].as_array()?.iter().filter_map(|role| Some(role.as_str()?.to_owned()));
            (answer["valid"] == true, roles.collect())
        }
    };
    valid.then_some(roles)
}

/// What stands between each pair of tags of this name.
fn within(text: &str, tag: &str) -> Vec<String> {
    let (start, end) = (format!("<{tag}>"), format!("</{tag}>"));
    let pieces = text.split(&start).skip(1).filter_map(|rest| rest.split(&end).next());
    let plain = |text: &str| {
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
        text.replace("&amp;", "&")
    };
    pieces.map(plain).collect()
}

impl State {
    fn create(&mut self) -> String {
        self.made += 1;
        let id = self.made.to_string();
        let sid = format!("2;{}", 3500 + self.made);
        self.sessions.insert(id.clone(), Session { user: None, roles: Vec::new(), sid });
        id
    }

    /// The session id with a signature, so that nobody makes one up.
    fn signed(&self, id: &str) -> String {
        let digest = Sha256::digest(format!("{}.{id}", self.signature_key));
        format!("{id}.{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    /// The live session whose cookie came. Two cookies of the name are somebody's mistake.
    fn session_of(&self, request: &Request) -> Result<Option<String>, ()> {
        let lines = request.headers.iter().filter(|(name, _)| name == "cookie");
        let lines: Vec<&str> = lines.filter_map(|(_, value)| std::str::from_utf8(value).ok()).collect();
        let pairs = lines.iter().flat_map(|line| line.split("; ")).filter_map(|pair| pair.split_once('='));
        let ours: Vec<&str> = pairs.filter(|(name, _)| *name == self.cookie).map(|(_, value)| value).collect();
        match ours[..] {
            [] => Ok(None),
            [value] => {
                let id = value.split('.').next().unwrap_or_default();
                Ok((self.signed(id) == value && self.sessions.contains_key(id)).then(|| id.to_owned()))
            }
            _ => Err(()),
        }
    }

    fn page(&self, id: &str) -> Reply {
        let session = &self.sessions[id];
        let sid = escaped(&session.sid);
        let body = match &session.user {
            Some(user) => format!("<p>Signed in as {}<a href=\"#\">Log out</a>", escaped(user)),
            None => "<p>Welcome, guest<form method=\"post\"><input name=\"WSYD_PASSWORD\" type=\"password\"></form>"
                .to_owned(),
        };
        Reply::html(
            200,
            format!(
                "<!doctype html><title>Shop</title><form><input type=\"hidden\" name=\"WSYD_SID\" value=\"{sid}\"></form>\
                 {body}"
            ),
        )
    }
}
