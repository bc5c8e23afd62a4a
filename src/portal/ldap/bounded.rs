use std::collections::{BTreeSet, HashMap};

use crate::domain::Moment;
use crate::portal::Mark;

/// Things that are remembered under marks, at most so many: for one more the oldest has to go.
pub(super) struct Bounded<V> {
    held: HashMap<Mark, (Moment, V)>,
    by_age: BTreeSet<(Moment, Mark)>,
    most: usize,
}

impl<V> Bounded<V> {
    /// At most `most`.
    pub(super) fn new(most: usize) -> Self {
        Self { held: HashMap::new(), by_age: BTreeSet::new(), most }
    }

    pub(super) fn get(&self, mark: &Mark) -> Option<&V> {
        self.held.get(mark).map(|(_, value)| value)
    }

    /// Remembers it as of now, in the place of what was there.
    pub(super) fn put(&mut self, mark: Mark, now: Moment, value: V) {
        self.put_sparing(mark, now, value, |_| false);
    }

    /// The same. Of the oldest few, one that is not to be spared has to go first.
    pub(super) fn put_sparing(&mut self, mark: Mark, now: Moment, value: V, spare: impl Fn(&V) -> bool) {
        self.remove(&mark);
        if self.held.len() >= self.most {
            let mut oldest = self.by_age.iter().take(LOOKED_AT);
            let idle = oldest.find(|(_, mark)| self.get(mark).is_none_or(|value| !spare(value)));
            if let Some((_, gone)) = idle.or(self.by_age.first()).copied() {
                self.remove(&gone);
            }
        }
        self.by_age.insert((now, mark));
        self.held.insert(mark, (now, value));
    }

    pub(super) fn remove(&mut self, mark: &Mark) -> Option<V> {
        let (since, value) = self.held.remove(mark)?;
        self.by_age.remove(&(since, *mark));
        Some(value)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.held.len(), self.by_age.len());
        self.held.len()
    }
}

/// How many of the oldest are looked at before one goes that should have been spared.
const LOOKED_AT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_what_is_to_be_spared_last() {
        let mut bounded = Bounded::new(3);
        let at = Moment::from_millis;
        for (time, name) in [(1, 1), (2, 2), (3, 3), (4, 1), (5, 4)] {
            bounded.put([name; 16], at(time), name);
        }
        let held =
            |bounded: &Bounded<u8>| (1..9).filter(|name| bounded.get(&[*name; 16]).is_some()).collect::<Vec<_>>();
        assert_eq!(held(&bounded), [1, 3, 4]);
        bounded.put_sparing([5; 16], at(6), 5, |value| *value == 3);
        assert_eq!(held(&bounded), [3, 4, 5]);
        for name in 6..9 {
            bounded.put_sparing([name; 16], at(7), name, |_| true);
        }
        assert_eq!((held(&bounded).len(), bounded.len()), (3, 3), "whatever is to be spared, there is an end to it");
    }
}
