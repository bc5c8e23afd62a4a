use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Clock, Moment, UnixSeconds};

/// How far the wall clock may run ahead of the process's own time before that is a jump, in seconds.
const TOLERANCE: UnixSeconds = 60;
/// How long a wall clock that has jumped ahead must stay there to be believed.
const PATIENCE: Duration = Duration::from_secs(600);

/// The wall clock, as far as something may be thrown away for good because of it: a jump ahead is believed
/// only when it has lasted, since clocks that jump ahead are often set back.
pub struct SettledClock {
    clock: Arc<dyn Clock>,
    believed: Mutex<Believed>,
}

struct Believed {
    unix: UnixSeconds,
    at: Moment,
    /// Since when the wall clock has been ahead.
    ahead_since: Option<Moment>,
}

impl SettledClock {
    /// Believes what the clock says now.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let believed = Believed { unix: clock.unix(), at: clock.now(), ahead_since: None };
        Self { clock, believed: Mutex::new(believed) }
    }

    /// The time.
    pub fn unix(&self) -> UnixSeconds {
        let (unix, now) = (self.clock.unix(), self.clock.now());
        let mut believed = self.believed.lock();
        let expected = believed.unix.saturating_add(now.since(believed.at).as_secs());
        if unix > expected.saturating_add(TOLERANCE) {
            let since = *believed.ahead_since.get_or_insert(now);
            if now.since(since) < PATIENCE {
                return expected;
            }
        }
        *believed = Believed { unix, at: now, ahead_since: None };
        unix
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ManualClock;

    #[test]
    fn a_jump_ahead_is_believed_when_it_has_lasted() {
        let clock = Arc::new(ManualClock::at(1000));
        let settled = SettledClock::new(Arc::clone(&clock) as Arc<dyn Clock>);
        for _ in 0..100 {
            clock.advance(Duration::from_millis(1700));
            assert_eq!(settled.unix(), clock.unix());
        }
        clock.set_unix(500);
        assert_eq!(settled.unix(), 500, "a jump back throws nothing away");
        clock.set_unix(1_000_000);
        assert_eq!(settled.unix(), 500);
        clock.advance(PATIENCE / 2);
        assert_eq!(settled.unix(), 500 + PATIENCE.as_secs() / 2);
        clock.set_unix(800);
        assert_eq!(settled.unix(), 800, "it was set back in time");
        clock.set_unix(1_000_000);
        assert_eq!(settled.unix(), 800);
        clock.advance(PATIENCE);
        assert_eq!(settled.unix(), clock.unix());
    }
}
