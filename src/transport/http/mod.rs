//! The doors for web servers that ask over HTTP.
//!
//! - `doors`: a path for each dialect. `dialect`: where each tells of the original request.
//! - `head`: the plain question, read in place. `reply`: its answer as bytes. `connection`: one after the other on one
//!   connection. They are for what web servers ask all the time, and for nothing else: whatever is not plain, and every
//!   page, is the framework's, which gets the connection as it is.
//! - `front`: stands before the framework, on each of its workers.

mod connection;
mod dialect;
mod doors;
mod front;
mod head;
mod reply;
mod worker;

use std::time::Duration;

pub use doors::{HttpDoor, answer_framework, at, doors};
pub use front::{Accepted, front};

/// Longest wait for a request's head: a web server on the same machine needs no time at all.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
