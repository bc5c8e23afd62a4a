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
/// Length of what gives a text a key of its own where many are bound to the same, in bytes.
const SALT: usize = 16;

/// The keys of `[[store.key]]`: the first seals, all of them open.
///
/// A key of AES-GCM with random nonces is good for 2^32 texts: beyond that two may share a nonce, and both are open.
/// Millions of sessions that are written again and again get there within weeks, and whoever asks for sign-in pages
/// all day within days. So nothing is sealed with these keys themselves: from them a key is derived for whatever a text
/// is bound to, which is a place and its version, and, where very many texts are bound to the same, for each of
/// them by a salt. No key gets near its limit, however long it stays first.
pub struct Ring(Vec<RingKey>);

/// One of them.
pub(super) struct RingKey {
    /// Stands in front of what this key has sealed. It tells nothing of the key, nor its name in the configuration.
    tag: [u8; KEY_TAG],
    /// What the keys come from that seal.
    root: Hmac<Sha256>,
}

impl RingKey {
    pub(super) fn new(secret: &Secret) -> Result<Self, KeyMaterialError> {
        let hkdf = Hkdf::<Sha256>::new(None, &key_material(secret)?);
        let (mut key, mut tag) = ([0; 64], [0; KEY_TAG]);
        // Both fail only for more than 8160 bytes.
        let _ = hkdf.expand(b"keyward store seal v1", &mut key);
        let _ = hkdf.expand(b"keyward store key tag v1", &mut tag);
        // HMAC takes a key of every length.
        Ok(Self { tag, root: Hmac::new(&key.into()) })
    }

    /// The cipher for texts that are bound to this.
    fn cipher(&self, bound: &[u8]) -> Aes256Gcm {
        Aes256Gcm::new(&self.root.clone().chain_update(bound).finalize().into_bytes())
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

    /// Opens what was [sealed](Self::seal) so, with whichever key.
    pub(super) fn open(&self, bound: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (tag, rest) = sealed.split_first_chunk::<KEY_TAG>()?;
        let (nonce, message) = rest.split_first_chunk::<NONCE>()?;
        let payload = || Payload { msg: message, aad: bound };
        let keys = self.0.iter().filter(|key| key.tag == *tag);
        let mut opened = keys.filter_map(|key| key.cipher(bound).decrypt(&Nonce::from(*nonce), payload()).ok());
        opened.next()
    }

    /// The same as [`Self::seal`] where any number of texts is bound to the same.
    pub(super) fn seal_many(&self, bound: &[u8], text: &[u8]) -> Vec<u8> {
        self.seal_salted(rand::random(), rand::random(), bound, text)
    }

    /// The same, but so that the same text always looks the same. That is all it tells: salt and nonce are a keyed
    /// hash of the text, so that no two texts share them but by a chance as small as with random ones.
    pub(super) fn seal_same(&self, nonces: &[u8; 64], bound: &[u8], text: &[u8]) -> Vec<u8> {
        // HMAC takes a key of every length.
        let mut hash = Hmac::<Sha256>::new(&(*nonces).into());
        for part in [self.0.first().map_or(&[][..], |key| &key.tag), bound, text] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let hash = hash.finalize().into_bytes();
        let (mut salt, mut nonce) = ([0; SALT], [0; NONCE]);
        salt.copy_from_slice(&hash[..SALT]);
        nonce.copy_from_slice(&hash[SALT..SALT + NONCE]);
        self.seal_salted(salt, nonce, bound, text)
    }

    /// Opens what was sealed by [`Self::seal_many`] or [`Self::seal_same`].
    pub(super) fn open_salted(&self, bound: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (salt, sealed) = sealed.split_first_chunk::<SALT>()?;
        self.open(&salted(bound, salt), sealed)
    }

    fn seal_salted(&self, salt: [u8; SALT], nonce: [u8; NONCE], bound: &[u8], text: &[u8]) -> Vec<u8> {
        [salt.as_slice(), &self.seal_with(nonce, &salted(bound, &salt), text)].concat()
    }

    fn seal_with(&self, nonce: [u8; NONCE], bound: &[u8], text: &[u8]) -> Vec<u8> {
        let sealed = self.0.first().and_then(|key| {
            let payload = Payload { msg: text, aad: bound };
            // Fails only for more than 64 GiB.
            let sealed = key.cipher(bound).encrypt(&Nonce::from(nonce), payload).ok()?;
            Some([key.tag.as_slice(), &nonce, &sealed].concat())
        });
        sealed.unwrap_or_default()
    }
}

/// Never the same as what is bound without a salt: that is shorter, or another place.
fn salted(bound: &[u8], salt: &[u8; SALT]) -> Vec<u8> {
    [b"salted\0", bound, salt].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(secrets: &[&str]) -> Ring {
        Ring::new(secrets.iter().map(|secret| RingKey::new(&Secret::from((*secret).to_owned())).unwrap()).collect())
    }

    type Open = fn(&Ring, &[u8], &[u8]) -> Option<Vec<u8>>;

    const OLD: &str = "old old old old old old old 32!!!";
    const NEW: &str = "new new new new new new new 32!!!";

    #[test]
    fn a_nonce_that_comes_twice_opens_nothing_where_the_texts_are_bound_to_something_else() {
        let ring = ring(&[NEW]);
        let body = |bound: &[u8], text: &[u8]| ring.seal_with([7; NONCE], bound, text)[KEY_TAG + NONCE..][..4].to_vec();
        assert_eq!(body(b"one", b"text"), body(b"one", b"text"));
        assert_ne!(body(b"one", b"text"), body(b"two", b"text"), "the same stream would show what they differ in");
        let salted = |salt| ring.seal_salted([salt; SALT], [7; NONCE], b"one", b"text")[SALT + KEY_TAG..].to_vec();
        assert_ne!(salted(1), salted(2));
    }

    #[test]
    fn what_was_sealed_opens_with_every_ring_that_has_its_key_and_for_nothing_else() {
        let (old, both, new) = (ring(&[OLD]), ring(&[NEW, OLD]), ring(&[NEW]));
        let opens = |sealed: &[u8], open: Open| {
            let is_right = |ring, bound| open(ring, bound, sealed).as_deref() == Some(&b"text"[..]);
            [is_right(&old, b"here"), is_right(&both, b"here"), is_right(&new, b"here"), is_right(&both, b"there")]
        };
        let nonces = &[1; 64];
        assert_eq!(opens(&old.seal(b"here", b"text"), Ring::open), [true, true, false, false]);
        assert_eq!(opens(&both.seal(b"here", b"text"), Ring::open), [false, true, true, false]);
        assert_eq!(opens(&both.seal_many(b"here", b"text"), Ring::open_salted), [false, true, true, false]);
        assert_eq!(opens(&old.seal_same(nonces, b"here", b"text"), Ring::open_salted), [true, true, false, false]);
        assert_eq!(opens(&old.seal_many(b"here", b"text"), Ring::open), [false; 4]);
        assert_eq!(opens(&old.seal(b"here", b"text"), Ring::open_salted), [false; 4]);
    }

    #[test]
    fn the_same_text_looks_the_same_and_another_does_not() {
        let (ring, nonces) = (ring(&[NEW]), &[1; 64]);
        let same = |bound: &[u8], text: &[u8]| ring.seal_same(nonces, bound, text);
        assert_eq!(same(b"here", b"text"), same(b"here", b"text"));
        for other in [same(b"here", b"next"), same(b"there", b"text")] {
            assert_ne!(same(b"here", b"text")[..SALT + KEY_TAG + NONCE], other[..SALT + KEY_TAG + NONCE]);
        }
        assert_ne!(ring.seal_many(b"here", b"text"), ring.seal_many(b"here", b"text"));
    }

    #[test]
    fn what_is_cut_short_or_changed_does_not_open() {
        let ring = ring(&[NEW]);
        let sealed = ring.seal_many(b"here", b"text");
        for cut in 0..sealed.len() {
            assert_eq!(ring.open_salted(b"here", &sealed[..cut]), None, "{cut}");
            let mut changed = sealed.clone();
            changed[cut] ^= 1;
            assert_eq!(ring.open_salted(b"here", &changed), None, "{cut}");
        }
        assert_eq!(Ring::new(Vec::new()).open(b"", &Ring::new(Vec::new()).seal(b"", b"text")), None);
    }
}
