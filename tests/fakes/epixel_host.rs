//! A strict stand-in for the host of Epixel's single sign-on, as far as a client service meets it: it
//! verifies one-time tokens, takes acknowledgements, and ends sessions in both directions.
//!
//! Paths end in a slash and nothing else is known; a call without the key learns nothing; a token works
//! once.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::server::{Fault, Reply, Request, Server, forward, locked};

struct State {
    apikey: String,
    /// What is answered for a token that is still good.
    tokens: HashMap<String, Value>,
    acknowledged: Vec<String>,
    /// API sessions that the client has ended.
    ended: Vec<String>,
    /// How many calls of each kind fail before one is taken.
    failing: HashMap<&'static str, usize>,
    /// Answered instead to every verification.
    instead: Option<Reply>,
    /// Who the profile says the bearer of an access token is.
    profiles: HashMap<String, Value>,
    made: u64,
}

/// The stand-in, alive until it is dropped.
pub struct EpixelHost {
    server: Server,
    state: Arc<Mutex<State>>,
    /// Verifications wait here while somebody holds the only place.
    gate: Arc<Semaphore>,
}

impl EpixelHost {
    /// A host that knows one client service, by this key.
    pub async fn start(apikey: &str) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State {
            apikey: apikey.to_owned(),
            tokens: HashMap::new(),
            acknowledged: Vec::new(),
            ended: Vec::new(),
            failing: HashMap::new(),
            instead: None,
            profiles: HashMap::new(),
            made: 0,
        }));
        let gate = Arc::new(Semaphore::new(1));
        let (shared, door) = (Arc::clone(&state), Arc::clone(&gate));
        let server = Server::start(move |request| {
            let (state, door) = (Arc::clone(&shared), Arc::clone(&door));
            async move {
                let reply = locked(&state).answer(&request);
                if request.path().ends_with("token-verify/") {
                    // The token is used up by now; only the answer waits.
                    drop(door.acquire().await);
                }
                reply
            }
        });
        Ok(Self { server: server.await?, state, gate })
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

    /// A token for this person, and the API session it stands for.
    pub fn mint(&self, user: &str) -> (String, String) {
        let api_sid = format!("api-{:016x}", rand::random::<u64>());
        let token = self.mint_for(json!({ "api_sid": api_sid, "access": "opaque.access", "username": user }));
        (token, api_sid)
    }

    /// A token that is answered with this.
    pub fn mint_for(&self, answer: Value) -> String {
        let mut state = locked(&self.state);
        state.made += 1;
        let token = format!("T{}-{:016x}", state.made, rand::random::<u64>());
        state.tokens.insert(token.clone(), answer);
        token
    }

    /// What the profile says of whoever shows this access token.
    pub fn knows(&self, access: &str, profile: Value) {
        locked(&self.state).profiles.insert(access.to_owned(), profile);
    }

    /// Has the next so many calls of this kind (`token-verify/`, …) fail.
    pub fn fail(&self, call: &'static str, times: usize) {
        locked(&self.state).failing.insert(call, times);
    }

    /// Answers every verification so, whatever the token.
    pub fn say_instead(&self, reply: Option<Reply>) {
        locked(&self.state).instead = reply;
    }

    /// Holds the answers to verifications back until the result is dropped.
    pub async fn hold(&self) -> impl Drop + use<> {
        struct Held(#[expect(dead_code, reason = "it is held, not read")] tokio::sync::OwnedSemaphorePermit);
        impl Drop for Held {
            fn drop(&mut self) {}
        }
        Held(Arc::clone(&self.gate).acquire_owned().await.unwrap_or_else(|error| unreachable!("{error}")))
    }

    /// API sessions that the client says it has opened.
    pub fn acknowledged(&self) -> Vec<String> {
        locked(&self.state).acknowledged.clone()
    }

    /// API sessions that the client says have ended.
    pub fn ended(&self) -> Vec<String> {
        locked(&self.state).ended.clone()
    }

    /// Ends an API session, and tells the client at this address.
    pub async fn end(&self, client: SocketAddr, api_sid: &str, apikey: Option<&str>) -> u16 {
        let own = locked(&self.state).apikey.clone();
        let body = json!({ "api_sid": api_sid }).to_string().into_bytes();
        let headers = vec![
            ("host".to_owned(), b"mail.example.test".to_vec()),
            ("apikey".to_owned(), apikey.unwrap_or(&own).as_bytes().to_vec()),
            ("content-type".to_owned(), b"application/json".to_vec()),
            ("content-length".to_owned(), body.len().to_string().into_bytes()),
        ];
        let target = "/sso/epixel/logout".to_owned();
        let request = Request { method: "POST".to_owned(), target, headers, body };
        forward(client, &request).await.map_or(0, |reply| reply.status)
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Reply {
        let error = |status, word: &str| Reply::json(status, &json!({ "error": word, "message": "no" }));
        if request.header("apikey") != Some(self.apikey.as_str()) {
            return error(401, "invalid_apikey");
        }
        if (request.method.as_str(), request.path()) == ("GET", "/api/v1/user/profile/") {
            let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
            let profile = bearer.and_then(|bearer| self.profiles.get(bearer));
            return profile.map_or_else(|| error(401, "not_authenticated"), |profile| Reply::json(200, profile));
        }
        let Some(call) = request.path().strip_prefix("/api/v1/sso/").filter(|_| request.method == "POST") else {
            return error(404, "unknown_address");
        };
        if let Some(left) = self.failing.get_mut(call).filter(|left| **left > 0) {
            *left -= 1;
            return Reply::new(500, "");
        }
        if let (Some(instead), "token-verify/") = (&self.instead, call) {
            return instead.clone();
        }
        let Some(body) = body(request) else { return error(400, "invalid_request") };
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        match (call, text("token"), text("api_sid")) {
            ("token-verify/", Some(token), _) => match self.tokens.remove(&token) {
                Some(answer) => Reply::json(200, &answer),
                None => error(401, "invalid_token"),
            },
            ("login-acknowledgement/", _, Some(api_sid)) if text("status").as_deref() == Some("success") => {
                if self.ended.contains(&api_sid) {
                    return error(404, "unknown_session");
                }
                self.acknowledged.push(api_sid);
                Reply::json(200, &json!({}))
            }
            ("logout/", _, Some(api_sid)) => {
                self.ended.push(api_sid);
                Reply::json(200, &json!({}))
            }
            _ => error(400, "invalid_request"),
        }
    }
}

/// JSON or a form, as its header says.
fn body(request: &Request) -> Option<Value> {
    match request.header("content-type")? {
        "application/json" => serde_json::from_slice(&request.body).ok(),
        "application/x-www-form-urlencoded" => {
            let fields = url::form_urlencoded::parse(&request.body).into_owned();
            Some(Value::Object(fields.map(|(name, value)| (name, Value::from(value))).collect()))
        }
        _ => None,
    }
}
