use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{ExposeSecret, Secret};

/// A key with which another server calls us. Only its hash is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    caller: String,
    portal: Option<String>,
    hash: [u8; 32],
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ApiKey({})", self.caller)
    }
}

impl ApiKey {
    /// The key of this caller.
    #[must_use]
    pub fn new(caller: &str, key: &Secret) -> Self {
        Self { caller: caller.to_owned(), portal: None, hash: Sha256::digest(key.expose_secret()).into() }
    }

    /// The same key, good for the sessions of this portal only.
    #[must_use]
    pub fn bound_to(self, portal: Option<String>) -> Self {
        Self { portal, ..self }
    }

    /// Who calls with it, as the configuration names them.
    #[must_use]
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// The portal whose sessions it is for, where the configuration names one.
    #[must_use]
    pub fn portal(&self) -> Option<&str> {
        self.portal.as_deref()
    }

    /// Which of the keys this text is. It takes as long for one that is none of them.
    #[must_use]
    pub fn find<'a>(keys: &'a [Self], shown: &str) -> Option<&'a Self> {
        let hash: [u8; 32] = Sha256::digest(shown).into();
        let mut found = None;
        for key in keys {
            if bool::from(key.hash.ct_eq(&hash)) {
                found = Some(key);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_all_of_its_text() {
        let keys = [("a", "first"), ("b", "second"), ("a", "third")];
        let keys = keys.map(|(caller, key)| ApiKey::new(caller, &Secret::from(key)));
        for (shown, caller) in [
            ("first", Some("a")),
            ("second", Some("b")),
            ("third", Some("a")),
            ("secon", None),
            ("", None),
            ("a", None),
        ] {
            assert_eq!(ApiKey::find(&keys, shown).map(ApiKey::caller), caller, "{shown}");
        }
        assert_eq!(format!("{:?}", keys[0]), "ApiKey(a)");
    }
}
