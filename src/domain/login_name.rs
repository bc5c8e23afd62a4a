use std::borrow::Cow;

use super::Identity;

/// A template that turns an identity into the name used at a back-end, such as `{local}@mail.test`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginName {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    User,
    Email,
    Local,
    Domain,
}

impl Default for LoginName {
    /// `{sub}`: the name that the portal uses.
    fn default() -> Self {
        Self { parts: vec![Part::User] }
    }
}

/// Why a text is no template for a login name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginNameError {
    /// A word in braces that means nothing.
    #[error("{{{0}}} is not known; known are {{sub}}, {{email}}, {{local}} and {{domain}}")]
    Unknown(String),
    /// A brace without its partner.
    #[error("has a brace without its partner")]
    Brace,
    /// Everybody would have the same name.
    #[error("names nobody: it holds none of {{sub}}, {{email}} and {{local}}")]
    SameForAll,
}

impl LoginName {
    /// Reads a template.
    ///
    /// # Errors
    /// [`LoginNameError`], also for a template that would log everybody in under one name.
    pub fn parse(template: &str) -> Result<Self, LoginNameError> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some(open) = rest.find(['{', '}']) {
            if rest.as_bytes()[open] == b'}' {
                return Err(LoginNameError::Brace);
            }
            let close = rest[open..].find('}').map(|length| open + length).ok_or(LoginNameError::Brace)?;
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            parts.push(match &rest[open + 1..close] {
                "sub" => Part::User,
                "email" => Part::Email,
                "local" => Part::Local,
                "domain" => Part::Domain,
                unknown => return Err(LoginNameError::Unknown(unknown.to_owned())),
            });
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if !parts.iter().any(|part| matches!(part, Part::User | Part::Email | Part::Local)) {
            return Err(LoginNameError::SameForAll);
        }
        Ok(Self { parts })
    }

    /// The name of this person, or nothing where the identity lacks what the template wants: no
    /// e-mail address, or no `@` in it. `{local}` and `{domain}` split the user at its only `@`,
    /// else the e-mail address; an address with two, or with blanks around it, is nobody's.
    #[must_use]
    pub fn of<'a>(&self, identity: &'a Identity<'_>) -> Option<Cow<'a, str>> {
        // Nearly every installation has the plain `{sub}` or `{email}`, and the hot path asks.
        if let [single] = self.parts.as_slice() {
            return Self::part(single, identity).map(Cow::Borrowed);
        }
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                other => name.push_str(Self::part(other, identity)?),
            }
        }
        Some(Cow::Owned(name))
    }

    fn part<'a>(part: &Part, identity: &'a Identity<'_>) -> Option<&'a str> {
        let address = || {
            let source = if identity.user().contains('@') { identity.user() } else { identity.email() };
            source
                .split_once('@')
                .filter(|(local, domain)| is_whole(local) && is_whole(domain) && !domain.contains('@'))
        };
        let text = match part {
            Part::Text(_) => return None,
            Part::User => identity.user(),
            Part::Email => identity.email(),
            Part::Local => address()?.0,
            Part::Domain => address()?.1,
        };
        (!text.is_empty()).then_some(text)
    }
}

/// Back-ends trim names, and "ana " would sign in as "ana".
fn is_whole(part: &str) -> bool {
    !part.is_empty() && part.trim() == part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_name_one_person_or_nobody() {
        let ana = Identity::new("ana", "", "ana.dia@example.test", vec![]).unwrap();
        let twice = Identity::new("x@evil.test@example.test", "", "", vec![]).unwrap();
        let plain = Identity::new("ben", "", "", vec![]).unwrap();
        let blank = Identity::new("ana @\u{a0}example.test", "", "", vec![]).unwrap();
        for (template, identity, name) in [
            ("{sub}", &ana, Some("ana")),
            ("{email}", &ana, Some("ana.dia@example.test")),
            ("{local}@mail.test", &ana, Some("ana.dia@mail.test")),
            ("{sub}@{domain}", &ana, Some("ana@example.test")),
            ("{local}", &twice, None),
            ("{local}", &blank, None),
            ("{domain}-{sub}", &blank, None),
            ("{email}", &plain, None),
        ] {
            assert_eq!(LoginName::parse(template).unwrap().of(identity).as_deref(), name, "{template}");
        }
    }

    #[test]
    fn a_template_that_names_nobody_is_refused() {
        assert_eq!(LoginName::parse("admin"), Err(LoginNameError::SameForAll));
        assert_eq!(LoginName::parse("{domain}"), Err(LoginNameError::SameForAll));
        assert_eq!(LoginName::parse("{user}"), Err(LoginNameError::Unknown("user".to_owned())));
        assert_eq!(LoginName::parse("{sub"), Err(LoginNameError::Brace));
        assert_eq!(LoginName::parse("sub}{sub}"), Err(LoginNameError::Brace));
    }
}
