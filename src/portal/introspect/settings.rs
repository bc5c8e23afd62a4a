//! What can be set for the kind `introspect`.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::config::{Names, Section};
use crate::domain::{ExposeSecret, Secret};
use crate::portal::read_cookie_name;
use crate::wire::{HeaderName, Method, is_header_value};

/// Printed in the documentation of this program.
const EXAMPLE_SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// Statuses that can be made to mean that nobody is signed in. 200 has an answer to be read, 429 and those
/// of servers that fail say nothing about anybody.
const REFUSING: std::ops::RangeInclusive<u64> = 201..=428;
/// Headers that say what the request is, where it goes or for whom it speaks: no browser has a say in them.
const NOT_FORWARDED: [&str; 16] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
];
/// Beginnings of the names of such headers.
const NOT_FORWARDED_BEGINNINGS: [&str; 4] = ["proxy-", "x-forwarded-", "x-keyward-", "x-original-"];
/// Headers that are made for each request.
const FRAMING: [&str; 6] = ["connection", "content-length", "content-type", "cookie", "host", "transfer-encoding"];
/// Shortest `cache_for`.
const SHORTEST_CACHE: Duration = Duration::from_secs(1);
/// Is made from the browser's address, whatever it says itself.
pub(super) const ADDRESS_HEADER: &str = "x-forwarded-for";

/// The settings of one such portal.
pub(super) struct Settings {
    /// `cookie`: the portal's own session cookie.
    pub cookie: String,
    pub call: CallSettings,
    pub reading: Reading,
    pub times: Times,
}

/// How long what is known counts.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// `cache_for`: a yes is not asked for again for this time.
    pub cache_for: Duration,
    /// `refused_for`: neither is a no.
    pub refused_for: Duration,
    /// `grace`: how long a yes still counts after that, while the portal cannot be asked.
    pub grace: Duration,
    /// `session_lifetime`: when a session ends that the portal names no end for, counted from its last yes.
    pub session_lifetime: Duration,
}

/// What is needed to call the portal.
pub(super) struct CallSettings {
    pub url: Url,
    /// `host`: the `Host` header, where it is not the one in `url`.
    pub host: Option<String>,
    pub method: Method,
    pub handing: Handing,
    /// `forward_headers`.
    pub forwarded: Vec<HeaderName>,
    /// `[portal.headers]`, and the secret in its own.
    pub fixed: Vec<(HeaderName, Secret)>,
    /// `timeout`: longest wait for one answer.
    pub timeout: Duration,
    /// `logout_url`: where the portal is told that somebody signed out here.
    pub logout_url: Option<Url>,
    pub logout_method: Method,
}

/// `cookie_as`: how the cookie's value is handed over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Handing {
    /// As the browser would.
    Cookie,
    /// As a field of a form.
    Form,
    /// As a member of a JSON object.
    Json,
}

/// How an answer is read.
pub(super) struct Reading {
    /// `refused_statuses`.
    pub refused_statuses: Vec<u64>,
    /// `active_is`: what the member `active` must be; empty where the answer has no such member.
    pub active_is: Vec<Value>,
    /// `inactive_is`: what it is where nobody is signed in.
    pub inactive_is: Vec<Value>,
    pub members: Members,
}

/// `[portal.members]`.
pub(super) struct Members {
    pub active: Names,
    pub sid: Names,
    pub user: Names,
    pub name: Names,
    pub email: Names,
    pub roles: Names,
    pub expires: Names,
    pub password: Names,
}

impl Settings {
    pub(super) fn read(section: &mut Section) -> Self {
        Self {
            cookie: read_cookie_name(section),
            call: CallSettings::read(section),
            reading: Reading::read(section),
            times: Times::read(section),
        }
    }
}

impl Times {
    fn read(section: &mut Section) -> Self {
        let cache_for = section.duration("cache_for", Duration::from_secs(30));
        if cache_for < SHORTEST_CACHE {
            section.mistake("cache_for", "must be at least a second: shorter ones are over before they are of use");
        }
        Self {
            cache_for,
            refused_for: section.duration("refused_for", Duration::from_secs(2)),
            grace: section.duration("grace", Duration::from_secs(300)),
            session_lifetime: section.duration("session_lifetime", Duration::from_secs(8 * 3600)),
        }
    }
}

impl CallSettings {
    fn read(section: &mut Section) -> Self {
        let methods = [("get", true), ("post", false)];
        let method = |is_get: bool| if is_get { Method::GET } else { Method::POST };
        let is_get = section.choice("method", true, &methods);
        let handing = section.choice(
            "cookie_as",
            Handing::Cookie,
            &[("cookie", Handing::Cookie), ("form", Handing::Form), ("json", Handing::Json)],
        );
        if handing != Handing::Cookie && is_get {
            section.mistake("cookie_as", "needs method = \"post\" for \"form\" and \"json\": a GET has no body");
        }
        let url = section.required_url("url");
        let logout_url = section.url("logout_url");
        if logout_url.as_ref().is_some_and(|logout| logout.origin() != url.origin()) {
            section.mistake("logout_url", "must be on the same server as url");
        }
        Self {
            host: section.text("host"),
            method: method(is_get),
            handing,
            forwarded: forwarded(section),
            fixed: fixed_headers(section),
            timeout: section.duration("timeout", Duration::from_secs(5)),
            logout_url,
            logout_method: method(section.choice("logout_method", false, &methods)),
            url,
        }
    }
}

/// Reads `forward_headers`.
fn forwarded(section: &mut Section) -> Vec<HeaderName> {
    let default = || ["User-Agent", "Accept-Language", ADDRESS_HEADER].map(str::to_owned).to_vec();
    let names = section.texts("forward_headers").unwrap_or_else(default);
    let mut forwarded = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let place = format!("forward_headers[{}]", index + 1);
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) if may_be_forwarded(name.as_str()) => forwarded.push(name),
            Ok(_) => {
                section.mistake(&place, "says what a request is or for whom it speaks, which no browser has a say in");
            }
            Err(_) => section.mistake(&place, "must be the name of a header"),
        }
    }
    forwarded
}

fn may_be_forwarded(name: &str) -> bool {
    let is_ours = NOT_FORWARDED.contains(&name) || NOT_FORWARDED_BEGINNINGS.iter().any(|start| name.starts_with(start));
    name == ADDRESS_HEADER || !is_ours
}

/// Reads `[portal.headers]`, `secret` and `secret_header`.
fn fixed_headers(section: &mut Section) -> Vec<(HeaderName, Secret)> {
    let place = if section.has("secret_file") { "secret_file" } else { "secret" };
    let given = section.has("secret") || section.has("secret_file");
    let secret = section.secret("secret", "secret_file");
    let secret_header = section.text("secret_header");
    if !given && secret_header.is_some() {
        section.mistake("secret_header", "has no secret to carry; give secret or secret_file");
    }
    let mut table = section.section("headers");
    let mut fixed = Vec::new();
    for (name, value) in table.all_texts() {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(known) if FRAMING.contains(&known.as_str()) => table.mistake(&name, "is made by Keyward itself"),
            Ok(known) if is_header_value(&value) && !value.is_empty() => fixed.push((known, Secret::from(value))),
            Ok(_) => table.mistake(&name, "must be a text that can stand in a header"),
            Err(_) => table.mistake(&name, "must be the name of a header"),
        }
    }
    table.finish();
    let Some(secret) = secret else { return fixed };
    let plain = secret.expose_secret();
    if !plain.bytes().all(|byte| byte.is_ascii_graphic()) {
        section.mistake(place, "must be printable, without blanks: it is sent in a header");
    }
    if plain == EXAMPLE_SECRET {
        section.warn(place, "is the one from the examples, which everybody knows; make your own: openssl rand -hex 32");
    }
    let header = secret_header.unwrap_or_else(|| "Authorization".to_owned());
    match HeaderName::from_bytes(header.as_bytes()) {
        Ok(name) if name == "authorization" => fixed.push((name, Secret::from(format!("Bearer {plain}")))),
        Ok(name) => fixed.push((name, secret)),
        Err(_) => section.mistake("secret_header", "must be the name of a header"),
    }
    fixed
}

impl Reading {
    fn read(section: &mut Section) -> Self {
        let refused_statuses = section.integers("refused_statuses", REFUSING);
        let active_is = json_texts(section, "active_is", &[Value::Bool(true)]);
        let inactive_is = json_texts(section, "inactive_is", &[Value::Bool(false)]);
        if active_is.iter().any(|value| inactive_is.contains(value)) {
            section.mistake("inactive_is", "has a value that is in active_is, too; it cannot mean both");
        }
        Self { refused_statuses, active_is, inactive_is, members: Members::read(section) }
    }
}

/// A list of values as they stand in JSON.
fn json_texts(section: &mut Section, key: &'static str, default: &[Value]) -> Vec<Value> {
    let Some(texts) = section.texts(key) else { return default.to_vec() };
    let mut values = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match serde_json::from_str(text) {
            Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => values.push(value),
            _ => section.mistake(
                &format!("{key}[{}]", index + 1),
                "must be true, false, a number or a text, as it stands in JSON, such as 'true' or '\"yes\"'",
            ),
        }
    }
    values
}

impl Members {
    fn read(section: &mut Section) -> Self {
        let mut members = section.section("members");
        let read = Self {
            // The first of each as in RFC 7662, section 2.2, where it has one.
            active: Names::read(&mut members, "active", &["active"]),
            sid: Names::read(&mut members, "sid", &["sid"]),
            user: Names::read(&mut members, "user", &["username", "user", "sub"]),
            name: Names::read(&mut members, "name", &["name"]),
            email: Names::read(&mut members, "email", &["email"]),
            roles: Names::read(&mut members, "roles", &["roles"]),
            expires: Names::read(&mut members, "expires", &["exp", "expires"]),
            password: Names::read(&mut members, "password", &["password"]),
        };
        members.finish();
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let mut section = Section::from_toml(text).unwrap();
        let _ = Settings::read(&mut section);
        section.finish_and_list()
    }

    trait List {
        fn finish_and_list(self) -> Vec<String>;
    }

    impl List for Section {
        fn finish_and_list(self) -> Vec<String> {
            let noted = self.mistakes().into_iter().map(|mistake| mistake.key).collect();
            self.finish();
            noted
        }
    }

    #[test]
    fn settings_that_mean_nothing_or_too_much_are_mistakes() {
        let whole = "cookie = 's'\nurl = 'https://p.test/who?x=1'\n";
        for (text, key) in [
            ("", None),
            ("method = 'PUT'", Some("method")),
            ("cookie_as = 'form'", Some("cookie_as")),
            ("method = 'post'\ncookie_as = 'json'", None),
            ("forward_headers = []", None),
            ("forward_headers = ['X-Device', 'X-Forwarded-For']", None),
            ("forward_headers = ['a b']", Some("forward_headers[1]")),
            ("forward_headers = ['User-Agent', 'Host']", Some("forward_headers[2]")),
            ("forward_headers = ['X-Forwarded-Host']", Some("forward_headers[1]")),
            ("forward_headers = ['AUTHORIZATION']", Some("forward_headers[1]")),
            ("forward_headers = ['Cookie']", Some("forward_headers[1]")),
            ("secret = ''", Some("secret")),
            ("secret = 'a b'", Some("secret")),
            ("secret = \"a\\nb\"", Some("secret")),
            ("secret_header = 'X-Key'", Some("secret_header")),
            ("secret = 'k'\nsecret_header = 'X Key'", Some("secret_header")),
            ("refused_statuses = [401, 302, 204]", None),
            ("refused_statuses = [200]", Some("refused_statuses")),
            ("refused_statuses = [503]", Some("refused_statuses")),
            ("active_is = []", None),
            ("active_is = ['yes']", Some("active_is[1]")),
            ("active_is = ['true', '1', '\"yes\"']", None),
            ("active_is = ['null']", Some("active_is[1]")),
            ("active_is = ['false']", Some("inactive_is")),
            ("grace = '0s'", Some("grace")),
            ("cache_for = '999ms'", Some("cache_for")),
            ("logout_url = 'https://elsewhere.test/out'", Some("logout_url")),
            ("logout_url = 'https://p.test/out'", None),
            ("[headers]\nX-Requested-With = 'keyward'", None),
            ("[headers]\nX-Bad = \"a\\nb\"", Some("headers.X-Bad")),
            ("[headers]\nCookie = 'a=b'", Some("headers.Cookie")),
            ("[members]\nuser = []", Some("members.user")),
            ("[members]\nusers = ['a']", Some("members.users")),
        ] {
            let expected: Vec<&str> = key.into_iter().collect();
            let found = mistakes(&format!("{whole}{text}"));
            // What is not known is noted last, when it is too late to look.
            let expected = if key == Some("members.users") { vec!["members.users"] } else { expected };
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(mistakes("cookie = 's'"), ["url"]);
        assert_eq!(mistakes("url = 'https://p.test/'"), ["cookie"]);
        assert_eq!(mistakes("cookie = 'a b'\nurl = 'p.test'"), ["cookie", "url"]);
    }
}
