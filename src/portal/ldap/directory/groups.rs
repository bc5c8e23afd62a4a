//! Which groups somebody is in, by the names that become roles.

use std::collections::HashSet;

use ldap3::{Scope, ldap_escape};

use super::codes::{Failure, SUCCESS, no_answer};
use super::connection::{Entry, Question};
use super::dn::Name;
use super::names::DN;
use super::person::ANY;
use super::server::Reader;
use crate::domain::{Identity, Outage};

/// A matching rule that follows chains of groups (`LDAP_MATCHING_RULE_IN_CHAIN`). A server that does not know it
/// finds nothing, without a word, so it is used only where [`ACTIVE_DIRECTORY`] is among the capabilities.
/// Both numbers are documented by Microsoft ([MS-ADTS], 3.1.1.3.4.4 and 3.1.1.3.4.3).
const CHAIN: &str = ":1.2.840.113556.1.4.1941:=";
const ACTIVE_DIRECTORY: &str = "1.2.840.113556.1.4.800";
/// How many groups may stand one in the other, where we follow them ourselves. Ours.
const MOST_LEVELS: usize = 10;
/// Most groups of one person; an identity has no more roles either.
const MOST_GROUPS: usize = 256;
/// How many groups are asked for at once.
const AT_ONCE: usize = 32;

/// Where it stands who is in a group.
pub(super) enum Groups {
    /// Nobody is in any.
    Unknown,
    /// In the person's entry. With a base these are DNs of groups below it, else the names themselves.
    Listed { attribute: String, base: Option<Name>, called: String },
    /// In the groups' entries.
    Searched { base: String, filter: String, called: String, nested: bool, time_limit: i32 },
}

impl Groups {
    /// The names of all groups of a person.
    pub(super) async fn of(&self, person: &Entry, reader: &mut Reader<'_>) -> Result<Vec<String>, Failure> {
        let mut names = match self {
            Self::Unknown => Vec::new(),
            Self::Listed { attribute, base, called } => listed(person, attribute, base.as_ref(), called),
            Self::Searched { base, filter, called, nested, time_limit } => {
                let search = Search { base, filter, called, time_limit: *time_limit };
                match nested {
                    false => search.direct(person.dn(), filter, reader).await?,
                    true if follows_chains(reader).await? => {
                        let filter = filter.replace(&format!("={DN}"), &format!("{CHAIN}{DN}"));
                        search.direct(person.dn(), &filter, reader).await?
                    }
                    true => search.nested(person.dn(), reader).await?,
                }
            }
        };
        let mut seen = HashSet::new();
        names.retain(|name| can_be_a_role(name) && seen.insert(name.clone()));
        Ok(names)
    }
}

/// A group whose name cannot travel as a role gives none.
fn can_be_a_role(name: &str) -> bool {
    Identity::new("x", "", "", vec![name.into()]).is_ok()
}

fn listed(person: &Entry, attribute: &str, base: Option<&Name>, called: &str) -> Vec<String> {
    let values = person.values(attribute).unwrap_or_default();
    let Some(base) = base else { return values.into_iter().map(str::to_owned).collect() };
    let groups = values.into_iter().filter_map(Name::parse).filter(|group| group.is_below(base));
    groups.filter_map(|group| group.first(called).map(str::to_owned)).collect()
}

async fn follows_chains(reader: &mut Reader<'_>) -> Result<bool, Failure> {
    if let Some(known) = reader.server().chains.get() {
        return Ok(*known);
    }
    let attributes = &["supportedCapabilities"];
    let question = Question { base: "", scope: Scope::Base, filter: ANY, attributes, most: 1, time_limit: 0 };
    let found = reader.search(&question).await?;
    // A directory that does not tell may have no such rule.
    let root = found.entries.first().filter(|_| found.code == SUCCESS);
    let capabilities = root.and_then(|root| root.values(attributes[0])).unwrap_or_default();
    Ok(*reader.server().chains.get_or_init(|| capabilities.contains(&ACTIVE_DIRECTORY)))
}

struct Search<'a> {
    base: &'a str,
    filter: &'a str,
    called: &'a str,
    time_limit: i32,
}

impl Search<'_> {
    async fn direct(&self, dn: &str, filter: &str, reader: &mut Reader<'_>) -> Result<Vec<String>, Failure> {
        let filter = filter.replace(DN, &ldap_escape(dn));
        Ok(self.find(&filter, reader).await?.iter().flat_map(|group| self.name(group)).collect())
    }

    /// Level by level. A group that is in itself is found once.
    async fn nested(&self, dn: &str, reader: &mut Reader<'_>) -> Result<Vec<String>, Failure> {
        let (mut names, mut seen) = (Vec::new(), HashSet::new());
        let mut level = vec![dn.to_owned()];
        for _ in 0..MOST_LEVELS {
            let mut next = Vec::new();
            for some in level.chunks(AT_ONCE) {
                let filters = some.iter().map(|dn| self.filter.replace(DN, &ldap_escape(dn.as_str())));
                let filter = format!("(|{})", filters.collect::<String>());
                for group in self.find(&filter, reader).await? {
                    if seen.insert(Name::parse(group.dn()).ok_or_else(|| odd("the DN of a group is none"))?) {
                        names.extend(self.name(&group));
                        next.push(group.dn().to_owned());
                    }
                }
                if seen.len() > MOST_GROUPS {
                    return Err(too_many());
                }
            }
            if next.is_empty() {
                return Ok(names);
            }
            level = next;
        }
        Err(Failure::Question(Outage::Protocol(format!("groups stand in one another more than {MOST_LEVELS} deep"))))
    }

    async fn find(&self, filter: &str, reader: &mut Reader<'_>) -> Result<Vec<Entry>, Failure> {
        let question = Question {
            base: self.base,
            scope: Scope::Subtree,
            filter,
            attributes: &[self.called],
            most: MOST_GROUPS,
            time_limit: self.time_limit,
        };
        let found = reader.search(&question).await?;
        match found.code {
            // Some of them would be some of the person's rights, and nobody knows which.
            _ if found.more => Err(too_many()),
            SUCCESS => Ok(found.entries),
            code => Err(no_answer(code)),
        }
    }

    /// A group with several names is none that a rule could mean.
    fn name(&self, group: &Entry) -> Option<String> {
        match group.values(self.called)?.as_slice() {
            [name] => Some((*name).to_owned()),
            _ => None,
        }
    }
}

fn odd(what: &str) -> Failure {
    Failure::Question(Outage::Protocol(what.to_owned()))
}

fn too_many() -> Failure {
    Failure::Question(Outage::Protocol(format!("somebody is in more than {MOST_GROUPS} groups")))
}
