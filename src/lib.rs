//! Keyward stands beside a web server and answers one question for every request: may this go to
//! the back-end, and with which keys?
//!
//! A request walks through the house in one direction, and each room asks one question:
//!
//! ```text
//! transport ──► decision ──► portal ──► keys ──► backend ──► inject ──► transport
//! what is asked?  may it?    who is it?  have we    open a     which
//!                                        a key?     session    headers?
//! ```
//!
//! - [`transport`]: wire in, wire out, no judgement. `question` reads every dialect, `answer` writes it.
//! - [`decision`]: the only place that judges.
//! - [`portal`]: who does the portal say this is?
//! - [`keys`]: the back-end sessions we already hold.
//! - [`backend`]: one file per kind of web application, one table.
//! - [`wire`]: HTTP to the servers that we depend on, as narrow as signing in needs it; and errands, the
//!   calls that must arrive although nobody waits for them.
//! - [`accounts`]: changes of passwords and accounts, at every back-end that keeps them.
//! - [`inject`]: session keys to header edits.
//! - [`handover`]: what people and their portal may do beside asking for pages: enter an application, sign
//!   out, register a session. Without protocol; [`transport`] makes pages and the API of it.
//! - [`pages`]: how do we say it to people? Texts in their language, and the frame around them.
//! - [`snippet`]: what must the web server be told? Its configuration, written from ours.
//! - [`config`]: what the operator wrote, checked.
//! - [`observe`]: metrics and log lines.
//! - [`domain`]: the nouns all rooms share.
//! - [`app`]: how it is wired; knows all rooms.
//! - [`demo`]: all of it on loopback, for a first look.
//!
//! `tests/architecture.rs` keeps the arrows between the rooms.
//!
//! # The life of a request
//!
//! 1. A door of [`transport`] reads the original request out of the web server's question and makes
//!    an [`Ask`](decision::Ask) of it, if the caller is one of those that [`Trust`](transport::Trust)
//!    names.
//! 2. [`Gate::decide`](decision::Gate::decide) judges as far as nobody must wait. It has
//!    [`Router::find`](decision::Router::find) name the route under every reading of the path, asks
//!    [`Portal::validate`](portal::Portal::validate) who it is, and
//!    [`KeyStore::find`](keys::KeyStore::find) whether keys are held. If so, this was all: no I/O.
//! 3. If nothing is held, [`Waiting::finish`](decision::Waiting::finish) has
//!    [`KeyStore::obtain`](keys::KeyStore::obtain) open a session. However many requests wait for it,
//!    one login is made: [`Guarded::login`](backend::Guarded::login) waits for a place and minds the
//!    deadline, [`Backend::login`](backend::Backend::login) speaks the application's dialect. It goes
//!    on when the request that began it has gone away.
//! 4. Who may pass is given a [`Grant`](decision::Grant): identity and keys, which [`inject`] writes
//!    into the cookies and the address that go upstream.
//! 5. The door writes the [`Decision`](decision::Decision) in its own dialect and counts it under its
//!    [`Reason`](domain::Reason).
//!
//! Beside requests, [`KeyStore::tick`](keys::KeyStore::tick) keeps sessions alive that are in use and
//! ends those that are not.
//!
//! # Other ways in
//!
//! - **The hand-over.** `/.keyward/enter/<back-end>` makes a [`Visit`](handover::Visit) of the request, and
//!   [`Reception::arrive`](handover::Reception::arrive) takes it as far as it goes: into the application, or
//!   to the next host. The keys come from the same [`KeyStore::obtain`](keys::KeyStore::obtain).
//! - **The portal's API**, on a listener of its own. Calls about sessions go to
//!   [`PortalSide`](handover::PortalSide), which knows what a portal may ask for its people; changes of
//!   passwords go to [`Provisioner`](accounts::Provisioner), which tries them until they are done.
//! - **Services.** A back-end or a portal may offer calls of its own, such as the redeeming of a one-time
//!   ticket. They are a [`Service`](domain::Service), found by [`Services`](handover::Services), which knows
//!   no HTTP and asks the house through a [`Desk`](domain::Desk).
//! - **Sign-out**, by whomever, is one [`SignOut`](keys::SignOut): first nothing is given out any more, then
//!   it is answered, then the back-ends hear of it.

pub mod accounts;
pub mod app;
pub mod backend;
pub mod config;
pub mod decision;
pub mod demo;
pub mod domain;
pub mod handover;
pub mod inject;
pub mod keys;
pub mod observe;
pub mod pages;
pub mod portal;
pub mod snippet;
pub mod store;
pub mod transport;
pub mod wire;
