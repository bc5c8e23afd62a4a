//! FastCGI, the door for Apache and lighttpd (authorizer) and for nginx (responder): a question is the variables of
//! a request, its answer a small CGI answer.
//!
//! - `record`: bytes to records and back. `params`: variables. `conversation`: what is said on one connection.
//!   These three know neither sockets nor decisions, and are what `tests/fuzz` throws bytes at.
//! - `question`: variables to a question. `answer`: its answer in the words of CGI.
//! - `connection`: one connection. `server`: all of them.
//!
//! The codec is our own: of what is published, nothing is kept up that has the authorizer's role and limits.

mod answer;
mod connection;
mod conversation;
mod params;
mod question;
mod record;
mod server;

pub(super) use server::FastcgiServer;
