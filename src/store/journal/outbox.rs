use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::domain::Moment;
use crate::store::Event;

/// Events that wait for the store, or are not read back yet.
const MOST: usize = 100_000;
/// Events of our own that nobody has to know for long: so many, for so long, are told again after a loss.
const RECENT: (usize, Duration) = (1000, Duration::from_secs(30));

/// What an entry of the journal is told from every other by: random, and named by the entry that follows it.
pub(super) type Mark = [u8; 8];

/// An event of ours on its way.
struct Letter {
    /// Letters that wait go in this order.
    number: u64,
    event: Event,
    told: Moment,
}

/// Letters that wait, by their numbers.
#[derive(Default)]
struct Waiting {
    standing: BTreeMap<u64, Letter>,
    plain: BTreeMap<u64, Letter>,
}

/// A letter that was sent, and has not been read back.
struct Flight {
    letter: Letter,
    /// Whether the server has said that it has it.
    is_answered: bool,
}

/// What this replica tells and is not sure yet that everybody can read.
///
/// A server may say that it has an event and lose it all the same, when another takes over before that one has it,
/// too. So an event is ours to tell until our own reader has read it back.
#[derive(Default)]
pub(super) struct Outbox {
    held: Mutex<Held>,
    /// There is something to do.
    pub(super) wake: Notify,
}

#[derive(Default)]
struct Held {
    numbers: u64,
    waiting: Waiting,
    flying: HashMap<Mark, Flight>,
    /// Those read back that do not stand.
    recent: VecDeque<Letter>,
    /// Those that stood already when they were told, and when that was. Ours may be the only word of them that is
    /// left: an answer that was not heard, or another replica's that has gone.
    repeated: VecDeque<(Letter, Moment)>,
    /// Whether something that stands was left to be found missing.
    is_overrun: bool,
}

impl Outbox {
    /// A new event is about to be sent.
    pub(super) fn launch(&self, event: Event, told: Moment) -> Mark {
        let mut held = self.held.lock();
        held.numbers += 1;
        let letter = Letter { number: held.numbers, event, told };
        held.fly(letter)
    }

    /// Those that have waited longest are about to be sent.
    pub(super) fn relaunch(&self, most: usize) -> Vec<Mark> {
        let mut held = self.held.lock();
        let mut marks = Vec::new();
        while let Some(letter) = (marks.len() < most).then(|| held.waiting.next()).flatten() {
            marks.push(held.fly(letter));
        }
        marks
    }

    /// Gives the event that is about to be sent, with the time at which it was told.
    pub(super) fn write(&self, mark: &Mark, shown: impl Fn(Moment) -> Option<u64>) -> Option<Event> {
        let mut held = self.held.lock();
        let letter = &mut held.flying.get_mut(mark)?.letter;
        if let Some(millis) = shown(letter.told) {
            letter.event.happened_at(millis);
        }
        Some(letter.event.clone())
    }

    /// The server has said that it has this one; or that it had it before, and it is not written twice.
    pub(super) fn landed(&self, mark: &Mark, is_written: bool, now: Moment) {
        let mut held = self.held.lock();
        if !is_written {
            let flight = held.flying.remove(mark);
            held.repeated.extend(flight.map(|flight| (flight.letter, now)));
            if held.repeated.len() > RECENT.0 {
                held.repeated.pop_front();
            }
        } else if held.flying.len() > MOST {
            held.flying.remove(mark);
        } else if let Some(flight) = held.flying.get_mut(mark) {
            flight.is_answered = true;
        }
    }

    /// Whether the server has these is not known. They wait, unless we have read them back meanwhile; gives those
    /// for which there is no room.
    pub(super) fn failed(&self, marks: &[Mark]) -> Vec<Event> {
        let mut held = self.held.lock();
        let unsure = |held: &mut Held, mark| held.flying.remove(mark).filter(|flight| !flight.is_answered);
        let flights: Vec<_> = marks.iter().filter_map(|mark| unsure(&mut held, mark)).collect();
        let dropped = flights.into_iter().filter_map(|flight| held.wait(flight.letter)).collect();
        drop(held);
        self.wake.notify_one();
        dropped
    }

    /// This one of ours can be read by everybody.
    pub(super) fn read_back(&self, mark: &[u8], now: Moment) {
        let mut held = self.held.lock();
        let Some(Flight { letter, .. }) = Mark::try_from(mark).ok().and_then(|mark| held.flying.remove(&mark)) else {
            return;
        };
        if letter.event.stands_until().is_none() {
            held.recent.push_back(letter);
        }
        let (most, life) = RECENT;
        while held.recent.len() > most || held.recent.front().is_some_and(|letter| now.since(letter.told) > life) {
            held.recent.pop_front();
        }
    }

    /// Those that the server has said it has.
    pub(super) fn answered(&self) -> Vec<Mark> {
        let held = self.held.lock();
        held.flying.iter().filter(|(_, flight)| flight.is_answered).map(|(mark, _)| *mark).collect()
    }

    /// These were answered before all was read that there is: those not read back are not there.
    pub(super) fn missed(&self, marks: &[Mark]) {
        let mut held = self.held.lock();
        let mut is_any = false;
        for mark in marks {
            if let Some(flight) = held.flying.remove(mark) {
                is_any = true;
                held.wait(flight.letter);
            }
        }
        drop(held);
        if is_any {
            self.wake.notify_one();
        }
    }

    /// The store has lost something: what we have read back of late is told again. What we have not is
    /// [`Self::missed`] where it is not there.
    pub(super) fn lost(&self, now: Moment) {
        let mut held = self.held.lock();
        let recent: Vec<_> = held.recent.drain(..).collect();
        for letter in recent.into_iter().filter(|letter| now.since(letter.told) <= RECENT.1) {
            held.wait(letter);
        }
        drop(held);
        self.wake.notify_one();
    }

    /// There is a new connection, so it may be another server, and one that never had what stood at the first. That
    /// cannot be seen from the journal: nobody has read the entry there either.
    pub(super) fn reconnected(&self, now: Moment) {
        let mut held = self.held.lock();
        let repeated: Vec<_> = held.repeated.drain(..).collect();
        let mut is_any = false;
        for (letter, _) in repeated.into_iter().filter(|(_, landed)| now.since(*landed) <= RECENT.1) {
            is_any = true;
            held.wait(letter);
        }
        drop(held);
        if is_any {
            self.wake.notify_one();
        }
    }

    /// How many wait or are on their way without an answer.
    pub(super) fn untold(&self) -> usize {
        let held = self.held.lock();
        held.waiting.len() + held.flying.values().filter(|flight| !flight.is_answered).count()
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.held.lock().waiting.len() > 0
    }

    /// Whether something that stands had no room since the last time.
    pub(super) fn take_overrun(&self) -> bool {
        std::mem::take(&mut self.held.lock().is_overrun)
    }
}

impl Held {
    fn fly(&mut self, letter: Letter) -> Mark {
        let mark: Mark = rand::random();
        self.flying.insert(mark, Flight { letter, is_answered: false });
        mark
    }

    /// Puts a letter where it was. One too many pushes out the oldest that does not stand; what stands itself is
    /// remembered elsewhere.
    fn wait(&mut self, letter: Letter) -> Option<Event> {
        let Waiting { standing, plain } = &mut self.waiting;
        let queue = if letter.event.stands_until().is_some() { &mut *standing } else { &mut *plain };
        queue.insert(letter.number, letter);
        if standing.len() + plain.len() <= MOST {
            return None;
        }
        let oldest = plain.pop_first();
        self.is_overrun |= oldest.is_none();
        oldest.or_else(|| standing.pop_last()).map(|(_, letter)| letter.event)
    }
}

impl Waiting {
    fn len(&self) -> usize {
        self.standing.len() + self.plain.len()
    }

    fn next(&mut self) -> Option<Letter> {
        let number = |queue: &BTreeMap<u64, Letter>| queue.first_key_value().map_or(u64::MAX, |(number, _)| *number);
        let is_plain = number(&self.plain) < number(&self.standing);
        let queue = if is_plain { &mut self.plain } else { &mut self.standing };
        queue.pop_first().map(|(_, letter)| letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(id: usize) -> Event {
        Event::SessionChanged { portal: "p".to_owned(), id: id.to_string() }
    }

    fn stands(id: usize) -> Event {
        Event::SessionEnded { portal: "p".to_owned(), session: id.to_string(), until: 9, asked: 0 }
    }

    const NOW: Moment = Moment::from_millis(7);

    fn waiting(outbox: &Outbox) -> Vec<Event> {
        let marks = outbox.relaunch(usize::MAX);
        marks.iter().filter_map(|mark| outbox.write(mark, |_| None)).collect()
    }

    #[test]
    fn what_failed_waits_in_the_order_in_which_it_was_told() {
        let outbox = Outbox::default();
        let marks = [1, 2, 3, 4].map(|id| outbox.launch(plain(id), NOW));
        assert_eq!(outbox.untold(), 4);
        outbox.failed(&[marks[2]]);
        outbox.landed(&marks[1], true, NOW);
        outbox.failed(&[marks[1], marks[3], marks[0]]);
        assert_eq!(waiting(&outbox), [1, 3, 4].map(plain), "an answer is an answer");
    }

    #[test]
    fn what_was_answered_and_cannot_be_read_is_told_again() {
        let outbox = Outbox::default();
        let [kept, lost, late, old] = [1, 2, 3, 4].map(|id| outbox.launch(plain(id), NOW));
        outbox.read_back(&kept, NOW);
        for mark in [&kept, &lost, &late] {
            outbox.landed(mark, true, NOW);
        }
        outbox.landed(&old, false, NOW);
        let before = outbox.answered();
        assert_eq!(before.len(), 2);
        outbox.read_back(&late, NOW);
        outbox.missed(&before);
        assert_eq!(waiting(&outbox), [plain(2)]);
        outbox.lost(NOW);
        assert_eq!(waiting(&outbox), [1, 3].map(plain));
        outbox.lost(NOW);
        assert_eq!(waiting(&outbox), []);
    }

    #[test]
    fn what_stood_already_is_told_again_to_a_server_that_may_be_another() {
        let outbox = Outbox::default();
        let long_ago = NOW;
        let now = NOW.plus(RECENT.1).plus(Duration::from_millis(1));
        for (id, landed) in [(1, long_ago), (2, now)] {
            outbox.landed(&outbox.launch(stands(id), NOW), false, landed);
        }
        assert_eq!((waiting(&outbox), outbox.untold()), (Vec::new(), 0));
        outbox.reconnected(now);
        assert_eq!(waiting(&outbox), [stands(2)]);
        outbox.reconnected(now);
        assert_eq!(waiting(&outbox), []);
        for id in 0..=RECENT.0 {
            outbox.landed(&outbox.launch(stands(id), NOW), false, now);
        }
        outbox.reconnected(now);
        assert_eq!(waiting(&outbox).len(), RECENT.0);
    }

    #[test]
    fn the_time_is_filled_in_once() {
        let outbox = Outbox::default();
        let mark = outbox.launch(stands(1), NOW);
        let asked = |shown| match outbox.write(&mark, |told| (told == NOW).then_some(shown)) {
            Some(Event::SessionEnded { asked, .. }) => asked,
            _ => 0,
        };
        assert_eq!((asked(5), asked(6)), (5, 5));
    }

    #[test]
    fn of_too_many_those_that_stand_are_kept() {
        let outbox = Outbox::default();
        let fail = |event| outbox.failed(&[outbox.launch(event, NOW)]);
        for id in 0..MOST {
            assert_eq!(fail(if id % 2 == 0 { plain(id) } else { stands(id) }), []);
        }
        assert_eq!(fail(stands(MOST)), [plain(0)]);
        assert_eq!(fail(plain(MOST + 1)), [plain(2)]);
        outbox.held.lock().waiting.plain.clear();
        for id in 0..MOST / 2 - 1 {
            assert_eq!(fail(stands(id)), []);
        }
        assert!(!outbox.take_overrun());
        assert_eq!(fail(stands(7)), [stands(7)]);
        assert!(outbox.take_overrun() && !outbox.take_overrun());
        assert_eq!(fail(plain(8)), [plain(8)]);
    }
}
