use std::time::Duration;

use super::roles::read_role_map;
use super::section::Section;
use crate::domain::{BackendLimits, CredentialSource, DerivationKey, EnterTerms, LoginName};

/// One `[[backend]]`. What its kind wants stands in `section`, to be read and finished by the kind.
pub struct BackendSettings {
    /// Its name, unique.
    pub name: String,
    /// Its kind, not looked up yet.
    pub kind: String,
    /// Where it is reached, server-side.
    pub url: url::Url,
    /// `credentials`: what the login uses.
    pub credentials: CredentialSource,
    /// `[[backend.derive]]`: keys for derived passwords, the current one first; none unless `credentials` says so.
    pub derivation: Vec<DerivationKey>,
    /// `login`: the template of the name used there.
    pub login: LoginName,
    /// Deadlines and limits.
    pub limits: BackendLimits,
    /// `[backend.roles]`: external role to internal one; empty for "as they are".
    pub roles: Vec<(String, String)>,
    /// `[backend.enter]`: how browsers are handed over to it.
    pub enter: EnterTerms,
    /// Stands for the whole table as it was written: the same as before means that nothing changed.
    pub written: u64,
    /// The rest.
    pub section: Section,
}

/// Where the pause after an outage stops doubling.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// Most logins at once: far above what any webmail stands, far below what a typing error says.
const MOST_LOGINS: u64 = 1024;
/// Most keys for derived passwords of one back-end.
const MOST_DERIVATION_KEYS: usize = 4;

impl BackendSettings {
    pub(super) fn read_all(root: &mut Section) -> Vec<Self> {
        let mut backends: Vec<Self> = Vec::new();
        for mut section in root.sections("backend", "name") {
            let name = section.name(backends.iter().map(|backend| &backend.name));
            backends.push(Self::read(name, section));
        }
        backends
    }

    fn read(name: String, mut section: Section) -> Self {
        let written = section.fingerprint();
        let kind = section.required("kind");
        let url = section.required_url("url");
        if url.query().is_some() {
            section.mistake("url", "must not have a query; cut it at the ?");
        }
        let credentials = section.choice(
            "credentials",
            CredentialSource::Portal,
            &[
                ("portal", CredentialSource::Portal),
                ("token", CredentialSource::Token),
                ("derived", CredentialSource::Derived),
                ("master", CredentialSource::Master),
                ("none", CredentialSource::None),
            ],
        );
        let derivation = read_derivation(&mut section, credentials);
        let login = match section.text("login").map(|template| LoginName::parse(&template)) {
            None => LoginName::default(),
            Some(Ok(login)) => login,
            Some(Err(error)) => {
                section.mistake("login", &error.to_string());
                LoginName::default()
            }
        };
        let limits = BackendLimits::read(&mut section);
        let roles = read_role_map(&mut section);
        let enter = EnterTerms::read(section.section("enter"));
        Self { name, kind, url, credentials, derivation, login, limits, roles, enter, written, section }
    }
}

/// Reads `[[backend.derive]]`. Keys that are not used are looked at all the same.
fn read_derivation(section: &mut Section, credentials: CredentialSource) -> Vec<DerivationKey> {
    let entries = section.sections("derive", "id");
    let derived = credentials == CredentialSource::Derived;
    match entries.len() {
        0 if derived => {
            section
                .mistake("derive", "is missing; write [[backend.derive]] with id and secret, or use other credentials");
        }
        1.. if !derived => section.warn("derive", "is not used; only credentials = \"derived\" uses it"),
        count if count > MOST_DERIVATION_KEYS => {
            section.mistake(
                "derive",
                "has more than four keys; each is a wrong password more for whoever has none of them",
            );
        }
        _ => {}
    }
    let mut ids = Vec::new();
    let mut keys = Vec::new();
    for mut entry in entries {
        let id = entry.required("id");
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            entry.mistake("id", "must have letters, digits, - and _ only");
        } else if let Some(index) = ids.iter().position(|other| *other == id) {
            entry.used_before("id", index);
        }
        let given = entry.has("secret") || entry.has("secret_file");
        let place = if entry.has("secret_file") { "secret_file" } else { "secret" };
        match entry.secret("secret", "secret_file").map(|secret| DerivationKey::new(&id, &secret)) {
            Some(Ok(key)) => keys.push(key),
            Some(Err(error)) => entry.mistake(place, &error.to_string()),
            None if !given => entry.mistake("secret", "is missing; give secret or secret_file"),
            // What was given is a mistake, and it is noted.
            None => {}
        }
        ids.push(id);
        entry.finish();
    }
    if derived { keys } else { Vec::new() }
}

impl BackendLimits {
    fn read(section: &mut Section) -> Self {
        let default = Self::default();
        let logins = section.integer("max_logins", default.max_logins as u64, 1..=MOST_LOGINS);
        let limits = Self {
            login_timeout: section.duration("login_timeout", default.login_timeout),
            max_logins: usize::try_from(logins).unwrap_or(default.max_logins),
            idle_timeout: section.duration("idle_timeout", default.idle_timeout),
            max_age: section.duration("max_age", default.max_age),
            keep_alive_interval: section.duration("keep_alive_interval", default.keep_alive_interval),
            refused_for: section.duration("refused_for", default.refused_for),
            failure_backoff: section.duration("failure_backoff", default.failure_backoff),
        };
        // A refresh that comes after the end refreshes nothing.
        if limits.keep_alive_interval >= limits.idle_timeout {
            section.mistake("keep_alive_interval", "must be shorter than idle_timeout");
        }
        if limits.idle_timeout >= limits.max_age {
            section.mistake("idle_timeout", "must be shorter than max_age");
        }
        if limits.login_timeout >= limits.idle_timeout {
            section.mistake("login_timeout", "must be shorter than idle_timeout");
        }
        if limits.failure_backoff > LONGEST_BACKOFF {
            section.mistake("failure_backoff", "must be at most one minute, which is where its doubling ends");
        }
        limits
    }
}
