//! Kind `form`: any application with a login form or a JSON login, described in the configuration.
//!
//! Nothing of an application is known here: which page comes first, what is sent, how a session is
//! told from a refusal, what the keys are, how a session is kept and ended are all settings, and an
//! answer that fits none of them, or two that exclude each other, is an outage. What is taken for
//! granted of any application is what browsers do: cookies are obeyed in their order, a redirect to
//! another scheme, host or port is not followed, and the browser's own `User-Agent`, `Accept-Language`
//! and address go along with a login.
//!
//! Verified with `examples/form/keyward.toml` against Roundcube 1.6, and with two more configurations
//! against the stand-in for another webmail: a login with a key in the query, and a JSON login.
//!
//! What a description cannot do is to *ask*: an application whose refusals differ in a sentence, in
//! the person's language, must have these sentences listed.

mod conditions;
mod cookies;
mod exchange;
mod memo;
mod settings;
mod source;
mod template;
#[cfg(test)]
mod tests;

use futures_util::future::BoxFuture;

use self::cookies::Jar;
use self::memo::Memo;
use self::settings::{Meaning, Settings};
use self::template::Values;
use super::{Attempt, Backend, Binding, Kind, Liveness, Login, Outage, Refusal, ScriptCookie};
use crate::config::Section;
use crate::domain::{ExposeSecret, SessionKeys, SessionKeysBuilder};
use crate::wire::{Answer, Location, Request, Wire};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "form", build };

fn build(section: &mut Section, wire: Wire) -> Box<dyn Backend> {
    Box::new(Form { settings: Settings::read(section), wire })
}

struct Form {
    settings: Settings,
    wire: Wire,
}

impl Backend for Form {
    fn login<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>> {
        Box::pin(self.sign_in(attempt))
    }

    fn foresees(&self, attempt: &Attempt) -> Option<Refusal> {
        let login = &attempt.login;
        let fits = self.settings.login_pattern.as_ref().is_none_or(|pattern| pattern.is_match(login));
        (login.is_empty() || !fits).then_some(Refusal::Credentials)
    }

    fn check<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<Liveness, Outage>> {
        Box::pin(self.keep_alive(keys))
    }

    fn logout<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<(), Outage>> {
        Box::pin(async {
            let Some(exchange) = &self.settings.logout else { return Ok(()) };
            let memo = Memo::read(keys.memo());
            let request = with_keys(exchange.request(&later(&memo), &memo.browser())?, keys);
            self.wire.send(&request.repeatable().beginning_only()).await?.or_outage().map(drop)
        })
    }

    fn owns_cookie(&self, name: &[u8]) -> bool {
        self.settings.keys.own(name)
    }

    fn script_cookies(&self) -> &[ScriptCookie] {
        &self.settings.keys.for_scripts
    }

    fn query_key(&self) -> Option<&str> {
        self.settings.keys.query_name()
    }

    fn opens_by_query(&self) -> bool {
        self.settings.keys.are_query_alone()
    }

    fn takes_authorization(&self) -> bool {
        self.settings.keys.authorization.is_some()
    }

    fn wants_password(&self) -> bool {
        self.settings.wants_password
    }

    fn entry(&self, keys: &SessionKeys) -> String {
        let separator = if keys.query().is_empty() { "" } else { "?" };
        format!("{}{separator}{}", self.settings.first_page, keys.query())
    }

    fn binding(&self) -> Binding {
        self.settings.binding
    }
}

impl Form {
    async fn sign_in(&self, attempt: &Attempt) -> Result<Login, Outage> {
        let settings = &self.settings;
        let password = attempt.password.as_ref().map(|password| password.expose_secret());
        if settings.wants_password && password.is_none() {
            return Ok(Login::Refused(Refusal::Credentials));
        }
        let Some(memo) = Memo::of(&attempt.client, settings.binding) else {
            // One browser is odd; neither the application nor other people must suffer for it.
            tracing::warn!("a browser's headers are too long to open a session that is bound to them");
            return Err(Outage::Locked { retry_after: None });
        };
        let browser = memo::browser(&attempt.client);
        let login = Some(attempt.login.as_str());
        let mut jar = Jar::default();
        let mut taken = Vec::new();
        if let Some(step) = &settings.prefetch {
            let values = Values { login, password: None, taken: &taken };
            let page = self.wire.send(&step.exchange.request(&values, &browser)?).await?;
            is_page(&page)?;
            jar.obey(&page);
            taken = step.take("prefetch", &page)?;
        }
        let values = Values { login, password, taken: &taken };
        let request = settings.submit.exchange.request(&values, &browser)?.cookies(&jar.header());
        let answer = self.wire.send(&request).await?;
        if let Some(refusal) = self.judge(&answer)? {
            return Ok(Login::Refused(refusal));
        }
        jar.obey(&answer);
        taken.extend(settings.submit.take("submit", &answer)?);
        self.opened(&jar, &attempt.login, &taken, memo).map(Login::Opened)
    }

    /// Nothing where the answer opens a session, else which refusal it is.
    fn judge(&self, answer: &Answer) -> Result<Option<Refusal>, Outage> {
        is_from_here(answer)?;
        let refusal = self.settings.refusals.iter().position(|(_, conditions)| conditions.hold(answer));
        match (self.settings.success.hold(answer), refusal) {
            (true, None) => Ok(None),
            (false, Some(index)) => match self.settings.refusals[index].0 {
                Meaning::Refused(refusal) => Ok(Some(refusal)),
                Meaning::Locked => Err(Outage::Locked { retry_after: None }),
            },
            (true, Some(index)) => Err(Outage::Protocol(format!(
                "its answer to a login fits success and refusal[{}] alike; make them exclude each other",
                index + 1
            ))),
            (false, None) => Err(Outage::Protocol(format!(
                "its answer to a login, with status {}, fits neither success nor a refusal",
                answer.status()
            ))),
        }
    }

    fn opened(
        &self,
        jar: &Jar,
        login: &str,
        taken: &[(String, String)],
        mut memo: Memo,
    ) -> Result<SessionKeys, Outage> {
        let values = Values { login: Some(login), password: None, taken };
        let value = |name: &String| Some((name.clone(), values.get(name)?.to_owned()));
        memo.values = self.settings.kept.iter().filter_map(value).collect();
        let builder = self.settings.keys.build(jar, &values)?;
        let keys = builder.memo(memo.write()).and_then(SessionKeysBuilder::build);
        keys.map_err(|error| Outage::Protocol(error.to_string()))
    }

    async fn keep_alive(&self, keys: &SessionKeys) -> Result<Liveness, Outage> {
        let keep_alive = &self.settings.keep_alive;
        let memo = Memo::read(keys.memo());
        if self.settings.kept.iter().any(|name| memo.value(name).is_none()) {
            // Opened before the configuration was changed: nobody can ask about it any more.
            return Ok(Liveness::Dead);
        }
        let request = with_keys(keep_alive.exchange.request(&later(&memo), &memo.browser())?, keys);
        let answer = self.wire.send(&request.repeatable()).await?;
        is_from_here(&answer)?;
        match (keep_alive.alive.hold(&answer), keep_alive.dead.hold(&answer)) {
            (true, false) if keep_alive.renew_cookies => self.still_alive(&answer, keys),
            (true, false) => Ok(Liveness::Alive),
            (false, true) => Ok(Liveness::Dead),
            (both, _) => Err(Outage::Protocol(format!(
                "its answer to a keep-alive, with status {}, fits {} of keep_alive.alive and keep_alive.dead",
                answer.status(),
                if both { "both" } else { "neither" }
            ))),
        }
    }

    fn still_alive(&self, answer: &Answer, keys: &SessionKeys) -> Result<Liveness, Outage> {
        Ok(match self.settings.keys.renewed(keys, answer)? {
            None => Liveness::Dead,
            Some(renewed) if renewed == *keys => Liveness::Alive,
            Some(renewed) => Liveness::Renewed(renewed),
        })
    }
}

fn later(memo: &Memo) -> Values<'_> {
    Values { login: memo.value("login"), password: None, taken: &memo.values }
}

fn with_keys(request: Request, keys: &SessionKeys) -> Request {
    request.cookies(keys.cookies()).header("authorization", keys.authorization().as_bytes())
}

fn is_from_here(answer: &Answer) -> Result<(), Outage> {
    if let Some(outage) = answer.outage() {
        return Err(outage);
    }
    if answer.redirects() && !matches!(answer.location(), Some(Location::Here { .. })) {
        return Err(Outage::Protocol("it redirects to another scheme, host or port; see url and host".to_owned()));
    }
    Ok(())
}

fn is_page(answer: &Answer) -> Result<(), Outage> {
    is_from_here(answer)?;
    if answer.redirects() {
        return Err(Outage::Protocol("its login page is elsewhere; see prefetch.path".to_owned()));
    }
    match answer.status() {
        200 => Ok(()),
        status => Err(Outage::Protocol(format!("it answered the request for its login page with status {status}"))),
    }
}

/// A pattern, which takes time in proportion to the text, whatever it is.
fn pattern(text: &str) -> Result<regex::Regex, String> {
    regex::Regex::new(text).map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("does not compile as a regular expression: {reason}")
    })
}
