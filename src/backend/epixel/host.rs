//! What the host offers: to browsers the way to a client service, to servers the rest.

use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::Epixel;
use super::ledger::{Guest, Way};
use crate::domain::{Answered, ApiKey, Call, Desk, Person, Reach, Reply, Service, Unclear};

impl Service for Epixel {
    fn takes(&self, reach: Reach, method: &str, path: &str) -> bool {
        match reach {
            Reach::Browsers => method == "PUT" && bare(path) == self.settings.paths.browser_request,
            Reach::Servers => method == "POST" && self.server_call(path).is_some(),
        }
    }

    fn answer<'a>(&'a self, call: &'a Call<'a>, desk: &'a dyn Desk) -> BoxFuture<'a, Answered> {
        match call.reach {
            Reach::Browsers => Box::pin(self.browser_request(call, desk)),
            Reach::Servers => Box::pin(self.server(call, desk)),
        }
    }
}

/// Which of the calls of servers it is.
enum ServerCall<'a> {
    ServiceRequest,
    TokenVerify,
    /// The API session may stand at the path's end.
    Acknowledgement(Option<&'a str>),
    Logout,
}

/// Why a call is not served, with its status, its word, and a sentence for whoever debugs a client.
struct Problem(u16, &'static str, &'static str);

const INVALID_KEY: Problem = Problem(401, "invalid_apikey", "the header apikey is missing, or not known here");
const INVALID_REQUEST: Problem = Problem(400, "invalid_request", "the body must be JSON with the members wanted");
const NOT_AUTHENTICATED: Problem = Problem(401, "not_authenticated", "there is no live session of this caller");
const UNKNOWN_SERVICE: Problem = Problem(404, "unknown_service", "there is no such service");
const FORBIDDEN_SERVICE: Problem = Problem(403, "forbidden_service", "this service is not for this caller");
const CROSS_SITE: Problem = Problem(403, "cross_site", "a page of another origin asked");
/// One answer for unknown, used, expired and another client's: whoever tries learns nothing.
const INVALID_TOKEN: Problem = Problem(401, "invalid_token", "the token is not good");
const UNKNOWN_SESSION: Problem = Problem(404, "unknown_session", "there is no such API session");
const UNAVAILABLE: Problem = Problem(503, "unavailable", "try again later; nobody is signed in by this answer");

impl Problem {
    fn reply(self) -> Reply {
        let Self(status, error, message) = self;
        let reply = Reply::json(status, &json!({ "error": error, "message": message }));
        if status == 503 { reply.header("retry-after", "5".to_owned()) } else { reply }
    }

    fn here(self) -> Answered {
        Answered::Here(self.reply())
    }
}

impl Epixel {
    fn server_call<'a>(&self, path: &'a str) -> Option<ServerCall<'a>> {
        let (path, paths) = (bare(path), &self.settings.paths);
        if let Some(rest) = path.strip_prefix(&paths.acknowledgement) {
            let api_sid = rest.strip_prefix('/').filter(|api_sid| !api_sid.contains('/'));
            return (rest.is_empty() || api_sid.is_some()).then_some(ServerCall::Acknowledgement(api_sid));
        }
        let calls = [
            (&paths.service_request, ServerCall::ServiceRequest),
            (&paths.token_verify, ServerCall::TokenVerify),
            (&paths.logout, ServerCall::Logout),
        ];
        calls.into_iter().find(|(known, _)| path == *known).map(|(_, call)| call)
    }

    async fn browser_request(&self, call: &Call<'_>, desk: &dyn Desk) -> Answered {
        if !is_same_origin(call) {
            return CROSS_SITE.here();
        }
        let person = match desk.person(call).await {
            Ok(Some(person)) => person,
            Ok(None) => return NOT_AUTHENTICATED.here(),
            Err(Unclear) => return UNAVAILABLE.here(),
        };
        let Some(body) = object(call.body) else { return INVALID_REQUEST.here() };
        match self.settings.names.service.text(&body) {
            None => INVALID_REQUEST.here(),
            Some(service) if service != self.settings.service => Answered::Elsewhere(UNKNOWN_SERVICE.reply()),
            Some(_) => Answered::Here(self.login_url(person, desk).await),
        }
    }

    async fn server(&self, call: &Call<'_>, desk: &dyn Desk) -> Answered {
        let known = call.browser.header("apikey").and_then(|key| ApiKey::find(&self.settings.keys, key)).is_some();
        let (Some(what), body) = (self.server_call(call.path), object(call.body)) else {
            return INVALID_REQUEST.here();
        };
        if !known {
            return self.strangers_call(&what, body.as_ref(), call.vouched, desk).await;
        }
        let body = match body {
            Some(body) => body,
            None if matches!(what, ServerCall::Acknowledgement(Some(_))) => json!({}),
            None => return INVALID_REQUEST.here(),
        };
        match what {
            ServerCall::ServiceRequest => self.service_request(call, &body, desk).await,
            ServerCall::TokenVerify => self.token_verify(&body).await,
            ServerCall::Acknowledgement(in_path) => self.acknowledgement(in_path, &body).await.here(),
            ServerCall::Logout => self.logout_by_client(&body, desk).await,
        }
    }

    /// The caller is another client: of the same host, or of none.
    async fn strangers_call(
        &self,
        what: &ServerCall<'_>,
        body: Option<&Value>,
        vouched: Option<&Person>,
        desk: &dyn Desk,
    ) -> Answered {
        let names = &self.settings.names;
        match (what, body) {
            // It has been seen by somebody it is not for.
            (ServerCall::TokenVerify, Some(body)) => {
                if let Some(token) = names.token.text(body) {
                    self.ledger.burn(token).await;
                }
            }
            (ServerCall::ServiceRequest, Some(body)) => {
                let is_ours = names.service.text(body).is_some_and(|service| service == self.settings.service);
                if let Some(person) = vouched.filter(|_| is_ours) {
                    return Answered::Here(self.login_url(person.clone(), desk).await);
                }
            }
            _ => {}
        }
        Answered::Elsewhere(INVALID_KEY.reply())
    }

    async fn service_request(&self, call: &Call<'_>, body: &Value, desk: &dyn Desk) -> Answered {
        let Some(service) = self.settings.names.service.text(body) else { return INVALID_REQUEST.here() };
        let person = match self.spoken_for(call, body, desk).await {
            Ok(Some(person)) => person,
            Ok(None) => return NOT_AUTHENTICATED.here(),
            Err(Unclear) => return UNAVAILABLE.here(),
        };
        if service == self.settings.service {
            return Answered::Here(self.login_url(person, desk).await);
        }
        Answered::Vouched { person: Some(person), reply: UNKNOWN_SERVICE.reply() }
    }

    /// For whom a client speaks: it shows the API session, or an access token of ours, or both alike.
    async fn spoken_for(&self, call: &Call<'_>, body: &Value, desk: &dyn Desk) -> Result<Option<Person>, Unclear> {
        let Some(api_sid) = self.session_shown(call, body) else { return Ok(None) };
        match self.ledger.guest(&api_sid).await {
            Ok(Some(guest)) => desk.as_now(&guest.person).await,
            Ok(None) => Ok(None),
            Err(_) => Err(Unclear),
        }
    }

    fn session_shown(&self, call: &Call<'_>, body: &Value) -> Option<String> {
        let shown = match self.settings.names.api_sid.find(body) {
            Some(api_sid) => Some(api_sid.as_str()?),
            None => None,
        };
        let bearer = match call.browser.header("authorization") {
            Some(value) => Some(self.access_token_session(value)?),
            None => None,
        };
        match (shown, bearer) {
            (Some(shown), Some(bearer)) if shown != bearer => None,
            (shown, bearer) => shown.map(str::to_owned).or(bearer),
        }
    }

    /// The API session that an access token of ours is of, while the token is good.
    fn access_token_session(&self, authorization: &str) -> Option<String> {
        let (scheme, token) = authorization.split_once(' ')?;
        let claims = self.access.verify(token.trim())?;
        let good = scheme.eq_ignore_ascii_case("bearer") && claims.get("exp")?.as_u64()? > self.clock().unix();
        good.then(|| claims.get("sid")?.as_str().map(str::to_owned)).flatten()
    }

    async fn login_url(&self, person: Person, desk: &dyn Desk) -> Reply {
        let Some(known_as) = desk.known_as(&person, &self.settings.backend) else { return FORBIDDEN_SERVICE.reply() };
        match self.ledger.mint(Guest { person, known_as }, Way::Browser).await {
            Ok(minted) => {
                let url = self.with_token(&self.settings.login_url, &minted.token);
                Reply::json(200, &single(self.settings.names.url.first(), url.into()))
            }
            Err(_) => UNAVAILABLE.reply(),
        }
    }

    async fn token_verify(&self, body: &Value) -> Answered {
        let names = &self.settings.names;
        let Some(token) = names.token.text(body) else { return INVALID_REQUEST.here() };
        // Others may know it, and are to make it worthless.
        let unless_others = |problem: Problem| Answered::Vouched { person: None, reply: problem.reply() };
        let (api_sid, guest) = match self.ledger.redeem(token).await {
            Ok(Some(redeemed)) => redeemed,
            Ok(None) => return unless_others(INVALID_TOKEN),
            Err(_) => return unless_others(UNAVAILABLE),
        };
        let login = guest.known_as.login.as_str();
        tracing::info!(backend = self.settings.backend, login, "a client service took up a one-time token");
        let left = guest.person.expires.saturating_sub(self.clock().unix());
        let mut body = Map::new();
        body.insert(names.api_sid.first().to_owned(), Value::from(&*api_sid));
        body.insert(names.access.first().to_owned(), Value::from(self.access_token(&api_sid, &guest)));
        body.insert(names.username.first().to_owned(), Value::from(login));
        body.insert(names.expires_in.first().to_owned(), Value::from(left));
        Answered::Here(Reply::json(200, &Value::Object(body)))
    }

    /// Who it is, signed. It is short-lived, and never longer than the portal's session.
    fn access_token(&self, api_sid: &str, guest: &Guest) -> String {
        let now = self.clock().unix();
        let (names, identity) = (&self.settings.claims, &guest.person.identity);
        let exp = (now + self.settings.access_lifetime.as_secs()).min(guest.person.expires);
        let mut claims = Map::new();
        for (name, value) in [
            (&names.user, Value::from(identity.user())),
            (&names.login, Value::from(guest.known_as.login.as_str())),
            (&names.name, Value::from(identity.name())),
            (&names.email, Value::from(identity.email())),
            (&names.roles, Value::from(guest.known_as.roles.clone())),
        ] {
            if !name.is_empty() {
                claims.insert(name.clone(), value);
            }
        }
        let jti = format!("{:032x}", rand::random::<u128>());
        let service = self.settings.service.as_str();
        for (name, value) in [
            ("token_type", Value::from("access")),
            ("aud", Value::from(service)),
            ("iat", Value::from(now)),
            ("exp", Value::from(exp)),
            ("jti", Value::from(jti)),
            ("sid", Value::from(api_sid)),
        ] {
            claims.insert(name.to_owned(), value);
        }
        self.access.sign(&Value::Object(claims))
    }

    async fn acknowledgement(&self, in_path: Option<&str>, body: &Value) -> Outcome {
        let names = &self.settings.names;
        let Some(api_sid) = in_path.or_else(|| names.api_sid.text(body)) else { return Err(INVALID_REQUEST) };
        if names.status.find(body).is_some_and(|status| status.as_str() != Some("success")) {
            return Err(INVALID_REQUEST);
        }
        match self.ledger.acknowledge(api_sid).await {
            Ok(true) => Ok(done()),
            Ok(false) => Err(UNKNOWN_SESSION),
            Err(_) => Err(UNAVAILABLE),
        }
    }

    /// Ends the portal session, and with it everything that was opened from it. Also a success where
    /// there is nothing to end.
    async fn logout_by_client(&self, body: &Value, desk: &dyn Desk) -> Answered {
        let Some(api_sid) = self.settings.names.api_sid.text(body) else { return INVALID_REQUEST.here() };
        match self.ledger.end_by_client(api_sid).await {
            Ok(Some(session)) => desk.sign_out(&session),
            Ok(None) => {}
            Err(_) => return UNAVAILABLE.here(),
        }
        Answered::Here(done())
    }
}

type Outcome = Result<Reply, Problem>;

trait Settled {
    fn here(self) -> Answered;
}

impl Settled for Outcome {
    fn here(self) -> Answered {
        Answered::Here(self.unwrap_or_else(Problem::reply))
    }
}

fn done() -> Reply {
    Reply::json(200, &json!({ "status": "success" }))
}

fn single(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

fn object(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok().filter(Value::is_object)
}

/// Every template ends in a slash (documented), and not every client keeps it.
fn bare(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// A browser that asks by PUT says where its page is from. One that does not say is not believed.
fn is_same_origin(call: &Call<'_>) -> bool {
    match (call.browser.header("sec-fetch-site"), call.browser.header("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => !call.origin.is_empty() && origin == call.origin,
        (None, None) => false,
    }
}
