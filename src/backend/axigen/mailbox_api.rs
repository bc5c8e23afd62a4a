//! Axigen's newer surface: the Mailbox API, JSON over `/api/v1/`.

use serde_json::{Value, json};

use super::Axigen;
use super::settings::TokenSession;
use crate::backend::{Attempt, Liveness, Login, Outage, Refusal};
use crate::domain::{ExposeSecret, SessionKeys, SessionKeysError};
use crate::wire::{Answer, Location, Request};

/// Tells of a second step (documented): `required` or `mandatory`. Either way the session is only
/// half open.
const SECOND_STEP: &str = "x-axigen-2fa";

/// The header by which a session is known that was opened with a token (documented).
pub(super) const SESSION: &str = "x-axigen-session";

pub(super) async fn login(axigen: &Axigen, attempt: &Attempt) -> Result<Login, Outage> {
    let Some(password) = &attempt.password else { return Ok(Login::Refused(Refusal::Credentials)) };
    let request = Request::post(axigen.settings.login_path.as_str());
    let bearer = format!("Bearer {}", password.expose_secret());
    let request = match axigen.settings.by_token {
        Some(_) => request.header("authorization", bearer.as_bytes()),
        None => request.json(&json!({ "username": attempt.login, "password": password.expose_secret() })),
    };
    let answer = axigen.wire.send(&request).await?.or_outage()?;
    match answer.status() {
        200 => {}
        401 => return Ok(Login::Refused(Refusal::Credentials)),
        _ => return Err(strange(&answer, "a login")),
    }
    if answer.header(SECOND_STEP).is_some() {
        return Ok(Login::Refused(Refusal::Interactive));
    }
    let session = answer.json().as_ref().and_then(|json| json.get("sessid")?.as_str().map(str::to_owned));
    let Some(session) = session else {
        return Err(Outage::Protocol("it opened a session without saying which".to_owned()));
    };
    let keys = if axigen.settings.by_token == Some(TokenSession::Headers) {
        let keys = SessionKeys::builder().authorization(&bearer).and_then(|builder| builder.session(&session));
        let keys = keys.and_then(crate::domain::SessionKeysBuilder::build);
        keys.map_err(|error: SessionKeysError| Outage::Protocol(error.to_string()))?
    } else {
        let Some(cookie) = axigen.session_cookie(&answer) else {
            return Err(Outage::Protocol("it set no cookie, or several; set `cookie` to the session's".to_owned()));
        };
        axigen.keys(&cookie, &session)?
    };
    if !axigen.settings.verify_account {
        return Ok(Login::Opened(keys));
    }
    let verified = verify(axigen, attempt, keys.clone()).await;
    if !matches!(verified, Ok(Login::Opened(_))) {
        // Nobody will use the session; should this fail, it ends by itself.
        let _ = logout(axigen, &keys).await;
    }
    verified
}

/// Whether the session is the right person's, and whether it can be used as it is.
async fn verify(axigen: &Axigen, attempt: &Attempt, keys: SessionKeys) -> Result<Login, Outage> {
    let account = account(axigen, &keys).await?;
    let Some(account) = account else {
        return Err(Outage::Protocol("the session it has just opened is dead".to_owned()));
    };
    if !is_account_of(&account, &attempt.login) {
        return Err(Outage::Protocol("it opened another account than asked for; see `verify_account`".to_owned()));
    }
    if account.pointer("/passwordPolicy/mustChangePassword").and_then(Value::as_bool) == Some(true) {
        return Ok(Login::Refused(Refusal::Expired));
    }
    Ok(Login::Opened(keys))
}

pub(super) async fn check(axigen: &Axigen, keys: &SessionKeys) -> Result<Liveness, Outage> {
    Ok(if account(axigen, keys).await?.is_some() { Liveness::Alive } else { Liveness::Dead })
}

pub(super) async fn logout(axigen: &Axigen, keys: &SessionKeys) -> Result<(), Outage> {
    let request = with_keys(Request::post, &axigen.settings.logout_path, keys);
    axigen.wire.send(&request).await?.or_outage().map(drop)
}

/// The account of the session, `None` where there is no such session.
async fn account(axigen: &Axigen, keys: &SessionKeys) -> Result<Option<Value>, Outage> {
    let request = with_keys(Request::get, &axigen.settings.keep_alive_path, keys);
    let answer = axigen.wire.send(&request).await?.or_outage()?;
    match answer.status() {
        401 => Ok(None),
        200 => match answer.json().filter(Value::is_object) {
            Some(account) => Ok(Some(account)),
            None => Err(strange(&answer, "a question for the account")),
        },
        _ => Err(strange(&answer, "a question for the account")),
    }
}

/// A question within the session, in the manner in which it was opened.
fn with_keys(make: fn(String) -> Request, path: &str, keys: &SessionKeys) -> Request {
    let request = match keys.session() {
        "" => make(Axigen::with_key(path, keys, "")).cookies(keys.cookies()),
        session => make(path.to_owned())
            .header("authorization", keys.authorization().as_bytes())
            .header(SESSION, session.as_bytes()),
    };
    request.repeatable()
}

/// Names are compared without regard to case, as mail domains and Axigen's accounts are.
fn is_account_of(account: &Value, login: &str) -> bool {
    let text = |name: &str| account.get(name).and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let login = login.to_lowercase();
    let name = text("accountName");
    // A login without a domain means the primary one (documented), whose name we do not know.
    match login.split_once('@') {
        Some(_) => format!("{name}@{}", text("domainName")) == login,
        None => !name.is_empty() && name == login,
    }
}

fn strange(answer: &Answer, question: &str) -> Outage {
    if answer.redirects() && matches!(answer.location(), Some(Location::Elsewhere)) {
        return Outage::Protocol("it redirects to another scheme, host or port; see `url` and `host`".to_owned());
    }
    match answer.status() {
        404 => Outage::Protocol("it has no Mailbox API there; set `surface` to \"legacy\"".to_owned()),
        200 => Outage::Protocol(format!("it answered {question} with something else")),
        status => Outage::Protocol(format!("it answered {question} with status {status}")),
    }
}
