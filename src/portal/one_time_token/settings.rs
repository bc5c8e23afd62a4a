//! What can be set for the kind `one-time-token`.

use std::time::Duration;

use crate::config::{Names, Section};
use crate::domain::{ApiKey, ExposeSecret, Secret};
use crate::portal::read_cookie_name;
use crate::wire::Hs256;

/// Printed in the documentation of this program.
const EXAMPLE_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// The settings of one such portal.
pub(super) struct Settings {
    /// `login_path`: where browsers come with a token.
    pub login_path: String,
    /// `logout_path`: where the host says that a session has ended.
    pub logout_path: String,
    /// `logout_from_outside`: whether the host may say so through the web server, too.
    pub logout_from_outside: bool,
    /// `application`: where a browser goes on to, on this host.
    pub application: String,
    /// `next_parameter`: names another place on this host in the login address; empty for none.
    pub next_parameter: String,
    /// `session_lifetime`: a session ends after this time, or when the host says that its own does.
    pub session_lifetime: Duration,
    /// `[portal.members]`: where in its source everything about the person stands.
    pub members: Members,
    /// With which the host may call us: `logout_apikey`, or `apikey` where there is none.
    pub callers: Vec<ApiKey>,
}

/// What is needed to call the host.
pub(super) struct HostSettings {
    pub url: url::Url,
    pub apikey: Secret,
    pub token_verify_path: String,
    pub acknowledgement_path: String,
    pub logout_path: String,
    pub profile_path: String,
    /// `host_timeout`: longest wait for one answer.
    pub timeout: Duration,
    pub encoding: Encoding,
    /// `identity_from`.
    pub source: Source,
    /// `access_secret`: with which access tokens are checked, where they are read.
    pub access: Option<Hs256>,
    pub names: BodyNames,
}

/// How bodies are sent to the host. (JSON is assumed: the vendor's samples are lost.)
#[derive(Clone, Copy)]
pub(super) enum Encoding {
    Json,
    Form,
}

/// Who tells who it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The answer that verified the token.
    Answer,
    /// The claims of the access token in it.
    AccessToken,
    /// An address of the host that is asked with the access token.
    Profile,
}

pub(super) struct BodyNames {
    pub token: Names,
    pub api_sid: Names,
    pub access: Names,
    pub expires_in: Names,
    pub status: Names,
}

pub(super) struct Members {
    pub user: Names,
    pub name: Names,
    pub email: Names,
    pub roles: Names,
}

/// The cookie's name where none is set. Browsers keep one that begins so for this host alone, and only
/// under https.
const COOKIE: &str = "__Host-keyward";

/// The name of our session cookie.
pub(super) fn cookie(section: &mut Section) -> String {
    if section.has("cookie") { read_cookie_name(section) } else { section.text("cookie").unwrap_or(COOKIE.to_owned()) }
}

impl Settings {
    /// `own_key` is what we show to the host.
    pub(super) fn read(section: &mut Section, own_key: &Secret) -> Self {
        let logout_apikey = apikey(section, "logout_apikey", "logout_apikey_file");
        let caller = logout_apikey.as_ref().unwrap_or(own_key);
        let callers = vec![ApiKey::new("host", caller)];
        Self {
            // The defaults are ours: where these two are is not published.
            login_path: path(section, "login_path", "/sso/epixel/login"),
            logout_path: path(section, "logout_path", "/sso/epixel/logout"),
            logout_from_outside: section.flag("logout_from_outside", true),
            application: application(section),
            next_parameter: section.text("next_parameter").unwrap_or_else(|| "next".to_owned()),
            session_lifetime: section.duration("session_lifetime", Duration::from_secs(8 * 3600)),
            members: Members::read(section),
            callers,
        }
    }
}

impl HostSettings {
    pub(super) fn read(section: &mut Section) -> Self {
        let url = section.required_url("host");
        let given = section.has("apikey") || section.has("apikey_file");
        let apikey = apikey(section, "apikey", "apikey_file");
        if !given {
            section.mistake("apikey", "is missing; give apikey or apikey_file, as the host issued it");
        }
        let source = section.choice(
            "identity_from",
            Source::Answer,
            &[("answer", Source::Answer), ("access-token", Source::AccessToken), ("profile", Source::Profile)],
        );
        let access = section.secret("access_secret", "access_secret_file");
        Self {
            url,
            apikey: apikey.unwrap_or_default(),
            token_verify_path: path(section, "token_verify_path", "/api/v1/sso/token-verify/"),
            acknowledgement_path: path(section, "acknowledgement_path", "/api/v1/sso/login-acknowledgement/"),
            logout_path: path(section, "host_logout_path", "/api/v1/sso/logout/"),
            profile_path: path(section, "profile_path", "/api/v1/user/profile/"),
            timeout: section.duration("host_timeout", Duration::from_secs(5)),
            encoding: section.choice("encoding", Encoding::Json, &[("json", Encoding::Json), ("form", Encoding::Form)]),
            source,
            access: access.map(|secret| Hs256::new(secret.expose_secret().as_bytes())),
            names: BodyNames::read(section),
        }
    }
}

impl BodyNames {
    /// Only `api_sid` is documented; the other defaults are ours.
    fn read(section: &mut Section) -> Self {
        let mut names = section.section("names");
        let read = Self {
            token: Names::read(&mut names, "token", &["token", "sso_token", "auth_token", "t"]),
            api_sid: Names::read(&mut names, "api_sid", &["api_sid", "api_session_id", "session_id", "sid"]),
            access: Names::read(&mut names, "access", &["access", "access_token", "token"]),
            expires_in: Names::read(&mut names, "expires_in", &["expires_in"]),
            status: Names::read(&mut names, "status", &["status"]),
        };
        names.finish();
        read
    }
}

impl Members {
    fn read(section: &mut Section) -> Self {
        let mut members = section.section("members");
        let read = Self {
            user: Names::read(&mut members, "user", &["username"]),
            name: Names::read(&mut members, "name", &["name"]),
            email: Names::read(&mut members, "email", &["email"]),
            roles: Names::read(&mut members, "roles", &["roles"]),
        };
        members.finish();
        read
    }
}

/// A key that the vendor issued: of any length, but it must fit into a header.
fn apikey(section: &mut Section, key: &'static str, file_key: &'static str) -> Option<Secret> {
    let place = if section.has(file_key) { file_key } else { key };
    let secret = section.secret(key, file_key)?;
    if !secret.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
        section.mistake(place, "must be printable, without blanks: it is sent in a header");
    }
    if secret.expose_secret() == EXAMPLE_KEY {
        section.warn(place, "is the one from the examples, which everybody knows");
    }
    Some(secret)
}

fn application(section: &mut Section) -> String {
    let Some(text) = section.text("application") else { return "/".to_owned() };
    let plain = |byte: u8| (0x21..0x7f).contains(&byte) && byte != b'\\';
    if !text.starts_with('/') || text.starts_with("//") || !text.bytes().all(plain) {
        section.mistake("application", "must be a path on this host, such as \"/mail/\"");
    }
    text
}

fn path(section: &mut Section, key: &'static str, default: &str) -> String {
    let Some(text) = section.text(key) else { return default.to_owned() };
    let plain = |byte: u8| (0x21..0x7f).contains(&byte) && !b"?#".contains(&byte);
    if !text.starts_with('/') || !text.bytes().all(plain) {
        section.mistake(key, "must be a path such as \"/sso/logout/\", without a query");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let mut section = Section::from_toml(text).unwrap();
        let _ = cookie(&mut section);
        let host = HostSettings::read(&mut section);
        let _ = Settings::read(&mut section, &host.apikey);
        let mistakes = section.mistakes().into_iter().map(|mistake| mistake.key).collect();
        section.finish();
        mistakes
    }

    #[test]
    fn settings_that_would_let_nobody_in_or_anybody_are_mistakes() {
        let whole = "host = 'https://h.test'\napikey = 'k'\n";
        for (text, key) in [
            ("", None),
            ("cookie = 'a b'", Some("cookie")),
            ("login_path = 'sso'", Some("login_path")),
            ("logout_path = '/a?b'", Some("logout_path")),
            ("application = 'https://evil.test/'", Some("application")),
            ("application = '//evil.test/'", Some("application")),
            ("identity_from = 'anything'", Some("identity_from")),
            ("encoding = 'xml'", Some("encoding")),
            ("session_lifetime = '0s'", Some("session_lifetime")),
            ("logout_apikey = ''", Some("logout_apikey")),
            ("logout_apikey = 'a b'", Some("logout_apikey")),
            ("access_secret = ''", Some("access_secret")),
            ("[names]\napi_sid = []", Some("names.api_sid")),
            ("[members]\nuser = ['']", Some("members.user")),
        ] {
            let expected: Vec<&str> = key.into_iter().collect();
            assert_eq!(mistakes(&format!("{whole}{text}")), expected, "{text}");
        }
        assert_eq!(mistakes("apikey = 'k'"), ["host"]);
        assert_eq!(mistakes("host = 'https://h.test'"), ["apikey"]);
        assert_eq!(mistakes("host = 'https://h.test'\napikey = ''"), ["apikey"]);
    }
}
