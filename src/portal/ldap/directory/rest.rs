//! When a server that failed is asked again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::{Clock, Moment};

/// The first pause; each one is twice as long as the one before. Ours.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The pause of a server after an outage, which ends with one question at a time.
pub(super) struct Rest {
    clock: Arc<dyn Clock>,
    /// Longest time that one question takes.
    probe: Duration,
    state: Mutex<Option<State>>,
}

#[derive(Clone, Copy)]
struct State {
    until: Moment,
    pause: Duration,
}

/// Leave to ask the server.
#[must_use]
pub(super) struct Leave {
    is_probe: bool,
}

impl Rest {
    pub(super) const fn new(clock: Arc<dyn Clock>, probe: Duration) -> Self {
        Self { clock, probe, state: Mutex::new(None) }
    }

    /// Asks for leave; else says how long to wait.
    pub(super) fn enter(&self) -> Result<Leave, Duration> {
        let mut state = self.state.lock();
        let Some(resting) = &mut *state else { return Ok(Leave { is_probe: false }) };
        let now = self.clock.now();
        let left = resting.until.since(now);
        if !left.is_zero() {
            return Err(left);
        }
        // The others wait for this one's answer. Should it never say, another one finds out.
        resting.until = now.plus(self.probe);
        Ok(Leave { is_probe: true })
    }

    /// The server works. Says whether it did not before.
    pub(super) fn works(&self) -> bool {
        self.state.lock().take().is_some()
    }

    /// The server does not work. Says how long it rests, where that is news.
    pub(super) fn failed(&self, leave: &Leave) -> Option<Duration> {
        let mut state = self.state.lock();
        let pause = match *state {
            None => FIRST_PAUSE,
            Some(State { pause, .. }) if leave.is_probe => (pause * 2).min(LONGEST_PAUSE),
            // Questions that were under way when the first one failed tell nothing new.
            Some(_) => return None,
        };
        *state = Some(State { until: self.clock.now().plus(pause), pause });
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ManualClock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_grow_up_to_a_minute_and_end_with_one_question_that_is_answered() {
        let clock = Arc::new(ManualClock::at(0));
        let rest = Rest::new(Arc::clone(&clock) as Arc<dyn Clock>, 5 * SECOND);
        let under_way = rest.enter().ok().unwrap();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let leave = rest.enter().ok().unwrap();
            assert_eq!(rest.failed(&leave), Some(seconds * SECOND));
            assert_eq!(rest.failed(&under_way), None);
            assert_eq!(rest.enter().err(), Some(seconds * SECOND));
            clock.advance(seconds * SECOND);
        }
        let probe = rest.enter().ok().unwrap();
        assert_eq!(rest.enter().err(), Some(5 * SECOND), "one at a time");
        clock.advance(5 * SECOND);
        assert!(rest.enter().is_ok(), "the first one never came back");
        assert!(rest.works() && !rest.works());
        assert!(rest.enter().is_ok() && rest.enter().is_ok());
        assert_eq!(rest.failed(&probe), Some(SECOND), "the next outage starts small again");
    }
}
