//! Kind `open-xchange`: Open-Xchange (OX App Suite), by its HTTP API.
//!
//! Nothing here was tried against a real server. *Documented* is what OX's documentation says, *read*
//! what its published source (middleware 7.x) or the source of its user interface says, *assumed* the
//! rest. What shapes the connector:
//!
//! - A session is an id, which the user interface asks for and sends in each address, and a secret in a
//!   cookie (documented). The cookie's name is a hash of the browser's `User-Agent`, the client's name
//!   and a salt (documented), so names are taken as they come, by their beginning.
//! - The session remembers the address it was opened from (read). A request from another one is refused,
//!   and ends the session. So whatever we send, checks and logouts included, looks like the browser.
//! - An error comes with status 200 (read). Its text is translated, its code is not; see [`codes`].

mod codes;
mod cookies;
mod login;
mod memo;
mod settings;

use std::borrow::Cow;

use futures_util::future::BoxFuture;
use serde_json::Value;

use self::cookies::Jar;
use self::login::Verdict;
use self::memo::Memo;
use self::settings::{Action, Settings};
use super::{Attempt, Backend, Binding, Kind, Liveness, Login, Outage, Refusal};
use crate::config::Section;
use crate::domain::{Client, SessionKeys};
use crate::wire::{Answer, Request, Wire, form_encoded};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "open-xchange", build };

fn build(section: &mut Section, wire: Wire) -> Box<dyn Backend> {
    Box::new(OpenXchange { settings: Settings::read(section), wire })
}

struct OpenXchange {
    settings: Settings,
    wire: Wire,
}

/// What the server says when it is shown a session.
enum Shown {
    /// It knows it.
    Alive(Box<Answer>),
    /// It refuses it, with this code.
    Refused(String),
}

impl Backend for OpenXchange {
    fn login<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>> {
        Box::pin(self.sign_in(attempt))
    }

    fn foresees(&self, attempt: &Attempt) -> Option<Refusal> {
        // The server trims names (read: as Java does, everything up to the blank), and would log in
        // somebody else.
        let login = &attempt.login;
        let changed = login.trim_matches(|c| c <= ' ').len() != login.len() || login.is_empty();
        changed.then_some(Refusal::Credentials)
    }

    fn check<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<Liveness, Outage>> {
        Box::pin(self.keep_alive(keys))
    }

    fn logout<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<(), Outage>> {
        Box::pin(self.sign_out(keys))
    }

    fn owns_cookie(&self, name: &[u8]) -> bool {
        let decoded = Cow::from(percent_encoding::percent_decode(name));
        cookies::is_own(decoded.trim_ascii(), &self.settings.route_cookies)
    }

    fn entry(&self, keys: &SessionKeys) -> String {
        let path = &self.settings.ui_web_path;
        Memo::of(keys).map_or_else(|| path.clone(), |memo| format!("{path}#{}", memo.fragment()))
    }

    fn binding(&self) -> Binding {
        self.settings.binding
    }
}

impl OpenXchange {
    async fn sign_in(&self, attempt: &Attempt) -> Result<Login, Outage> {
        let Some(password) = &attempt.password else { return Ok(Login::Refused(Refusal::Credentials)) };
        let client = self.kept(&attempt.client);
        if !memo::has_room_for(&client) {
            // Without them nothing could be asked about the session later. One browser is odd: neither the
            // server nor the person's other browsers must suffer for it.
            tracing::warn!("a browser's User-Agent or Accept-Language is too long to open a session for it");
            return Err(Outage::Locked { retry_after: Some(codes::A_MOMENT) });
        }
        let request = login::request(&self.settings, &attempt.login, password, &client);
        let answer = self.wire.send(&self.as_browser(request, &client)).await?;
        if let Some(outage) = codes::outage_at_login(&answer) {
            return Err(outage);
        }
        let verdict = match self.settings.action {
            Action::Login => login::judge_json(&answer)?,
            Action::FormLogin => login::judge_form(&answer, &self.settings)?,
        };
        match verdict {
            Verdict::Opened(opened) => self.opened(&answer, Memo { opened, client }).await.map(Login::Opened),
            Verdict::Refused(refusal) => Ok(Login::Refused(refusal)),
        }
    }

    async fn opened(&self, answer: &Answer, memo: Memo) -> Result<SessionKeys, Outage> {
        let mut jar = Jar::empty(&self.settings.route_cookies);
        jar.take(answer);
        if !jar.has_secret() || cookies::secrets(answer) != 1 {
            return Err(Outage::Protocol("it opened a session without exactly one secret cookie".to_owned()));
        }
        if !jar.has_session() {
            // Before 7.10.3 (documented) the cookie that the user interface's autologin wants is set by
            // an action of its own, if at all. The session is as good without it, so nothing hangs on
            // the answer.
            let request = self.ask("store", &jar.header(), &memo);
            if let Ok(stored) = self.wire.send(&request).await {
                jar.take(&stored);
            }
            if !jar.has_secret() {
                let why = "it took the session away that it had just opened; does it see the browser's address?";
                return Err(Outage::Protocol(why.to_owned()));
            }
        }
        jar.into_keys(memo.to_string())
    }

    async fn keep_alive(&self, keys: &SessionKeys) -> Result<Liveness, Outage> {
        let Some(memo) = Memo::of(keys) else { return Ok(Liveness::Dead) };
        let answer = match self.show(keys, &memo).await? {
            Shown::Alive(answer) => answer,
            Shown::Refused(code) if codes::is_end(&code) => return Ok(Liveness::Dead),
            Shown::Refused(code) => return Err(codes::outage(&code)),
        };
        if cookies::secrets(&answer) > 1 {
            return Err(Outage::Protocol("it answered a check with several secret cookies".to_owned()));
        }
        let mut jar = Jar::of(keys, &self.settings.route_cookies);
        jar.take(&answer);
        if !jar.has_secret() {
            return Ok(Liveness::Dead);
        }
        if jar.header() == keys.cookies() {
            return Ok(Liveness::Alive);
        }
        jar.into_keys(keys.memo().to_owned()).map(Liveness::Renewed)
    }

    async fn sign_out(&self, keys: &SessionKeys) -> Result<(), Outage> {
        let Some(memo) = Memo::of(keys) else {
            return Err(Outage::Protocol("its keys are of another kind".to_owned()));
        };
        let answer = self.wire.send(&self.ask("logout", keys.cookies(), &memo)).await?.or_outage()?;
        match answer.status() {
            // Read: the session is unknown.
            403 => return Ok(()),
            200 if cookies::deletes_secret(&answer) => return Ok(()),
            200 => {}
            status => return Err(Outage::Protocol(format!("it answered a logout with status {status}"))),
        }
        // Read: an error inside is answered with an empty 200 as well, and the session lives on.
        match self.show(keys, &memo).await? {
            Shown::Refused(code) if code == codes::UNKNOWN_SESSION => Ok(()),
            Shown::Refused(_) | Shown::Alive(_) => {
                Err(Outage::Protocol("it answered a logout, and the session is still there".to_owned()))
            }
        }
    }

    /// Shows the session to the server, which keeps it alive: read, `refreshSecret` touches it, asks no
    /// mail server, and counts in no rate limit.
    async fn show(&self, keys: &SessionKeys, memo: &Memo) -> Result<Shown, Outage> {
        let answer = self.wire.send(&self.ask("refreshSecret", keys.cookies(), memo)).await?.or_outage()?;
        let json = answer.json().unwrap_or_default();
        if let Some(code) = codes::of(&json) {
            return Ok(Shown::Refused(code));
        }
        let known = answer.status() == 200 && json.get("data").is_some_and(|data| !matches!(data, Value::Null));
        if !known {
            return Err(Outage::Protocol(format!("it answered a check with status {} and no data", answer.status())));
        }
        Ok(Shown::Alive(Box::new(answer)))
    }

    /// A request about a session, as its browser would send it.
    fn ask(&self, action: &str, cookies: &str, memo: &Memo) -> Request {
        let query = form_encoded(&[("action", action), ("session", &memo.opened.session)]);
        let request = Request::get(format!("{}/login?{query}", self.settings.api_path));
        self.as_browser(request.cookies(cookies), &memo.client).repeatable()
    }

    fn as_browser(&self, request: Request, client: &Client<'_>) -> Request {
        request
            // Else errors are pages (read).
            .header("accept", b"application/json")
            .header("user-agent", &client.user_agent)
            .header("accept-language", &client.accept_language)
            .header("x-forwarded-for", client.address.to_string().as_bytes())
            .header("x-forwarded-proto", self.settings.scheme.as_bytes())
    }

    /// The browser as far as the session is tied to it.
    fn kept(&self, client: &Client<'static>) -> Client<'static> {
        let mut kept = client.clone();
        if !self.settings.binding.accept_language {
            kept.accept_language = Cow::Borrowed(b"");
        }
        kept
    }
}
