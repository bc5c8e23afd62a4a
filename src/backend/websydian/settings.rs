//! What can be set for the kind `websydian`.

use std::borrow::Cow;

use quick_xml::escape::{escape, partial_escape};

use super::service::{Authorize, KeyPlace};
use super::tickets::Tickets;
use crate::config::Section;
use crate::domain::{ApiKey, ExposeSecret};

/// The word that every session cookie's name begins with (documented).
pub(super) const COOKIE: &str = "WSYID1";
/// What stands for the in-page key in `logout_path`.
pub(super) const SID: &str = "{sid}";
/// What stands for the person's name in `signed_in_texts`.
const LOGIN: &str = "{login}";
/// Shortest key of the service, in bytes.
const SHORTEST_KEY: usize = 32;
/// The keys in the reference and in the example.
const PUBLISHED: [&str; 2] = [
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    "a key of at least 32 bytes, which the site's function shows",
];

/// The settings of one back-end of this kind.
pub(super) struct Settings {
    /// `site`: the path of the site's address, such as `/express/site/shop`. The part before `/site/` is
    /// the deployment's own (documented), so there is no default.
    pub site: String,
    /// `check_path`: the page on which a session is looked at. The site's own by default: with a live
    /// cookie it restores the session instead of making one (documented for 3.x).
    pub check_path: String,
    /// `signed_in_texts`: texts that stand on that page when somebody is signed in, and not on an
    /// anonymous one. The site draws its pages itself, so there is no default. [`LOGIN`] in one stands for
    /// the person's name at the site, which then must be the right one's.
    pub signed_in_texts: Vec<String>,
    /// `login_parameter`: `SSOLOGIN` (documented example). The names are the site's own.
    pub login_parameter: String,
    /// `password_parameter`: `SSOPWD` (documented example), likewise.
    pub password_parameter: String,
    /// `cookie`: `WSYID1` followed by the site's path (documented for 3.x; the vendor's example has
    /// another path than the address beside it, so the only cookie that begins so is taken, too).
    pub cookie: String,
    /// `role_order`: the most important roles first. The rest follows as the portal has them.
    pub role_order: Vec<String>,
    /// `logout_path`: what ends a session, if anything does.
    pub logout: Option<Logout>,
    /// `proof`.
    pub proof: Proof,
}

/// What stands in the password's parameter.
pub(super) enum Proof {
    /// A one-time ticket, which the site's function has this service redeem.
    Ticket(Box<Authorize>),
    /// The password, as in the vendor's example. The site's function knows by itself whom to ask.
    Password,
}

/// A request that ends a session. No such address of the product is published (assumed: a function of
/// the site that is reached by an address, or its log-out event replayed).
pub(super) struct Logout {
    /// Path and query; [`SID`] in it stands for the in-page key.
    pub target: String,
    /// Whether the query is sent as a form.
    pub posts: bool,
}

impl Settings {
    pub(super) fn read(section: &mut Section) -> Self {
        let site = section.required("site");
        if !site.is_empty() && !is_site(&site) {
            section.mistake("site", "must be a path such as \"/express/site/shop\": letters, digits, / - . _ ~");
        }
        let by_ticket = section.choice("proof", true, &[("ticket", true), ("password", false)]);
        Self {
            check_path: target(section, "check_path").unwrap_or_else(|| site.clone()),
            signed_in_texts: signed_in_texts(section),
            login_parameter: word(section, "login_parameter", "SSOLOGIN"),
            password_parameter: word(section, "password_parameter", "SSOPWD"),
            cookie: cookie(section, &site),
            role_order: section.texts("role_order").unwrap_or_default(),
            logout: logout(section),
            proof: if by_ticket { Proof::Ticket(Box::new(authorize(section))) } else { Proof::Password },
            site,
        }
    }

    /// Whether a page is one of somebody who is signed in: of this person, where the texts tell.
    pub(super) fn is_signed_in(&self, page: &str, login: &str) -> bool {
        let shows = |text: &String| {
            // Sites differ in what they escape.
            let spellings = [Cow::from(login), escape(login), partial_escape(login)];
            spellings.iter().any(|login| page.contains(&text.replace(LOGIN, login)))
        };
        self.signed_in_texts.iter().any(shows)
    }
}

/// The part of an address that makes a cookie's name, too.
fn is_site(path: &str) -> bool {
    path.len() > 1 && path.starts_with('/') && path.bytes().all(|byte| is_plain(byte) || byte == b'/')
}

/// What needs no encoding anywhere.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn signed_in_texts(section: &mut Section) -> Vec<String> {
    const KEY: &str = "signed_in_texts";
    let missing = !section.has(KEY);
    let texts = section.texts(KEY).unwrap_or_default();
    if missing {
        section.mistake(
            KEY,
            "is missing, and there is no default: the site answers a refused login with an anonymous page, so name \
             a text that only somebody who is signed in sees, such as [\"Log out\"]",
        );
    } else if !section.noted(KEY)
        && (texts.is_empty() || texts.iter().any(|text| text.replace(LOGIN, "").trim().is_empty()))
    {
        section.mistake(
            KEY,
            "must name at least one text, and each must say more than {login}: else any page may look signed in",
        );
    }
    texts
}

fn word(section: &mut Section, key: &'static str, default: &str) -> String {
    let text = section.text(key).unwrap_or_else(|| default.to_owned());
    if text.is_empty() || !text.bytes().all(is_plain) {
        section.mistake(key, "must be a parameter's name: letters, digits, - . _ ~");
    }
    text
}

fn cookie(section: &mut Section, site: &str) -> String {
    let Some(name) = section.text("cookie") else { return format!("{COOKIE}{site}") };
    if name.is_empty() || !name.bytes().all(|byte| is_plain(byte) || byte == b'/') {
        section.mistake("cookie", "must be a cookie's name, such as \"WSYID1/express/site/shop\"");
    }
    name
}

/// A path with its query, as it stands in an address.
fn target(section: &mut Section, key: &'static str) -> Option<String> {
    let text = section.text(key)?;
    if !text.starts_with('/') || text.contains('#') || !text.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        section.mistake(key, "must be a path such as \"/express/site/shop\", as it stands in an address");
    }
    Some(text)
}

fn logout(section: &mut Section) -> Option<Logout> {
    let target = target(section, "logout_path");
    let posts = section.choice("logout_method", false, &[("get", false), ("post", true)]);
    target.map(|target| Logout { target, posts })
}

fn authorize(section: &mut Section) -> Authorize {
    let path = section.text("service_path").unwrap_or_else(|| "/sso/websydian/authorize".to_owned());
    let ours = path == "/v1" || path.starts_with("/v1/");
    if !is_site(&path) || path.ends_with('/') || ours {
        section.mistake("service_path", "must be a path such as \"/sso/websydian/authorize\", and not below /v1/");
    }
    let header = word(section, "service_key_header", "X-Service-Key").to_ascii_lowercase();
    let in_header = || KeyPlace::Header(header.clone());
    let choices: [(&str, &dyn Fn() -> KeyPlace); 3] =
        [("header", &in_header), ("basic", &|| KeyPlace::Basic), ("path", &|| KeyPlace::Path)];
    let key_in = section.choice("service_key_in", choices[0].1, &choices)();
    Authorize { path, key: service_key(section, &key_in), key_in, tickets: Tickets::default() }
}

fn service_key(section: &mut Section, place: &KeyPlace) -> ApiKey {
    let given = section.has("service_key") || section.has("service_key_file");
    let secret = section.secret("service_key", "service_key_file");
    match &secret {
        Some(secret) if PUBLISHED.contains(&secret.expose_secret()) => {
            section.warn("service_key", "is the one from the examples, which everybody knows");
        }
        Some(secret) if secret.expose_secret().len() < SHORTEST_KEY => {
            section.mistake("service_key", "must be at least 32 bytes long; make one with: openssl rand -hex 32");
        }
        Some(secret) if *place == KeyPlace::Path && !secret.expose_secret().bytes().all(is_plain) => {
            section.mistake("service_key", "must have letters, digits, - . _ ~ only, since it stands in a path");
        }
        None if !given => section.mistake(
            "service_key",
            "is missing; make one with: openssl rand -hex 32, and have the site's function show it",
        ),
        _ => {}
    }
    ApiKey::new("site", &secret.unwrap_or_else(|| "".into()))
}
