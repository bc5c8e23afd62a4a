//! When a back-end that failed may be asked again.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::{Clock, Moment};

/// Longest pause, also where the back-end asked for more: an hour of `Retry-After` would be an hour
/// without logins after a restart of five seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What others are told to wait while somebody finds out whether the back-end is there again.
const PROBE_PAUSE: Duration = Duration::from_secs(1);

/// How many people in a row whose answers nobody understands mean that the back-end has failed.
const ODD_ANSWERS: u32 = 3;

/// The pause after an outage: it doubles up to a minute, and ends with one probe at a time.
pub struct Backoff {
    first_pause: Duration,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    hasher: RandomState,
}

#[derive(Clone, Copy)]
enum State {
    /// How many people in a row got an answer that was not understood, and who was the last.
    Closed {
        odd: u32,
        last: u64,
    },
    Open {
        until: Moment,
        pause: Duration,
        probing: bool,
    },
}

/// Leave to ask the back-end. Dropping it without a word gives the probe's place back.
pub struct Leave<'a> {
    backoff: &'a Backoff,
    probe: bool,
}

impl Backoff {
    /// Nothing has failed yet.
    pub fn new(first_pause: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            first_pause: first_pause.min(LONGEST_PAUSE),
            clock,
            state: Mutex::new(State::Closed { odd: 0, last: 0 }),
            hasher: RandomState::new(),
        }
    }

    /// How long to wait, where the back-end must be left alone.
    pub fn pause(&self) -> Option<Duration> {
        self.pause_in(*self.state.lock())
    }

    /// Whether it failed and has not worked since.
    pub fn is_open(&self) -> bool {
        matches!(*self.state.lock(), State::Open { .. })
    }

    /// Asks for leave; an answer that is an error says how long to wait.
    pub fn enter(&self) -> Result<Leave<'_>, Duration> {
        let mut state = self.state.lock();
        if let Some(pause) = self.pause_in(*state) {
            return Err(pause);
        }
        let probe = match &mut *state {
            State::Closed { .. } => false,
            State::Open { probing, .. } => {
                *probing = true;
                true
            }
        };
        Ok(Leave { backoff: self, probe })
    }

    fn pause_in(&self, state: State) -> Option<Duration> {
        let State::Open { until, probing, .. } = state else { return None };
        let left = until.since(self.clock.now());
        if !left.is_zero() {
            return Some(left);
        }
        probing.then_some(PROBE_PAUSE)
    }
}

impl Leave<'_> {
    /// The back-end answered.
    pub fn answered(self) {
        *self.backoff.state.lock() = State::Closed { odd: 0, last: 0 };
    }

    /// The back-end answered something that was not understood. That may be about this one person
    /// (a notice that they must confirm, say), and nobody else must suffer for it; several people in a
    /// row are everybody.
    pub fn puzzled(self, who: &str) {
        let who = self.backoff.hasher.hash_one(who);
        {
            let mut state = self.backoff.state.lock();
            if let State::Closed { odd, last } = &mut *state {
                *odd += u32::from(*odd == 0 || *last != who);
                *last = who;
                if *odd < ODD_ANSWERS {
                    return;
                }
            }
        }
        self.failed(None);
    }

    /// The back-end failed, and may have said how long it wants to be left alone.
    pub fn failed(self, wish: Option<Duration>) {
        let mut state = self.backoff.state.lock();
        let pause = match *state {
            State::Closed { .. } => self.backoff.first_pause,
            State::Open { pause, .. } if self.probe => (pause * 2).min(LONGEST_PAUSE),
            // Logins that were under way when the first one failed tell nothing new.
            State::Open { .. } => return,
        };
        let pause_now = pause.max(wish.unwrap_or_default()).min(LONGEST_PAUSE);
        *state = State::Open { until: self.backoff.clock.now().plus(pause_now), pause, probing: false };
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if !self.probe {
            return;
        }
        if let State::Open { probing, .. } = &mut *self.backoff.state.lock() {
            *probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ManualClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn backoff() -> (Arc<ManualClock>, Backoff) {
        let clock = Arc::new(ManualClock::at(0));
        let backoff = Backoff::new(2 * SECOND, Arc::clone(&clock) as Arc<dyn Clock>);
        (clock, backoff)
    }

    fn fail(backoff: &Backoff, wish: Option<Duration>) -> Option<Duration> {
        backoff.enter().ok().unwrap().failed(wish);
        backoff.pause()
    }

    #[test]
    fn one_persons_odd_answers_delay_nobody_and_everybodys_do() {
        let (_, backoff) = backoff();
        for _ in 0..10 {
            backoff.enter().ok().unwrap().puzzled("ana");
            assert_eq!(backoff.pause(), None);
        }
        for who in ["ben", "ana"] {
            backoff.enter().ok().unwrap().puzzled(who);
        }
        assert_eq!(backoff.pause(), Some(2 * SECOND));
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_end_with_an_answer() {
        let (clock, backoff) = backoff();
        for seconds in [2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(fail(&backoff, None), Some(SECOND * seconds));
            assert_eq!(backoff.enter().err(), Some(SECOND * seconds));
            clock.advance(SECOND * seconds);
        }
        backoff.enter().ok().unwrap().answered();
        assert_eq!(backoff.pause(), None);
        assert_eq!(fail(&backoff, None), Some(2 * SECOND), "the next outage starts small again");
    }

    #[test]
    fn the_back_ends_own_wish_counts_within_bounds() {
        for (wish, pause) in [(1, 2), (30, 30), (3600, 60)] {
            let (_, backoff) = backoff();
            assert_eq!(fail(&backoff, Some(SECOND * wish)), Some(SECOND * pause), "{wish} s");
        }
    }

    #[test]
    fn one_probe_at_a_time_and_a_cancelled_one_gives_its_place_back() {
        let (clock, backoff) = backoff();
        fail(&backoff, None);
        clock.advance(2 * SECOND);
        let probe = backoff.enter().ok().unwrap();
        assert_eq!(backoff.enter().err(), Some(PROBE_PAUSE));
        drop(probe);
        assert!(backoff.enter().is_ok());
    }

    #[test]
    fn failures_that_were_already_under_way_do_not_lengthen_the_pause() {
        let (_, backoff) = backoff();
        let leaves: Vec<_> = (0..5).map(|_| backoff.enter().ok().unwrap()).collect();
        for leave in leaves {
            leave.failed(None);
        }
        assert_eq!(backoff.pause(), Some(2 * SECOND));
    }
}
