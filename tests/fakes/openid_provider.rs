//! A strict stand-in for an OpenID provider, as far as a relying party meets it, that misbehaves on command.
//!
//! It keeps to OpenID Connect Core 1.0, Discovery 1.0, RP-Initiated Logout 1.0, Back-Channel Logout 1.0,
//! RFC 6749, RFC 7636 (S256 only) and RFC 9207: whatever a request lacks, has twice or gets wrong is refused
//! as the standard says it.

mod endpoints;
mod signing;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

pub use self::signing::SigningKey;
use super::server::{Fault, Reply, Request, Server, locked};

pub const CLIENT: &str = "keyward";
pub const SECRET: &str = "a secret: with & signs +";

/// Changes something on its way out.
pub type Twist = Arc<dyn Fn(&mut Value) + Send + Sync>;

type Hears = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// A code that was given and not changed for tokens yet.
struct Code {
    user: String,
    sid: String,
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

struct State {
    issuer: String,
    keys: Vec<SigningKey>,
    /// Whose browser it is that comes.
    person: String,
    /// What is known of people.
    claims: HashMap<String, Value>,
    redirect_uris: Vec<String>,
    after_logout: Vec<String>,
    /// Whether the client has a secret.
    confidential: bool,
    codes: HashMap<String, Code>,
    used_codes: HashMap<String, String>,
    /// Refresh tokens, each good once: the user and the session.
    refreshes: HashMap<String, (String, String)>,
    /// Those that were used, of which sessions, and how often one came again.
    spent: HashMap<String, String>,
    spent_again: usize,
    /// Sessions that live, by `sid`.
    sessions: HashMap<String, String>,
    access_lifetime: u64,
    refresh_lifetime: Option<u64>,
    opaque_access: bool,
    id_token_at_refresh: bool,
    discovery: Option<Twist>,
    id_header: Option<Twist>,
    id_claims: Option<Twist>,
    access_claims: Option<Twist>,
    /// Hears of each access token, and whose it is.
    hears_of_access: Option<Hears>,
    /// Stands for the keys that are published.
    keys_instead: Option<Value>,
    answer_to_authorize: Option<String>,
    /// Stands for every answer of the token endpoint.
    tokens_instead: Option<Reply>,
    userinfo: Option<Twist>,
    made: u64,
}

/// The stand-in, alive until it is dropped.
pub struct OpenIdProvider {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl OpenIdProvider {
    /// With one confidential client that may be at these origins, under the portal's name `id`.
    pub async fn start(origins: &[&str]) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State {
            issuer: String::new(),
            keys: vec![SigningKey::rsa("first")],
            person: "ana".to_owned(),
            claims: HashMap::new(),
            redirect_uris: origins.iter().map(|origin| format!("{origin}/.keyward/callback/id")).collect(),
            after_logout: origins.iter().map(|origin| format!("{origin}/.keyward/signed-out/id")).collect(),
            confidential: true,
            codes: HashMap::new(),
            used_codes: HashMap::new(),
            refreshes: HashMap::new(),
            spent: HashMap::new(),
            spent_again: 0,
            sessions: HashMap::new(),
            access_lifetime: 300,
            refresh_lifetime: Some(1800),
            opaque_access: false,
            id_token_at_refresh: true,
            discovery: None,
            id_header: None,
            id_claims: None,
            access_claims: None,
            hears_of_access: None,
            keys_instead: None,
            answer_to_authorize: None,
            tokens_instead: None,
            userinfo: None,
            made: 0,
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let reply = locked(&shared).answer(&request);
            async move { reply }
        })
        .await?;
        locked(&state).issuer = format!("{}/realms/mail", server.url());
        Ok(Self { server, state })
    }

    pub fn issuer(&self) -> String {
        locked(&self.state).issuer.clone()
    }

    pub fn misbehave(&self, fault: Option<Fault>) {
        self.server.misbehave(fault);
    }

    /// How often something was asked whose path ends so.
    pub fn asked(&self, path: &str) -> usize {
        self.server.requests().iter().filter(|request| request.path().ends_with(path)).count()
    }

    /// Everything that was asked so far, but by browsers.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// Whose browser it is that comes from now on.
    pub fn signs_in(&self, user: &str) {
        user.clone_into(&mut locked(&self.state).person);
    }

    /// What is said of somebody beside their name.
    pub fn knows(&self, user: &str, claims: Value) {
        locked(&self.state).claims.insert(user.to_owned(), claims);
    }

    pub fn allows_after_logout(&self, address: &str) {
        locked(&self.state).after_logout.push(address.to_owned());
    }

    pub fn is_public(&self) {
        locked(&self.state).confidential = false;
    }

    /// How long tokens last, in seconds.
    pub fn lifetimes(&self, access: u64, refresh: Option<u64>) {
        let mut state = locked(&self.state);
        (state.access_lifetime, state.refresh_lifetime) = (access, refresh);
    }

    pub fn gives_opaque_access_tokens(&self) {
        locked(&self.state).opaque_access = true;
    }

    pub fn gives_no_id_token_at_refresh(&self) {
        locked(&self.state).id_token_at_refresh = false;
    }

    pub fn twist_discovery(&self, twist: impl Fn(&mut Value) + Send + Sync + 'static) {
        locked(&self.state).discovery = Some(Arc::new(twist));
    }

    pub fn twist_id_header(&self, twist: impl Fn(&mut Value) + Send + Sync + 'static) {
        locked(&self.state).id_header = Some(Arc::new(twist));
    }

    pub fn twist_id_claims(&self, twist: impl Fn(&mut Value) + Send + Sync + 'static) {
        locked(&self.state).id_claims = Some(Arc::new(twist));
    }

    /// Of those that sign-ins and refreshes give.
    pub fn twist_access_claims(&self, twist: impl Fn(&mut Value) + Send + Sync + 'static) {
        locked(&self.state).access_claims = Some(Arc::new(twist));
    }

    /// Tells of each access token, and whose it is, before anybody has it.
    pub fn tells_of_access_tokens(&self, hears: impl Fn(&str, &str) + Send + Sync + 'static) {
        locked(&self.state).hears_of_access = Some(Arc::new(hears));
    }

    pub fn twist_userinfo(&self, twist: impl Fn(&mut Value) + Send + Sync + 'static) {
        locked(&self.state).userinfo = Some(Arc::new(twist));
    }

    pub fn behaves(&self) {
        let mut state = locked(&self.state);
        (state.discovery, state.id_header, state.id_claims, state.userinfo) = (None, None, None, None);
        (state.answer_to_authorize, state.tokens_instead, state.access_claims) = (None, None, None);
    }

    /// Answers every sign-in with this query in place of a code.
    pub fn answers_authorize(&self, query: Option<&str>) {
        locked(&self.state).answer_to_authorize = query.map(str::to_owned);
    }

    pub fn answers_token(&self, reply: Option<Reply>) {
        locked(&self.state).tokens_instead = reply;
    }

    /// Publishes this in place of its keys.
    pub fn publishes(&self, keys: Option<Value>) {
        locked(&self.state).keys_instead = keys;
    }

    /// Signs with a key of its own from now on. The one before is published no more.
    pub fn rotate(&self, key: SigningKey) {
        locked(&self.state).keys = vec![key];
    }

    /// The key that signs.
    pub fn key(&self) -> SigningKey {
        locked(&self.state).keys[0].clone()
    }

    /// The only session that lives.
    pub fn sid(&self) -> String {
        let state = locked(&self.state);
        assert_eq!(state.sessions.len(), 1, "one session");
        state.sessions.keys().next().cloned().unwrap_or_default()
    }

    /// How many sessions live.
    pub fn sessions(&self) -> usize {
        locked(&self.state).sessions.len()
    }

    /// How often a refresh token came that had been used. Each time its session ended.
    pub fn used_twice(&self) -> usize {
        locked(&self.state).spent_again
    }

    /// Ends a session, so that its refresh token is not good any more.
    pub fn ends(&self, sid: &str) {
        locked(&self.state).sessions.remove(sid);
    }

    /// Follows a link to the provider, as a browser does: where it is sent on to.
    pub fn visit(&self, address: &str) -> Result<String, String> {
        let path = address.strip_prefix(&self.server.url()).ok_or(format!("not here: {address}"))?;
        let request =
            Request { method: "GET".to_owned(), target: path.to_owned(), headers: Vec::new(), body: Vec::new() };
        let reply = locked(&self.state).answer(&request);
        let location = reply.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("location"));
        match location {
            Some((_, location)) if reply.status == 303 => Ok(location.clone()),
            _ => Err(format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body))),
        }
    }

    /// The claims of a good logout token for this session, or this person, or both.
    pub fn logout_claims(&self, user: Option<&str>, sid: Option<&str>) -> Value {
        let mut state = locked(&self.state);
        state.made += 1;
        let now = now();
        let mut claims = json!({
            "iss": state.issuer, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": format!("logout-{}", state.made),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        if let Some(user) = user {
            claims["sub"] = json!(subject(user));
        }
        if let Some(sid) = sid {
            claims["sid"] = json!(sid);
        }
        claims
    }

    /// The claims of a good access token for an API.
    pub fn access_claims(&self, user: &str, audience: &str) -> Value {
        let mut state = locked(&self.state);
        state.made += 1;
        let mut claims = state.access_claims(user, "api-session");
        claims["aud"] = json!(audience);
        claims
    }
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// The provider's own name for a person.
pub fn subject(user: &str) -> String {
    format!("f81d4fae-{user}")
}
