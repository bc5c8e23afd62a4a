//! What this kind offers: to browsers the way in, and the provider's two ways back.

use futures_util::future::BoxFuture;
use oauth2::basic::BasicClient;
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope};
use serde_json::json;
use url::{Url, form_urlencoded};

use super::flow::{Flow, Flows, random};
use super::provider::{Known, wrong};
use super::session::{NoPerson, Read};
use super::tokens::{self, Refusal};
use super::{Oidc, pages};
use crate::domain::{Answered, Audience, Call, Desk, Outage, Reach, Reply, Service, SessionHandle};
use crate::pages::Language;
use crate::portal::cookie_line::cookie_line;
use crate::portal::place::place_on;
use crate::portal::{SignedSession, Verifier};
use crate::store::StoreOutage;

/// Longest address to return to, in bytes: it must fit into a cookie with everything else.
const LONGEST_NEXT: usize = 1500;

/// What comes back from the provider.
struct Returned {
    state: String,
    code: Option<String>,
    error: Option<String>,
    issuer: Option<String>,
}

/// Which of the doors a path is.
enum Door {
    Login,
    Callback,
    BackChannel,
    Goodbye,
}

impl Service for Oidc {
    fn takes(&self, reach: Reach, _method: &str, path: &str) -> bool {
        reach == Reach::Browsers && self.door(path).is_some()
    }

    fn answer<'a>(&'a self, call: &'a Call<'a>, desk: &'a dyn Desk) -> BoxFuture<'a, Answered> {
        Box::pin(async move {
            let reply = match (self.door(call.path), call.method) {
                (Some(Door::Login), "GET") => self.begin(call).await,
                (Some(Door::Login), _) => pages::not_sent(self.language(call), &self.login_address("/")),
                (Some(Door::Callback), "GET") => self.come_back(call, desk).await,
                (Some(Door::BackChannel), "POST") => self.called_off_by_provider(call, desk).await,
                (Some(Door::Goodbye), "GET") => pages::signed_out(self.language(call)),
                (Some(Door::BackChannel), _) => wrong_method("POST"),
                _ => wrong_method("GET"),
            };
            Answered::Here(reply)
        })
    }
}

impl Oidc {
    fn door(&self, path: &str) -> Option<Door> {
        let (door, portal) = path.strip_prefix("/.keyward/")?.split_once('/')?;
        match door {
            _ if portal != self.house.name => None,
            "login" => Some(Door::Login),
            "callback" => Some(Door::Callback),
            "backchannel-logout" => Some(Door::BackChannel),
            "signed-out" => Some(Door::Goodbye),
            _ => None,
        }
    }

    /// Our sign-in page, from which one comes back to `next`.
    fn login_address(&self, next: &str) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("url", next).finish();
        format!("/.keyward/login/{}?{query}", self.house.name)
    }

    fn language(&self, call: &Call<'_>) -> &Language {
        self.house.pages.speaking(&call.browser.client().accept_language)
    }

    fn flows<'a>(&'a self, call: &'a Call<'a>) -> Flows<'a> {
        Flows { portal: &self.house.name, cookie: &self.house.settings.cookie, sessions: &self.house.kept, call }
    }

    /// Sends somebody who navigates to the provider.
    async fn begin(&self, call: &Call<'_>) -> Reply {
        let language = self.language(call);
        let ahead = ["sec-purpose", "purpose"].into_iter().filter_map(|name| call.browser.header(name));
        if ahead.into_iter().any(|purpose| purpose.contains("prefetch")) {
            return pages::not_ahead(language);
        }
        let Ok(asked) = only(call.query, "url") else { return pages::malformed(language) };
        if call.origin.is_empty() {
            return pages::malformed(language);
        }
        // Somebody who followed a bad link may sign in all the same, and begins at the front door.
        let asked = asked.filter(|asked| asked.len() <= LONGEST_NEXT);
        let next = asked.and_then(|asked| place_on(call.origin, &asked)).unwrap_or_else(|| "/".to_owned());
        let login = self.login_address(&next);
        if call.browser.audience("GET") != Audience::Page {
            return Reply::json(401, &json!({ "reason": "no_session", "login": format!("{}{login}", call.origin) }));
        }
        if !call.is_secure() && self.house.settings.cookie.starts_with("__") {
            tracing::error!(
                portal = self.house.name,
                "nobody can sign in over http with this cookie; set cookie, or see the web server's X-Forwarded-Proto"
            );
            return pages::needs_https(language);
        }
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let callback = format!("{}/.keyward/callback/{}", call.origin, self.house.name);
        let now = self.house.clock.unix();
        let flow = Flow::new(verifier.into_secret(), next, callback, now);
        let begun = match self.house.provider.pause() {
            // It could not be finished.
            Some(retry_after) => Err(Outage::BackingOff { retry_after }),
            None => self.house.provider.known().await,
        };
        let begun = begun.and_then(|known| self.authorization(&known, &flow, challenge));
        let address = match begun {
            Ok(address) => address,
            Err(outage) => return later(language, &login, &outage),
        };
        let Some(cookies) = self.flows(call).begin(&flow, &call.cookies, now) else {
            return pages::malformed(language);
        };
        let reply = Reply::see_other(address.into());
        cookies.into_iter().fold(reply, |reply, cookie| reply.header("set-cookie", cookie))
    }

    /// The address of the provider's sign-in page (OpenID Connect Core, section 3.1.2.1; RFC 7636).
    fn authorization(&self, known: &Known, flow: &Flow, challenge: PkceCodeChallenge) -> Result<Url, Outage> {
        let settings = &self.house.settings;
        let page = AuthUrl::new(known.authorization.clone().into()).map_err(|_| wrong("its sign-in page is none"))?;
        let callback = RedirectUrl::new(flow.callback.clone()).map_err(|_| wrong("our own address is none"))?;
        let client = BasicClient::new(ClientId::new(settings.client_id.clone())).set_auth_uri(page);
        let client = client.set_redirect_uri(callback);
        let request = client
            .authorize_url(|| CsrfToken::new(flow.state.clone()))
            .add_scopes(settings.scopes.iter().cloned().map(Scope::new))
            .add_extra_param("nonce", flow.nonce.clone())
            .set_pkce_challenge(challenge);
        Ok(request.url().0)
    }

    /// The provider has sent somebody back. Whatever it says, the sign-in is over.
    async fn come_back(&self, call: &Call<'_>, desk: &dyn Desk) -> Reply {
        let language = self.language(call);
        let Some(returned) = Returned::read(call.query) else { return pages::malformed(language) };
        let (now, flows) = (self.house.clock.unix(), self.flows(call));
        let used = format!("{}\nstate:{}", self.house.name, returned.state);
        let stale = || pages::stale(language, &self.login_address("/"));
        let Some(flow) = flows.find(&returned.state, &call.cookies, now) else { return stale() };
        match self.house.kept.noted(&used, now).await {
            Ok(None) => {}
            Ok(Some(_)) => return stale(),
            // Nothing was used up, and the browser keeps its cookie: it may come with the same once more.
            Err(outage) => return not_now(language, &self.login_address(&flow.next), &outage),
        }
        let reply = match self.finish(&flow, &used, returned, call, desk).await {
            Ok(cookie) => Reply::see_other(flow.next.clone()).header("set-cookie", cookie),
            Err(reply) => reply,
        };
        reply.header("set-cookie", flows.end(&flow))
    }

    /// Makes a session of what came back; gives the line that sets its cookie.
    async fn finish(
        &self,
        flow: &Flow,
        used: &str,
        returned: Returned,
        call: &Call<'_>,
        desk: &dyn Desk,
    ) -> Result<String, Reply> {
        let (house, login, language) = (&self.house, self.login_address(&flow.next), self.language(call));
        let known = house.provider.known().await.map_err(|outage| later(language, &login, &outage))?;
        let from_us = match &returned.issuer {
            Some(issuer) => *issuer == house.settings.issuer,
            None => !known.names_itself,
        };
        if !from_us {
            tracing::warn!(portal = house.name, "an answer came that is not the OpenID provider's own (RFC 9207)");
            return Err(pages::untrusted(language, &login));
        }
        if let Some(error) = returned.error {
            return Err(self.no(&error, &login, language));
        }
        let code = returned.code.ok_or_else(|| pages::malformed(language))?;
        let verifier = flow.verifier.clone();
        let granted = tokens::for_code(&house.provider, &house.settings, code, verifier, &flow.callback).await;
        let granted = match granted {
            Ok(Ok(granted)) => granted,
            Ok(Err(Refusal::InvalidGrant)) => return Err(pages::stale(language, &login)),
            Ok(Err(refusal)) => {
                tracing::error!(portal = house.name, %refusal, "nobody can sign in; the OpenID provider refuses us");
                return Err(pages::untrusted(language, &login));
            }
            Err(outage) => return Err(later(language, &login, &outage)),
        };
        let read = house.read(granted, &flow.nonce).await.map_err(|error| match error {
            NoPerson::Outage(outage) => later(language, &login, &outage),
            NoPerson::Untrusted(why) => {
                tracing::warn!(portal = house.name, why, "an ID token is not taken");
                pages::untrusted(language, &login)
            }
            NoPerson::Unusable(why) => {
                tracing::warn!(portal = house.name, %why, "somebody was sent away who signed in at the OpenID provider");
                pages::unusable(language)
            }
        })?;
        // Only here: what anybody can cause leaves nothing behind. The provider takes no code twice.
        match self.is_first(used).await {
            Ok(true) => self.let_in(read, call, desk, &login).await,
            Ok(false) => Err(pages::stale(language, &login)),
            Err(outage) => Err(not_now(language, &login, &outage)),
        }
    }

    /// Whether a sign-in is finished for the first time.
    async fn is_first(&self, used: &str) -> Result<bool, StoreOutage> {
        let (kept, now) = (&self.house.kept, self.house.clock.unix());
        let until = now.saturating_add(super::flow::LIFETIME);
        match kept.note(used.to_owned(), now, until, now).await {
            Err(_) if kept.goes_on_without() => Ok(kept.notes().put(used.to_owned(), now, until, now)),
            told => told,
        }
    }

    /// Makes a session, always a new one, in the place of those that the browser has.
    async fn let_in(&self, read: Read, call: &Call<'_>, desk: &dyn Desk, login: &str) -> Result<String, Reply> {
        let house = &self.house;
        let (shown, user) = (random(), read.identity.user().to_owned());
        let id = house.kept.id_of(&house.name, &shown);
        let now = house.clock.unix();
        let issued = read.id_token.issued;
        let expires = now.saturating_add(house.settings.session_lifetime.as_secs());
        let no_room = || pages::later(self.language(call), login, 5);
        let session = house.session(&id, read, expires).ok_or_else(no_room)?;
        let memos = session.memos.clone();
        if let Err(why) = house.kept.keep(&house.name, &shown, session).await {
            why.report(&house.name);
            return Err(no_room());
        }
        // Looked at only now: an end that comes later finds the session itself.
        for memo in &memos {
            let no = match house.has_ended(memo, issued).await {
                Ok(false) => continue,
                Ok(true) => pages::stale(self.language(call), login),
                Err(outage) => not_now(self.language(call), login, &outage),
            };
            house.kept.end(&house.name, &id);
            return Err(no);
        }
        for old in self.live(call).await {
            house.kept.end(&house.name, &old.id);
            desk.sign_out(&SessionHandle { portal: house.name.clone(), id: old.id });
        }
        tracing::info!(portal = house.name, user, "signed in at the OpenID provider");
        Ok(cookie_line(call, &house.settings.cookie, &shown, None))
    }

    /// The sessions of this portal that the browser shows and that have not ended.
    async fn live(&self, call: &Call<'_>) -> Vec<SignedSession> {
        let now = self.house.clock.unix();
        let shown = call.cookies.values(self.sessions.cookie());
        // One of which nobody can tell keeps nobody from signing in.
        let _ = self.sessions.bring(&shown).await;
        let mut live = self.sessions.signed(&shown);
        live.retain(|session| session.expires > now);
        live
    }

    /// The provider says no. Its own words are anybody's, so they are shown to nobody.
    fn no(&self, error: &str, login: &str, language: &Language) -> Reply {
        match error {
            "temporarily_unavailable" | "server_error" => pages::later(language, login, 5),
            "access_denied"
            | "login_required"
            | "interaction_required"
            | "consent_required"
            | "account_selection_required" => pages::refused(language, login),
            _ => {
                tracing::warn!(
                    portal = self.house.name,
                    "the OpenID provider refuses to sign anybody in; see its own log"
                );
                pages::refused(language, login)
            }
        }
    }
}

impl Returned {
    /// What the provider may send, each once. Others are its own affair.
    fn read(query: &str) -> Option<Self> {
        let state = only(query, "state").ok()??;
        let [code, error, issuer] = ["code", "error", "iss"].map(|name| only(query, name));
        let (code, error, issuer) = (code.ok()?, error.ok()?, issuer.ok()?);
        // One of the two, never both.
        (code.is_some() != error.is_some()).then_some(Self { state, code, error, issuer })
    }
}

/// A parameter appears more than once.
struct Twice;

/// The parameter of this name.
fn only(query: &str, name: &str) -> Result<Option<String>, Twice> {
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    let first = found.next().map(|(_, value)| value.into_owned());
    if found.next().is_some() { Err(Twice) } else { Ok(first) }
}

fn later(language: &Language, login: &str, outage: &Outage) -> Reply {
    pages::later(language, login, outage.retry_after().as_secs())
}

fn not_now(language: &Language, login: &str, outage: &StoreOutage) -> Reply {
    pages::later(language, login, outage.retry_after().as_secs())
}

fn wrong_method(allowed: &str) -> Reply {
    Reply { status: 405, ..Reply::default() }.header("allow", allowed.to_owned())
}
