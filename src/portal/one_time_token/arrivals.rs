//! What is remembered between two requests of one sign-in, and of sessions that ended before they began.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;

use crate::domain::{Clock, Identity, Moment, UnixSeconds};

/// How long a person may think about whether they are to become another.
const THINKING_TIME: Duration = Duration::from_secs(120);
/// How long it is remembered that a session of the host's has ended, there or here: a sign-in may still be
/// under way, and the host may not have heard of it for as long as an errand lasts.
const ENDED_FOR: Duration = Duration::from_secs(900);
/// Most of each. Only the host can make any, by vouching for somebody.
const MOST: usize = 100_000;

/// Somebody for whom the host has vouched.
pub(super) struct Arrival {
    pub identity: Identity<'static>,
    pub api_sid: String,
    pub expires: UnixSeconds,
    /// Where they want to go.
    pub next: String,
}

/// An arrival that is not let in yet.
pub(super) struct Pending {
    pub arrival: Arrival,
    /// The session that it would replace, once the person in it has agreed.
    pub instead_of: Option<String>,
}

pub(super) struct Arrivals {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    pending: HashMap<String, Pending>,
    pending_ends: VecDeque<(Moment, String)>,
    ended: HashMap<String, Moment>,
    ended_ends: VecDeque<(Moment, String)>,
}

impl Arrivals {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { state: Mutex::default(), clock }
    }

    /// Puts an arrival aside and says under which name it can be had, once.
    pub(super) fn put_aside(&self, pending: Pending) -> Option<String> {
        let now = self.clock.now();
        let mut state = self.swept(now);
        if state.pending.len() >= MOST {
            return None;
        }
        let name = random();
        state.pending_ends.push_back((now.plus(THINKING_TIME), name.clone()));
        state.pending.insert(name.clone(), pending);
        Some(name)
    }

    /// Takes one that was put aside, if `fits` says so. One that does not fit stays.
    pub(super) fn take(&self, name: &str, fits: impl FnOnce(&Pending) -> bool) -> Option<Pending> {
        let mut state = self.swept(self.clock.now());
        let fitting = state.pending.get(name).is_some_and(fits);
        if fitting { state.pending.remove(name) } else { None }
    }

    /// Notes that a session of the host's has ended.
    pub(super) fn note_end(&self, api_sid: &str) {
        let now = self.clock.now();
        let mut state = self.swept(now);
        // The notes are counted, not the names: the host may say the same over and over.
        if state.ended_ends.len() >= MOST
            && let Some((until, oldest)) = state.ended_ends.pop_front()
            && state.ended.get(&oldest) == Some(&until)
        {
            state.ended.remove(&oldest);
        }
        let until = now.plus(ENDED_FOR);
        state.ended.insert(api_sid.to_owned(), until);
        state.ended_ends.push_back((until, api_sid.to_owned()));
    }

    /// Whether it has ended, not long ago.
    pub(super) fn has_ended(&self, api_sid: &str) -> bool {
        self.swept(self.clock.now()).ended.contains_key(api_sid)
    }

    fn swept(&self, now: Moment) -> parking_lot::MutexGuard<'_, State> {
        let mut state = self.state.lock();
        let past = |ends: &mut VecDeque<(Moment, String)>| {
            let (until, _) = ends.front()?;
            if *until <= now { ends.pop_front() } else { None }
        };
        while let Some((_, name)) = past(&mut state.pending_ends) {
            state.pending.remove(&name);
        }
        while let Some((_, api_sid)) = past(&mut state.ended_ends) {
            // It may have been noted once more since.
            if state.ended.get(&api_sid).is_some_and(|until| *until <= now) {
                state.ended.remove(&api_sid);
            }
        }
        state
    }
}

/// 256 random bits, as they can stand in a cookie and in an address.
pub(super) fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ManualClock;

    fn pending(instead_of: Option<&str>) -> Pending {
        let identity = Identity::new("ana", "", "", Vec::new()).unwrap().into_owned();
        let arrival = Arrival { identity, api_sid: "a".to_owned(), expires: 1, next: "/".to_owned() };
        Pending { arrival, instead_of: instead_of.map(str::to_owned) }
    }

    #[test]
    fn what_was_put_aside_is_had_once_by_whom_it_fits_and_not_for_ever() {
        let clock = Arc::new(ManualClock::at(0));
        let arrivals = Arrivals::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let name = arrivals.put_aside(pending(Some("s"))).unwrap();
        assert!(arrivals.take(&name, |pending| pending.instead_of.is_none()).is_none());
        assert!(arrivals.take(&name, |pending| pending.instead_of.as_deref() == Some("s")).is_some());
        assert!(arrivals.take(&name, |_| true).is_none());
        let name = arrivals.put_aside(pending(None)).unwrap();
        clock.advance(THINKING_TIME);
        assert!(arrivals.take(&name, |_| true).is_none());
        assert!(arrivals.state.lock().pending.is_empty());
    }

    #[test]
    fn an_end_is_remembered_for_some_minutes_and_memory_is_bounded() {
        let clock = Arc::new(ManualClock::at(0));
        let arrivals = Arrivals::new(Arc::clone(&clock) as Arc<dyn Clock>);
        arrivals.note_end("a");
        clock.advance(ENDED_FOR / 2);
        arrivals.note_end("a");
        clock.advance(ENDED_FOR / 2);
        assert!(arrivals.has_ended("a") && !arrivals.has_ended("b"));
        clock.advance(ENDED_FOR / 2);
        assert!(!arrivals.has_ended("a"));
        for number in 0..MOST + 10 {
            arrivals.note_end(&number.to_string());
        }
        for _ in 0..MOST {
            clock.advance(Duration::from_millis(1));
            arrivals.note_end(&(MOST + 9).to_string());
        }
        assert!(arrivals.state.lock().ended_ends.len() <= MOST);
        assert!(arrivals.has_ended(&(MOST + 9).to_string()));
    }
}
