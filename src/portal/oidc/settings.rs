//! What can be set for the kind `oidc`.

use std::str::FromStr;
use std::time::Duration;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use url::Url;

use super::claims::Members;
use crate::config::Section;
use crate::domain::Secret;
use crate::portal::read_cookie_name;

/// The settings of one such portal.
pub(super) struct Settings {
    /// `cookie`: the name of our session cookie.
    pub cookie: String,
    /// `issuer`, as it was written: it is compared letter by letter.
    pub issuer: String,
    /// The same as an address.
    pub issuer_url: Url,
    /// `client_id`.
    pub client_id: String,
    /// `client_secret`; none for a public client.
    pub client_secret: Option<Secret>,
    /// `scopes`.
    pub scopes: Vec<String>,
    /// `algorithms`: with which tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// `clock_skew`, in seconds: how far the provider's clock may be off.
    pub clock_skew: u64,
    /// `session_lifetime`: a session ends after this time at the latest.
    pub session_lifetime: Duration,
    /// `timeout`: longest wait for one answer of the provider.
    pub timeout: Duration,
    /// `audiences`: bearer tokens for one of these are taken; none where it is empty.
    pub audiences: Vec<String>,
    /// `claims_from`: where to look for what `[portal.members]` names, in this order.
    pub claims_from: Vec<Source>,
    /// `post_logout`: whether people who sign out are sent to the provider, to be signed out there as well.
    pub post_logout: PostLogout,
    /// `[portal.members]`.
    pub members: Members,
}

/// Where the provider tells who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The claims of the ID token.
    IdToken,
    /// Those of the access token, if it is a signed one. Keycloak puts roles only there unless told otherwise.
    AccessToken,
    /// The answer of the provider's `userinfo_endpoint`.
    UserInfo,
}

/// What becomes of the session at the provider when somebody signs out here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostLogout {
    /// It ends as well.
    Provider,
    /// It stays, so the next sign-in asks for nothing.
    Here,
}

/// The words for [`Source`].
const SOURCES: [(&str, Source); 3] =
    [("id-token", Source::IdToken), ("access-token", Source::AccessToken), ("userinfo", Source::UserInfo)];
/// Longest difference between two clocks that still is one, in seconds.
const LONGEST_SKEW: u64 = 300;

impl Settings {
    /// `name` is the portal's.
    pub(super) fn read(section: &mut Section, name: &str) -> Self {
        let (issuer, issuer_url) = issuer(section);
        Self {
            cookie: cookie(section, name),
            issuer,
            issuer_url,
            client_id: printable(section, "client_id"),
            client_secret: section.secret("client_secret", "client_secret_file"),
            scopes: scopes(section),
            algorithms: algorithms(section),
            clock_skew: skew(section),
            session_lifetime: section.duration("session_lifetime", Duration::from_secs(10 * 3600)),
            timeout: section.duration("timeout", Duration::from_secs(5)),
            audiences: audiences(section),
            claims_from: sources(section),
            post_logout: section.choice(
                "post_logout",
                PostLogout::Provider,
                &[("provider", PostLogout::Provider), ("here", PostLogout::Here)],
            ),
            members: Members::read(section),
        }
    }
}

/// Browsers keep a cookie with this prefix for this host alone, and only under https.
fn cookie(section: &mut Section, name: &str) -> String {
    if section.has("cookie") {
        return read_cookie_name(section);
    }
    section.text("cookie").unwrap_or_else(|| format!("__Host-keyward-{name}"))
}

fn issuer(section: &mut Section) -> (String, Url) {
    let text = section.text("issuer").unwrap_or_default();
    let url = Url::parse(&text).ok().filter(|url| {
        let web = matches!(url.scheme(), "http" | "https") && url.host().is_some();
        web && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    let Some(url) = url else {
        section.mistake(
            "issuer",
            "must be the provider's address as it calls itself, such as \"https://id.example.test/realms/mail\"",
        );
        return (text, fallback());
    };
    let is_local = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "http" && !is_local {
        section.warn("issuer", "is not https, so whoever is on the way can sign in as anybody");
    }
    (text, url)
}

#[expect(clippy::expect_used, reason = "a fixed and valid address")]
fn fallback() -> Url {
    Url::parse("http://127.0.0.1").expect("valid")
}

fn printable(section: &mut Section, key: &'static str) -> String {
    let text = section.required(key);
    if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        section.mistake(key, "must be printable ASCII (RFC 6749, appendix A)");
    }
    text
}

fn scopes(section: &mut Section) -> Vec<String> {
    let default = || ["openid", "profile", "email"].map(str::to_owned).to_vec();
    let scopes = section.texts("scopes").unwrap_or_else(default);
    let fits = |scope: &String| {
        !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    };
    if !scopes.iter().all(fits) {
        section.mistake("scopes", "must list scopes, each without blanks and quotes");
    } else if !scopes.iter().any(|scope| scope == "openid") {
        section.mistake("scopes", "must hold \"openid\", or the provider does not say who it is");
    }
    scopes
}

/// Only those with a public key: a shared one that the provider publishes would sign for everybody.
fn algorithms(section: &mut Section) -> Vec<Algorithm> {
    let names = section.texts("algorithms").unwrap_or_else(|| vec!["RS256".to_owned()]);
    let hmac = AlgorithmFamily::Hmac;
    let known = |name: &String| Algorithm::from_str(name).ok().filter(|one| !hmac.algorithms().contains(one));
    let algorithms: Option<Vec<Algorithm>> = names.iter().map(known).collect();
    algorithms.filter(|list| !list.is_empty()).unwrap_or_else(|| {
        section.mistake(
            "algorithms",
            "must list some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA",
        );
        Vec::new()
    })
}

fn skew(section: &mut Section) -> u64 {
    let skew = section.duration("clock_skew", Duration::from_secs(60)).as_secs();
    if skew > LONGEST_SKEW {
        section.mistake("clock_skew", "must be at most 5m: a token would be good for as long after its end");
    }
    skew
}

fn audiences(section: &mut Section) -> Vec<String> {
    let audiences = section.texts("audiences").unwrap_or_default();
    if audiences.iter().any(String::is_empty) {
        section.mistake("audiences", "must not list an empty audience");
    }
    audiences
}

fn sources(section: &mut Section) -> Vec<Source> {
    let Some(words) = section.texts("claims_from") else { return vec![Source::IdToken, Source::AccessToken] };
    let known = |word: &String| SOURCES.iter().find(|(name, _)| name == word).map(|(_, source)| *source);
    let sources: Option<Vec<Source>> = words.iter().map(known).collect();
    sources.filter(|list| !list.is_empty()).unwrap_or_else(|| {
        section.mistake("claims_from", "must list some of \"id-token\", \"access-token\" and \"userinfo\"");
        Vec::new()
    })
}

/// Whether a key can check signatures of this algorithm.
pub(super) fn fits(key: &DecodingKey, algorithm: Algorithm) -> bool {
    key.family().algorithms().contains(&algorithm)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Settings, Vec<String>) {
        let mut section = Section::from_toml(text).unwrap();
        let settings = Settings::read(&mut section, "id");
        let mistakes = section.mistakes().into_iter().map(|mistake| mistake.key).collect();
        section.finish();
        (settings, mistakes)
    }

    #[test]
    fn little_has_to_be_said() {
        let (settings, mistakes) = read("issuer = 'https://id.test/realms/mail'\nclient_id = 'keyward'");
        assert_eq!(mistakes, [""; 0]);
        assert_eq!((&*settings.cookie, settings.algorithms.as_slice()), ("__Host-keyward-id", &[Algorithm::RS256][..]));
        assert_eq!((settings.clock_skew, settings.audiences.len()), (60, 0), "no bearer token is taken");
        assert!(settings.client_secret.is_none());
    }

    #[test]
    fn settings_that_would_let_nobody_in_or_anybody_are_mistakes() {
        let whole = "issuer = 'https://id.test'\nclient_id = 'k'\n";
        for (text, key) in [
            ("client_secret = ''", Some("client_secret")),
            ("scopes = []", Some("scopes")),
            ("scopes = ['profile']", Some("scopes")),
            ("scopes = ['openid', 'a b']", Some("scopes")),
            ("cookie = 'a b'", Some("cookie")),
            ("algorithms = []", Some("algorithms")),
            ("algorithms = ['none']", Some("algorithms")),
            ("algorithms = ['HS256']", Some("algorithms")),
            ("algorithms = ['RS256', 'HS512']", Some("algorithms")),
            ("algorithms = ['rs256']", Some("algorithms")),
            ("algorithms = ['ES256', 'EdDSA']", None),
            ("clock_skew = '10m'", Some("clock_skew")),
            ("session_lifetime = '0s'", Some("session_lifetime")),
            ("audiences = ['']", Some("audiences")),
            ("claims_from = []", Some("claims_from")),
            ("claims_from = ['id_token']", Some("claims_from")),
            ("post_logout = 'nowhere'", Some("post_logout")),
            ("[members]\nuser = []", Some("members.user")),
            ("[members]\nroles = ['']", Some("members.roles")),
        ] {
            let expected: Vec<&str> = key.into_iter().collect();
            assert_eq!(read(&format!("{whole}{text}")).1, expected, "{text}");
        }
        for issuer in ["", "id.test", "ftp://id.test", "https://u@id.test", "https://id.test/?a", "https://id.test/#a"]
        {
            assert_eq!(read(&format!("client_id = 'k'\nissuer = '{issuer}'")).1, ["issuer"], "{issuer}");
        }
        assert_eq!(read("client_id = 'k'").1, ["issuer"]);
        assert_eq!(read("issuer = 'https://id.test'").1, ["client_id"]);
    }
}
