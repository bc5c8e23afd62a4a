use std::time::Duration;

use super::section::Section;
use crate::domain::{BackendLimits, CredentialSource, EnterTerms, LoginName};

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
            &[("portal", CredentialSource::Portal), ("none", CredentialSource::None)],
        );
        let login = match section.text("login").map(|template| LoginName::parse(&template)) {
            None => LoginName::default(),
            Some(Ok(login)) => login,
            Some(Err(error)) => {
                section.mistake("login", &error.to_string());
                LoginName::default()
            }
        };
        let limits = BackendLimits::read(&mut section);
        let mut map = section.section("roles");
        let roles = map.all_texts();
        for (external, internal) in &roles {
            if !is_role(external) || !is_role(internal) {
                map.mistake(external, NO_ROLE);
            }
        }
        let enter = EnterTerms::read(section.section("enter"));
        Self { name, kind, url, credentials, login, limits, roles, enter, written, section }
    }
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

/// What is wrong with a role that [`is_role`] refuses.
pub(super) const NO_ROLE: &str = "must be a role: not empty, without comma and control characters";

/// Whether any identity could have this role.
pub(super) fn is_role(text: &str) -> bool {
    !text.is_empty() && !text.contains(',') && !text.chars().any(char::is_control)
}
