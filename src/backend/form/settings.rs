//! What is configured, read with all its mistakes.

use regex::Regex;

use super::conditions::Conditions;
use super::cookies::{CookieName, Jar};
use super::exchange::{Exchange, is_path, template};
use super::pattern;
use super::source::Source;
use super::template::{Phase, Scope, Template, Values};
use crate::backend::{Binding, MOST_SCRIPT_COOKIES, Refusal, ScriptCookie};
use crate::config::Section;
use crate::domain::{Outage, SessionKeys, SessionKeysBuilder, SessionKeysError};
use crate::wire::Answer;

/// All of one back-end of this kind.
pub(super) struct Settings {
    /// `login_pattern`: names that the application takes as they are; others are not sent.
    pub login_pattern: Option<Regex>,
    /// `[prefetch]`: the page with the form, where one must be fetched first.
    pub prefetch: Option<Step>,
    /// `[submit]`: the login itself.
    pub submit: Step,
    /// `[success]`: how a session is told.
    pub success: Conditions,
    /// `[[refusal]]`: how a no is told, and which.
    pub refusals: Vec<(Meaning, Conditions)>,
    /// `[keys]`: what opens the session.
    pub keys: Keys,
    /// `[keep_alive]`.
    pub keep_alive: KeepAlive,
    /// `[logout]`; the session is left to end by itself where there is none.
    pub logout: Option<Exchange>,
    /// `first_page`: where a browser begins.
    pub first_page: String,
    /// `bind`: what the application ties sessions to.
    pub binding: Binding,
    /// The placeholders whose values must be kept as long as the session.
    pub kept: Vec<String>,
    /// Whether a password is sent at all.
    pub wants_password: bool,
}

/// A request of a login, and what is taken from its answer.
pub(super) struct Step {
    pub exchange: Exchange,
    takes: Vec<(String, Source)>,
}

/// What a no means.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    Refused(Refusal),
    /// Nobody can sign this person in for a while.
    Locked,
}

/// What the web server must add to each request.
pub(super) struct Keys {
    cookies: Vec<CookieName>,
    /// Cookies that are the application's without being keys.
    owned: Vec<CookieName>,
    /// `script_cookies`: keys that the browser gets as well.
    pub for_scripts: Vec<ScriptCookie>,
    query: Option<(String, Template)>,
    pub authorization: Option<Template>,
}

/// How a session is asked about.
pub(super) struct KeepAlive {
    pub exchange: Exchange,
    pub alive: Conditions,
    pub dead: Conditions,
    /// `renew_cookies`: whether keys among the cookies of the answer are taken over.
    pub renew_cookies: bool,
}

impl Settings {
    pub(super) fn read(section: &mut Section) -> Self {
        let mut scope = Scope::default();
        let login_pattern = section.text("login_pattern").and_then(|text| {
            // In a part of a name anything could stand around it.
            let whole = pattern(&text).and_then(|_| pattern(&format!(r"\A(?:{text})\z")));
            whole.map_err(|error| section.mistake("login_pattern", &error)).ok()
        });
        let is_prefetched = section.has("prefetch");
        let mut table = section.section("prefetch");
        let prefetch = is_prefetched.then(|| Step::read(&mut table, &mut scope, Exchange::read_get));
        table.finish();
        let mut table = section.section("submit");
        let submit = Step::read(&mut table, &mut scope, |table, scope| Exchange::read(table, Phase::Submit, scope));
        table.finish();
        let success = conditions(section, "success", "what the answer to a good login looks like");
        if success.tell_by_status_alone() {
            section.warn("success", "tells a session by the status alone; name a cookie, an address or a text as well");
        }
        let refusals = refusals(section);
        let mut table = section.section("keys");
        let keys = Keys::read(&mut table, &mut scope);
        table.finish();
        let keep_alive = KeepAlive::read(section, &mut scope);
        let logout = logout(section, &mut scope);
        note_what_is_unused(section, &scope, prefetch.as_ref(), &submit);
        Self {
            login_pattern,
            prefetch,
            submit,
            success,
            refusals,
            keys,
            keep_alive,
            logout,
            first_page: first_page(section),
            binding: Binding::read(section, Binding::default()),
            kept: scope.kept(),
            wants_password: scope.is_used("password"),
        }
    }
}

impl Step {
    fn read(table: &mut Section, scope: &mut Scope, read: impl Fn(&mut Section, &mut Scope) -> Exchange) -> Self {
        let exchange = read(table, scope);
        let mut list = table.section("take");
        let mut takes = Vec::new();
        for (name, text) in list.all_texts() {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if !name.bytes().all(plain) || !scope.take(&name) {
                list.mistake(&name, "must be a name of its own: a-z, 0-9 and _, not login or password, and used once");
            }
            match Source::parse(&text) {
                Ok(source) => takes.push((name, source)),
                Err(error) => list.mistake(&name, &error),
            }
        }
        Self { exchange, takes }
    }

    /// The values of an answer, all of which must be there.
    pub fn take(&self, table: &str, answer: &Answer) -> Result<Vec<(String, String)>, Outage> {
        let mut taken = Vec::new();
        for (name, source) in &self.takes {
            let Some(value) = source.take(answer) else {
                return Err(Outage::Protocol(format!("its answer has no {name}; see {table}.take.{name}")));
            };
            taken.push((name.clone(), value));
        }
        Ok(taken)
    }
}

impl Keys {
    fn read(table: &mut Section, scope: &mut Scope) -> Self {
        let cookies = CookieName::read(table, "cookies");
        let owned = CookieName::read(table, "owned_cookies");
        let for_scripts = script_cookies(table, &cookies);
        let mut text = |table: &mut Section, key| {
            let text = table.text(key)?;
            Some(template(table, key, &text, Phase::Keys, scope))
        };
        let query_value = text(table, "query_value");
        let authorization = text(table, "authorization");
        let query_name = table.text("query_name");
        if query_name.is_some() != query_value.is_some() {
            table.mistake("query_name", "and query_value belong together; write both or none");
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if query_name.as_ref().is_some_and(|name| name.is_empty() || !name.bytes().all(plain)) {
            table.mistake("query_name", "must have letters, digits, '-', '.', '_' and '~' only");
        }
        let query = query_name.zip(query_value);
        if cookies.is_empty() && query.is_none() && authorization.is_none() {
            table.mistake_here("names no key; write cookies, query_name with query_value, or authorization");
        }
        Self { cookies, owned, for_scripts, query, authorization }
    }

    /// Whether nothing but the key in the query opens a session.
    pub fn are_query_alone(&self) -> bool {
        self.query.is_some() && self.cookies.is_empty() && self.authorization.is_none()
    }

    /// The keys, if a login left all of them.
    pub fn build(&self, jar: &Jar, values: &Values<'_>) -> Result<SessionKeysBuilder, Outage> {
        if let Some(name) = self.missing(jar) {
            return Err(Outage::Protocol(format!("it set no cookie {name}; see keys.cookies")));
        }
        let mut builder = self.with_cookies(SessionKeys::builder(), jar)?;
        if let Some((name, value)) = &self.query {
            builder = builder.query(name, &value.fill(values)?).map_err(odd)?;
        }
        if let Some(authorization) = &self.authorization {
            builder = builder.authorization(&authorization.fill(values)?).map_err(odd)?;
        }
        Ok(builder)
    }

    /// Held keys after an answer in their session; nothing where it took one of them away.
    pub fn renewed(&self, keys: &SessionKeys, answer: &Answer) -> Result<Option<SessionKeys>, Outage> {
        let mut jar = Jar::of(keys.cookies());
        jar.obey(answer);
        if self.missing(&jar).is_some() {
            return Ok(None);
        }
        self.with_cookies(keys.without_cookies(), &jar)?.build().map(Some).map_err(odd)
    }

    fn missing(&self, jar: &Jar) -> Option<&CookieName> {
        self.cookies.iter().find(|name| jar.named(name).next().is_none())
    }

    fn with_cookies(&self, mut builder: SessionKeysBuilder, jar: &Jar) -> Result<SessionKeysBuilder, Outage> {
        for (name, value) in self.cookies.iter().flat_map(|name| jar.named(name)) {
            builder = builder.cookie(name, value).map_err(odd)?;
        }
        Ok(builder)
    }

    pub fn query_name(&self) -> Option<&str> {
        self.query.as_ref().map(|(name, _)| name.as_str())
    }

    pub fn own(&self, name: &[u8]) -> bool {
        self.cookies.iter().chain(&self.owned).any(|own| own.may_be(name))
    }
}

impl KeepAlive {
    fn read(section: &mut Section, scope: &mut Scope) -> Self {
        let mut table = section.section("keep_alive");
        let exchange = Exchange::read(&mut table, Phase::Session, scope);
        let alive = conditions(&mut table, "alive", "what the answer in a living session looks like");
        let dead = conditions(&mut table, "dead", "what the answer looks like when the session is gone");
        let renew_cookies = table.flag("renew_cookies", true);
        table.finish();
        Self { exchange, alive, dead, renew_cookies }
    }
}

fn script_cookies(table: &mut Section, keys: &[CookieName]) -> Vec<ScriptCookie> {
    let names = table.texts("script_cookies").unwrap_or_default();
    if names.len() > MOST_SCRIPT_COOKIES {
        table.mistake("script_cookies", &format!("has more than {MOST_SCRIPT_COOKIES}; no web server hands on more"));
    }
    for (index, name) in names.iter().enumerate() {
        if name.ends_with('*') || !keys.iter().any(|key| key.is(name)) {
            let remedy = "must be the whole name of one of the cookies above";
            table.mistake(&format!("script_cookies[{}]", index + 1), remedy);
        }
    }
    names.into_iter().map(|name| ScriptCookie { name: name.into(), path: "/" }).collect()
}

fn note_what_is_unused(section: &Section, scope: &Scope, prefetch: Option<&Step>, submit: &Step) {
    for (table, step) in [("prefetch", prefetch), ("submit", Some(submit))] {
        for (name, _) in step.iter().flat_map(|step| &step.takes).filter(|(name, _)| !scope.is_used(name)) {
            let remedy = format!("is never used; write {{{name}}} where it is needed, or cut this line");
            section.mistake(&format!("{table}.take.{name}"), &remedy);
        }
    }
    if !scope.is_sent("login") {
        let remedy = "never sends {login}, so everybody would be signed in as one person; write it into fields or path";
        section.mistake("submit", remedy);
    }
}

fn odd(error: SessionKeysError) -> Outage {
    Outage::Protocol(error.to_string())
}

fn conditions(section: &mut Section, key: &'static str, what: &str) -> Conditions {
    if !section.has(key) {
        section.mistake(key, &format!("is missing; write a table that says {what}"));
    }
    let mut table = section.section(key);
    let conditions = Conditions::read(&mut table);
    if conditions.is_empty() {
        table.mistake_here(&format!("fits every answer; say {what}"));
    }
    table.finish();
    conditions
}

fn refusals(section: &mut Section) -> Vec<(Meaning, Conditions)> {
    const MEANINGS: [(&str, Meaning); 4] = [
        ("refused", Meaning::Refused(Refusal::Credentials)),
        ("expired", Meaning::Refused(Refusal::Expired)),
        ("interactive", Meaning::Refused(Refusal::Interactive)),
        ("locked", Meaning::Locked),
    ];
    if !section.has("refusal") {
        let remedy = "is missing; write [[backend.refusal]] with what the answer to a wrong password looks like, \
                      and nothing else does";
        section.mistake("refusal", remedy);
    }
    let mut refusals = Vec::new();
    for mut table in section.sections("refusal", "means") {
        let meaning = table.choice("means", MEANINGS[0].1, &MEANINGS);
        let conditions = Conditions::read(&mut table);
        if conditions.is_empty() {
            table.mistake_here("fits every answer; say what this one looks like, and nothing else does");
        }
        table.finish();
        refusals.push((meaning, conditions));
    }
    refusals
}

fn logout(section: &mut Section, scope: &mut Scope) -> Option<Exchange> {
    let written = section.has("logout");
    if !written {
        section.warn("logout", "is left out, so sessions stay open at the application until they end by themselves");
    }
    let mut table = section.section("logout");
    if written {
        let exchange = Exchange::read(&mut table, Phase::Session, scope);
        table.finish();
        return Some(exchange);
    }
    None
}

fn first_page(section: &mut Section) -> String {
    let text = section.text("first_page").unwrap_or_else(|| "/".to_owned());
    if !is_path(&text) || text.contains('?') {
        section.mistake("first_page", "must be a path such as \"/inbox\", without a query");
    }
    text
}
