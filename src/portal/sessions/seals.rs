//! What is sealed for one session, or for a browser to keep.

use super::{Sealed, Sessions};

impl Sessions {
    /// Seals something for the session of this id, within this process: in the store the whole session is sealed.
    #[must_use]
    pub fn seal(&self, id: &str, text: &[u8]) -> Option<Sealed> {
        self.seal.close(id.as_bytes(), text)
    }

    /// Opens what was sealed for the session of this id.
    #[must_use]
    pub fn unseal(&self, id: &str, sealed: &Sealed) -> Option<Vec<u8>> {
        self.seal.open(id.as_bytes(), sealed)
    }

    /// Seals something for a browser to keep; `bound` says what it is for. Every replica opens it.
    pub(in crate::portal) fn seal_to_show(&self, bound: &str, text: &[u8]) -> Option<Vec<u8>> {
        match self.shared.get() {
            Some(shared) => Some(shared.store.seal_for(&shown_for(bound), text)),
            None => self.seal(bound, text).map(Sealed::into_bytes),
        }
    }

    /// Opens what a browser gave back.
    pub(in crate::portal) fn unseal_shown(&self, bound: &str, shown: Vec<u8>) -> Option<Vec<u8>> {
        match self.shared.get() {
            Some(shared) => shared.store.unseal_for(&shown_for(bound), &shown),
            None => self.unseal(bound, &Sealed::from_bytes(shown)),
        }
    }
}

fn shown_for(bound: &str) -> Vec<u8> {
    [b"portal browser\0", bound.as_bytes()].concat()
}
