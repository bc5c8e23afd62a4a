//! Axigen's older surface: HSP pages, steered by `action` in the query.
//!
//! Success is documented. No answer to a failure is, so a refusal is what a complete answer makes
//! plain: the public login page, a redirect to it, or `success: false`. Everything else is an outage.

use super::settings::Method;
use super::{Axigen, is_key};
use crate::backend::{Attempt, Liveness, Login, Outage, Refusal};
use crate::domain::{ExposeSecret, SessionKeys};
use crate::wire::{Answer, Location, Request, form_encoded};

const ELSEWHERE: &str = "it redirects to another scheme, host or port, probably by its UrlRedirects rule; \
                         set `url` to a listener without one, or `host` to the name it expects";

pub(super) async fn login(axigen: &Axigen, attempt: &Attempt) -> Result<Login, Outage> {
    let Some(password) = &attempt.password else { return Ok(Login::Refused(Refusal::Credentials)) };
    let settings = &axigen.settings;
    let mut action = vec![("action", "login")];
    action.extend(settings.interface.map(|interface| ("custom", interface)));
    let credentials = [("username", attempt.login.as_str()), ("password", password.expose_secret())];
    let separator = if settings.login_path.contains('?') { '&' } else { '?' };
    let target = |fields: &[(&str, &str)]| format!("{}{separator}{}", settings.login_path, form_encoded(fields));
    let request = match settings.method {
        Method::Post => Request::post(target(&action)).form(&credentials),
        Method::Get => Request::get(target(&[action.as_slice(), &credentials].concat())),
    };
    let answer = axigen.wire.send(&request).await?;
    judge_login(axigen, &answer)
}

fn judge_login(axigen: &Axigen, answer: &Answer) -> Result<Login, Outage> {
    if let Some(outage) = answer.outage() {
        return Err(outage);
    }
    let location = answer.location();
    match location {
        Some(Location::Elsewhere) => return Err(Outage::Protocol(ELSEWHERE.to_owned())),
        Some(Location::Unreadable) => return Err(Outage::Protocol("it redirects to something unreadable".to_owned())),
        Some(Location::Here { .. }) | None => {}
    }
    // The public page's own parameter, known from its source (seen).
    if location.as_ref().is_some_and(|location| location.query_value("passwordExpired").is_some()) {
        return Ok(Login::Refused(Refusal::Expired));
    }
    let body = answer.text();
    if says_no(&body) || answer.status() == 401 || (answer.status() == 200 && is_login_page(axigen, &body)) {
        return Ok(Login::Refused(Refusal::Credentials));
    }
    if !matches!(answer.status(), 200 | 302 | 303) {
        return Err(Outage::Protocol(format!("it answered a login with status {}", answer.status())));
    }
    // The documented sample has two different keys, in `Location` and in the body. The first is the
    // one that a browser would go on with.
    let url_key = location.as_ref().and_then(|location| location.query_value(&axigen.settings.url_key));
    let url_key = url_key.or_else(|| session_key(&body));
    match (axigen.session_cookie(answer), url_key) {
        (Some(cookie), Some(url_key)) => Ok(Login::Opened(axigen.keys(&cookie, &url_key)?)),
        (cookie, None) if answer.redirects() && location.is_some_and(|to| is_public(axigen, &to, cookie.is_some())) => {
            Ok(Login::Refused(Refusal::Credentials))
        }
        (Some(_), None) => Err(Outage::Protocol("it gave a cookie, but no key for the query".to_owned())),
        (None, Some(_)) => Err(Outage::Protocol("it gave a key for the query, but no cookie".to_owned())),
        (None, None) => Err(Outage::Protocol("it is neither a session nor the login page".to_owned())),
    }
}

pub(super) async fn check(axigen: &Axigen, keys: &SessionKeys) -> Result<Liveness, Outage> {
    let target = Axigen::with_key(&axigen.settings.keep_alive_path, keys, "");
    let request = Request::get(target).cookies(keys.cookies()).repeatable().beginning_only();
    let answer = axigen.wire.send(&request).await?.or_outage()?;
    // How a dead session is answered is not published (assumed: by the login page, in some way).
    match answer.status() {
        200 if is_login_page(axigen, &answer.text()) => Ok(Liveness::Dead),
        200 => Ok(Liveness::Alive),
        401 => Ok(Liveness::Dead),
        _ if answer.redirects() => match answer.location() {
            Some(location @ Location::Here { .. }) => {
                let held = keys.query().split_once('=').map(|(_, value)| value.to_owned());
                let goes_on = location.query_value(&axigen.settings.url_key);
                Ok(if goes_on.is_some() && goes_on == held { Liveness::Alive } else { Liveness::Dead })
            }
            _ => Err(Outage::Protocol(ELSEWHERE.to_owned())),
        },
        status => Err(Outage::Protocol(format!("it answered a check with status {status}"))),
    }
}

pub(super) async fn logout(axigen: &Axigen, keys: &SessionKeys) -> Result<(), Outage> {
    let target = Axigen::with_key(&axigen.settings.logout_path, keys, "action=logout");
    let request = Request::get(target).cookies(keys.cookies()).repeatable().beginning_only();
    // The answer is not published, so any complete one has ended the session.
    axigen.wire.send(&request).await?.or_outage().map(drop)
}

/// Whether a redirect without a key leads to the public login page: `/index.hsp` (seen), or the
/// root, unless a session cookie came with it: then it is half a session, and nobody knows.
fn is_public(axigen: &Axigen, location: &Location, with_cookie: bool) -> bool {
    let Location::Here { path, .. } = location else { return false };
    let root = path.ends_with('/') || *path == axigen.settings.login_path;
    path.ends_with("/index.hsp") || (root && !with_cookie)
}

fn is_login_page(axigen: &Axigen, body: &str) -> bool {
    let body = body.to_ascii_lowercase();
    axigen.settings.login_page_marks.iter().any(|mark| body.contains(mark.as_str()))
}

/// The body's names stand without quotes (documented sample), so it is no JSON.
fn says_no(body: &str) -> bool {
    value_after(body, "success").is_some_and(|value| value.starts_with("false"))
}

fn session_key(body: &str) -> Option<String> {
    let value = value_after(body, "sessionKey")?;
    let key: String = value.chars().take_while(|c| !matches!(c, '"' | '\'')).take(129).collect();
    // A longer one would be cut into a harmless shape.
    is_key(&key).then_some(key)
}

/// What follows `name:` in something like JSON, without blanks and an opening quote.
fn value_after<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    if !body.trim_start().starts_with('{') {
        return None;
    }
    let after = body.split_once(name)?.1.trim_start_matches(['"', '\'']).trim_start();
    Some(after.strip_prefix(':')?.trim_start().trim_start_matches(['"', '\'']))
}
