//! The message that opens a session: who, until when, from when, and the proof that we may say so.

use std::fmt::Write;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::domain::{ExposeSecret, Secret, UnixSeconds};

/// Makes such messages.
pub(super) struct Preauth {
    /// `preauth_key`: the characters that `zmprov` prints, not the bytes that they stand for
    /// (documented by its sample).
    pub key: Secret,
    /// `by`: what the name is.
    pub by: By,
    /// `expires`: how long the session lives at most; the account's own setting where `None`.
    pub expires: Option<Duration>,
}

/// What the name of an account is (documented).
#[derive(Clone, Copy)]
pub(super) enum By {
    Name,
    Id,
    ForeignPrincipal,
}

impl By {
    const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Id => "id",
            Self::ForeignPrincipal => "foreignPrincipal",
        }
    }
}

impl Preauth {
    /// The query, as values by their names.
    pub fn values(&self, account: &str, now: UnixSeconds) -> Vec<(&'static str, String)> {
        let timestamp = now.saturating_mul(1000);
        // A point in time, not a duration (seen; the document leaves it open). 0 is the account's own.
        let lifetime = |lifetime: Duration| u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let expires = self.expires.map_or(0, |length| timestamp.saturating_add(lifetime(length)));
        let mut values = vec![
            ("account", account.to_owned()),
            ("by", self.by.word().to_owned()),
            ("expires", expires.to_string()),
            ("timestamp", timestamp.to_string()),
        ];
        let text: Vec<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
        let proof = self.proof(&text.join("|"));
        values.push(("preauth", proof));
        values
    }

    /// HMAC-SHA1 in lower-case hexadecimal digits (documented), over values in the order of their
    /// names.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn proof(&self, text: &str) -> String {
        let mut mac = Hmac::<Sha1>::new_from_slice(self.key.expose_secret().as_bytes()).expect("any length");
        mac.update(text.as_bytes());
        let mut proof = String::new();
        for byte in mac.finalize().into_bytes() {
            let _ = write!(proof, "{byte:02x}");
        }
        proof
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preauth(key: &str) -> Preauth {
        Preauth { key: Secret::from(key.to_owned()), by: By::Name, expires: None }
    }

    #[test]
    fn the_vendors_vector_and_ours_are_met() {
        let ours = "00112233445566778899aabbccddeeff".repeat(2);
        let vendors = "6b7ead4bd425836e8cf0079cd6c1a05acc127acd07c8ee4b61023e19250e929c";
        for (key, text, proof) in [
            (vendors, "john.doe@domain.com|name|0|1135280708088", "b248f6cfd027edd45c5369f8490125204772f844"),
            (ours.as_str(), "ana@example.test|name|0|1700000000000", "827c4a1db5860d4a5173d179cfe1d15762320939"),
            (ours.as_str(), "root@example.test|1|name|0|1700000000000", "a1db7f47b406d33468e0612ef2cc6d83894740e1"),
        ] {
            assert_eq!(preauth(key).proof(text), proof, "{text}");
        }
    }

    #[test]
    fn the_proof_is_over_the_values_that_are_sent() {
        let values = preauth(&"00112233445566778899aabbccddeeff".repeat(2)).values("ana@example.test", 1_700_000_000);
        let expected = [
            ("account", "ana@example.test"),
            ("by", "name"),
            ("expires", "0"),
            ("timestamp", "1700000000000"),
            ("preauth", "827c4a1db5860d4a5173d179cfe1d15762320939"),
        ];
        assert_eq!(values, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn a_lifetime_becomes_the_time_of_the_end() {
        let preauth = Preauth { expires: Some(Duration::from_secs(3600)), by: By::Id, ..preauth("k") };
        let values = preauth.values("x", 1_700_000_000);
        assert_eq!(values[2], ("expires", "1700003600000".to_owned()));
        assert_eq!(values[1], ("by", "id".to_owned()));
    }
}
