use std::net::IpAddr;

use super::entry::Wanted;
use super::shelf::Holding;
use crate::domain::{Client, ShortText};

/// Names that are longer together have a place of their own. Nearly none are.
const MOST_IN_PLACE: usize = 94;

/// Whose keys these are: besides the session, everything that a ticket of the same session could
/// say differently. Keys are handed to exactly this holder.
pub(super) struct Holder {
    /// Portal, session, user, and the name at the back-end where it is not the user's. All in one piece of memory:
    /// there may be a million of them, and whoever looks for one compares all.
    text: ShortText<MOST_IN_PLACE>,
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
            text: [portal, session, user, own_login].concat().as_str().into(),
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
        self.text.part(self.login_at as usize..self.text.bytes().len())
    }

    fn part(&self, start: u32, end: u32) -> &str {
        self.text.part(start as usize..end as usize)
    }

    fn bytes(&self, start: u32, end: u32) -> &[u8] {
        self.text.bytes().get(start as usize..end as usize).unwrap_or_default()
    }

    /// Whether this is a holder in that session of that portal.
    pub(super) fn is_named(&self, (portal, session): (&str, &str)) -> bool {
        self.bytes(0, self.session_at) == portal.as_bytes()
            && self.bytes(self.session_at, self.user_at) == session.as_bytes()
    }

    /// Whether this is exactly who wants keys, of one and the same session.
    pub(super) fn is(&self, wanted: &Wanted<'_>) -> bool {
        let login = self.text.bytes().get(self.login_at as usize..);
        self.bytes(self.user_at, self.user_end) == wanted.user.as_bytes()
            && login == Some(wanted.login.as_bytes())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(portal: &str, session: &str, user: &str, login: &str) {
        let holding = Holding {
            user: user.to_owned(),
            login: login.to_owned(),
            user_agent: None,
            address: None,
            accept_language: None,
        };
        let holder = Holder::of(portal, session, &holding);
        assert_eq!((holder.name(), holder.user(), holder.login()), ((portal, session), user, login));
        assert!(holder.is_named((portal, session)) && holder.holds(&holding));
        for other in [("", session), (portal, ""), (session, portal), (portal, user)] {
            assert_eq!(holder.is_named(other), other == (portal, session), "{other:?}");
        }
        for other in [String::new(), format!("{user}x"), format!("x{login}")] {
            let [mut user_differs, mut login_differs] = [holder.holding(), holder.holding()];
            user_differs.user.clone_from(&other);
            login_differs.login.clone_from(&other);
            assert_eq!(holder.holds(&user_differs), other == user, "{other:?}");
            assert_eq!(holder.holds(&login_differs), other == login, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn names_of_any_length_come_out_as_they_went_in(
            portal in ".{0,30}", session in ".{0,60}", user in ".{0,30}", login in ".{0,30}",
        ) {
            check(&portal, &session, &user, &login);
            check(&portal, &session, &user, &user);
        }
    }

    #[test]
    fn names_are_told_apart_where_one_ends_and_the_next_begins() {
        let long = "é".repeat(32 * 1024);
        for (portal, session, user, login) in [
            ("", "", "", ""),
            ("portal", "session", "", "login"),
            ("portal", "session", "user", ""),
            ("port", "alsession", "user", "use"),
            ("portal", "session", &long, "login"),
            (&long, &long, &long, &long),
        ] {
            check(portal, session, user, login);
        }
    }
}
