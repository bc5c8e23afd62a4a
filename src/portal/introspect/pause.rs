//! When a portal that failed may be asked again.

use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::Moment;

/// The first pause after an outage.
const FIRST: Duration = Duration::from_secs(1);
/// Where the pause stops doubling. Longer ones would keep people out after the portal is there again.
const LONGEST: Duration = Duration::from_secs(30);
/// One line of the log in this time tells of all that fails.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// The pause after an outage, which doubles until an answer comes.
#[derive(Default)]
pub(super) struct Pause(Mutex<State>);

#[derive(Default)]
struct State {
    /// None while the portal answers.
    pause: Option<Duration>,
    until: Moment,
    told: Option<Moment>,
}

impl Pause {
    /// How long the portal is left alone still.
    pub(super) fn left(&self, now: Moment) -> Option<Duration> {
        let state = self.0.lock();
        let left = state.until.since(now);
        (state.pause.is_some() && !left.is_zero()).then_some(left)
    }

    /// Whether it failed and has not answered since.
    pub(super) fn is_failing(&self) -> bool {
        self.0.lock().pause.is_some()
    }

    /// It answered. Says whether it had failed before.
    pub(super) fn answered(&self) -> bool {
        self.0.lock().pause.take().is_some()
    }

    /// It failed. `asked` is when it was asked: questions that were under way when the first one failed tell
    /// nothing new. `wish` is how long it wants to be left alone.
    pub(super) fn failed(&self, asked: Moment, now: Moment, wish: Option<Duration>) {
        let mut state = self.0.lock();
        let pause = match state.pause {
            Some(_) if asked < state.until => return,
            Some(pause) => (pause * 2).min(LONGEST),
            None => FIRST,
        };
        state.until = now.plus(pause.max(wish.unwrap_or_default()).min(LONGEST));
        state.pause = Some(pause);
    }

    /// Whether a failure may be told of now.
    pub(super) fn may_tell(&self, now: Moment) -> bool {
        let mut state = self.0.lock();
        let may = state.told.is_none_or(|told| now.since(told) >= TOLD_EVERY);
        if may {
            state.told = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_end_with_an_answer() {
        let pause = Pause::default();
        let mut now = Moment::from_millis(0);
        assert_eq!((pause.left(now), pause.is_failing()), (None, false));
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            pause.failed(now, now, None);
            // Others that were under way.
            pause.failed(now, now.plus(FIRST / 2), None);
            assert_eq!(pause.left(now), Some(Duration::from_secs(seconds)));
            now = now.plus(Duration::from_secs(seconds));
            assert_eq!((pause.left(now), pause.is_failing()), (None, true));
        }
        assert!(pause.answered() && !pause.answered() && !pause.is_failing());
        for (wish, seconds) in [(0, 1), (7, 7), (3600, 30)] {
            let pause = Pause::default();
            pause.failed(now, now, Some(Duration::from_secs(wish)));
            assert_eq!(pause.left(now), Some(Duration::from_secs(seconds)), "{wish}");
        }
    }

    #[test]
    fn one_line_tells_of_many_failures() {
        let pause = Pause::default();
        let now = Moment::from_millis(0);
        let told: Vec<bool> = [0, 1, 9, 10, 11].map(|at| pause.may_tell(now.plus(Duration::from_secs(at)))).to_vec();
        assert_eq!(told, [true, false, false, true, false]);
    }
}
