//! Somebody who reads mail.

use std::sync::atomic::AtomicUsize;

use crate::support::Ticket;

pub struct User {
    pub name: String,
    /// The portal's cookie.
    pub cookie: String,
    /// How often the mailbox was seen.
    pub seen: AtomicUsize,
}

impl User {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), cookie: Ticket::of(name).cookie(), seen: AtomicUsize::new(0) }
    }
}
