use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::Moment;

/// How far two quartz clocks drift apart at most: one millisecond in this many.
const DRIFT: u64 = 2000;

/// The store's clock as it can be told from here. Replicas compare times by it alone: their own wall clocks may be
/// hours apart.
#[derive(Default)]
pub(super) struct ServerClock(Mutex<Option<Sample>>);

/// What one look at it gave.
struct Sample {
    /// By the store's clock, in milliseconds since 1970.
    server: u64,
    /// By ours, in the middle of the round trip.
    here: Moment,
    /// Half the round trip: the answer was given some time within it.
    error: u64,
}

impl ServerClock {
    /// Takes up what it showed between these two moments. Of two looks the one that is surer by now counts, but
    /// after a new connection the newer: it may be another server.
    pub(super) fn saw(&self, server: u64, asked: Moment, answered: Moment, is_new_connection: bool) {
        let error = answered.since(asked).as_millis() as u64 / 2;
        let here = asked.plus(Duration::from_millis(error));
        let mut held = self.0.lock();
        let is_surer = |sample: &Sample| error <= sample.error + here.since(sample.here).as_millis() as u64 / DRIFT;
        if is_new_connection || held.as_ref().is_none_or(is_surer) {
            *held = Some(Sample { server, here, error });
        }
    }

    /// What it shows at a moment of ours, in milliseconds since 1970; nothing before the first look.
    pub(super) fn at(&self, moment: Moment) -> Option<u64> {
        let held = self.0.lock();
        let sample = held.as_ref()?;
        let shown = sample.server.saturating_add(moment.as_millis());
        Some(shown.saturating_sub(sample.here.as_millis()).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn the_middle_of_the_surest_look_counts_until_another_is_surer_or_the_server_may_be_another() {
        let clock = ServerClock::default();
        assert_eq!(clock.at(at(5)), None);
        clock.saw(1_000_000, at(100), at(120), false);
        assert_eq!((clock.at(at(110)), clock.at(at(100))), (Some(1_000_000), Some(999_990)), "before it, too");
        clock.saw(1_005_000, at(1000), at(1400), false);
        assert_eq!(clock.at(at(1110)), Some(1_001_000), "a slow look is not believed");
        clock.saw(1_001_900, at(2000), at(2002), false);
        assert_eq!(clock.at(at(2001)), Some(1_001_900));
        clock.saw(2_000_000, at(400_000), at(400_100), false);
        assert_eq!(clock.at(at(400_050)), Some(2_000_000), "in the end a slow one is better than an old one");
        clock.saw(7_000_000, at(400_100), at(401_100), true);
        assert_eq!(clock.at(at(400_600)), Some(7_000_000));
        clock.saw(1, at(u64::MAX), at(u64::MAX), true);
        assert_eq!(clock.at(at(0)), Some(1));
    }
}
