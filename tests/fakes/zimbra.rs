//! A strict stand-in for Zimbra's preauth, made from its document and the source of its servlets.
//!
//! It proves every message itself, with its own clock, takes nothing but the documented method, names
//! and numbers, and sends accounts of another server there.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;

use super::server::{Fault, Reply, Request, Server, locked};

/// As long as those that Zimbra makes.
pub const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

struct State {
    people: Vec<String>,
    /// Token and account.
    sessions: Vec<(String, String)>,
    /// Where accounts live that are not here.
    home: Option<String>,
    /// By how many seconds its clock is ahead of everybody's.
    ahead: u64,
    /// What it says instead of the sentences that are known.
    sentence: Option<String>,
    made: u64,
}

/// The stand-in, alive until it is dropped.
pub struct Zimbra {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Zimbra {
    /// Starts with these accounts, on a port that the system chooses.
    pub async fn start(people: Vec<String>) -> io::Result<Self> {
        let (sessions, home, sentence) = (Vec::new(), None, None);
        let state = Arc::new(Mutex::new(State { people, sessions, home, ahead: 0, sentence, made: 0 }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let reply = locked(&shared).answer(&request);
            async move { reply }
        });
        Ok(Self { server: server.await?, state })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn misbehave(&self, fault: Option<Fault>) {
        self.server.misbehave(fault);
    }

    /// Everything that was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// Sends every account to the server at this address.
    pub fn send_on_to(&self, home: &str) {
        locked(&self.state).home = Some(home.to_owned());
    }

    /// Sets its clock.
    pub fn set_ahead(&self, seconds: u64) {
        locked(&self.state).ahead = seconds;
    }

    /// Has it say this whenever it answers 400.
    pub fn say(&self, sentence: &str) {
        locked(&self.state).sentence = Some(sentence.to_owned());
    }
}

impl State {
    #[expect(clippy::disallowed_methods, reason = "the stand-in has a clock of its own, as the real server has")]
    fn now(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.as_secs() + self.ahead
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let reply = match (request.method.as_str(), request.path()) {
            ("GET", "/service/preauth") => self.preauth(request),
            (_, "/service/preauth") => Reply::html(405, "<title>Error 405</title>"),
            ("POST", "/service/soap/NoOpRequest" | "/service/soap/EndSessionRequest") => self.soap(request),
            ("GET", "/zimbra") => self.mailbox(request),
            _ => Reply::html(404, "<title>Error 404</title>"),
        };
        let date = UNIX_EPOCH + Duration::from_secs(self.now());
        reply.with("Date", &httpdate::fmt_http_date(date))
    }

    fn preauth(&mut self, request: &Request) -> Reply {
        match self.try_preauth(&request.query()) {
            Ok(reply) => reply,
            Err(sentence) => {
                let sentence = self.sentence.clone().unwrap_or(sentence);
                Reply::html(400, format!("<title>Error 400 {sentence}</title><h2>HTTP ERROR: 400</h2>"))
            }
        }
    }

    fn try_preauth(&mut self, query: &[(String, String)]) -> Result<Reply, String> {
        let value = |name: &str| {
            let mut values = query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
            match (values.next(), values.next()) {
                (Some(value), None) => Ok(value),
                _ => Err(format!("invalid request: missing required param: {name}")),
            }
        };
        let (proof, account) = (value("preauth")?, value("account")?);
        let by = if query.iter().any(|(key, _)| key == "by") { value("by")? } else { "name" };
        let number = |name| value(name)?.parse::<u64>().map_err(|_| format!("no number: {name}"));
        let (timestamp, expires) = (number("timestamp")?, number("expires")?);
        let failed = || format!("authentication failed for [{account}]");
        if by != "name" || !self.people.iter().any(|person| person == account) {
            return Err(failed());
        }
        if let Some(home) = &self.home
            && !query.iter().any(|(key, value)| key == "isredirect" && value == "1")
        {
            let mut target = url::Url::parse(home).map_err(|_| "no address".to_owned())?;
            target.set_path("/service/preauth");
            target.query_pairs_mut().append_pair("isredirect", "1").extend_pairs(query);
            return Ok(Reply::new(302, "").with("Location", target.as_str()));
        }
        let right = Hmac::<Sha1>::new_from_slice(KEY.as_bytes()).map(|mut mac| {
            mac.update(format!("{account}|{by}|{expires}|{timestamp}").as_bytes());
            mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        });
        let on_time = timestamp.abs_diff(self.now() * 1000) <= 5 * 60 * 1000;
        let lives = expires == 0 || expires > self.now() * 1000;
        if right.as_deref() != Ok(proof) || !on_time || !lives {
            return Err(failed());
        }
        self.made += 1;
        let token = format!("0_{:040x}_69643d33363a{:08x}", self.made * 7919, self.made);
        self.sessions.push((token.clone(), account.to_owned()));
        let cookie = format!("ZM_AUTH_TOKEN={token};Path=/;HttpOnly");
        Ok(Reply::new(302, "").with("Set-Cookie", &cookie).with("Location", "/zimbra"))
    }

    fn session_of(&self, request: &Request) -> Option<usize> {
        let token = request.cookies().remove("ZM_AUTH_TOKEN")?;
        self.sessions.iter().position(|(held, _)| *held == token)
    }

    fn soap(&mut self, request: &Request) -> Reply {
        let fault = |code: &str| {
            let error = json!({ "Code": code, "_jsns": "urn:zimbra" });
            let fault = json!({ "Reason": { "Text": code }, "Detail": { "Error": error } });
            Reply::json(500, &json!({ "Header": {}, "Body": { "Fault": fault }, "_jsns": "urn:zimbraSoap" }))
        };
        let envelope: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let name = request.path().rsplit('/').next().unwrap_or_default();
        let document = envelope.pointer(&format!("/Body/{name}/_jsns")).and_then(Value::as_str);
        match (name, document) {
            ("NoOpRequest", Some("urn:zimbraMail")) | ("EndSessionRequest", Some("urn:zimbraAccount")) => {}
            _ => return fault("service.UNKNOWN_DOCUMENT"),
        }
        if !request.cookies().contains_key("ZM_AUTH_TOKEN") {
            return fault("service.AUTH_REQUIRED");
        }
        let Some(session) = self.session_of(request) else { return fault("service.AUTH_EXPIRED") };
        let logs_off = envelope.pointer("/Body/EndSessionRequest/logoff") == Some(&Value::Bool(true));
        if logs_off {
            self.sessions.remove(session);
        }
        let response = name.replace("Request", "Response");
        Reply::json(200, &json!({ "Header": {}, "Body": { response: {} }, "_jsns": "urn:zimbraSoap" }))
    }

    fn mailbox(&self, request: &Request) -> Reply {
        let page = |body: &str| Reply::html(200, format!("<!doctype html><meta charset=\"utf-8\">{body}"));
        match self.session_of(request) {
            Some(index) => page(&format!("<h1>{}</h1>", super::axigen::escaped(&self.sessions[index].1))),
            None => page("<form><input name=\"username\"><input type=\"password\" name=\"password\"></form>"),
        }
    }
}
