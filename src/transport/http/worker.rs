//! What the connections of one worker share: how they hear that it stops.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use slab::Slab;

/// One worker, which is one thread.
#[derive(Default)]
pub struct Worker {
    stopping: Cell<bool>,
    /// Who waits for a request, each in a place of its own.
    idle: RefCell<Slab<Option<Waker>>>,
}

impl Worker {
    /// Has every connection end that waits for a request, and all others once they have answered.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.idle.borrow_mut().iter_mut().filter_map(|(_, waker)| waker.take()).for_each(Waker::wake);
    }

    /// Whether no request is taken any more.
    pub const fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// A place for one connection.
    pub fn place(self: &Rc<Self>) -> Place {
        Place { number: self.idle.borrow_mut().insert(None), worker: Rc::clone(self) }
    }
}

/// One connection at its worker.
pub struct Place {
    pub worker: Rc<Worker>,
    number: usize,
}

impl Place {
    /// Has the task woken when the worker stops. Costs next to nothing for the same task again.
    pub fn wake_at_the_end(&self, task: &Context<'_>) {
        if let Some(held) = self.worker.idle.borrow_mut().get_mut(self.number) {
            match held {
                Some(waker) => waker.clone_from(task.waker()),
                None => *held = Some(task.waker().clone()),
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.idle.borrow_mut().try_remove(self.number);
    }
}
