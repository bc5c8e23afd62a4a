//! What is asked over one connection: a bind, a search, a change of a password.

use ldap3::controls::RawControl;
use ldap3::exop::PasswordModify;
use ldap3::{DerefAliases, Ldap, LdapError, Scope, SearchEntry, SearchOptions};

use super::codes::Failure;
use super::message;
use crate::domain::{ExposeSecret, Outage, Secret};

/// Asks for what a directory's rules for passwords say of a bind, and is the answer, too.
const PASSWORD_POLICY: &str = "1.3.6.1.4.1.42.2.27.8.5.1";

/// One connection to a server. It ends when this is dropped.
pub(super) struct Connection(Ldap);

/// A search.
pub(super) struct Question<'a> {
    pub base: &'a str,
    pub scope: Scope,
    pub filter: &'a str,
    pub attributes: &'a [&'a str],
    /// Most entries that are of interest.
    pub most: usize,
    /// For the server: in seconds.
    pub time_limit: i32,
}

/// What a search found.
pub(super) struct Found {
    pub entries: Vec<Entry>,
    /// More than [`Question::most`]: the rest was not read.
    pub more: bool,
    pub code: u32,
}

/// One entry, with the attributes that were asked for and that whoever asked may see.
pub(super) struct Entry(SearchEntry);

impl Entry {
    /// Where it is.
    pub(super) fn dn(&self) -> &str {
        &self.0.dn
    }

    /// All values of an attribute; `None` where one of them is no text.
    pub(super) fn values(&self, attribute: &str) -> Option<Vec<&str>> {
        if self.0.bin_attrs.keys().any(|name| name.eq_ignore_ascii_case(attribute)) {
            return None;
        }
        let same = self.0.attrs.iter().filter(|(name, _)| name.eq_ignore_ascii_case(attribute));
        Some(same.flat_map(|(_, values)| values).map(String::as_str).collect())
    }
}

impl Connection {
    pub(super) const fn new(handle: Ldap) -> Self {
        Self(handle)
    }

    /// Whether it has ended, as far as has been noticed.
    pub(super) fn has_ended(&mut self) -> bool {
        self.0.is_closed()
    }

    /// Tries a name and a password. Says the result code.
    pub(super) async fn bind(&mut self, dn: &str, password: &Secret) -> Result<u32, Failure> {
        let result = self.0.simple_bind(dn, password.expose_secret()).await;
        result.map(|result| result.rc).map_err(|error| broken(&error))
    }

    /// The same, and whether the directory's rules are against this password although it is right: it was reset and
    /// must be changed first. The connection is good for nothing else then. Servers without such rules do not know
    /// the control, and leave it alone.
    pub(super) async fn bind_by_the_rules(&mut self, dn: &str, password: &Secret) -> Result<(u32, bool), Failure> {
        let control = RawControl { ctype: PASSWORD_POLICY.to_owned(), crit: false, val: None };
        let result = self.0.with_controls(vec![control]).simple_bind(dn, password.expose_secret()).await;
        let result = result.map_err(|error| broken(&error))?;
        let is_against = |value: &Vec<u8>| message::has_policy_error(value).unwrap_or(true);
        let mut told = result.ctrls.iter().map(|control| &control.1).filter(|raw| raw.ctype == PASSWORD_POLICY);
        Ok((result.rc, told.any(|raw| raw.val.as_ref().is_some_and(is_against))))
    }

    /// Looks for entries. Addresses of other servers, in the place of entries, are left out: nobody goes there.
    pub(super) async fn search(&mut self, question: &Question<'_>) -> Result<Found, Failure> {
        let limit = i32::try_from(question.most).unwrap_or(i32::MAX).saturating_add(1);
        let options = SearchOptions::new().deref(DerefAliases::Never).sizelimit(limit).timelimit(question.time_limit);
        let handle = self.0.with_search_options(options);
        let stream = handle.streaming_search(question.base, question.scope, question.filter, question.attributes);
        let mut stream = stream.await.map_err(|error| broken(&error))?;
        let mut entries = Vec::new();
        while let Some(item) = stream.next().await.map_err(|error| broken(&error))? {
            if item.is_ref() {
                continue;
            }
            // A server that heeds no limit could go on for ever.
            if entries.len() > question.most {
                return Err(Failure::Server(Outage::Protocol("more entries than were asked for".to_owned())));
            }
            entries.push(Entry(SearchEntry::construct(item)));
        }
        let code = stream.finish().await.rc;
        let more = entries.len() > question.most;
        entries.truncate(question.most);
        Ok(Found { entries, more, code })
    }

    /// Changes a password (RFC 3062). Says the result code.
    pub(super) async fn change_password(
        &mut self,
        dn: &str,
        old: Option<&Secret>,
        new: &Secret,
    ) -> Result<u32, Failure> {
        let (old, new) = (old.map(|old| old.expose_secret()), Some(new.expose_secret()));
        let change = PasswordModify { user_id: Some(dn), old_pass: old, new_pass: new };
        let result = self.0.extended(change).await;
        // Nobody knows whether it was done before the connection broke.
        result.map(|result| result.1.rc).map_err(|error| Failure::Final(outage(&error)))
    }
}

fn broken(error: &LdapError) -> Failure {
    Failure::Server(outage(error))
}

/// The library's own texts may hold what was sent.
fn outage(error: &LdapError) -> Outage {
    match error {
        LdapError::FilterParsing => Outage::Protocol("the filter is none".to_owned()),
        _ => Outage::Unreachable("the connection ended, or what came over it was no answer".to_owned()),
    }
}
