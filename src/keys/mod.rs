//! The back-end sessions we already hold, one per portal session and back-end (and per client where
//! the back-end ties sessions to the browser).
//!
//! [`KeyStore::find`] is the hot path: one look-up, no I/O, no future. Everything that takes time is
//! begun by [`KeyStore::obtain`], runs as a task of its own and is shared by all who wait for it, bad
//! outcomes too. [`KeyStore::tick`] does what time asks for: keep-alives, expiry, clean-up; a session
//! at rest costs no timer and no task.
//!
//! [`KeyStore`] is in `store`, what it does when it takes time in `login` (for whom: `order`; with which passwords:
//! `candidates`; who waits for it, and what becomes of it when they leave: `waiting`). How sessions end is in `ends`,
//! who asked for it in `sign_out`, what a new password ends in `changes`.
//! One session is an `entry`, found in `sessions` and of its `holder`; what must not be forgotten meanwhile is in
//! `refusals`, `revocations` and `turns` (one login of a person at a time); what is due when in `wheel`, what is done
//! then in `tending`, and what nobody waits for in `chores`.
//!
//! Where several replicas share a store, what each holds is a copy of a record on the `shelf`, which all of them see;
//! an entry's `shelving` says which. `replicas` is what one knows of the others, `lease` how one of them logs in for
//! all, `everywhere` how sessions end at all of them, `outgoing` when those end that gave way to others, and `duties`
//! what is owed to the others meanwhile. A look-up that finds its keys here asks nobody. Each replica's own stay: turns,
//! which password worked, back-offs, places for logins, and what back-ends opened beside its keys.

mod candidates;
mod changes;
mod chores;
mod duties;
mod ends;
mod entry;
mod everywhere;
mod holder;
mod lease;
mod login;
mod order;
mod outcome;
mod outgoing;
mod refusals;
mod replicas;
mod revocations;
mod sessions;
mod shelf;
mod shelving;
mod sign_out;
mod store;
mod tending;
mod turns;
mod waiting;
mod wheel;

#[cfg(test)]
mod tests;

pub use everywhere::Told;
pub use order::{OpenPassword, Order, password_of};
pub use outcome::{Found, NoKeys, Obtained};
pub use sign_out::{SignOut, SignOutBy};
pub use store::KeyStore;
pub use turns::Turn;
