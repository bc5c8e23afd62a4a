//! Somebody who reads mail.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use crate::support::Ticket;

pub struct User {
    pub name: String,
    /// The portal's cookie.
    pub cookie: String,
    /// How often the mailbox was seen.
    pub seen: AtomicUsize,
    /// Came while nobody new could be let in everywhere: not every replica has the keys.
    pub came_late: AtomicBool,
}

impl User {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cookie: Ticket::of(name).cookie(),
            seen: AtomicUsize::new(0),
            came_late: AtomicBool::new(false),
        }
    }
}
