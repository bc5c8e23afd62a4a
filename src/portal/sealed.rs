use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};

/// Length of an AES-GCM nonce, in bytes.
const NONCE: usize = 12;

/// Something that is kept for one session and opens for that session alone. It prints nothing of itself.
#[derive(Clone)]
pub struct Sealed(Box<[u8]>);

impl Sealed {
    /// What a browser gave back, which may be anything.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// For a browser to keep.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into()
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sealed(…)")
    }
}

/// A key that nobody but this process has: what it seals is worth nothing elsewhere, nor after its end.
pub(super) struct Seal(Aes256Gcm);

impl Seal {
    pub(super) fn new() -> Self {
        let key: [u8; 32] = rand::random();
        Self(Aes256Gcm::new(&key.into()))
    }

    /// Seals a text for the session of this id.
    pub(super) fn close(&self, id: &[u8], text: &[u8]) -> Option<Sealed> {
        let nonce: [u8; NONCE] = rand::random();
        // Fails only for more than 64 GiB.
        let sealed = self.0.encrypt(&Nonce::from(nonce), Payload { msg: text, aad: id }).ok()?;
        Some(Sealed([nonce.as_slice(), &sealed].concat().into()))
    }

    /// Opens what was sealed for the session of this id.
    pub(super) fn open(&self, id: &[u8], sealed: &Sealed) -> Option<Vec<u8>> {
        let (nonce, message) = sealed.0.split_first_chunk::<NONCE>()?;
        self.0.decrypt(&Nonce::from(*nonce), Payload { msg: message, aad: id }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_own_session_alone() {
        let seal = Seal::new();
        let sealed = seal.close(b"one", b"text").unwrap();
        assert_eq!(seal.open(b"one", &sealed).as_deref(), Some(&b"text"[..]));
        assert_eq!(seal.open(b"two", &sealed), None, "swapped with another's");
        assert_eq!(Seal::new().open(b"one", &sealed), None, "by another process");
        let mut changed = sealed.clone();
        changed.0[NONCE] ^= 1;
        assert_eq!(seal.open(b"one", &changed), None);
        assert_eq!(seal.open(b"one", &Sealed(Box::default())), None);
        assert_eq!(format!("{sealed:?}"), "Sealed(…)");
    }
}
