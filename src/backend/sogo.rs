//! Kind `sogo`: SOGo groupware, signed in as its own login page does it, with JSON.
//!
//! Everything here was seen with SOGo 5.8.0 as Debian 12 ships it; what was only read, in its source, is
//! marked so. What shapes the connector:
//!
//! - A wrong password and a directory that is down, be it the database, are answered alike, and nothing else
//!   that a stranger can ask for tells them apart. Hence the [`Witness`]. Without its database SOGo may take a
//!   session for dead, too; the login that follows then finds out.
//! - The address of a mailbox holds the name that the directory has for the person, which need not be the one
//!   that was typed. It is asked for once, and that SOGo tells it shows that the session works.
//! - Everything but pages takes the session's token in a header as well, `GET` included. Scripts read it from
//!   a cookie. So that cookie is one of the keys, although SOGo itself does not look at it, and the browser
//!   gets it as well.
//! - Nothing rotates and nothing expires, but a cookie has 4053 bytes.
//! - The mail server is not asked at login: without it the session opens, and mail fails inside SOGo.

use std::borrow::Cow;

use futures_util::future::BoxFuture;
use percent_encoding::percent_decode;

use super::{Attempt, Backend, Kind, Liveness, Login, Outage, Refusal, ScriptCookie};
use crate::config::Section;
use crate::domain::{ExposeSecret, Secret, SessionKeys, SessionKeysBuilder, SessionKeysError};
use crate::wire::{Answer, Location, Request, Wire};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "sogo", build };

/// The session. Its name is the same everywhere (read).
const SESSION: &str = "0xHIGHFLYxSOGo";
/// The session's token, for scripts.
const TOKEN: &str = "XSRF-TOKEN";
/// It opens nothing without the session. Its path is SOGo's own (seen).
const SCRIPT_COOKIES: [ScriptCookie; 1] = [ScriptCookie { name: Cow::Borrowed(TOKEN), path: "/SOGo/" }];

fn build(section: &mut Section, wire: Wire) -> Box<dyn Backend> {
    let name = section.text("witness");
    let password = section.secret("witness_password", "witness_password_file");
    let witness = match (name, password) {
        (Some(name), Some(password)) => Some(Witness { name, password }),
        (None, None) => None,
        (Some(_), None) => {
            section.mistake("witness_password", "is missing; the witness signs in with it");
            None
        }
        (None, Some(_)) => {
            section.mistake("witness", "is missing; whose password is witness_password?");
            None
        }
    };
    Box::new(Sogo { witness, wire })
}

struct Sogo {
    /// `witness`: off where nobody is named.
    witness: Option<Witness>,
    wire: Wire,
}

/// An account that can always sign in. When it cannot either, no refusal is believed.
struct Witness {
    name: String,
    password: Secret,
}

impl Backend for Sogo {
    fn login<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>> {
        Box::pin(self.sign_in(attempt))
    }

    fn foresees(&self, attempt: &Attempt) -> Option<Refusal> {
        // A session holds "name:password", and the first colon divides them: "ana:x" would be ana's (read).
        let impossible = attempt.login.is_empty() || attempt.login.contains(':');
        impossible.then_some(Refusal::Credentials)
    }

    fn check<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<Liveness, Outage>> {
        Box::pin(self.ask_the_date(keys))
    }

    fn logout<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<(), Outage>> {
        Box::pin(async { self.wire.send(&own(keys, "logoff")).await?.or_outage().map(drop) })
    }

    fn owns_cookie(&self, name: &[u8]) -> bool {
        // SOGo decodes names once, and a NUL ends them. The first of a name counts for it, and ours is last.
        let name: Vec<u8> = percent_decode(name).collect();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
        [SESSION, TOKEN].iter().any(|own| own.as_bytes() == name)
    }

    fn script_cookies(&self) -> &[ScriptCookie] {
        &SCRIPT_COOKIES
    }

    fn entry(&self, _keys: &SessionKeys) -> String {
        "/SOGo/".to_owned()
    }
}

impl Sogo {
    async fn sign_in(&self, attempt: &Attempt) -> Result<Login, Outage> {
        let Some(password) = &attempt.password else { return Ok(Login::Refused(Refusal::Credentials)) };
        // SOGo writes the address into its log, where others look for people who try passwords.
        let address = attempt.client.address.to_string();
        let request = connect(&attempt.login, password).header("x-forwarded-for", address.as_bytes());
        let answer = self.wire.send(&request).await?.or_outage()?;
        let json = answer.json().unwrap_or_default();
        match (answer.status(), json.get("LDAPPasswordPolicyError").and_then(serde_json::Value::as_i64)) {
            (200, None) if json.get("cn").is_some() => self.opened(&answer).await.map(Login::Opened),
            (202, None) if json.get("totpMissingKey").is_some() => Ok(Login::Refused(Refusal::Interactive)),
            // The numbers are those of OpenLDAP's password policy (read): it has expired, or was set by somebody
            // else and must be changed.
            (403, Some(0 | 2)) => Ok(Login::Refused(Refusal::Expired)),
            // The directory has locked the account, or SOGo itself has, for a while, after wrong passwords (its
            // SOGoMaximumFailedLoginCount). Then no password is looked at.
            (403, Some(1)) => Err(Outage::Locked { retry_after: None }),
            (403, Some(_)) => self.ask_the_witness().await.map(|()| Login::Refused(Refusal::Credentials)),
            (status, _) => {
                Err(Outage::Protocol(format!("it answered a login with status {status} and something else")))
            }
        }
    }

    /// Whether a refusal can be believed.
    async fn ask_the_witness(&self) -> Result<(), Outage> {
        let Some(witness) = &self.witness else { return Ok(()) };
        let answer = self.wire.send(&connect(&witness.name, &witness.password)).await?.or_outage()?;
        let signed_in = answer.status() == 200 && answer.json().is_some_and(|json| json.get("cn").is_some());
        if !signed_in {
            let why = "it does not sign the witness in either: its directory is down, or witness_password is wrong";
            return Err(Outage::Unreachable(why.to_owned()));
        }
        // It has told what it was asked for.
        self.abandon(&answer).await;
        Ok(())
    }

    /// Ends the session of a login that nobody will use, since it would stay for ever. Whether it goes is
    /// no matter here. SOGo asks for no name in the address of a log-out (seen).
    async fn abandon(&self, answer: &Answer) {
        if let Some(session) = answer.cookies_left().iter().find(|cookie| cookie.name == SESSION) {
            let request = Request::get("/so/nobody/logoff").cookies(&format!("{SESSION}={}", session.value));
            let _ = self.wire.send(&request.repeatable().beginning_only()).await;
        }
    }

    async fn opened(&self, answer: &Answer) -> Result<SessionKeys, Outage> {
        let cookies = answer.cookies_left();
        let value = |name| cookies.iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value.as_str());
        let (Some(session), Some(token)) = (value(SESSION), value(TOKEN)) else {
            return Err(Outage::Protocol("it answered a login without its two cookies".to_owned()));
        };
        let keys = |memo| {
            let keys = SessionKeys::builder().cookie(SESSION, session)?.cookie(TOKEN, token)?;
            keys.memo(memo).and_then(SessionKeysBuilder::build)
        };
        let unreadable = |error: SessionKeysError| Outage::Protocol(error.to_string());
        let nobodys = keys(String::new()).map_err(unreadable)?;
        match self.whose(&nobodys).await {
            Ok(uid) => keys(uid).map_err(unreadable),
            Err(outage) => {
                self.abandon(answer).await;
                Err(outage)
            }
        }
    }

    /// The name of the mailbox in addresses, as it stands there: SOGo sends its first page on to it.
    async fn whose(&self, keys: &SessionKeys) -> Result<String, Outage> {
        let request = Request::get("/").cookies(keys.cookies()).repeatable().beginning_only();
        let answer = self.wire.send(&request).await?.or_outage()?;
        let uid = match answer.location() {
            Some(Location::Here { path, .. }) if answer.redirects() => {
                // `/SOGo/ana` (seen); its other addresses are `/SOGo/so/ana/…`.
                let below = path.rsplit_once("/so/").and_then(|(_, below)| below.split('/').next());
                below.or_else(|| path.rsplit('/').next()).unwrap_or_default().to_owned()
            }
            _ => String::new(),
        };
        if uid.is_empty() {
            return Err(Outage::Protocol(
                "its first page does not know the session that it has just opened".to_owned(),
            ));
        }
        Ok(uid)
    }

    /// The smallest of its answers that a stranger does not get, which makes it as good a sign of life as any.
    async fn ask_the_date(&self, keys: &SessionKeys) -> Result<Liveness, Outage> {
        let token = keys.cookie(TOKEN).unwrap_or_default();
        let answer = self.wire.send(&own(keys, "date").header("x-xsrf-token", token.as_bytes())).await?.or_outage()?;
        if answer.set_cookies().iter().any(|cookie| cookie.name == SESSION && cookie.value == "discard") {
            return Ok(Liveness::Dead);
        }
        match answer.json() {
            Some(json) if answer.status() == 200 && json.get("day").is_some() => Ok(Liveness::Alive),
            _ => Err(Outage::Protocol(format!("it answered a check with status {} and no date", answer.status()))),
        }
    }
}

/// The login, as the script of the login page sends it.
fn connect(name: &str, password: &Secret) -> Request {
    Request::post("/connect").json(&serde_json::json!({
        "userName": name,
        "password": password.expose_secret(),
        "domain": null,
        "rememberLogin": 0,
    }))
}

/// A request for something in the person's own folder. The memo is their name in SOGo's addresses.
fn own(keys: &SessionKeys, action: &str) -> Request {
    Request::get(format!("/so/{}/{action}", keys.memo())).cookies(keys.cookies()).repeatable().beginning_only()
}
