//! What was found out lately about cookies that stand for no session here: nothing that anybody can make up
//! takes a session's place.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::Moment;

/// Most of them. A forgotten one costs one more question.
const MOST: usize = 10_000;

/// Ends of sessions that were not known here yet, or are vouched for in an answer under way. What anybody can
/// cause by showing a cookie is kept apart from what only the portal's side can say.
#[derive(Default)]
pub(super) struct Ends {
    /// Cookies of those who signed out here.
    pub leaving: Lately,
    /// What the portal's side has ended.
    pub called_off: Lately,
}

impl Ends {
    /// The portal says no itself by now.
    pub(super) fn forget(&self, key: &str) {
        self.leaving.forget(key);
        self.called_off.forget(key);
    }
}

/// What was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The portal knows of no such session.
    No,
    /// The portal's answer was not understood, or none.
    Unclear,
    /// Somebody is signing out with it, of whom we do not know yet.
    Leaving,
    /// The portal's side has ended it.
    CalledOff,
}

#[derive(Clone, Copy)]
struct Note {
    finding: Finding,
    at: Moment,
    until: Moment,
}

/// Bounded in time and number, each under a keyed hash.
#[derive(Default)]
pub(super) struct Lately(Mutex<State>);

#[derive(Default)]
struct State {
    notes: HashMap<Box<str>, Note>,
    /// In the order in which they were made.
    made: VecDeque<(Moment, Box<str>)>,
}

impl Lately {
    /// Takes note for some time.
    pub(super) fn note(&self, key: &str, finding: Finding, now: Moment, lasts: Duration) {
        let mut state = self.0.lock();
        // The making is counted, not the notes: the same may be found out over and over.
        if state.made.len() >= MOST
            && let Some((at, oldest)) = state.made.pop_front()
            && state.notes.get(&oldest).is_some_and(|note| note.at == at)
        {
            state.notes.remove(&oldest);
        }
        state.notes.insert(key.into(), Note { finding, at: now, until: now.plus(lasts) });
        state.made.push_back((now, key.into()));
    }

    /// What is known, and for how long still.
    pub(super) fn find(&self, key: &str, now: Moment) -> Option<(Finding, Duration)> {
        let note = *self.0.lock().notes.get(key)?;
        (note.until > now).then(|| (note.finding, note.until.since(now)))
    }

    /// Whether this was found out since then.
    pub(super) fn found_since(&self, key: &str, finding: Finding, since: Moment) -> bool {
        self.0.lock().notes.get(key).is_some_and(|note| note.finding == finding && note.at >= since)
    }

    /// It is otherwise now.
    pub(super) fn forget(&self, key: &str) {
        self.0.lock().notes.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_finding_lasts_for_its_time() {
        let lately = Lately::default();
        let now = Moment::from_millis(5000);
        lately.note("a", Finding::No, now, 2 * SECOND);
        assert_eq!(lately.find("a", now.plus(SECOND)), Some((Finding::No, SECOND)));
        assert_eq!(lately.find("a", now.plus(2 * SECOND)), None);
        assert_eq!(lately.find("b", now), None);
        assert!(lately.found_since("a", Finding::No, now) && !lately.found_since("a", Finding::No, now.plus(SECOND)));
        assert!(!lately.found_since("a", Finding::CalledOff, now));
        lately.forget("a");
        assert_eq!(lately.find("a", now), None);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let lately = Lately::default();
        let now = Moment::from_millis(0);
        for number in 0..MOST + 5 {
            lately.note(&number.to_string(), Finding::No, now, SECOND);
        }
        for _ in 0..2 * MOST {
            lately.note("again", Finding::No, now, SECOND);
        }
        let state = lately.0.lock();
        assert!(state.made.len() <= MOST && state.notes.len() <= MOST);
        drop(state);
        assert!(lately.find("again", now).is_some());
    }
}
