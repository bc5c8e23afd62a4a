use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Rejection, plain};
use crate::domain::{Identity, IdentityError, UnixSeconds, is_printable};
use crate::portal::{Password, PortalSession};

/// How far `iat` may lie ahead of our clock, in seconds.
const CLOCK_SKEW: u64 = 60;

/// What a ticket says. Borrowed from the ticket where its JSON needs no unescaping.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewTicket<'a> {
    /// The portal's name for the session.
    #[serde(borrow)]
    pub sid: Cow<'a, str>,
    /// The user.
    #[serde(borrow)]
    pub sub: Cow<'a, str>,
    /// When it was made.
    pub iat: UnixSeconds,
    /// When it ends.
    pub exp: UnixSeconds,
    /// The user's roles.
    #[serde(borrow, default, deserialize_with = "roles", skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Cow<'a, str>>,
    /// The user's full name.
    #[serde(borrow, default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// The user's e-mail address.
    #[serde(borrow, default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub email: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) cred: Option<Cow<'a, str>>,
}

/// A text that is borrowed where it needs no unescaping, also inside lists and options, where
/// `Cow<str>` alone would always be copied.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn roles<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Cow<'a, str>>, D::Error> {
    let roles = Vec::<Text<'a>>::deserialize(deserializer)?;
    Ok(roles.into_iter().map(|Text(role)| role).collect())
}

/// Read as a text and not as an option, so that `null` is what it is: the wrong type.
fn text<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    Text::deserialize(deserializer).map(|Text(text)| Some(text))
}

impl<'a> NewTicket<'a> {
    /// What every ticket says. Roles, name and e-mail address are added to it.
    pub fn new(sid: impl Into<Cow<'a, str>>, sub: impl Into<Cow<'a, str>>, iat: UnixSeconds, exp: UnixSeconds) -> Self {
        Self { sid: sid.into(), sub: sub.into(), iat, exp, roles: Vec::new(), name: None, email: None, cred: None }
    }

    pub(super) fn parse(json: &'a [u8]) -> Result<Self, Rejection> {
        // serde takes a list for a struct as well, field after field.
        if json.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(Rejection::NoObject);
        }
        // As a text it is looked at once for UTF-8, else each of its strings would be by itself.
        let Ok(text) = simdutf8::basic::from_utf8(json) else { return Ok(serde_json::from_slice(json)?) };
        plain::read(text).map_or_else(|| Ok(serde_json::from_str(text)?), Ok)
    }

    /// The session it stands for, if every field is what it must be at this time.
    pub(super) fn into_session(self, key: u16, now: UnixSeconds) -> Result<PortalSession<'a>, Rejection> {
        if self.exp <= now {
            return Err(if self.exp <= self.iat { Rejection::NeverValid } else { Rejection::Expired });
        }
        if self.iat > now.saturating_add(CLOCK_SKEW) {
            return Err(Rejection::FromTheFuture);
        }
        if self.exp <= self.iat {
            return Err(Rejection::NeverValid);
        }
        // Nearly every sid is plain ASCII, whose characters are its bytes.
        let plain = is_printable(&self.sid);
        let characters = if plain { self.sid.len() } else { self.sid.chars().count() };
        if !(16..=128).contains(&characters) || (!plain && self.sid.chars().any(char::is_control)) {
            return Err(Rejection::SessionId);
        }
        let (name, email) = (self.name.unwrap_or_default(), self.email.unwrap_or_default());
        let identity = Identity::new(self.sub, name, email, self.roles)?;
        if !identity.can_be_joined() {
            return Err(IdentityError::Comma.into());
        }
        let password = Password::Sealed { key, text: self.cred };
        Ok(PortalSession { id: self.sid, identity, expires: self.exp, password })
    }
}
