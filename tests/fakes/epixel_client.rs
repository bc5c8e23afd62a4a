//! A strict stand-in for a client service in Epixel's single sign-on: it takes a one-time token at its
//! login endpoint, asks the host whose it is, acknowledges, and lets the host end its sessions.
//!
//! It refuses whatever the workflow does not know: another method, two tokens, a call without the key.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::axigen::escaped;
use super::server::{Fault, Reply, Request, Server, forward, locked};

/// How it treats a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As the workflow says.
    Documented,
    /// Lets everybody in without asking the host.
    AsksNobody,
    /// Asks, and does not acknowledge.
    NeverAcknowledges,
    /// Asks, acknowledges, and sets no cookie.
    NoCookie,
    /// Asks twice with the same token.
    AsksTwice,
    /// Asks with the trailing slash left out, and names the API session in the path.
    OtherSpelling,
    /// Asks, and then ends the session at the host instead of acknowledging it.
    EndsAtOnce,
    /// Asks, and is then down.
    FailsAfterAsking,
}

/// One session: cookie, API session, user.
#[derive(Clone, Debug)]
struct Session {
    cookie: String,
    api_sid: String,
    user: String,
}

struct State {
    people: Vec<String>,
    apikey: String,
    /// Where its host is: each call goes to the next of them.
    hosts: VecDeque<SocketAddr>,
    behaviour: Behaviour,
    sessions: Vec<Session>,
    /// What the host said of every token, with its status.
    words: Vec<(u16, Value)>,
    /// API sessions that the host ended.
    ended: Vec<String>,
    made: u64,
}

/// The stand-in, alive until it is dropped.
pub struct EpixelClient {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl EpixelClient {
    /// A service with accounts for these people, which calls its host with this key.
    pub async fn start(people: &[String], apikey: &str) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State {
            people: people.to_vec(),
            apikey: apikey.to_owned(),
            hosts: VecDeque::new(),
            behaviour: Behaviour::Documented,
            sessions: Vec::new(),
            words: Vec::new(),
            ended: Vec::new(),
            made: 0,
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let state = Arc::clone(&shared);
            async move { answer(&state, &request).await }
        });
        Ok(Self { server: server.await?, state })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Says where its host is.
    pub fn at(&self, host: SocketAddr) {
        self.at_each(&[host]);
    }

    /// Says where its host's replicas are: the first call goes to the first.
    pub fn at_each(&self, hosts: &[SocketAddr]) {
        locked(&self.state).hosts = hosts.iter().copied().collect();
    }

    pub fn behave(&self, behaviour: Behaviour) {
        locked(&self.state).behaviour = behaviour;
    }

    pub fn misbehave(&self, fault: Option<Fault>) {
        self.server.misbehave(fault);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// Whose sessions are open.
    pub fn users(&self) -> Vec<String> {
        locked(&self.state).sessions.iter().map(|session| session.user.clone()).collect()
    }

    /// The API sessions of the sessions that are open.
    pub fn api_sids(&self) -> Vec<String> {
        locked(&self.state).sessions.iter().map(|session| session.api_sid.clone()).collect()
    }

    /// What the host said of every token so far.
    pub fn words(&self) -> Vec<(u16, Value)> {
        locked(&self.state).words.clone()
    }

    /// API sessions that the host has ended here.
    pub fn ended(&self) -> Vec<String> {
        locked(&self.state).ended.clone()
    }

    /// Calls the host, with another key where one is given.
    pub async fn call(&self, path: &str, apikey: Option<&str>, body: &Value) -> (u16, Value) {
        call(&self.state, path, apikey, &[], body).await
    }

    /// Signs the person of this session out, here and at the host.
    pub async fn sign_out(&self, api_sid: &str) -> u16 {
        locked(&self.state).sessions.retain(|session| session.api_sid != api_sid);
        self.call("/api/v1/sso/logout/", None, &json!({ "api_sid": api_sid })).await.0
    }
}

/// Calls the host with the client's own key, or with this one.
async fn call(
    state: &Mutex<State>,
    path: &str,
    apikey: Option<&str>,
    more: &[(&str, &str)],
    body: &Value,
) -> (u16, Value) {
    let (host, own) = {
        let mut state = locked(state);
        let host = state.hosts.pop_front();
        state.hosts.extend(host);
        (host, state.apikey.clone())
    };
    let Some(host) = host else { return (0, Value::Null) };
    let body = body.to_string().into_bytes();
    let mut headers = vec![
        ("host".to_owned(), b"host.example.test".to_vec()),
        ("apikey".to_owned(), apikey.unwrap_or(&own).as_bytes().to_vec()),
        ("content-type".to_owned(), b"application/json".to_vec()),
        ("content-length".to_owned(), body.len().to_string().into_bytes()),
    ];
    headers.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())));
    let request = Request { method: "POST".to_owned(), target: path.to_owned(), headers, body };
    match forward(host, &request).await {
        Ok(reply) => (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null)),
        Err(_) => (0, Value::Null),
    }
}

async fn answer(state: &Arc<Mutex<State>>, request: &Request) -> Reply {
    match (request.method.as_str(), request.path()) {
        ("GET", "/sso/epixel/login") => log_in(state, request).await,
        ("POST", "/sso/epixel/logout") => log_out(&mut locked(state), request),
        ("GET", "/") => {
            let cookie = request.cookies().get("sessionid").cloned();
            let state = locked(state);
            match state.sessions.iter().find(|session| Some(&session.cookie) == cookie.as_ref()) {
                Some(session) => {
                    Reply::html(200, format!("<!doctype html><h1>Shop of {}</h1>", escaped(&session.user)))
                }
                None => Reply::new(302, "").with("Location", "/sign-in"),
            }
        }
        (_, "/" | "/sso/epixel/login" | "/sso/epixel/logout") => Reply::new(405, ""),
        _ => Reply::html(404, "<!doctype html><title>Not found</title>"),
    }
}

async fn log_in(state: &Arc<Mutex<State>>, request: &Request) -> Reply {
    let query = request.query();
    let [(name, token)] = query.as_slice() else { return Reply::new(400, "") };
    if name != "token" || token.is_empty() {
        return Reply::new(400, "");
    }
    let behaviour = locked(state).behaviour;
    if behaviour == Behaviour::AsksNobody {
        return locked(state).open("unknown", "somebody");
    }
    let verify =
        if behaviour == Behaviour::OtherSpelling { "/api/v1/sso/token-verify" } else { "/api/v1/sso/token-verify/" };
    let (status, word) = call(state, verify, None, &[], &json!({ "token": token })).await;
    locked(state).words.push((status, word.clone()));
    if behaviour == Behaviour::AsksTwice {
        let again = call(state, verify, None, &[], &json!({ "token": token })).await;
        locked(state).words.push(again);
    }
    if status != 200 {
        return Reply::new(401, "the host does not know this token");
    }
    let text = |name: &str| word.get(name).and_then(Value::as_str).map(str::to_owned);
    // All three are there, or it is no answer.
    let (Some(api_sid), Some(user), Some(_)) = (text("api_sid"), text("username"), text("access")) else {
        return Reply::new(502, "");
    };
    if !locked(state).people.contains(&user) {
        return Reply::new(403, "no such account");
    }
    let acknowledgement = json!({ "api_sid": api_sid, "status": "success" });
    match behaviour {
        Behaviour::NeverAcknowledges => {}
        Behaviour::FailsAfterAsking => return Reply::new(500, ""),
        Behaviour::EndsAtOnce => {
            call(state, "/api/v1/sso/logout/", None, &[], &json!({ "api_sid": api_sid })).await;
        }
        Behaviour::OtherSpelling => {
            let path = format!("/api/v1/sso/login-acknowledgement/{api_sid}/");
            call(state, &path, None, &[], &json!({})).await;
        }
        _ => {
            call(state, "/api/v1/sso/login-acknowledgement/", None, &[], &acknowledgement).await;
        }
    }
    if behaviour == Behaviour::NoCookie {
        return Reply::new(302, "").with("Location", "/");
    }
    locked(state).open(&api_sid, &user)
}

fn log_out(state: &mut State, request: &Request) -> Reply {
    if request.header("apikey") != Some(state.apikey.as_str()) {
        return Reply::json(401, &json!({ "error": "invalid_apikey" }));
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let Some(api_sid) = body.get("api_sid").and_then(Value::as_str) else { return Reply::new(400, "") };
    state.ended.push(api_sid.to_owned());
    let before = state.sessions.len();
    state.sessions.retain(|session| session.api_sid != api_sid);
    let status = if state.sessions.len() < before { 200 } else { 404 };
    Reply::json(status, &json!({}))
}

impl State {
    fn open(&mut self, api_sid: &str, user: &str) -> Reply {
        self.made += 1;
        let cookie = format!("{:032x}", self.made);
        let session = Session { cookie: cookie.clone(), api_sid: api_sid.to_owned(), user: user.to_owned() };
        self.sessions.push(session);
        let cookie = format!("sessionid={cookie}; Path=/; HttpOnly; SameSite=Lax");
        Reply::new(302, "").with("Location", "/").with("Set-Cookie", &cookie)
    }
}
