//! Kind `websydian`: sites of Websydian Express, which have no login of a protocol's own.
//!
//! Express calls a function that the site's developer writes when the first request of a browser has
//! made a session, and that function may read parameters of the request, ask somebody whether they are
//! good, and write user and roles into the session (documented: "Single sign on", "SessionAfterCreate").
//! So a login here is that first request, and the function asks us. What shapes the connector:
//!
//! - The password's parameter holds a ticket that is good once, while the request is under way.
//! - A function that fails is ignored, and whoever is refused has an anonymous session, answered with
//!   200 and a cookie (documented). Only a page tells, by texts that the site's people name.
//! - A session has one user for ever (documented), and the address of the site restores a session whose
//!   cookie comes with it. So a login carries no cookie, and a browser's own never goes upstream.
//! - The cookie's name has a path in it (documented), which RFC 6265 does not allow.
//! - No address that ends a session is published. Without one in the configuration a session is left to
//!   its time-out: nobody has its cookie but us.

mod message;
mod service;
mod settings;
#[cfg(test)]
mod tests;
mod tickets;
mod xml;

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use self::settings::{COOKIE, Proof, SID, Settings};
use self::tickets::{Fate, Ticket};
use super::{Attempt, Backend, Kind, Liveness, Login, Outage, Profile, Refusal};
use crate::config::Section;
use crate::domain::{ExposeSecret, Secret, Service, SessionKeys, SessionKeysBuilder};
use crate::store::{Store, StoreOutage};
use crate::wire::{Answer, Location, Request, Wire, form_encoded};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "websydian", build };

/// Most roles in an answer (documented): Express would cut the rest.
const MOST_ROLES: usize = 20;
/// Longest in-page key that is believed. One was published as `2;3514`.
const LONGEST_SID: usize = 128;

fn build(section: &mut Section, wire: Wire) -> Box<dyn Backend> {
    Box::new(Websydian { settings: Settings::read(section), wire })
}

struct Websydian {
    settings: Settings,
    wire: Wire,
}

impl Backend for Websydian {
    fn login<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>> {
        match (&self.settings.proof, &attempt.password) {
            (Proof::Ticket(authorize), _) => Box::pin(async {
                let ticket = authorize.tickets.issue(&attempt.login, self.roles(attempt)).await;
                self.with_ticket(attempt, ticket.map_err(|outage| out_of_reach(&outage))?).await
            }),
            (Proof::Password, Some(password)) => Box::pin(async {
                let keys = self.open(attempt, password).await.and_then(|answer| self.keys(&answer, attempt))?;
                self.judge(keys).await
            }),
            (Proof::Password, None) => Box::pin(async { Ok(Login::Refused(Refusal::Credentials)) }),
        }
    }

    fn foresees(&self, attempt: &Attempt) -> Option<Refusal> {
        // The name is what Express finds the person by, and blanks behind it may be lost on the way.
        let login = &attempt.login;
        let changed = login.trim() != login || login.is_empty() || login.chars().any(char::is_control);
        changed.then_some(Refusal::Credentials)
    }

    fn check<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<Liveness, Outage>> {
        Box::pin(async { self.look(keys).await.map(|(liveness, _)| liveness) })
    }

    fn logout<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<(), Outage>> {
        Box::pin(self.end(keys))
    }

    fn ends_sessions(&self) -> bool {
        self.settings.logout.is_some()
    }

    fn owns_cookie(&self, name: &[u8]) -> bool {
        // How Express reads cookie names is not published, so every common way of folding counts, and
        // every site's cookie: one site's session is of no use at another.
        let decoded = Cow::from(percent_encoding::percent_decode(name));
        let folded = decoded.trim_ascii();
        let begins = folded.get(..COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(COOKIE.as_bytes()));
        begins || folded.eq_ignore_ascii_case(self.settings.cookie.as_bytes())
    }

    fn wants_password(&self) -> bool {
        matches!(self.settings.proof, Proof::Password)
    }

    fn entry(&self, _keys: &SessionKeys) -> String {
        self.settings.site.clone()
    }

    fn share(&mut self, store: &Arc<Store>, profile: &Profile) {
        if let Proof::Ticket(authorize) = &mut self.settings.proof {
            authorize.tickets.share(store, profile);
        }
    }

    fn service(&self) -> Option<&dyn Service> {
        match &self.settings.proof {
            Proof::Ticket(authorize) => Some(&**authorize),
            Proof::Password => None,
        }
    }
}

impl Websydian {
    /// The most important roles first, each once, and no more than are read.
    fn roles(&self, attempt: &Attempt) -> Vec<String> {
        let ordered = self.settings.role_order.iter().filter(|role| attempt.roles.contains(role));
        let mut roles: Vec<String> = Vec::new();
        for role in ordered.chain(&attempt.roles) {
            if !roles.contains(role) {
                roles.push(role.clone());
            }
        }
        if roles.len() > MOST_ROLES {
            tracing::warn!(
                login = attempt.login,
                left_out = roles.len() - MOST_ROLES,
                "somebody has more roles than Express takes; see role_order"
            );
        }
        roles.truncate(MOST_ROLES);
        roles
    }

    async fn with_ticket(&self, attempt: &Attempt, ticket: Ticket<'_>) -> Result<Login, Outage> {
        let answer = self.open(attempt, ticket.secret()).await?;
        let keys = self.keys(&answer, attempt);
        let outage = match ticket.settle().await {
            Ok(Some(Fate::Redeemed)) => return self.judge(keys?).await,
            Ok(Some(Fate::Misused)) => protocol(
                "it asked about the ticket for another login; the site's function must pass the name on as it came",
            ),
            Ok(None) => protocol(
                "it did not redeem the ticket; the site's function does not run, does not find login_parameter and \
                 password_parameter, or does not reach service_path on [listen] api with service_key",
            ),
            Err(outage) => out_of_reach(&outage),
        };
        if let Ok(keys) = keys {
            self.abandon(&keys).await;
        }
        Err(outage)
    }

    /// The request that makes a session. It carries no cookie: with one, it would restore a session.
    async fn open(&self, attempt: &Attempt, proof: &Secret) -> Result<Answer, Outage> {
        let settings = &self.settings;
        let fields = [
            (settings.login_parameter.as_str(), attempt.login.as_str()),
            (settings.password_parameter.as_str(), proof.expose_secret()),
        ];
        let client = &attempt.client;
        let request = Request::get(format!("{}?{}", settings.site, form_encoded(&fields)))
            .header("user-agent", &client.user_agent)
            .header("accept-language", &client.accept_language)
            .beginning_only();
        self.wire.send(&Memo::of_attempt(attempt).as_from(request)).await?.or_outage()
    }

    /// The keys of whatever session an answer opened.
    fn keys(&self, answer: &Answer, attempt: &Attempt) -> Result<SessionKeys, Outage> {
        match answer.status() {
            200 => {}
            _ if matches!(answer.location(), Some(Location::Here { .. })) && answer.redirects() => {}
            _ if answer.redirects() => return Err(Outage::Protocol("it sends a login elsewhere; see url".to_owned())),
            status => return Err(Outage::Protocol(format!("it answered a login with status {status}"))),
        }
        let Some((name, value)) = self.session_cookie(answer) else {
            let wanted = &self.settings.cookie;
            return Err(Outage::Protocol(format!("it set no cookie {wanted}, or several like it; see cookie")));
        };
        keys_of(&name, &value, &Memo::of_attempt(attempt).to_string())
    }

    /// The session cookie among those an answer leaves: the one that is expected, else the only one
    /// that begins like it.
    fn session_cookie(&self, answer: &Answer) -> Option<(String, String)> {
        let mut cookies = answer.cookies_left();
        cookies.retain(|cookie| !cookie.value.is_empty());
        if let Some(index) = cookies.iter().position(|cookie| cookie.name == self.settings.cookie) {
            let cookie = cookies.swap_remove(index);
            return Some((cookie.name, cookie.value));
        }
        cookies.retain(|cookie| cookie.name.starts_with(COOKIE));
        let cookie = if cookies.len() == 1 { cookies.pop()? } else { return None };
        Some((cookie.name, cookie.value))
    }

    /// Whether a session that was just opened is somebody's. With good proof and yet anonymous, Express
    /// has decided about this person: it answers, and has made a session, so what it lacks is a user, a
    /// role or a folder list of theirs.
    async fn judge(&self, keys: SessionKeys) -> Result<Login, Outage> {
        match self.look(&keys).await?.0 {
            Liveness::Alive => Ok(Login::Opened(keys)),
            Liveness::Renewed(keys) => Ok(Login::Opened(keys)),
            Liveness::Dead => {
                self.abandon(&keys).await;
                Ok(Login::Refused(Refusal::Credentials))
            }
        }
    }

    /// Looks at a page with these keys, which also keeps the session alive: any request does. Gives the
    /// page, too, where somebody is signed in.
    async fn look(&self, keys: &SessionKeys) -> Result<(Liveness, String), Outage> {
        let memo = Memo::of(keys);
        let request = Request::get(self.settings.check_path.as_str()).cookies(keys.cookies());
        let answer = self.wire.send(&memo.as_from(request).repeatable().beginning_only()).await?.or_outage()?;
        if answer.status() != 200 {
            let status = answer.status();
            return Err(Outage::Protocol(format!("it answered a check with status {status}; see check_path")));
        }
        let page = answer.text().into_owned();
        if !self.settings.is_signed_in(&page, &memo.login) {
            if page.trim().is_empty() || answer.is_cut() {
                let why = "its page is blank, or so long that signed_in_texts may stand behind what was read of it; \
                           see check_path";
                return Err(Outage::Protocol(why.to_owned()));
            }
            return Ok((Liveness::Dead, String::new()));
        }
        let held = |(name, value): &(String, String)| keys.cookie(name) == Some(value);
        match self.session_cookie(&answer).filter(|cookie| !held(cookie)) {
            Some((name, value)) => Ok((Liveness::Renewed(keys_of(&name, &value, keys.memo())?), page)),
            None => Ok((Liveness::Alive, page)),
        }
    }

    async fn end(&self, keys: &SessionKeys) -> Result<(), Outage> {
        let Some(logout) = &self.settings.logout else { return Ok(()) };
        let mut target = logout.target.clone();
        if target.contains(SID) {
            let (liveness, page) = self.look(keys).await?;
            if matches!(liveness, Liveness::Dead) {
                return Ok(());
            }
            let Some(sid) = in_page_key(&page) else {
                return Err(Outage::Protocol("its page has no WSYD_SID, which logout_path wants".to_owned()));
            };
            let encoded = form_encoded(&[("", &sid)]);
            target = target.replace(SID, encoded.trim_start_matches('='));
        }
        let request = match target.split_once('?') {
            Some((path, query)) if logout.posts => {
                let fields: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
                let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
                Request::post(path).form(&fields)
            }
            _ if logout.posts => Request::post(target.as_str()).form(&[]),
            _ => Request::get(target.as_str()),
        };
        let request = Memo::of(keys).as_from(request.cookies(keys.cookies())).beginning_only();
        self.wire.send(&request).await?.or_outage().map(drop)
    }

    /// Nobody will use this session; should ending it fail, it ends by itself.
    async fn abandon(&self, keys: &SessionKeys) {
        let _ = self.end(keys).await;
    }
}

fn protocol(complaint: &str) -> Outage {
    Outage::Protocol(complaint.to_owned())
}

/// The application is not to be left alone because replicas cannot ask their store.
fn out_of_reach(outage: &StoreOutage) -> Outage {
    Outage::Locked { retry_after: Some(outage.retry_after()) }
}

fn keys_of(name: &str, value: &str, memo: &str) -> Result<SessionKeys, Outage> {
    let keys = SessionKeys::builder().cookie(name, value).and_then(|builder| builder.memo(memo.to_owned()));
    keys.and_then(SessionKeysBuilder::build).map_err(|error| Outage::Protocol(error.to_string()))
}

/// What must be known again later: for whom the session was opened, and the address of the browser.
struct Memo<'a> {
    address: Cow<'a, str>,
    login: Cow<'a, str>,
}

impl<'a> Memo<'a> {
    fn of_attempt(attempt: &'a Attempt) -> Self {
        Self { address: attempt.client.address.to_string().into(), login: attempt.login.as_str().into() }
    }

    fn of(keys: &'a SessionKeys) -> Self {
        let (address, login) = keys.memo().split_once(' ').unwrap_or_default();
        Self { address: address.into(), login: login.into() }
    }

    /// A session records the address of its first request (documented), so all of ours say the browser's.
    /// Whether Express looks at a forwarded one is not published.
    fn as_from(&self, request: Request) -> Request {
        request.header("x-forwarded-for", self.address.as_bytes())
    }
}

impl std::fmt::Display for Memo<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.address, self.login)
    }
}

/// The key that pages carry beside the cookie, from the form field in which it stands.
fn in_page_key(page: &str) -> Option<String> {
    page.match_indices("WSYD_SID").find_map(|(at, _)| {
        let tag = &page[page[..at].rfind('<')?..at + page[at..].find('>')?];
        let (_, after) = tag.split_once("value=")?;
        let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let value = after[1..].split_once(quote)?.0;
        let value = quick_xml::escape::unescape(value).ok()?;
        let fits = !value.is_empty() && value.len() <= LONGEST_SID && value.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| value.into_owned())
    })
}
