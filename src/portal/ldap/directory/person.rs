//! Where a person is in the directory, and what is written there.

use ldap3::Scope;

use super::codes::{Failure, NO_SUCH_OBJECT, SIZE_LIMIT_EXCEEDED, SUCCESS, no_answer};
use super::connection::{Entry, Question};
use super::names;
use super::server::Reader;
use crate::domain::Outage;

/// Matches every entry.
pub(super) const ANY: &str = "(objectClass=*)";

/// How the entry of a name is found.
pub(super) enum Way {
    /// By a search of ours.
    Search { base: String, scope: Scope, filter: String },
    /// It is where the name says.
    Template(String),
}

/// Under which attributes of the entry it stands who somebody is.
pub(super) struct Attributes {
    pub user: String,
    pub name: String,
    pub email: String,
    /// What each is a member of, where the entry says so.
    pub groups: Option<String>,
    /// For the server: in seconds.
    pub time_limit: i32,
}

/// Who has a name.
pub(super) enum Holder {
    One(Entry),
    Nobody,
    /// Two or more, so that nobody knows which.
    Several,
}

impl Way {
    /// A place where nobody can be, so that a bind there takes the way that others take.
    pub(super) fn nowhere(&self) -> String {
        let nobody = format!("cn=nobody-{:032x}", rand::random::<u128>());
        match self {
            Self::Search { base, .. } if !base.is_empty() => format!("{nobody},{base}"),
            _ => nobody,
        }
    }
}

impl Attributes {
    fn all(&self) -> Vec<&str> {
        let all = [Some(&self.user), Some(&self.name), Some(&self.email), self.groups.as_ref()];
        all.into_iter().flatten().map(String::as_str).filter(|name| !name.is_empty()).collect()
    }

    /// Looks for whoever has this name, below a base.
    pub(super) async fn search(
        &self,
        reader: &mut Reader<'_>,
        (base, scope, filter): (&str, Scope, &str),
        name: &str,
    ) -> Result<Holder, Failure> {
        let filter = names::in_filter(filter, names::LOGIN, name);
        let (attributes, time_limit) = (&*self.all(), self.time_limit);
        let question = Question { base, scope, filter: &filter, attributes, most: 1, time_limit };
        let found = reader.search(&question).await?;
        match found.code {
            SUCCESS if found.more => Ok(Holder::Several),
            SUCCESS => Ok(found.entries.into_iter().next().map_or(Holder::Nobody, Holder::One)),
            SIZE_LIMIT_EXCEEDED => Ok(Holder::Several),
            // The base is there, or is not shown to us any more: that says nothing of anybody in it.
            code => Err(no_answer(code)),
        }
    }

    /// Reads the entry that is there.
    pub(super) async fn read(&self, reader: &mut Reader<'_>, dn: &str) -> Result<Holder, Failure> {
        let (attributes, time_limit) = (&*self.all(), self.time_limit);
        let question = Question { base: dn, scope: Scope::Base, filter: ANY, attributes, most: 1, time_limit };
        let found = reader.search(&question).await?;
        match found.code {
            SUCCESS if found.more => {
                Err(Failure::Server(Outage::Protocol("more than one entry at one place".to_owned())))
            }
            SUCCESS => Ok(found.entries.into_iter().next().map_or(Holder::Nobody, Holder::One)),
            NO_SUCH_OBJECT => Ok(Holder::Nobody),
            code => Err(no_answer(code)),
        }
    }
}
