use std::borrow::Cow;

use memchr::memchr;

use super::{is_control, is_printable};

/// Longest user, name, e-mail or role, in bytes of UTF-8.
const LONGEST_TEXT: usize = 512;
/// Most roles one identity may carry.
const MOST_ROLES: usize = 256;

/// Why a portal's statement about a person cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Every header and login needs one.
    #[error("the user is empty")]
    NoUser,
    /// Line breaks and their like would forge headers and log lines.
    #[error("{0} holds a control character")]
    ControlCharacter(&'static str),
    /// Web servers cut them, and "ana " would arrive as "ana".
    #[error("{0} begins or ends with a blank")]
    Blank(&'static str),
    /// More than 512 bytes.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// Nobody is in no group.
    #[error("a role is empty")]
    NoRole,
    /// Roles are joined by commas for the back-end.
    #[error("a role holds a comma")]
    Comma,
    /// More than 256.
    #[error("there are too many roles")]
    TooManyRoles,
}

/// Who somebody is, as their portal says it.
///
/// No field holds a control character, and the user is never empty. `name` and `email` are empty
/// where the portal gave none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    user: Cow<'a, str>,
    name: Cow<'a, str>,
    email: Cow<'a, str>,
    roles: Vec<Cow<'a, str>>,
}

impl<'a> Identity<'a> {
    /// Checks and takes what a portal said.
    ///
    /// # Errors
    /// [`IdentityError`] where a value could not travel in a header unharmed.
    pub fn new(
        user: impl Into<Cow<'a, str>>,
        name: impl Into<Cow<'a, str>>,
        email: impl Into<Cow<'a, str>>,
        roles: Vec<Cow<'a, str>>,
    ) -> Result<Self, IdentityError> {
        let identity = Self { user: user.into(), name: name.into(), email: email.into(), roles };
        if identity.user.is_empty() {
            return Err(IdentityError::NoUser);
        }
        check_text("the user", &identity.user)?;
        check_edges("the user", &identity.user)?;
        check_edges("the e-mail address", &identity.email)?;
        check_text("the name", &identity.name)?;
        check_text("the e-mail address", &identity.email)?;
        if identity.roles.len() > MOST_ROLES {
            return Err(IdentityError::TooManyRoles);
        }
        for role in &identity.roles {
            check_text("a role", role)?;
            check_edges("a role", role)?;
            if role.is_empty() {
                return Err(IdentityError::NoRole);
            }
        }
        Ok(identity)
    }

    /// The portal's name for the person (`sub`).
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The person's full name, or empty.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The person's e-mail address, or empty.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.email
    }

    /// The person's roles, whole strings.
    #[must_use]
    pub fn roles(&self) -> &[Cow<'a, str>] {
        &self.roles
    }

    /// Whether they have one of these roles; of none wanted, everybody has enough.
    #[must_use]
    pub fn has_one_of(&self, wanted: &[String]) -> bool {
        wanted.is_empty() || wanted.iter().any(|role| self.roles.iter().any(|held| held == role))
    }

    /// Whether the roles can be told from each other when they are joined by commas. A portal may have other
    /// ones, such as the names of groups in a directory; they are translated before anybody else sees them.
    #[must_use]
    pub fn can_be_joined(&self) -> bool {
        !self.roles.iter().any(|role| memchr(b',', role.as_bytes()).is_some())
    }

    /// Puts what is made of their roles in the place of them; each is kept once. All must be such as an
    /// identity can have.
    pub fn change_roles(&mut self, change: impl FnOnce(&[Cow<'a, str>]) -> Vec<Cow<'a, str>>) {
        let mut roles: Vec<Cow<'a, str>> = Vec::with_capacity(self.roles.len());
        for role in change(&self.roles) {
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        self.roles = roles;
    }

    /// The same, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> Identity<'_> {
        Identity {
            user: Cow::Borrowed(&self.user),
            name: Cow::Borrowed(&self.name),
            email: Cow::Borrowed(&self.email),
            roles: self.roles.iter().map(|role| Cow::Borrowed(&**role)).collect(),
        }
    }

    /// Copies what is borrowed.
    #[must_use]
    pub fn into_owned(self) -> Identity<'static> {
        Identity {
            user: Cow::Owned(self.user.into_owned()),
            name: Cow::Owned(self.name.into_owned()),
            email: Cow::Owned(self.email.into_owned()),
            roles: self.roles.into_iter().map(|role| Cow::Owned(role.into_owned())).collect(),
        }
    }
}

fn check_edges(what: &'static str, text: &str) -> Result<(), IdentityError> {
    // Nearly every value begins and ends with a letter of ASCII, or is empty.
    let plain = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_graphic);
    let (first, last) = (text.as_bytes().first(), text.as_bytes().last());
    if (plain(first) && plain(last)) || text.trim().len() == text.len() {
        Ok(())
    } else {
        Err(IdentityError::Blank(what))
    }
}

fn check_text(what: &'static str, text: &str) -> Result<(), IdentityError> {
    if text.len() > LONGEST_TEXT {
        return Err(IdentityError::TooLong(what));
    }
    // The ASCII test first: nearly every value ends there.
    if !is_printable(text) && text.chars().any(is_control) {
        return Err(IdentityError::ControlCharacter(what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_forge_a_header_is_no_identity() {
        for user in ["a\nb", "a\rb", "a\0b", "\u{7f}", "\u{85}", "a\u{2028}b", "\u{1b}[2J"] {
            let made = Identity::new(user, "", "", vec![]);
            assert_eq!(made, Err(IdentityError::ControlCharacter("the user")), "{user:?}");
        }
        assert_eq!(Identity::new("", "", "", vec![]), Err(IdentityError::NoUser));
        for user in [" ana", "ana ", "   ", "\u{a0}ana"] {
            assert_eq!(Identity::new(user, "", "", vec![]), Err(IdentityError::Blank("the user")), "{user:?}");
        }
        assert_eq!(Identity::new("a", "", "", vec![" x".into()]), Err(IdentityError::Blank("a role")));
        assert_eq!(Identity::new("a", "", "", vec!["".into()]), Err(IdentityError::NoRole));
        assert!(!Identity::new("a", "", "", vec!["x".into(), "x,y".into()]).unwrap().can_be_joined());
    }

    #[test]
    fn names_of_every_language_are_fine() {
        let identity = Identity::new("zoë@example.test", "Zoë 李 🦀", "", vec!["staff".into()]).unwrap();
        assert_eq!(identity.name(), "Zoë 李 🦀");
    }
}
