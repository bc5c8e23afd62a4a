use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Where something stands in the store: half a keyed hash of what it is. Nobody can tell from it what that is, nor
/// try guesses, without `[store] names_secret`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place([u8; 16]);

impl Place {
    /// The place whose name these bytes are, as [`Place::as_bytes`] gave them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its name.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// One of its keys at the server. The braces have all of them stand at the same node of a Cluster.
    pub(super) fn key(&self, prefix: &str, suffix: &str) -> String {
        format!("{prefix}:{{{self:?}}}:{suffix}")
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Makes names of things that have secrets in them. The secret behind it does not rotate with the ring: the same
/// thing must stand at the same place for all replicas, whichever keys each of them has by now.
pub struct Names(Hkdf<Sha256>);

impl Names {
    /// From the bytes of `[store] names_secret`.
    pub(super) fn new(material: &[u8]) -> Self {
        Self(Hkdf::new(None, material))
    }

    /// Whether these are the same names.
    pub(super) fn are(&self, other: &Self) -> bool {
        self.place("same", &[]) == other.place("same", &[])
    }

    pub(super) fn key(&self, purpose: &str) -> [u8; 64] {
        let mut key = [0; 64];
        // Fails only for more than 8160 bytes.
        let _ = self.0.expand_multi_info(&[b"keyward store names v1\0", purpose.as_bytes()], &mut key);
        key
    }

    pub(super) fn place(&self, kind: &str, parts: &[&[u8]]) -> Place {
        // HMAC takes a key of every length.
        let mut hash = Hmac::<Sha256>::new(&self.key(kind).into());
        for part in parts {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut place = [0; 16];
        place.copy_from_slice(&hash.finalize().into_bytes()[..16]);
        Place(place)
    }
}
