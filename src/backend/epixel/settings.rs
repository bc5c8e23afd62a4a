//! What can be set for the kind `epixel`.

use std::time::Duration;

use crate::config::{Names, Section};
use crate::domain::{ApiKey, ExposeSecret, Secret};
use crate::wire::{Hs256, Wire};

/// Shortest key of a client and shortest secret for tokens, in bytes.
const SHORTEST_KEY: usize = 32;

/// Printed in the documentation of this program.
const EXAMPLE_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// The settings of one client service.
pub(super) struct Settings {
    /// The back-end's name in the configuration.
    pub backend: String,
    /// `service`: the name under which others ask for it; the back-end's own by default.
    pub service: String,
    /// `[[backend.key]]`: with which of them the client calls. Only hashes.
    pub keys: Vec<ApiKey>,
    /// What we show when we call the client: the first of the keys. (Assumed: nobody says which.)
    pub own_key: Secret,
    /// `sso_prefix`, `api_prefix` and `version`, put together. They differ at each installation
    /// (documented), so the defaults are ours.
    pub paths: Paths,
    /// `login_path`: the client's login endpoint (its place is not published).
    pub login_path: String,
    /// `login_url`: the same as browsers reach it.
    pub login_url: String,
    /// `token_parameter`: the token's name in the login address (not published).
    pub token_parameter: String,
    /// `logout_path`: the client's logout endpoint (its place is not published).
    pub logout_path: String,
    /// `check_path`: what answers 200 to whoever is signed in, and 401, 403 or a redirect to others.
    pub check_path: String,
    /// `login_page_marks`: texts by which a sign-in page is known that comes with status 200.
    pub login_page_marks: Vec<String>,
    /// `cookies`: the names of its session cookies; one that ends in `*` is the beginning of names.
    pub cookies: Vec<String>,
    /// `token_lifetime`: life of a one-time token.
    pub token_lifetime: Duration,
    /// `access_lifetime`: life of an access token.
    pub access_lifetime: Duration,
    /// `wait_for_acknowledgement`: whether a login waits until the client has acknowledged it.
    pub wait_for_acknowledgement: bool,
    /// `access_secret`: what access tokens are signed with; one of our own where nobody else has to check them.
    pub access: Option<Hs256>,
    /// `[backend.names]`: of the members of bodies.
    pub names: BodyNames,
    /// `[backend.claims]`: of what stands in an access token; empty for left out.
    pub claims: Claims,
}

/// The host's own paths, without the slash at their end.
pub(super) struct Paths {
    pub browser_request: String,
    pub service_request: String,
    pub token_verify: String,
    pub acknowledgement: String,
    pub logout: String,
}

pub(super) struct BodyNames {
    pub service: Names,
    pub url: Names,
    pub token: Names,
    pub api_sid: Names,
    pub status: Names,
    pub access: Names,
    pub username: Names,
    pub expires_in: Names,
}

pub(super) struct Claims {
    pub login: String,
    pub user: String,
    pub name: String,
    pub email: String,
    pub roles: String,
}

impl Settings {
    pub(super) fn read(section: &mut Section, wire: &Wire) -> Self {
        let backend = section.entry_name().to_owned();
        let service = section.text("service").unwrap_or_else(|| backend.clone());
        let (keys, own_key) = read_keys(section);
        let login_path = path(section, "login_path", "/sso/epixel/login");
        let login_url = section.url("login_url").unwrap_or_else(|| wire.address(&login_path)).to_string();
        let cookies = section.texts("cookies").unwrap_or_else(|| vec!["sessionid".to_owned()]);
        let is_name = |name: &String| {
            let bare = name.strip_suffix('*').unwrap_or(name);
            !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        if cookies.is_empty() || !cookies.iter().all(is_name) {
            section
                .mistake("cookies", "must list the client's session cookies; \"app_*\" stands for all that begin so");
        }
        let token_parameter = section.text("token_parameter").unwrap_or_else(|| "token".to_owned());
        if token_parameter.is_empty() {
            section.mistake("token_parameter", "must not be empty");
        }
        Self {
            backend,
            service,
            keys,
            own_key,
            paths: Paths::read(section),
            login_path,
            login_url,
            token_parameter,
            logout_path: path(section, "logout_path", "/sso/epixel/logout"),
            check_path: path(section, "check_path", "/"),
            login_page_marks: marks(section),
            cookies,
            token_lifetime: section.duration("token_lifetime", Duration::from_secs(60)),
            access_lifetime: section.duration("access_lifetime", Duration::from_secs(300)),
            wait_for_acknowledgement: section.flag("wait_for_acknowledgement", false),
            access: access_key(section),
            names: BodyNames::read(section),
            claims: Claims::read(section),
        }
    }
}

impl Paths {
    fn read(section: &mut Section) -> Self {
        let sso = path(section, "sso_prefix", "/sso");
        let api = path(section, "api_prefix", "/api");
        let version = section.text("version").unwrap_or_else(|| "v1".to_owned());
        if version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
            section.mistake("version", "must be one segment of a path, such as \"v1\"");
        }
        let [sso, api] = [sso, api].map(|prefix| prefix.trim_end_matches('/').to_owned());
        Self {
            browser_request: format!("{sso}/{version}/service-request"),
            service_request: format!("{api}/{version}/sso/service-request"),
            token_verify: format!("{api}/{version}/sso/token-verify"),
            acknowledgement: format!("{api}/{version}/sso/login-acknowledgement"),
            logout: format!("{api}/{version}/sso/logout"),
        }
    }
}

impl BodyNames {
    /// Only `api_sid` is documented; the other defaults are ours.
    fn read(section: &mut Section) -> Self {
        let mut names = section.section("names");
        let read = Self {
            service: Names::read(&mut names, "service", &["service"]),
            url: Names::read(&mut names, "url", &["url"]),
            token: Names::read(&mut names, "token", &["token", "sso_token", "auth_token", "t"]),
            api_sid: Names::read(&mut names, "api_sid", &["api_sid", "api_session_id", "session_id", "sid"]),
            status: Names::read(&mut names, "status", &["status"]),
            access: Names::read(&mut names, "access", &["access"]),
            username: Names::read(&mut names, "username", &["username"]),
            expires_in: Names::read(&mut names, "expires_in", &["expires_in"]),
        };
        names.finish();
        read
    }
}

impl Claims {
    fn read(section: &mut Section) -> Self {
        let mut claims = section.section("claims");
        let mut name = |key: &'static str, default: &str| claims.text(key).unwrap_or_else(|| default.to_owned());
        let read = Self {
            login: name("login", "username"),
            user: name("user", "sub"),
            name: name("name", "name"),
            email: name("email", "email"),
            roles: name("roles", "roles"),
        };
        claims.finish();
        read
    }
}

fn read_keys(section: &mut Section) -> (Vec<ApiKey>, Secret) {
    let mut keys: Vec<ApiKey> = Vec::new();
    let mut own_key = None;
    let entries = section.sections("key", "id");
    if entries.is_empty() {
        section.mistake("key", "is missing; write [[backend.key]] and a secret below it, with which the client calls");
    }
    for mut entry in entries {
        let place = if entry.has("secret_file") { "secret_file" } else { "secret" };
        let given = entry.has(place);
        match entry.secret("secret", "secret_file") {
            Some(secret) if !is_key(&secret) => {
                entry.mistake(place, "must be at least 32 printable characters; make one with: openssl rand -hex 32");
            }
            Some(secret) if ApiKey::find(&keys, secret.expose_secret()).is_some() => {
                entry.mistake(place, "is there twice");
            }
            Some(secret) => {
                if secret.expose_secret() == EXAMPLE_KEY {
                    entry.warn(
                        place,
                        "is the one from the examples, which everybody knows; make your own: openssl rand -hex 32",
                    );
                }
                keys.push(ApiKey::new(section.entry_name(), &secret));
                own_key.get_or_insert(secret);
            }
            None if !given => entry.mistake("secret", "is missing; give secret or secret_file"),
            // What was given is a mistake, and it is noted.
            None => {}
        }
        entry.finish();
    }
    (keys, own_key.unwrap_or_default())
}

/// Whether it can stand in a header and is not short.
fn is_key(secret: &Secret) -> bool {
    let text = secret.expose_secret();
    text.len() >= SHORTEST_KEY && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn access_key(section: &mut Section) -> Option<Hs256> {
    let place = if section.has("access_secret_file") { "access_secret_file" } else { "access_secret" };
    let secret = section.secret("access_secret", "access_secret_file")?;
    if secret.expose_secret().len() < SHORTEST_KEY {
        section.mistake(place, "must be at least 32 bytes long; make one with: openssl rand -hex 32");
    }
    Some(Hs256::new(secret.expose_secret().as_bytes()))
}

fn path(section: &mut Section, key: &'static str, default: &str) -> String {
    let Some(text) = section.text(key) else { return default.to_owned() };
    let plain = |byte: u8| (0x21..0x7f).contains(&byte) && !b"?#".contains(&byte);
    if !text.starts_with('/') || !text.bytes().all(plain) {
        section.mistake(key, "must be a path such as \"/sso\", without a query");
    }
    text
}

/// Assumed: a sign-in page asks for a password, and what answers a check does not.
fn marks(section: &mut Section) -> Vec<String> {
    let defaults = || ["type=\"password\"", "type='password'", "type=password"].map(str::to_owned).to_vec();
    let marks = section.texts("login_page_marks").unwrap_or_else(defaults);
    if marks.iter().any(String::is_empty) {
        section.mistake("login_page_marks", "must not hold an empty text, which is on every page");
    }
    marks.into_iter().map(|mark| mark.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::ManualClock;

    #[test]
    fn settings_that_would_let_nobody_in_or_anybody_are_mistakes() {
        let key = "[[key]]\nsecret = '00112233445566778899aabbccddeeff'\n";
        for (text, tables, expected) in [
            ("", key, None),
            ("", "", Some("key")),
            ("", "[[key]]\nsecret = 'short'", Some("key[1].secret")),
            ("", "[[key]]\nsecret = '00112233445566778899 aabbccddeeff'", Some("key[1].secret")),
            ("", "[[key]]", Some("key[1].secret")),
            ("", &format!("{key}{key}"), Some("key[2].secret")),
            ("cookies = []", key, Some("cookies")),
            ("cookies = ['*']", key, Some("cookies")),
            ("cookies = ['a b']", key, Some("cookies")),
            ("login_path = 'login'", key, Some("login_path")),
            ("check_path = '/a?b'", key, Some("check_path")),
            ("version = 'v/1'", key, Some("version")),
            ("version = ''", key, Some("version")),
            ("token_parameter = ''", key, Some("token_parameter")),
            ("login_page_marks = ['']", key, Some("login_page_marks")),
            ("access_secret = 'short'", key, Some("access_secret")),
            ("login_url = 'shop'", key, Some("login_url")),
            ("", &format!("{key}[names]\ntoken = []"), Some("names.token")),
        ] {
            let url = "http://127.0.0.1:1".parse().unwrap();
            let wire = Wire::new(url, None, Duration::from_secs(1), Arc::new(ManualClock::at(0))).unwrap();
            let mut section = Section::from_toml(&format!("{text}\n{tables}")).unwrap();
            let _ = Settings::read(&mut section, &wire);
            let mistakes: Vec<String> = section.mistakes().into_iter().map(|mistake| mistake.key).collect();
            let expected: Vec<&str> = expected.into_iter().collect();
            assert_eq!(mistakes, expected, "{text} {tables}");
        }
    }
}
