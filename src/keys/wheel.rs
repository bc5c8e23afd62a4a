use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::entry::Entry;
use crate::domain::Moment;

/// Slots of one second each. What is due later waits in the farthest slot and is looked at again.
const SLOTS: u64 = 4096;
/// What lies behind its point, as a part of 2³².
const GOLDEN_RATIO: u32 = 0x9e37_79b9;

/// When to look at which entry again: a timing wheel, so that a million entries at rest need no
/// timers. An entry stands in exactly one slot, and holds no memory but 8 bytes there.
pub(super) struct Wheel {
    slots: Vec<Mutex<Vec<Weak<Entry>>>>,
    /// The last second that was drained.
    drained: Mutex<u64>,
    jitter: AtomicU32,
}

impl Wheel {
    pub(super) fn new(now: Moment) -> Self {
        let slots = (0..SLOTS).map(|_| Mutex::default()).collect();
        Self { slots, drained: Mutex::new(second(now)), jitter: AtomicU32::default() }
    }

    /// Where in its window the next entry is due. Multiples of the golden ratio lie as far apart as they can, however
    /// many are due in one window: evener than chance, so that no second carries much more than another.
    pub(super) fn next_jitter(&self) -> u16 {
        (self.jitter.fetch_add(GOLDEN_RATIO, Ordering::Relaxed) >> 16) as u16
    }

    /// Has the entry looked at in the second after `due`.
    pub(super) fn schedule(&self, entry: &Arc<Entry>, due: Moment) {
        let drained = self.drained.lock();
        let due = (second(due) + 1).clamp(*drained + 1, *drained + SLOTS - 1);
        self.slot(due).lock().push(Arc::downgrade(entry));
    }

    /// Takes what is due one slot at a time; `None` when there is nothing left to take.
    pub(super) fn due(&self, now: Moment) -> Option<Vec<Weak<Entry>>> {
        let mut drained = self.drained.lock();
        if *drained >= second(now) {
            return None;
        }
        *drained += 1;
        // A process that was stopped for hours finds every slot overdue, and once around is enough.
        *drained = (*drained).max(second(now).saturating_sub(SLOTS));
        let mut slot = self.slot(*drained).lock();
        Some(std::mem::take(&mut *slot))
    }

    /// Some living entries from a slot at random, for whoever must choose one to give up.
    pub(super) fn sample(&self, most: usize) -> Vec<Arc<Entry>> {
        let start = rand::random_range(0..SLOTS);
        let mut found = Vec::new();
        for second in start..start + SLOTS {
            let slot = self.slot(second).lock();
            let offset = if slot.is_empty() { 0 } else { rand::random_range(0..slot.len()) };
            let turned = slot.iter().skip(offset).chain(slot.iter().take(offset));
            found.extend(turned.filter_map(Weak::upgrade).take(most - found.len()));
            if found.len() >= most {
                break;
            }
        }
        found
    }

    fn slot(&self, second: u64) -> &Mutex<Vec<Weak<Entry>>> {
        let index = (second % SLOTS) as usize;
        &self.slots[index]
    }
}

const fn second(moment: Moment) -> u64 {
    moment.as_millis() / 1000
}
