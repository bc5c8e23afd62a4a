use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::domain::{KeyMaterialError, Secret, key_material};

/// Length of an AES-GCM nonce, in bytes.
const NONCE: usize = 12;
/// Length of what tells which key a text was sealed with, in bytes.
const KEY_TAG: usize = 4;

/// The keys of `[[store.key]]`: the first seals, all of them open.
pub struct Ring(Vec<RingKey>);

/// One of them.
pub(super) struct RingKey {
    /// Stands in front of what this key has sealed. It tells nothing of the key, nor its name in the configuration.
    tag: [u8; KEY_TAG],
    cipher: Aes256Gcm,
}

impl RingKey {
    pub(super) fn new(secret: &Secret) -> Result<Self, KeyMaterialError> {
        let hkdf = Hkdf::<Sha256>::new(None, &key_material(secret)?);
        let (mut key, mut tag) = ([0; 32], [0; KEY_TAG]);
        // Both fail only for more than 8160 bytes.
        let _ = hkdf.expand(b"keyward store seal v1", &mut key);
        let _ = hkdf.expand(b"keyward store key tag v1", &mut tag);
        Ok(Self { tag, cipher: Aes256Gcm::new(&key.into()) })
    }

    /// Whether both are the same key.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.tag == other.tag
    }
}

impl Ring {
    pub(super) const fn new(keys: Vec<RingKey>) -> Self {
        Self(keys)
    }

    /// Seals a text so that it opens with the same `bound` alone; nothing where there is no key.
    pub(super) fn seal(&self, bound: &[u8], text: &[u8]) -> Vec<u8> {
        self.seal_with(rand::random(), bound, text)
    }

    /// The same, but so that the same text always looks the same. That is all it tells: the nonce is a keyed hash of
    /// the text, so that no two texts share one but by a chance as small as with random nonces.
    pub(super) fn seal_same(&self, nonces: &[u8; 64], bound: &[u8], text: &[u8]) -> Vec<u8> {
        // HMAC takes a key of every length.
        let mut hash = Hmac::<Sha256>::new(&(*nonces).into());
        for part in [self.0.first().map_or(&[][..], |key| &key.tag), bound, text] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&hash.finalize().into_bytes()[..NONCE]);
        self.seal_with(nonce, bound, text)
    }

    fn seal_with(&self, nonce: [u8; NONCE], bound: &[u8], text: &[u8]) -> Vec<u8> {
        let sealed = self.0.first().and_then(|key| {
            // Fails only for more than 64 GiB.
            let sealed = key.cipher.encrypt(&Nonce::from(nonce), Payload { msg: text, aad: bound }).ok()?;
            Some([key.tag.as_slice(), &nonce, &sealed].concat())
        });
        sealed.unwrap_or_default()
    }

    pub(super) fn open(&self, bound: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (tag, rest) = sealed.split_first_chunk::<KEY_TAG>()?;
        let (nonce, message) = rest.split_first_chunk::<NONCE>()?;
        let keys = self.0.iter().filter(|key| key.tag == *tag);
        let mut opened =
            keys.filter_map(|key| key.cipher.decrypt(&Nonce::from(*nonce), Payload { msg: message, aad: bound }).ok());
        opened.next()
    }
}
