use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;

use crate::domain::UnixSeconds;

/// Most notes at once.
const MOST: usize = 100_000;

/// What must not be forgotten for a while, such as the id of a message that counts once, or a session that
/// ended before it was known here. Only what somebody known has signed is noted, so nobody else can fill it.
#[derive(Default)]
pub(super) struct Notes(Mutex<Book>);

#[derive(Default)]
struct Book {
    by_name: HashMap<String, (UnixSeconds, UnixSeconds)>,
    by_end: BTreeSet<(UnixSeconds, String)>,
}

impl Notes {
    /// Notes a time under this name, until then. Says whether there was no such note; the later time stays.
    pub(super) fn put(&self, name: String, time: UnixSeconds, until: UnixSeconds, now: UnixSeconds) -> bool {
        let mut book = self.0.lock();
        book.forget_ended(now);
        let earlier = book.by_name.get(&name).copied();
        let (mut latest, mut end) = (time, until);
        if let Some((time, until)) = earlier {
            (latest, end) = (latest.max(time), end.max(until));
            book.by_end.remove(&(until, name.clone()));
        } else if book.by_name.len() >= MOST {
            book.forget_first();
        }
        book.by_end.insert((end, name.clone()));
        book.by_name.insert(name, (latest, end));
        earlier.is_none()
    }

    /// The time under this name.
    pub(super) fn get(&self, name: &str, now: UnixSeconds) -> Option<UnixSeconds> {
        let book = self.0.lock();
        book.by_name.get(name).filter(|(_, until)| *until > now).map(|(time, _)| *time)
    }
}

impl Book {
    fn forget_ended(&mut self, now: UnixSeconds) {
        while self.by_end.first().is_some_and(|(end, _)| *end <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, name)) = self.by_end.pop_first() {
            self.by_name.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_stands_until_its_end_and_is_made_once() {
        let notes = Notes::default();
        assert!(notes.put("a".to_owned(), 5, 100, 0));
        assert!(!notes.put("a".to_owned(), 3, 50, 0), "it is there");
        assert_eq!((notes.get("a", 99), notes.get("a", 100), notes.get("b", 0)), (Some(5), None, None));
        assert!(notes.put("a".to_owned(), 7, 200, 100), "it had ended");
        assert_eq!(notes.get("a", 150), Some(7));
    }

    #[test]
    fn there_is_an_end_to_notes() {
        let notes = Notes::default();
        for number in 0..MOST as u64 + 10 {
            notes.put(number.to_string(), 0, 1000 + number, 0);
        }
        assert_eq!(notes.0.lock().by_name.len(), MOST);
        assert_eq!((notes.get("0", 0), notes.get("10", 0)), (None, Some(0)), "the first to end has to go");
        notes.put("last".to_owned(), 0, u64::MAX, u64::MAX - 1);
        let book = notes.0.lock();
        assert_eq!((book.by_name.len(), book.by_end.len()), (1, 1));
    }
}
