use std::net::IpAddr;

use super::entry::Wanted;
use super::shelf::Holding;
use crate::domain::Client;

/// Whose keys these are: besides the session, everything that a ticket of the same session could
/// say differently. Keys are handed to exactly this holder.
pub(super) struct Holder {
    /// Portal, session, user, and the name at the back-end where it is not the user's. All in one piece of memory:
    /// there may be a million of them, and whoever looks for one compares all.
    text: Box<str>,
    session_at: u32,
    user_at: u32,
    user_end: u32,
    /// Where the user begins, if that is the name at the back-end, too.
    login_at: u32,
    bound: Option<Box<Bound>>,
}

/// What the back-end ties the session to.
#[derive(Debug, PartialEq, Eq)]
struct Bound {
    user_agent: Option<Box<[u8]>>,
    address: Option<IpAddr>,
    accept_language: Option<Box<[u8]>>,
}

impl Holder {
    pub(super) fn new(portal: &str, session: &str, wanted: &Wanted<'_>) -> Self {
        let bound = wanted.client.filter(|_| wanted.binding.any()).map(|client| {
            Box::new(Bound {
                user_agent: wanted.binding.user_agent.then(|| client.user_agent.as_ref().into()),
                address: wanted.binding.address.then_some(client.address),
                accept_language: wanted.binding.accept_language.then(|| client.accept_language.as_ref().into()),
            })
        });
        Self::named(portal, session, wanted.user, wanted.login, bound)
    }

    pub(super) fn of(portal: &str, session: &str, holding: &Holding) -> Self {
        Self::named(portal, session, &holding.user, &holding.login, Bound::of(holding))
    }

    fn named(portal: &str, session: &str, user: &str, login: &str, bound: Option<Box<Bound>>) -> Self {
        let own_login = if login == user { "" } else { login };
        // Whoever has a name of four gigabytes has none.
        let at = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        let user_at = portal.len() + session.len();
        let user_end = user_at + user.len();
        Self {
            text: [portal, session, user, own_login].concat().into(),
            session_at: at(portal.len()),
            user_at: at(user_at),
            user_end: at(user_end),
            login_at: at(if login == user { user_at } else { user_end }),
            bound,
        }
    }

    /// The portal and the session.
    pub(super) fn name(&self) -> (&str, &str) {
        (self.part(0, self.session_at), self.part(self.session_at, self.user_at))
    }

    /// The portal's name for the person.
    pub(super) fn user(&self) -> &str {
        self.part(self.user_at, self.user_end)
    }

    /// The name at the back-end.
    pub(super) fn login(&self) -> &str {
        self.text.get(self.login_at as usize..).unwrap_or_default()
    }

    fn part(&self, start: u32, end: u32) -> &str {
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Whether this is exactly who wants keys, of one and the same session.
    pub(super) fn is(&self, wanted: &Wanted<'_>) -> bool {
        self.user() == wanted.user
            && self.login() == wanted.login
            && self.bound.as_ref().is_none_or(|bound| wanted.client.is_some_and(|client| bound.fits(client)))
    }

    /// Whether this is exactly whose keys those are, of one and the same session.
    pub(super) fn holds(&self, holding: &Holding) -> bool {
        self.user() == holding.user && self.login() == holding.login && self.bound == Bound::of(holding)
    }

    /// Whose keys these are, as other replicas are told.
    pub(super) fn holding(&self) -> Holding {
        let bound = self.bound.as_deref();
        Holding {
            user: self.user().to_owned(),
            login: self.login().to_owned(),
            user_agent: bound.and_then(|bound| bound.user_agent.as_deref().map(<[u8]>::to_vec)),
            address: bound.and_then(|bound| bound.address),
            accept_language: bound.and_then(|bound| bound.accept_language.as_deref().map(<[u8]>::to_vec)),
        }
    }
}

impl Bound {
    fn of(holding: &Holding) -> Option<Box<Self>> {
        let Holding { user_agent, address, accept_language, .. } = holding;
        let is_bound = user_agent.is_some() || address.is_some() || accept_language.is_some();
        let bytes = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(Into::into);
        is_bound.then(|| {
            Box::new(Self { user_agent: bytes(user_agent), address: *address, accept_language: bytes(accept_language) })
        })
    }

    fn fits(&self, client: &Client<'_>) -> bool {
        self.user_agent.as_ref().is_none_or(|held| **held == *client.user_agent)
            && self.address.is_none_or(|held| held == client.address)
            && self.accept_language.as_ref().is_none_or(|held| **held == *client.accept_language)
    }
}
