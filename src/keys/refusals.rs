use std::sync::OnceLock;
use std::time::Duration;

use dashmap::DashMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::outcome::Obtained;
use crate::backend::BackendId;
use crate::domain::{ExposeSecret, Moment, Secret};

/// Most refusals remembered. A forgotten one costs one more try at the back-end.
const MOST: usize = 100_000;

/// Passwords that back-ends have refused, and users whom they have locked out, remembered so that
/// nothing is tried twice: a mailbox locks after a few wrong passwords. Kept as keyed fingerprints of
/// user, back-end and password, whatever the session, so that another password is tried at once.
pub(super) struct Refusals {
    /// Made up at the first need, where nobody says that it is every replica's.
    key: OnceLock<Hmac<Sha256>>,
    remembered: DashMap<Fingerprint, Said>,
}

/// What a back-end said of a password.
struct Said {
    until: Moment,
    /// From when it was said until then. It is remembered for as long again, for who asks how long the
    /// last pause was.
    pause: Duration,
    obtained: Obtained,
}

/// What stands for user, back-end and password. Nobody without the key can test guesses: the process's own, or that of
/// all replicas.
pub(super) type Fingerprint = [u8; 16];

impl Refusals {
    pub(super) fn new() -> Self {
        Self { key: OnceLock::new(), remembered: DashMap::new() }
    }

    /// Takes the key that all replicas have, before there is a refusal.
    pub(super) fn share(&self, key: &[u8; 64]) {
        // A second call changes nothing.
        let _ = self.key.set(Hmac::new(&(*key).into()));
    }

    pub(super) fn fingerprint(&self, backend: BackendId, login: &str, password: Option<&Secret>) -> Fingerprint {
        let mut mac = self.key.get_or_init(|| Hmac::new(&rand::random::<[u8; 64]>().into())).clone();
        mac.update(&backend.to_bytes());
        mac.update(&(login.len() as u64).to_le_bytes());
        mac.update(login.as_bytes());
        mac.update(password.map_or("", ExposeSecret::expose_secret).as_bytes());
        let mut fingerprint = Fingerprint::default();
        fingerprint.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        fingerprint
    }

    /// What the back-end said of this password, where it is known to be no use to ask again.
    pub(super) fn find(&self, fingerprint: &Fingerprint, now: Moment) -> Option<Obtained> {
        self.remembered.get(fingerprint).filter(|said| said.until > now).map(|said| said.obtained.clone())
    }

    /// How long this password was left alone the last time, where that is not long ago.
    pub(super) fn last_pause(&self, fingerprint: &Fingerprint) -> Option<Duration> {
        self.remembered.get(fingerprint).map(|said| said.pause)
    }

    /// The password is good.
    pub(super) fn forget(&self, fingerprint: &Fingerprint) {
        self.remembered.remove(fingerprint);
    }

    pub(super) fn remember(&self, fingerprint: Fingerprint, now: Moment, pause: Duration, obtained: Obtained) {
        if self.remembered.len() >= MOST {
            self.forget_old(now);
        }
        // All are of today: any of them costs one more try when it is forgotten.
        if self.remembered.len() >= MOST {
            let any = self.remembered.iter().next().map(|held| *held.key());
            any.map(|any| self.remembered.remove(&any));
        }
        self.remembered.insert(fingerprint, Said { until: now.plus(pause), pause, obtained });
    }

    pub(super) fn forget_old(&self, now: Moment) {
        self.remembered.retain(|_, said| said.until.plus(said.pause) > now);
    }
}
