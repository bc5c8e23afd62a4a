//! Kind `roundcube`: Roundcube Webmail, signed in through its own login form.
//!
//! Everything here was seen with Roundcube 1.6 or read in its source. What shapes the connector:
//!
//! - A form must be fetched first: its token belongs to the cookie that comes with it.
//! - The answer to a failed login tells its cause only in a sentence, in the person's language; see
//!   [`wording`].
//! - The language of the *form's* request counts for the whole login, the login request's own is
//!   ignored, and a new user's mailbox keeps it for good. So both carry the person's.
//! - One of the two cookies rotates, and an old one ends the session for everybody who holds it. So
//!   a check stores what it gets.

mod master;
mod page;
#[cfg(test)]
mod tests;
mod wording;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use self::master::Master;
use self::page::Form;
use self::wording::{Meaning, Wordings};
use super::{Attempt, Backend, Kind, Liveness, Login, Outage, Refusal};
use crate::config::Section;
use crate::domain::{Client, ExposeSecret, SessionKeys, SessionKeysBuilder};
use crate::wire::Wire;
use crate::wire::{Answer, Location, Request, form_encoded};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "roundcube", build };

const LOGIN_PAGE: &str = "/?_task=login";
const KEEP_ALIVE: &str = "/?_task=mail&_action=keep-alive&_remote=1";

fn build(section: &mut Section, wire: Wire) -> Box<dyn Backend> {
    let session_cookie = cookie_name(section, "session_cookie", "roundcube_sessid");
    let auth_cookie = cookie_name(section, "auth_cookie", "roundcube_sessauth");
    let (wordings, master) = (Wordings::read(section), Master::read(section));
    Box::new(Roundcube { session_cookie, auth_cookie, wordings, master, wire })
}

fn cookie_name(section: &mut Section, key: &'static str, default: &str) -> String {
    let name = section.text(key).unwrap_or_else(|| default.to_owned());
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        section.mistake(key, "must be a cookie's name: letters, digits, '-' and '_'");
    }
    name
}

struct Roundcube {
    /// `session_cookie`: Roundcube's `session_name`, `roundcube_sessid` by default.
    session_cookie: String,
    /// `auth_cookie`: Roundcube's `session_auth_name`, `roundcube_sessauth` by default.
    auth_cookie: String,
    wordings: Wordings,
    master: Option<Master>,
    wire: Wire,
}

impl Backend for Roundcube {
    fn login<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>> {
        Box::pin(self.sign_in(attempt))
    }

    fn foresees(&self, attempt: &Attempt) -> Option<Refusal> {
        // Roundcube would log in somebody else: it trims names and cuts out what looks like a tag.
        let login = &attempt.login;
        let changed = login.trim() != login || login.contains('<') || login.is_empty();
        // The mail server would take what follows for the master's name.
        let ambiguous = self.master.as_ref().is_some_and(|master| !master.may_sign_in(login));
        (changed || ambiguous).then_some(Refusal::Credentials)
    }

    fn has_master(&self) -> bool {
        self.master.is_some()
    }

    fn check<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<Liveness, Outage>> {
        Box::pin(self.keep_alive(keys))
    }

    fn logout<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<(), Outage>> {
        Box::pin(async {
            let memo = Memo::of(keys);
            // Without its token Roundcube answers with an error page and the session stays.
            let target = format!("/?{}", form_encoded(&[("_task", "logout"), ("_token", memo.token)]));
            let request = Request::get(target).cookies(keys.cookies()).repeatable().beginning_only();
            self.wire.send(&memo.as_from(request)).await?.or_outage().map(drop)
        })
    }

    fn owns_cookie(&self, name: &[u8]) -> bool {
        let is_own = |spelling: &[u8]| {
            [&self.session_cookie, &self.auth_cookie].into_iter().any(|own| php_name(spelling).eq(own.bytes()))
        };
        // PHP before 8 decoded names, newer ones do not.
        is_own(name) || (name.iter().any(|byte| b"%+".contains(byte)) && is_own(&form_decoded(name)))
    }
}

impl Roundcube {
    async fn sign_in(&self, attempt: &Attempt) -> Result<Login, Outage> {
        let (login, password) = match (&attempt.password, &self.master) {
            (Some(password), _) => (attempt.login.clone(), password),
            (None, Some(master)) => (master.login(&attempt.login), master.password()),
            (None, None) => return Ok(Login::Refused(Refusal::Credentials)),
        };
        let form = self.fetch_form(&attempt.client).await?;
        let sent = Instant::now();
        let answer = self.submit(&form, &login, password.expose_secret(), &attempt.client).await?.or_outage()?;
        match answer.status() {
            302 | 303 => self.opened(&answer, &attempt.client).map(Login::Opened),
            // Before 1.5 a failed login was answered with 200.
            200 | 401 => self.not_opened(&answer, sent.elapsed(), &attempt.client).await.map(Login::Refused),
            status => Err(Outage::Protocol(format!("it answered a login with status {status}"))),
        }
    }

    async fn fetch_form(&self, client: &Client<'_>) -> Result<Form, Outage> {
        let answer = self.wire.send(&as_browser(Request::get(LOGIN_PAGE), client)).await?.or_outage()?;
        if answer.redirects() {
            return Err(Outage::Protocol(
                "its login page is elsewhere; see `url`, and Roundcube's force_https".to_owned(),
            ));
        }
        Form::read(&answer).ok_or_else(|| Outage::Protocol("its login page has no form".to_owned()))
    }

    async fn submit(&self, form: &Form, name: &str, password: &str, client: &Client<'_>) -> Result<Answer, Outage> {
        let fields = [
            ("_token", form.token.as_str()),
            ("_task", "login"),
            ("_action", "login"),
            ("_user", name),
            ("_pass", password),
        ];
        let request = Request::post(LOGIN_PAGE).cookies(&form.cookies).form(&fields);
        self.wire.send(&as_browser(request, client)).await
    }

    fn opened(&self, answer: &Answer, client: &Client<'_>) -> Result<SessionKeys, Outage> {
        let token = match answer.location() {
            Some(location @ Location::Here { .. }) => location.query_value("_token").unwrap_or_default(),
            _ => return Err(Outage::Protocol("it sends a login elsewhere; see `url` and its plug-ins".to_owned())),
        };
        let cookies = answer.cookies_left();
        let mut builder = SessionKeys::builder();
        for name in [&self.session_cookie, &self.auth_cookie] {
            let Some(cookie) = cookies.iter().find(|cookie| cookie.name == *name && !cookie.value.is_empty()) else {
                return Err(Outage::Protocol(format!("it set no cookie {name}; see session_cookie and auth_cookie")));
            };
            builder = builder.cookie(name, &cookie.value).map_err(|error| Outage::Protocol(error.to_string()))?;
        }
        // For `ip_check` the later requests must come from the same address as the login.
        let memo = Memo { token: &token, address: &client.address.to_string() }.to_string();
        let keys = builder.memo(memo).and_then(SessionKeysBuilder::build);
        keys.map_err(|error| Outage::Protocol(error.to_string()))
    }

    /// Which of many causes it was. A login that fails within a second although its name and
    /// password are right is possible, when two first logins of one person meet; it is a refusal
    /// here, because the password is never sent twice, and callers let nobody's logins meet.
    async fn not_opened(
        &self,
        answer: &Answer,
        took: std::time::Duration,
        client: &Client<'_>,
    ) -> Result<Refusal, Outage> {
        let (Some(message), Some(_)) = (page::message(answer), Form::read(answer)) else {
            return Err(Outage::Protocol("it answered a login with neither a session nor its login page".to_owned()));
        };
        let locale = page::locale(answer);
        match self.wordings.meaning(&message, &locale) {
            Meaning::Known(outcome) => return outcome,
            Meaning::Unknown if self.wordings.may_ask(&locale) => {
                let learned = self.learn(client).await?;
                self.wordings.learn(learned);
            }
            Meaning::Unknown => {}
        }
        match self.wordings.meaning(&message, &locale) {
            Meaning::Known(outcome) => outcome,
            Meaning::Unknown => Err(wording::judge_by_time(took)),
        }
    }

    /// Asks Roundcube for two of its sentences in this person's language: what it says to an empty
    /// name, which it refuses without asking the mail server, and what to a request out of place.
    async fn learn(&self, client: &Client<'_>) -> Result<wording::Lesson, Outage> {
        let form = self.fetch_form(client).await?;
        let refused = self.submit(&form, "", "", client).await?;
        let nowhere = Form { token: "none".to_owned(), cookies: String::new() };
        let invalid = self.submit(&nowhere, "", "", client).await?;
        match [refused.outage(), invalid.outage()] {
            [Some(outage), _] | [_, Some(outage)] => Err(outage),
            _ => Ok(wording::Lesson {
                locale: page::locale(&refused),
                refused: page::message(&refused).unwrap_or_default(),
                invalid: page::message(&invalid).unwrap_or_default(),
            }),
        }
    }

    async fn keep_alive(&self, keys: &SessionKeys) -> Result<Liveness, Outage> {
        let memo = Memo::of(keys);
        let request = Request::get(KEEP_ALIVE).header("x-requested-with", b"XMLHttpRequest").cookies(keys.cookies());
        let answer = self.wire.send(&memo.as_from(request).repeatable()).await?.or_outage()?;
        if answer.status() != 200 {
            return Err(Outage::Protocol(format!("it answered a keep-alive with status {}", answer.status())));
        }
        let json = answer.json();
        match json.as_ref().and_then(|json| json.get("exec")?.as_str()) {
            Some(exec) if exec.contains("session_error(") => Ok(Liveness::Dead),
            Some(_) => self.still_alive(&answer, keys),
            None if Form::read(&answer).is_some() => Ok(Liveness::Dead),
            None => Err(Outage::Protocol("it answered a keep-alive with something else".to_owned())),
        }
    }

    fn still_alive(&self, answer: &Answer, keys: &SessionKeys) -> Result<Liveness, Outage> {
        let said = answer.set_cookies();
        let left = answer.cookies_left();
        let mut builder = SessionKeys::builder();
        let mut renewed = false;
        for name in [&self.session_cookie, &self.auth_cookie] {
            let held = keys.cookie(name).unwrap_or_default();
            let now = match left.iter().find(|cookie| cookie.name == *name) {
                Some(cookie) => cookie.value.as_str(),
                None if said.iter().any(|cookie| cookie.name == *name) => return Ok(Liveness::Dead),
                None => held,
            };
            renewed |= now != held;
            builder = builder.cookie(name, now).map_err(|error| Outage::Protocol(error.to_string()))?;
        }
        if !renewed {
            return Ok(Liveness::Alive);
        }
        let keys = builder.memo(keys.memo().to_owned()).and_then(SessionKeysBuilder::build);
        keys.map(Liveness::Renewed).map_err(|error| Outage::Protocol(error.to_string()))
    }
}

/// What must be known again later: the session's request token and the person's address.
struct Memo<'a> {
    token: &'a str,
    address: &'a str,
}

impl<'a> Memo<'a> {
    fn of(keys: &'a SessionKeys) -> Self {
        let (address, token) = keys.memo().split_once(' ').unwrap_or_default();
        Self { token, address }
    }

    fn as_from(&self, request: Request) -> Request {
        request.header("x-forwarded-for", self.address.as_bytes())
    }
}

impl std::fmt::Display for Memo<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.address, self.token)
    }
}

/// Roundcube asks the forwarded address only where its `proxy_whitelist` names us.
fn as_browser(request: Request, client: &Client<'_>) -> Request {
    request
        .header("user-agent", &client.user_agent)
        .header("accept-language", &client.accept_language)
        .header("x-forwarded-for", client.address.to_string().as_bytes())
}

fn form_decoded(name: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(name).map(|byte| if byte == b'+' { b' ' } else { byte }).collect()
}

/// A cookie's name as PHP files it: blanks in front go, a NUL ends it, `.` and blank and `[` become
/// `_`, and `name[…]` is an array called `name`.
fn php_name(name: &[u8]) -> impl Iterator<Item = u8> {
    let name = name.trim_ascii_start();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let array = name.iter().position(|byte| *byte == b'[').filter(|open| *open > 0 && name[*open..].contains(&b']'));
    let name = array.map_or(name, |open| &name[..open]);
    name.iter().map(|byte| if b". [".contains(byte) { b'_' } else { *byte })
}
