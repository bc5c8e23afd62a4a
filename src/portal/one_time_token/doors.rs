//! What this kind offers: to browsers the way in, to the host the way to end a session.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::OneTimeToken;
use super::arrivals::{Arrival, Pending, random};
use super::host::Word;
use super::pages;
use crate::domain::{Answered, ApiKey, Call, Desk, Identity, IdentityError, Outage, Reach, Reply, Service};
use crate::domain::{SessionHandle, UnixSeconds};
use crate::pages::Language;
use crate::portal::cookie_line::cookie_line;
use crate::portal::place::place_on;
use crate::portal::{HeldSession, Verifier};
use crate::wire::Try;

/// Longest token, in bytes.
const LONGEST_TOKEN: usize = 4096;
/// The parameter under which an arrival that was put aside comes back.
const CONTINUE: &str = "continue";

/// What a browser brings to the login address.
enum Brought {
    Token(String),
    Continue(String),
    Nothing,
}

impl Service for OneTimeToken {
    fn takes(&self, reach: Reach, method: &str, path: &str) -> bool {
        let is = |known: &str| bare(path) == bare(known);
        match reach {
            // No HEAD: whoever looks ahead must not use up a token.
            Reach::Browsers if is(&self.settings.login_path) => matches!(method, "GET" | "POST"),
            Reach::Browsers => self.settings.logout_from_outside && method == "POST" && is(&self.settings.logout_path),
            Reach::Servers => method == "POST" && is(&self.settings.logout_path),
        }
    }

    fn answer<'a>(&'a self, call: &'a Call<'a>, desk: &'a dyn Desk) -> BoxFuture<'a, Answered> {
        Box::pin(async move {
            if bare(call.path) == bare(&self.settings.login_path) && call.reach == Reach::Browsers {
                return Answered::Here(self.arrive(call, desk).await);
            }
            self.logout_by_host(call, desk).await
        })
    }
}

impl OneTimeToken {
    fn language(&self, call: &Call<'_>) -> &Language {
        self.pages.speaking(&call.browser.client().accept_language)
    }

    async fn arrive(&self, call: &Call<'_>, desk: &dyn Desk) -> Reply {
        let language = self.language(call);
        let for_later = ["sec-purpose", "purpose"].into_iter().filter_map(|name| call.browser.header(name));
        if for_later.into_iter().any(|purpose| purpose.contains("prefetch")) {
            // It would use up the token for a page that perhaps nobody looks at.
            return pages::later(language);
        }
        if !call.is_secure() && self.sessions.cookie().starts_with("__") {
            tracing::error!(
                portal = self.name,
                "nobody can sign in over http with this cookie; set cookie, or see the web server's X-Forwarded-Proto"
            );
            return pages::needs_https(language);
        }
        let posted = call.method == "POST";
        let fields = fields(if posted { call.body } else { call.query.as_bytes() });
        match self.brought(&fields) {
            Brought::Nothing => pages::no_link(language),
            Brought::Token(token) => match self.ask_host(&token, call, &fields).await {
                Ok(Some(arrival)) if posted => self.once_more_by_get(arrival, language).await,
                Ok(Some(arrival)) => self.admit(arrival, call, desk).await,
                Ok(None) => pages::worthless_link(language),
                Err(outage) => {
                    tracing::warn!(portal = self.name, %outage, "a one-time token could not be verified");
                    pages::later(language)
                }
            },
            Brought::Continue(name) if posted => {
                let live = self.live(call).await;
                // The name is known to nobody but this page of ours, so another site cannot send the form.
                let agreed = |pending: &Pending| {
                    pending.instead_of.as_ref().is_some_and(|old| live.iter().any(|session| session.id == *old))
                };
                match self.arrivals.take(&name, agreed).await {
                    Ok(Some(pending)) => self.let_in(pending.arrival, call, desk).await,
                    Ok(None) => pages::worthless_link(language),
                    Err(_) => pages::later(language),
                }
            }
            Brought::Continue(name) => match self.arrivals.take(&name, |pending| pending.instead_of.is_none()).await {
                Ok(Some(pending)) => self.admit(pending.arrival, call, desk).await,
                Ok(None) => pages::worthless_link(language),
                Err(_) => pages::later(language),
            },
        }
    }

    /// One token, or one arrival that was put aside. Two of either could mean two things.
    fn brought(&self, fields: &[(String, String)]) -> Brought {
        let mut found = Brought::Nothing;
        for (name, value) in fields {
            let new = if *name == CONTINUE {
                Brought::Continue(value.clone())
            } else if self.host.names().token.has(name) {
                Brought::Token(value.clone())
            } else {
                continue;
            };
            let fits = (1..=LONGEST_TOKEN).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
            if !fits || !matches!(found, Brought::Nothing) {
                return Brought::Nothing;
            }
            found = new;
        }
        found
    }

    async fn ask_host(
        &self,
        token: &str,
        call: &Call<'_>,
        fields: &[(String, String)],
    ) -> Result<Option<Arrival>, Outage> {
        let Some(word) = self.host.verify(token).await? else { return Ok(None) };
        let identity = self.identity(&word.about).map_err(|what| Outage::Protocol(what.to_string()))?;
        let expires = self.end_of(&word);
        let next = self.next(call.origin, fields);
        Ok(Some(Arrival { identity, api_sid: word.api_sid, expires, next }))
    }

    fn end_of(&self, word: &Word) -> UnixSeconds {
        let lifetime = self.settings.session_lifetime.as_secs();
        self.host.clock().unix().saturating_add(word.expires_in.map_or(lifetime, |told| told.min(lifetime)))
    }

    fn identity(&self, about: &Value) -> Result<Identity<'static>, Unusable> {
        let members = &self.settings.members;
        let user = match members.user.find(about) {
            Some(Value::String(user)) => user.clone(),
            Some(Value::Number(number)) if number.is_u64() => number.to_string(),
            _ => return Err(Unusable::Member("user")),
        };
        let text = |names: &crate::config::Names, what| match names.find(about) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(Unusable::Member(what)),
        };
        let roles = match members.roles.find(about) {
            None => Vec::new(),
            Some(Value::Array(roles)) => {
                let role =
                    |role: &Value| role.as_str().map(|role| role.to_owned().into()).ok_or(Unusable::Member("roles"));
                roles.iter().map(role).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(Unusable::Member("roles")),
        };
        let (name, email) = (text(&members.name, "name")?, text(&members.email, "email")?);
        Ok(Identity::new(user, name, email, roles)?)
    }

    /// A form that another site's page sent comes without our cookie (`SameSite=Lax`), so nobody would see
    /// that somebody is signed in. The browser is sent once more, by a navigation, with which it comes.
    async fn once_more_by_get(&self, arrival: Arrival, language: &Language) -> Reply {
        match self.arrivals.put_aside(Pending { arrival, instead_of: None }).await {
            Some(name) => Reply::see_other(format!("{}?{CONTINUE}={name}", self.settings.login_path)),
            None => pages::later(language),
        }
    }

    /// Lets somebody in, unless somebody else is signed in: anybody can send a link of their own.
    async fn admit(&self, arrival: Arrival, call: &Call<'_>, desk: &dyn Desk) -> Reply {
        let other = self.live(call).await.into_iter().find(|session| session.user != arrival.identity.user());
        let Some(other) = other else { return self.let_in(arrival, call, desk).await };
        let then = arrival.identity.user().to_owned();
        let pending = Pending { arrival, instead_of: Some(other.id) };
        match self.arrivals.put_aside(pending).await {
            Some(name) => {
                let (action, stay) = (&self.settings.login_path, &self.settings.application);
                pages::other_person(self.language(call), &other.user, &then, action, &name, stay)
            }
            None => pages::later(self.language(call)),
        }
    }

    /// Makes a session, always a new one, in the place of those that the browser has.
    async fn let_in(&self, arrival: Arrival, call: &Call<'_>, desk: &dyn Desk) -> Reply {
        let Arrival { identity, api_sid, expires, next } = arrival;
        let (user, shown) = (identity.user().to_owned(), random());
        let session = HeldSession { memos: [api_sid.clone()].into(), ..HeldSession::new(identity, expires, None) };
        if let Err(why) = self.kept.keep(&self.name, &shown, session).await {
            why.report(&self.name);
            return pages::later(self.language(call));
        }
        let id = self.kept.id_of(&self.name, &shown);
        // Looked at only now: an end that comes later finds the session itself.
        let no = match self.arrivals.has_ended(&api_sid).await {
            Ok(false) => None,
            Ok(true) => Some(pages::worthless_link(self.language(call))),
            Err(_) => Some(pages::later(self.language(call))),
        };
        if let Some(no) = no {
            self.kept.end(&self.name, &id);
            return no;
        }
        for old in self.live(call).await {
            self.end_quietly(old.id, desk);
        }
        self.errands.begin(&self.name, "acknowledgement", self.acknowledgement(api_sid, id));
        tracing::info!(portal = self.name, user, "signed in by a one-time token");
        let cookie = cookie_line(call, self.sessions.cookie(), &shown, None);
        Reply::see_other(next).header("set-cookie", cookie)
    }

    /// Should it fail for good, the person stays signed in; only the host's sign-out may not reach us.
    fn acknowledgement(&self, api_sid: String, id: String) -> Try {
        let (host, kept, portal) = (Arc::clone(&self.host), Arc::clone(&self.kept), self.name.clone());
        Box::new(move || {
            let (host, kept, portal) = (Arc::clone(&host), Arc::clone(&kept), portal.clone());
            let (api_sid, id) = (api_sid.clone(), id.clone());
            Box::pin(async move {
                if !host.acknowledge(&api_sid).await? {
                    tracing::info!(portal, "the host ended a session before it was acknowledged");
                    kept.end_with_all(&portal, &id);
                }
                Ok(())
            })
        })
    }

    /// The sessions of this portal that the browser shows and that have not ended.
    async fn live(&self, call: &Call<'_>) -> Vec<crate::portal::SignedSession> {
        let now = self.host.clock().unix();
        let shown = call.cookies.values(self.sessions.cookie());
        // One of which nobody can tell keeps nobody from signing in.
        let _ = self.sessions.bring(&shown).await;
        let mut live = self.sessions.signed(&shown);
        live.retain(|session| session.expires > now);
        live
    }

    /// Ends a session here and at the applications. The host hears nothing of it.
    fn end_quietly(&self, id: String, desk: &dyn Desk) {
        self.kept.end(&self.name, &id);
        desk.sign_out(&SessionHandle { portal: self.name.clone(), id });
    }

    /// The host, or another client through it, has ended an API session. Also well where there is none.
    async fn logout_by_host(&self, call: &Call<'_>, desk: &dyn Desk) -> Answered {
        let caller = call.browser.header("apikey").and_then(|key| ApiKey::find(&self.settings.callers, key));
        if caller.is_none() {
            return Answered::Elsewhere(problem(
                401,
                "invalid_apikey",
                "the header apikey is missing, or not known here",
            ));
        }
        let json = serde_json::from_slice(call.body).ok().filter(Value::is_object);
        let body = json.unwrap_or_else(|| {
            let fields = fields(call.body).into_iter().map(|(name, value)| (name, Value::from(value)));
            Value::Object(fields.collect())
        });
        let Some(api_sid) = self.host.names().api_sid.text(&body).filter(|api_sid| !api_sid.is_empty()) else {
            return Answered::Here(problem(400, "invalid_request", "the body must name the API session"));
        };
        let called = self.called_off(api_sid).await;
        for id in called.ids {
            self.end_quietly(id, desk);
        }
        if let Some(outage) = called.outage {
            let problem = problem(503, "temporarily_unavailable", "there may be more sessions of it; try again");
            return Answered::Here(problem.header("retry-after", outage.retry_after().as_secs().to_string()));
        }
        Answered::Here(Reply::json(200, &json!({ "status": "success" })))
    }

    /// Where to go on to: a place on this host, whatever the address says.
    fn next(&self, origin: &str, fields: &[(String, String)]) -> String {
        let mut asked = fields.iter().filter(|(name, _)| *name == self.settings.next_parameter);
        let place = match (asked.next(), asked.next()) {
            (Some((_, asked)), None) => place_on(origin, asked),
            _ => None,
        };
        place.unwrap_or_else(|| self.settings.application.clone())
    }
}

/// Why nobody can be made of what the host said.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it does not say who it is: see {0} in [portal.members]")]
    Member(&'static str),
    #[error("what it says of the person cannot be used: {0}")]
    Identity(#[from] IdentityError),
}

fn problem(status: u16, error: &str, message: &str) -> Reply {
    Reply::json(status, &json!({ "error": error, "message": message }))
}

fn fields(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

fn bare(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}
