//! Who is in the directory, and whose password is it?
//!
//! Asks LDAP servers (RFC 4511), the first of which that works. Knows nothing of sessions and pages, and counts
//! no wrong passwords.
//!
//! A person's password is tried over a connection of its own that ends thereafter; kept connections are those of
//! our own account alone. So no bind ever changes who somebody else is. Referrals are never followed.
//!
//! - `settings` and `tls`: what can be configured. `names`: what people type. `dn`: how directories write places.
//! - `servers`: which one is asked, `rest`: and which is left alone. `server`: one of them, and its connections.
//! - `connection`: what is asked over one. `border` and `message`: what of the answers gets through to the library.
//! - `codes`: what they mean. `person` and `groups`: what is looked for.

mod border;
mod codes;
mod connection;
mod dn;
mod groups;
mod message;
mod names;
mod person;
mod rest;
mod server;
mod servers;
mod settings;
mod tls;

use std::borrow::Cow;
use std::time::Duration;

use crate::config::Section;
use crate::domain::{ExposeSecret, Identity, Outage, Secret};
use crate::portal::Surroundings;
use codes::{Bound, Failure};
use connection::{Connection, Entry};
use groups::Groups;
use person::{Attributes, Holder, Way};
use server::{Reader, Server};
use servers::Servers;

/// A directory that is asked who people are.
pub struct Directory {
    portal: String,
    servers: Servers,
    way: Way,
    attributes: Attributes,
    groups: Groups,
    /// An entry that takes as long to refuse a password as a person's does.
    decoy: Option<String>,
    /// Whether there is an account of our own.
    is_somebody: bool,
}

/// Somebody who is in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where in the directory, as the directory writes it.
    pub dn: String,
    /// Who they are, as the directory writes it: not as somebody typed it.
    pub identity: Identity<'static>,
}

/// What became of a change of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The new one counts.
    Done,
    /// Nobody has this name.
    NoSuchPerson,
    /// The old one is not the person's.
    WrongPassword,
    /// The directory does not want the new one, or not from whoever asks.
    Refused(Refusal),
}

/// Why a directory does not change a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too short, too simple, used before, too young: its rules for passwords are against the new one.
    Quality,
    /// Whoever asks may not do that.
    NotAllowed,
    /// The directory knows no such operation (RFC 3062).
    NotSupported,
}

/// Somebody's password is to be changed, and this is who asks for it.
type Ready = Result<(Connection, String), Changed>;

impl Directory {
    /// Reads the directory's own keys. Mistakes are noted; after one there may be none.
    pub fn read(section: &mut Section, surroundings: &Surroundings) -> Option<Self> {
        settings::read(section, surroundings)
    }

    /// How a name is spelt to count what is tried with it, so that `ALICE` and ` alice` are one; `None` for what
    /// cannot be anybody's name, and is never asked for.
    #[must_use]
    pub fn spelling(name: &str) -> Option<String> {
        names::may_be_a_name(name).then(|| names::spelling(name))
    }

    /// Whether [`Directory::look_up`] can be asked at all. Where the DN is made from the name, only an account
    /// of our own can look there without the person's password.
    #[must_use]
    pub const fn can_look_up(&self) -> bool {
        self.is_somebody || matches!(self.way, Way::Search { .. })
    }

    /// The longest that a question takes.
    pub fn longest_answer(&self) -> Duration {
        self.servers.longest_answer()
    }

    /// Who has this name and password. Nobody (`None`) looks the same and takes the same steps, whether the
    /// name or the password is wrong.
    ///
    /// # Errors
    /// No server could say.
    pub async fn sign_in(&self, name: &str, password: &Secret) -> Result<Option<Member>, Outage> {
        if !names::may_be_a_name(name) || !names::may_be_a_password(password.expose_secret()) {
            return Ok(None);
        }
        let _place = self.servers.place().await?;
        self.servers.ask(|server| Box::pin(self.sign_in_at(server, name, password))).await
    }

    /// Who has this name now; `None` where nobody has it any more. `name` is what a person could type: that of
    /// an identity only where `filter` finds people by it.
    ///
    /// # Errors
    /// No server could say, or [`Directory::can_look_up`] is false.
    pub async fn look_up(&self, name: &str) -> Result<Option<Member>, Outage> {
        if !self.can_look_up() {
            return Err(Outage::Protocol("nobody can look there without bind_dn".to_owned()));
        }
        if !names::may_be_a_name(name) {
            return Ok(None);
        }
        let _place = self.servers.place().await?;
        self.servers.ask(|server| Box::pin(self.look_up_at(server, name))).await
    }

    /// Changes a password (RFC 3062): as the person, who shows the old one, or as our own account.
    ///
    /// # Errors
    /// No server could say, or it broke off in the middle: then either password may count.
    pub async fn change_password(&self, name: &str, old: Option<&Secret>, new: &Secret) -> Result<Changed, Outage> {
        if !names::may_be_a_name(name) {
            return Ok(Changed::NoSuchPerson);
        }
        if !names::may_be_a_password(new.expose_secret()) {
            return Ok(Changed::Refused(Refusal::Quality));
        }
        if old.is_some_and(|old| !names::may_be_a_password(old.expose_secret())) {
            return Ok(Changed::WrongPassword);
        }
        if old.is_none() && !self.is_somebody {
            return Ok(Changed::Refused(Refusal::NotAllowed));
        }
        let _place = self.servers.place().await?;
        let (mut connection, dn) = match self.servers.ask(|server| Box::pin(self.prepare_at(server, name, old))).await?
        {
            Ok(ready) => ready,
            Err(changed) => return Ok(changed),
        };
        let code = self.servers.last(connection.change_password(&dn, old, new)).await?;
        self.servers.last(std::future::ready(codes::judge_change(code))).await
    }

    async fn sign_in_at(&self, server: &Server, name: &str, password: &Secret) -> Result<Option<Member>, Failure> {
        match &self.way {
            Way::Search { .. } => {
                let mut reader = server.reader().await?;
                let entry = self.holder(&mut reader, name).await?;
                let nowhere = || self.decoy.clone().unwrap_or_else(|| self.way.nowhere());
                let dn = entry.as_ref().map_or_else(nowhere, |entry| entry.dn().to_owned());
                let own = self.let_in(server, &dn, password).await?;
                let member = match (entry, own) {
                    (Some(entry), Some(_)) => self.member(&entry, &mut reader).await?,
                    _ => None,
                };
                reader.give_back();
                Ok(member)
            }
            Way::Template(template) => {
                let dn = names::in_dn(template, name);
                let Some(own) = self.let_in(server, &dn, password).await? else { return Ok(None) };
                let mut reader =
                    if self.is_somebody { server.reader().await? } else { Reader::of_a_person(server, own) };
                let member = match self.attributes.read(&mut reader, &dn).await? {
                    Holder::One(entry) => self.member(&entry, &mut reader).await?,
                    Holder::Nobody | Holder::Several => None,
                };
                reader.give_back();
                Ok(member)
            }
        }
    }

    async fn look_up_at(&self, server: &Server, name: &str) -> Result<Option<Member>, Failure> {
        let mut reader = server.reader().await?;
        let member = match self.holder(&mut reader, name).await? {
            Some(entry) => self.member(&entry, &mut reader).await?,
            None => None,
        };
        reader.give_back();
        Ok(member)
    }

    /// Finds out where to change a password, and who may.
    async fn prepare_at(&self, server: &Server, name: &str, old: Option<&Secret>) -> Result<Ready, Failure> {
        let dn = match (&self.way, old) {
            (Way::Template(template), Some(_)) => names::in_dn(template, name),
            _ => {
                let mut reader = server.reader().await?;
                let Some(entry) = self.holder(&mut reader, name).await? else {
                    reader.give_back();
                    return Ok(Err(Changed::NoSuchPerson));
                };
                let dn = entry.dn().to_owned();
                if old.is_none() {
                    return Ok(Ok((reader.into_connection(), dn)));
                }
                reader.give_back();
                dn
            }
        };
        let Some(old) = old else { return Ok(Err(Changed::Refused(Refusal::NotAllowed))) };
        let own = self.bind(server, &dn, old).await?;
        Ok(own.map(|(own, _)| (own, dn)).ok_or(Changed::WrongPassword))
    }

    /// The entry of whoever has a name, if it is one.
    async fn holder(&self, reader: &mut Reader<'_>, name: &str) -> Result<Option<Entry>, Failure> {
        let holder = match &self.way {
            Way::Search { base, scope, filter } => self.attributes.search(reader, (base, *scope, filter), name).await?,
            Way::Template(template) => self.attributes.read(reader, &names::in_dn(template, name)).await?,
        };
        match holder {
            Holder::One(entry) => Ok(Some(entry)),
            Holder::Nobody => Ok(None),
            Holder::Several => {
                let portal = &*self.portal;
                tracing::warn!(portal, "more than one entry of the directory has the name that somebody typed");
                Ok(None)
            }
        }
    }

    /// Tries a password. One that is right and must be changed first opens nothing, as where a directory does not
    /// even take it: nobody can change it here.
    async fn let_in(&self, server: &Server, dn: &str, password: &Secret) -> Result<Option<Connection>, Failure> {
        let Some((connection, must_change)) = self.bind(server, dn, password).await? else { return Ok(None) };
        if must_change {
            let (portal, dn) = (&*self.portal, self.loggable(dn));
            tracing::warn!(portal, dn, "somebody must change their password in the directory before it opens anything");
            return Ok(None);
        }
        Ok(Some(connection))
    }

    /// What was typed stays out of the log: people type passwords into the field for names, too.
    fn loggable<'a>(&self, dn: &'a str) -> Option<&'a str> {
        matches!(self.way, Way::Search { .. }).then_some(dn)
    }

    /// Tries a password, over a connection of its own. Says whether it must be changed first.
    async fn bind(&self, server: &Server, dn: &str, password: &Secret) -> Result<Option<(Connection, bool)>, Failure> {
        let mut connection = server.connect().await?;
        let (code, must_change) = connection.bind_by_the_rules(dn, password).await?;
        match codes::judge_bind(code)? {
            Bound::Yes => Ok(Some((connection, must_change))),
            Bound::No => Ok(None),
            Bound::Barred => {
                let (portal, dn, result) = (&*self.portal, self.loggable(dn), codes::name(code));
                tracing::warn!(
                    portal,
                    dn,
                    code,
                    result,
                    "the directory does not let somebody in, whatever the password"
                );
                Ok(None)
            }
        }
    }

    /// Who somebody is, as their entry says it. One that does not say whose it is, or says it twice, is nobody's.
    async fn member(&self, entry: &Entry, reader: &mut Reader<'_>) -> Result<Option<Member>, Failure> {
        let portal = &*self.portal;
        let users = entry.values(&self.attributes.user).unwrap_or_default();
        let [user] = *users.as_slice() else {
            tracing::warn!(portal, dn = entry.dn(), "an entry of the directory has not exactly one name");
            return Ok(None);
        };
        let first = |attribute: &str| entry.values(attribute).and_then(|all| all.first().copied()).unwrap_or_default();
        let (name, email) = (first(&self.attributes.name), first(&self.attributes.email));
        let roles = self.groups.of(entry, reader).await?.into_iter().map(Cow::Owned).collect();
        match Identity::new(user, name, email, roles) {
            Ok(identity) => Ok(Some(Member { dn: entry.dn().to_owned(), identity: identity.into_owned() })),
            Err(error) => {
                tracing::warn!(portal, dn = entry.dn(), %error, "an entry of the directory cannot be used");
                Ok(None)
            }
        }
    }
}
