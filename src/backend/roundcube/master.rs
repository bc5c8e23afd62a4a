//! The mail server's master user: `[backend.master]`.
//!
//! Dovecot takes `ana*master` with the master's password as ana (documented). Roundcube would make an
//! account of that name (seen); the plug-in in `examples/roundcube/` has it keep ana's.

use crate::config::Section;
use crate::domain::Secret;

/// Who may sign in for everybody.
pub(super) struct Master {
    user: String,
    password: Secret,
    separator: String,
}

impl Master {
    /// Reads `[backend.master]`, where it was written.
    pub(super) fn read(section: &mut Section) -> Option<Self> {
        let written = section.has("master");
        let mut section = section.section("master");
        if !written {
            return None;
        }
        let user = section.required("user");
        let separator = section.text("separator").unwrap_or_else(|| "*".to_owned());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
        if !user.bytes().all(plain) {
            section.mistake("user", "must have letters, digits, '.', '-', '_' and '@' only");
        }
        let fits = separator.len() == 1 && separator.bytes().all(|byte| byte.is_ascii_punctuation() && !plain(byte));
        if !fits {
            section.mistake("separator", "must be one character such as \"*\", and none that names have");
        }
        let given = section.has("secret") || section.has("secret_file");
        let password = section.secret("secret", "secret_file");
        if !given {
            section.mistake("secret", "is missing; give secret or secret_file");
        }
        section.finish();
        // Without one it is a mistake, and what is made of it is thrown away.
        Some(Self { user, password: password.unwrap_or_else(|| Secret::from("")), separator })
    }

    /// Whether this name means one person and no master.
    pub(super) fn may_sign_in(&self, login: &str) -> bool {
        !login.contains(&self.separator)
    }

    /// The name to sign in with for this person.
    pub(super) fn login(&self, login: &str) -> String {
        format!("{login}{}{}", self.separator, self.user)
    }

    pub(super) const fn password(&self) -> &Secret {
        &self.password
    }
}
