use std::collections::HashMap;

use parking_lot::Mutex;

use super::{Place, StoreOutage};

/// Most questions remembered whose answers were not heard. One that is forgotten costs whoever asks next the rest of
/// a lease, or the back-end a logout.
const MOST: usize = 10_000;

/// Under which name something is asked for that one alone can have. A question whose answer was never heard may have
/// got it, and nobody knows: whoever asks next at that place asks under the same name, and is given it again.
#[derive(Default)]
pub struct Asking(Mutex<HashMap<Place, Name>>);

type Name = [u8; 8];

impl Asking {
    /// Begins to ask at this place, under the name of the last question there if that was not heard.
    pub fn begin(&self, place: Place) -> Asked<'_> {
        let name = self.0.lock().remove(&place);
        Asked { asking: self, place, heard: name.is_none(), name: name.unwrap_or_else(rand::random) }
    }
}

/// One question. It is remembered unless its answer is heard, also where the wait for it is dropped.
pub struct Asked<'a> {
    asking: &'a Asking,
    place: Place,
    name: Name,
    heard: bool,
}

impl Asked<'_> {
    /// Who asks.
    #[must_use]
    pub const fn name(&self) -> Name {
        self.name
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// As the answer has them.
    pub async fn hear<T>(&mut self, answer: impl Future<Output = Result<T, StoreOutage>>) -> Result<T, StoreOutage> {
        self.heard = false;
        let answer = answer.await;
        self.heard = match &answer {
            // Nothing was done.
            Ok(_) | Err(StoreOutage::Down | StoreOutage::Unable(_)) => true,
            Err(StoreOutage::Unreachable(_) | StoreOutage::TimedOut) => false,
        };
        answer
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.heard {
            return;
        }
        let mut unheard = self.asking.0.lock();
        if unheard.len() >= MOST {
            unheard.clear();
        }
        unheard.insert(self.place, self.name);
    }
}
