//! What can be set for the kind `ldap`, beside where the directory is.

use std::time::Duration;

use super::lockout::Terms;
use crate::config::Section;
use crate::portal::read_cookie_name;

pub(super) struct Settings {
    /// `application`: where a browser goes that asked for the sign-in page itself.
    pub application: String,
    /// `session_lifetime`.
    pub session_lifetime: Duration,
    /// `refresh_every`: how often the directory is asked whether somebody is still what they were.
    pub refresh_every: Duration,
    /// The challenge for clients without cookies.
    pub challenge: String,
    /// `cache_for`: how long a password that was right is.
    pub cache_for: Duration,
    /// `refused_for`: how long a password that was wrong is, for clients without a person.
    pub refused_for: Duration,
    /// `[portal.lockout]`.
    pub lockout: Terms,
}

/// The name of our session cookie.
pub(super) fn cookie(section: &mut Section, portal: &str) -> String {
    match section.has("cookie") {
        true => read_cookie_name(section),
        // Browsers keep one that begins so for this host alone, and only under https.
        false => section.text("cookie").unwrap_or_else(|| format!("__Host-keyward-{portal}")),
    }
}

impl Settings {
    pub(super) fn read(section: &mut Section, portal: &str) -> Self {
        Self {
            application: application(section),
            session_lifetime: section.duration("session_lifetime", Duration::from_secs(8 * 3600)),
            refresh_every: section.duration("refresh_every", Duration::from_secs(300)),
            challenge: challenge(section, portal),
            cache_for: section.duration("cache_for", Duration::from_secs(300)),
            refused_for: section.duration("refused_for", Duration::from_secs(300)),
            lockout: lockout(section),
        }
    }
}

fn lockout(section: &mut Section) -> Terms {
    let mut table = section.section("lockout");
    let mut count = |key, default| u32::try_from(table.integer(key, default, 1..=1_000_000)).unwrap_or(u32::MAX);
    let (attempts, per_address, per_user) =
        (count("attempts", 5), count("attempts_per_address", 50), count("attempts_per_user", 50));
    let wait = table.duration("wait", Duration::from_secs(15));
    let longest_wait = table.duration("longest_wait", Duration::from_secs(15 * 60));
    let forgotten_after = table.duration("forgotten_after", Duration::from_secs(3600));
    if longest_wait < wait {
        table.mistake("longest_wait", "must not be shorter than wait");
    }
    if forgotten_after < longest_wait {
        table.mistake("forgotten_after", "must not be shorter than longest_wait, or waiting would be of no use");
    }
    table.finish();
    Terms { attempts, per_address, per_user, wait, longest_wait, forgotten_after }
}

fn application(section: &mut Section) -> String {
    let Some(text) = section.text("application") else { return "/".to_owned() };
    let plain = |byte: u8| (0x21..0x7f).contains(&byte) && byte != b'\\';
    if !text.starts_with('/') || text.starts_with("//") || !text.bytes().all(plain) {
        section.mistake("application", "must be a path on this host, such as \"/mail/\"");
    }
    text
}

fn challenge(section: &mut Section, portal: &str) -> String {
    let realm = section.text("realm").unwrap_or_else(|| portal.to_owned());
    if !realm.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\') {
        section.mistake("realm", "must be printable ASCII without quotation marks and backslashes");
    }
    // RFC 7617, section 2.1: names and passwords come in UTF-8.
    format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")
}
