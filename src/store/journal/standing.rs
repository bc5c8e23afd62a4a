use std::collections::BTreeMap;
use std::ops::Bound;

use crate::domain::UnixSeconds;

/// Standing events that are remembered, to be told again if the store loses them. Each takes some 130 bytes, beside
/// what the rooms remember of it.
const MOST: usize = 1_000_000;

/// For how long beyond its end an event is kept, in seconds: a replica whose clock is behind, or the server's if
/// that is ahead, must not let in who has signed out. Both are told when clocks are further apart.
pub(super) const GRACE: u64 = 300;

/// An event that stands: until when, and its text as it was told.
pub(super) type Stands = (UnixSeconds, Box<[u8]>);

/// What stands, as far as this replica has told or heard. It need not be asked for again, and is told again where
/// it is missing.
#[derive(Default)]
pub(super) struct Standing {
    /// With the round in which each was last seen in the store.
    events: BTreeMap<Stands, u32>,
    /// Counts how often all that stands was read.
    round: u32,
    again: Option<Again>,
}

/// How far telling again has come.
struct Again {
    after: Option<Stands>,
    told: u64,
}

impl Standing {
    /// From here on all that stands is read.
    pub(super) fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.again = None;
    }

    /// Notes that this one has been seen in the store; false if it is new to us.
    pub(super) fn saw(&mut self, event: &Stands) -> bool {
        let round = self.round;
        self.events.get_mut(event).map(|seen| *seen = round).is_some()
    }

    /// Remembers one that was told or heard. If that is one too many, the one that ends first is forgotten, and this
    /// says so.
    pub(super) fn add(&mut self, event: Stands) -> bool {
        self.events.insert(event, self.round);
        self.events.len() > MOST && self.events.pop_first().is_some()
    }

    /// Forgets what does not stand any more, at most so many; says whether there may be more.
    pub(super) fn drop_ended(&mut self, now: UnixSeconds, most: usize) -> bool {
        for _ in 0..most {
            match self.events.first_entry() {
                Some(first) if has_ended(first.key().0, now) => first.remove(),
                _ => return false,
            };
        }
        true
    }

    /// What was not seen in this round is to be told again.
    pub(super) fn tell_again(&mut self) {
        self.again = Some(Again { after: None, told: 0 });
    }

    pub(super) const fn is_telling_again(&self) -> bool {
        self.again.is_some()
    }

    /// The next of what is missing in the store. Looks at a limited number of events; an empty list is not the end
    /// as long as it [`Self::is_telling_again`].
    pub(super) fn next_missing(&mut self, most: usize) -> Vec<Stands> {
        let (mut missing, mut looked) = (Vec::new(), 0);
        let Some(again) = &mut self.again else { return missing };
        let after = again.after.take().map_or(Bound::Unbounded, Bound::Excluded);
        for (event, seen) in self.events.range((after, Bound::Unbounded)) {
            looked += 1;
            if *seen != self.round {
                missing.push(event.clone());
            }
            if missing.len() == most || looked == most * 64 {
                again.after = Some(event.clone());
                break;
            }
        }
        missing
    }

    /// These have been told again. Where nothing is left to tell, says how many it were.
    pub(super) fn told_again(&mut self, events: &[Stands]) -> Option<u64> {
        for event in events {
            self.saw(event);
        }
        let again = self.again.as_mut()?;
        again.told += events.len() as u64;
        if again.after.is_some() {
            return None;
        }
        self.again.take().map(|again| again.told)
    }

    /// These could not be told again, and are still the next.
    pub(super) fn not_told_again(&mut self) {
        // From the first one on: most have been seen, and are passed quickly.
        if let Some(again) = &mut self.again {
            again.after = None;
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }
}

/// Whether an event that ends then stands no more.
pub(super) const fn has_ended(until: UnixSeconds, now: UnixSeconds) -> bool {
    until.saturating_add(GRACE) <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands(until: u64) -> Stands {
        (until, until.to_string().into_bytes().into_boxed_slice())
    }

    #[test]
    fn what_was_not_seen_in_a_round_is_told_again_once() {
        let mut standing = Standing::default();
        for until in 1000..1010 {
            assert!(!standing.saw(&stands(until)));
            assert!(!standing.add(stands(until)));
        }
        assert_eq!(standing.next_missing(4), []);
        standing.begin_round();
        for until in 1000..1005 {
            assert!(standing.saw(&stands(until)));
        }
        standing.add(stands(2000));
        standing.tell_again();
        let first = standing.next_missing(4);
        assert_eq!(first, [1005, 1006, 1007, 1008].map(stands));
        standing.not_told_again();
        assert_eq!(standing.next_missing(4), first);
        assert_eq!(standing.told_again(&first), None);
        assert!(standing.is_telling_again());
        assert!(standing.saw(&stands(1009)), "another replica was quicker");
        let last = standing.next_missing(4);
        assert_eq!((last.as_slice(), standing.told_again(&last)), ([].as_slice(), Some(4)));
        assert!(!standing.is_telling_again());
    }

    #[test]
    fn a_long_walk_over_what_is_there_is_made_in_steps() {
        let mut standing = Standing::default();
        for until in 0..1000 {
            standing.add(stands(until));
        }
        standing.tell_again();
        let mut steps = 0;
        while standing.is_telling_again() {
            let missing = standing.next_missing(2);
            assert_eq!(missing, []);
            steps += 1;
            standing.told_again(&missing);
        }
        assert_eq!(steps, 8);
    }

    #[test]
    fn what_has_ended_is_forgotten_later_than_clocks_may_differ() {
        let mut standing = Standing::default();
        for until in [1000, 1001, 1002, u64::MAX] {
            standing.add(stands(until));
        }
        assert!(!standing.drop_ended(1000 + GRACE - 1, 9));
        assert_eq!(standing.len(), 4);
        assert!(standing.drop_ended(1001 + GRACE, 1));
        assert!(!standing.drop_ended(1001 + GRACE, 9));
        assert_eq!(standing.len(), 2);
        standing.drop_ended(u64::MAX - 1, 9);
        assert_eq!(standing.len(), 1, "the end of time does not come early");
    }
}
