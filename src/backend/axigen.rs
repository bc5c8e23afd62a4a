//! Kind `axigen`: Axigen WebMail, by either of its two surfaces.
//!
//! A session has two halves, and both are needed on every request (documented: "Special HSP
//! Requests"): a cookie, and a key in the query, usually `_h`. Much of the rest is not published;
//! what was only seen or assumed is a setting, with a default that says where it comes from.

mod accounts;
mod cli;
mod legacy;
mod mailbox_api;
mod quoting;
mod settings;

use std::borrow::Cow;
use std::sync::OnceLock;

use futures_util::future::BoxFuture;
use memchr::memchr;

use self::accounts::CommandLine;
use self::settings::{Settings, Surface, TokenSession};
use super::{Accounts, Attempt, Backend, Kind, Liveness, Login, Outage};
use crate::config::Section;
use crate::domain::{SessionKeys, SessionKeysError, UnixSeconds};
use crate::wire::{Answer, Wire, claims};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "axigen", build };

fn build(section: &mut Section, wire: Wire) -> Box<dyn Backend> {
    let (settings, command_line) = (Settings::read(section), CommandLine::read(section));
    Box::new(Axigen { settings, command_line, wire, learned_cookie: OnceLock::new() })
}

struct Axigen {
    settings: Settings,
    command_line: Option<CommandLine>,
    wire: Wire,
    /// The name of the session cookie, where it is not the configured one.
    learned_cookie: OnceLock<String>,
}

impl Backend for Axigen {
    fn login<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>> {
        match self.settings.surface {
            Surface::Legacy => Box::pin(legacy::login(self, attempt)),
            Surface::MailboxApi => Box::pin(mailbox_api::login(self, attempt)),
        }
    }

    fn check<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<Liveness, Outage>> {
        match self.settings.surface {
            Surface::Legacy => Box::pin(legacy::check(self, keys)),
            Surface::MailboxApi => Box::pin(mailbox_api::check(self, keys)),
        }
    }

    fn logout<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<(), Outage>> {
        match self.settings.surface {
            Surface::Legacy => Box::pin(legacy::logout(self, keys)),
            Surface::MailboxApi => Box::pin(mailbox_api::logout(self, keys)),
        }
    }

    fn owns_cookie(&self, name: &[u8]) -> bool {
        // How Axigen reads cookie names is not published, so every common way of folding counts.
        let decoded = match memchr(b'%', name) {
            Some(_) => Cow::from(percent_encoding::percent_decode(name)),
            None => Cow::Borrowed(name),
        };
        let folded = decoded.trim_ascii();
        let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(folded);
        folded.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"_h"))
            || self.settings.cookie.as_deref().is_some_and(is)
            || self.learned_cookie.get().is_some_and(|learned| is(learned))
    }

    fn accounts(&self) -> Option<&dyn Accounts> {
        self.command_line.as_ref().map(|line| line as &dyn Accounts)
    }

    fn takes_authorization(&self) -> bool {
        self.settings.by_token == Some(TokenSession::Headers)
    }

    fn session_header(&self) -> Option<&'static str> {
        self.takes_authorization().then_some(mailbox_api::SESSION)
    }

    fn use_tokens(&mut self) -> bool {
        self.settings.use_tokens()
    }

    fn keys_end(&self, keys: &SessionKeys) -> Option<UnixSeconds> {
        let token = keys.authorization().strip_prefix("Bearer ")?;
        claims(token)?.get("exp")?.as_u64()
    }

    fn query_key(&self) -> Option<&str> {
        Some(&self.settings.url_key)
    }
}

impl Axigen {
    /// The session cookie among those an answer leaves: the configured one, else the only one that
    /// may be it. The name was published for old versions only, so a renamed one is learned.
    fn session_cookie(&self, answer: &Answer) -> Option<(String, String)> {
        let mut cookies = answer.cookies_left();
        if let Some(configured) = &self.settings.cookie
            && let Some(index) = cookies.iter().position(|cookie| cookie.name == *configured)
        {
            let cookie = cookies.swap_remove(index);
            return Some((cookie.name, cookie.value));
        }
        match self.settings.surface {
            Surface::Legacy => cookies.retain(|cookie| cookie.name.starts_with("_h")),
            // No name is published for this surface, so without a setting it is the only one set.
            Surface::MailboxApi if self.settings.cookie.is_some() => cookies.clear(),
            Surface::MailboxApi => {}
        }
        let cookie = if cookies.len() == 1 { cookies.pop()? } else { return None };
        if self.learned_cookie.set(cookie.name.clone()).is_ok() {
            tracing::info!(cookie = cookie.name, "the session cookie has a name of its own here; set cookie to it");
        }
        Some((cookie.name, cookie.value))
    }

    fn keys(&self, cookie: &(String, String), url_key: &str) -> Result<SessionKeys, Outage> {
        if !is_key(&cookie.1) || !is_key(url_key) {
            return Err(Outage::Protocol("its session key is not one".to_owned()));
        }
        let keys = SessionKeys::builder()
            .cookie(&cookie.0, &cookie.1)
            .and_then(|builder| builder.query(&self.settings.url_key, url_key))
            .and_then(crate::domain::SessionKeysBuilder::build);
        keys.map_err(|error: SessionKeysError| Outage::Protocol(error.to_string()))
    }

    /// A path with the session's query key, and more of the query where there is more.
    fn with_key(path: &str, keys: &SessionKeys, more: &str) -> String {
        let separator = if path.contains('?') { '&' } else { '?' };
        let and = if more.is_empty() { "" } else { "&" };
        format!("{path}{separator}{}{and}{more}", keys.query())
    }
}

/// 32 hexadecimal digits are documented for old versions; anything as harmless is taken.
fn is_key(text: &str) -> bool {
    (16..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
