use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::HeldSession;
use crate::domain::{Identity, Person, Secret, SessionHandle, UnixSeconds};

/// A checked portal session. It prints nothing of itself: its id opens cached keys.
pub struct PortalSession<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) identity: Identity<'a>,
    pub(super) expires: UnixSeconds,
    pub(super) password: Password<'a>,
}

/// Where the password of a session is.
pub(super) enum Password<'a> {
    /// In the ticket, sealed with this of the portal's keys.
    Sealed { key: u16, text: Option<Cow<'a, str>> },
    /// Here.
    Held(Arc<HeldSession>),
}

impl fmt::Debug for PortalSession<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PortalSession(…)")
    }
}

impl PortalSession<'_> {
    /// The portal's name for the session (`sid`).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When the portal session ends.
    #[must_use]
    pub const fn expires(&self) -> UnixSeconds {
        self.expires
    }

    /// Whose session it is, for whoever asks later.
    #[must_use]
    pub fn person(&self, portal: &str) -> Person {
        Person {
            session: SessionHandle { portal: portal.to_owned(), id: self.id.clone().into_owned() },
            identity: self.identity.clone().into_owned(),
            expires: self.expires,
        }
    }

    /// Copies what is borrowed, so that a login can outlive the request that caused it.
    #[must_use]
    pub fn into_owned(self) -> PortalSession<'static> {
        PortalSession {
            id: Cow::Owned(self.id.into_owned()),
            identity: self.identity.into_owned(),
            expires: self.expires,
            password: match self.password {
                Password::Sealed { key, text } => {
                    Password::Sealed { key, text: text.map(|text| Cow::Owned(text.into_owned())) }
                }
                Password::Held(held) => Password::Held(held),
            },
        }
    }
}

impl<'a> PortalSession<'a> {
    /// One that is kept here, under this id.
    pub(super) fn held(id: String, held: &'a Arc<HeldSession>) -> Self {
        let password = Password::Held(Arc::clone(held));
        Self { id: Cow::Owned(id), identity: held.identity.borrowed(), expires: held.expires, password }
    }

    /// The same for whoever has nothing to borrow from.
    pub(super) fn held_here(id: String, held: &Arc<HeldSession>) -> PortalSession<'static> {
        PortalSession::held(id, held).into_owned()
    }

    /// What is kept here of it.
    pub(super) fn kept(&self) -> Option<&Arc<HeldSession>> {
        match &self.password {
            Password::Held(held) => Some(held),
            Password::Sealed { .. } => None,
        }
    }

    pub(super) fn held_password(&self) -> Option<Secret> {
        self.kept()?.password.clone()
    }

    /// Whose session it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity<'a> {
        &self.identity
    }

    /// Whose session it is, and nothing more of it.
    #[must_use]
    pub fn into_identity(self) -> Identity<'a> {
        self.identity
    }
}
