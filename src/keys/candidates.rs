//! Which passwords a login tries. Nearly always one; several where they are derived and keys are being
//! exchanged. A wrong password more may lock a mailbox, so what worked is tried first, and what was
//! refused is not tried again for as long as any refusal is remembered.

use dashmap::DashMap;

use super::order::OpenPassword;
use super::outcome::Obtained;
use super::refusals::Fingerprint;
use super::store::KeyStore;
use crate::backend::Guarded;
use crate::domain::{CredentialSource, Secret};

/// Most people for whom it is remembered which password worked. One who is forgotten costs one wrong
/// password while keys are being exchanged.
const MOST: usize = 500_000;

/// A password to try.
pub(super) struct Candidate {
    pub(super) password: Option<Secret>,
    /// What stands for it among the refusals.
    pub(super) fingerprint: Fingerprint,
}

/// The derived password that worked last, for each person and back-end, as fingerprints. It is kept
/// across reloads: taking up a new key must not cost everybody a wrong password. Each replica finds it out for itself.
#[derive(Default)]
pub(super) struct Worked(DashMap<Fingerprint, Fingerprint>);

impl KeyStore {
    /// Every password that could be the right one, the likeliest first.
    pub(super) fn candidates(
        &self,
        backend: &Guarded,
        login: &str,
        open: &OpenPassword,
    ) -> Result<Vec<Candidate>, Obtained> {
        let candidate = |password: Option<Secret>| {
            let fingerprint = self.refusals.fingerprint(backend.id(), login, password.as_ref());
            Candidate { password, fingerprint }
        };
        if backend.credentials() != CredentialSource::Derived {
            return Ok(vec![candidate((open)().map_err(Obtained::NoPassword)?)]);
        }
        let derived = backend.derivation().iter().map(|key| candidate(Some(key.password(login))));
        let mut candidates: Vec<Candidate> = derived.collect();
        let worked = self.worked.0.get(&self.refusals.fingerprint(backend.id(), login, None)).map(|worked| *worked);
        if let Some(index) = candidates.iter().position(|candidate| Some(candidate.fingerprint) == worked) {
            candidates[..=index].rotate_right(1);
        }
        Ok(candidates)
    }

    /// Remembers which of several passwords worked.
    pub(super) fn remember_worked(&self, backend: &Guarded, login: &str, fingerprint: Fingerprint) {
        if backend.credentials() != CredentialSource::Derived {
            return;
        }
        let worked = &self.worked.0;
        if worked.len() >= MOST {
            let any = worked.iter().next().map(|held| *held.key());
            any.map(|any| worked.remove(&any));
        }
        worked.insert(self.refusals.fingerprint(backend.id(), login, None), fingerprint);
    }
}
