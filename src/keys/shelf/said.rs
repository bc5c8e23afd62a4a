//! What back-ends said of passwords, so that no replica tries one again that another tried in vain.

use std::time::Duration;

use super::{Said, Shelf, Word, scripts};
use crate::backend::Refusal;
use crate::keys::refusals::Fingerprint;
use crate::store::{Place, StoreOutage};

/// All that may have been said, and what stands for it in the store.
const WORDS: [(Word, &str); 5] = [
    (Word::Refused(Refusal::Credentials), "credentials"),
    (Word::Refused(Refusal::Expired), "expired"),
    (Word::Refused(Refusal::Interactive), "interactive"),
    (Word::Locked, "locked"),
    (Word::Unclear, "unclear"),
];

impl Shelf {
    /// What a back-end said of this password to any replica, not long ago.
    pub(in crate::keys) async fn said(&self, password: &Fingerprint) -> Result<Option<Said>, StoreOutage> {
        let place = self.said_at(password);
        let answer = self.store.run(&scripts::SAID, &place, &[]).await?;
        let word = answer.bytes(0).and_then(|sealed| self.store.unseal(&place, 0, sealed));
        // A word that only a later version has is none here.
        let said = word.and_then(|word| WORDS.iter().find(|(_, known)| known.as_bytes() == word));
        let left = answer.number(1).map(Duration::from_millis);
        Ok(said.zip(left).map(|((what, _), left)| Said { what: *what, left }))
    }

    /// Tells other replicas what a back-end said of this password; nothing, where it is good after all.
    pub(in crate::keys) async fn say(&self, password: &Fingerprint, said: Option<Said>) -> Result<(), StoreOutage> {
        let place = self.said_at(password);
        let Some(Said { what, left }) = said else {
            return self.store.run(&scripts::UNSAY, &place, &[]).await.map(drop);
        };
        let word = WORDS.iter().find(|(known, _)| *known == what).map_or("", |(_, word)| word);
        self.store.put(&place, word.as_bytes(), left).await
    }

    fn said_at(&self, password: &Fingerprint) -> Place {
        self.store.place("refused password", &[password])
    }
}
