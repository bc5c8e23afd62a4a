use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{KeyMaterialError, Secret, key_material};

/// A key from which every account's password at a back-end is derived, so that nobody stores any.
///
/// ```text
/// K        = HKDF-SHA256(secret, salt = "", info = "keyward derived password v1", 32 bytes)
/// password = "Kw1-" + base64url( first 21 bytes of HMAC-SHA256( K, "kw1." login ) )
/// ```
///
/// `login` is the name at the back-end, byte for byte. A password has 32 characters: letters, digits,
/// `-` and `_`, and at least a capital, a small letter, a digit and a hyphen, so that the rules of
/// nearly every server are kept; 168 of its bits are unknown to whoever has not the secret. `Kw1` and
/// `kw1` are the version. The same secret gives the same passwords at every back-end that has it.
///
/// For the secret `0123456789abcdef0123456789abcdef`:
///
/// ```text
/// K (hex)           968879edb3b5a0998df785fa928ad731fca508c17406201814b0f4c34740709b
/// ana@example.test  Kw1-2zAsqeUJca_SQjAEa7wSi3Spt436
/// zoë               Kw1-yaGzyYkJashWlEngPGn39mcHMqo4
/// ```
#[derive(Clone)]
pub struct DerivationKey {
    id: String,
    mac: Hmac<Sha256>,
}

impl fmt::Debug for DerivationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DerivationKey({})", self.id)
    }
}

impl DerivationKey {
    /// From a secret: `base64:…`, `hex:…`, or the bytes of the text itself.
    ///
    /// # Errors
    /// [`KeyMaterialError`], which never repeats the secret.
    pub fn new(id: &str, secret: &Secret) -> Result<Self, KeyMaterialError> {
        let mut key = [0; 32];
        // Fails only for keys of more than 8160 bytes.
        let _ = Hkdf::<Sha256>::new(None, &key_material(secret)?).expand(b"keyward derived password v1", &mut key);
        let mac = Hmac::new_from_slice(&key).map_err(|_| KeyMaterialError::TooShort)?;
        Ok(Self { id: id.to_owned(), mac })
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The password of the account of this name.
    #[must_use]
    pub fn password(&self, login: &str) -> Secret {
        let mac = self.mac.clone().chain_update("kw1.").chain_update(login).finalize().into_bytes();
        Secret::from(format!("Kw1-{}", URL_SAFE_NO_PAD.encode(&mac[..21])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ExposeSecret;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn password(secret: &str, login: &str) -> String {
        DerivationKey::new("k", &Secret::from(secret)).unwrap().password(login).expose_secret().to_owned()
    }

    #[test]
    fn the_vectors_of_the_documentation_are_right() {
        for login in ["ana@example.test", "zoë"] {
            let line = format!("/// {login:17} {}", password(SECRET, login));
            assert!(include_str!("derivation.rs").lines().any(|written| written == line), "{line}");
        }
        let encoded = "hex:3031323334353637383961626364656630313233343536373839616263646566";
        assert_eq!(password(encoded, "ana"), password(SECRET, "ana"));
    }

    #[test]
    fn every_password_keeps_strict_rules_and_is_its_owners_alone() {
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..1000 {
            let password = password(SECRET, &format!("p{number}"));
            assert_eq!(password.len(), 32);
            for class in [u8::is_ascii_uppercase, u8::is_ascii_lowercase, u8::is_ascii_digit] {
                assert!(password.bytes().any(|byte| class(&byte)), "{password}");
            }
            assert!(password.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{password}");
            assert!(seen.insert(password));
        }
        assert_ne!(password(SECRET, "ana"), password("fedcba9876543210fedcba9876543210", "ana"));
        assert_ne!(password(SECRET, "ana"), password(SECRET, "Ana"));
    }

    #[test]
    fn a_key_that_is_none_is_refused_and_prints_nothing() {
        for (secret, error) in [
            ("short", KeyMaterialError::TooShort),
            ("hex:00", KeyMaterialError::TooShort),
            ("hex:xyz", KeyMaterialError::Encoding),
            ("base64:*", KeyMaterialError::Encoding),
        ] {
            assert_eq!(DerivationKey::new("k", &Secret::from(secret)).err(), Some(error), "{secret}");
        }
        let key = DerivationKey::new("2026a", &Secret::from(SECRET)).unwrap();
        assert_eq!(format!("{key:?}"), "DerivationKey(2026a)");
    }
}
