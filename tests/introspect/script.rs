//! A portal that says what it is told to say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::fakes::server::{Fault, Reply, Request, Server, locked};

/// The cookie of its people.
pub const COOKIE: &str = "PHPSESSID";
/// By which it knows Keyward.
pub const SECRET: &str = "introspection-secret-7f3a";

#[derive(Default)]
struct State {
    /// Cookie to what is said of it.
    sessions: HashMap<String, Value>,
}

/// The portal, alive until it is dropped.
pub struct Script {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Script {
    pub async fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let reply = answer(&mut locked(&shared), &request);
            async move { reply }
        });
        Self { server: server.await.unwrap(), state }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// From now on this is said of the cookie.
    pub fn says(&self, cookie: &str, answer: Value) {
        locked(&self.state).sessions.insert(cookie.to_owned(), answer);
    }

    /// Somebody signs in.
    pub fn signs_in(&self, cookie: &str, user: &str) {
        self.says(cookie, json!({"active": true, "username": user}));
    }

    /// Somebody signs out.
    pub fn signs_out(&self, cookie: &str) {
        locked(&self.state).sessions.remove(cookie);
    }

    pub fn misbehave(&self, fault: Option<Fault>) {
        self.server.misbehave(fault);
    }

    /// Says this, whoever is asked about.
    pub fn always(&self, reply: Reply) {
        self.misbehave(Some(Fault::Instead(reply)));
    }

    /// The questions that came so far.
    pub fn questions(&self) -> Vec<Request> {
        self.server.requests().into_iter().filter(|request| request.path() == "/who").collect()
    }

    pub fn asked(&self) -> usize {
        self.questions().len()
    }

    /// Where else something was asked.
    pub fn elsewhere(&self) -> Vec<String> {
        let all = self.server.requests().into_iter();
        all.map(|request| request.target).filter(|target| target != "/who").collect()
    }

    /// The cookies for which it was told that somebody signed out.
    pub fn told_of(&self) -> Vec<String> {
        let told = self.server.requests().into_iter().filter(|request| request.path() == "/out");
        told.map(|request| request.cookies().remove(COOKIE).unwrap_or_default()).collect()
    }
}

fn answer(state: &mut State, request: &Request) -> Reply {
    if request.header("authorization") != Some(&format!("Bearer {SECRET}")) {
        return Reply::new(403, "who asks?");
    }
    let cookie = shown(request);
    match request.path() {
        "/who" => match state.sessions.get(&cookie) {
            Some(answer) => Reply::json(200, answer),
            None => Reply::json(200, &json!({"active": false})),
        },
        "/out" => {
            state.sessions.remove(&cookie);
            Reply::new(204, "")
        }
        _ => Reply::new(404, ""),
    }
}

/// What a portal takes for the session: the one cookie, or what the body holds in its place.
fn shown(request: &Request) -> String {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    if let Ok(Value::Object(members)) = serde_json::from_str(&body) {
        assert_eq!(members.len(), 1, "{body}");
        return members[COOKIE].as_str().unwrap().to_owned();
    }
    if !body.is_empty() {
        let fields: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        assert_eq!((fields.len(), fields[0].0.as_str()), (1, COOKIE), "{body}");
        return fields[0].1.clone();
    }
    let lines: Vec<_> = request.headers.iter().filter(|(name, _)| name == "cookie").collect();
    let [(_, line)] = lines.as_slice() else { panic!("one cookie line: {request:?}") };
    let line = String::from_utf8(line.clone()).unwrap();
    assert!(!line.contains(';'), "one cookie: {line}");
    line.strip_prefix(&format!("{COOKIE}=")).unwrap().to_owned()
}
