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
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::http::StatusCode;
use bytes::Bytes;

use self::conversation::{Request, Role};
use self::params::Params;
use self::question::BrowserHeaders;
use super::decisions::{self, DoorState};
use super::question::Asked;

pub(super) use server::FastcgiServer;

/// Asks for a decision, and puts it into the words of CGI. What was not understood is asked about all the same, so
/// that it is counted, and a stranger is told nothing else.
async fn decide(request: Request, peer: Option<IpAddr>, door: Arc<DoorState>) -> Bytes {
    let params = request.params.unwrap_or_else(|problem| {
        tracing::info!(%problem, "the variables of a FastCGI request are not believed");
        Params::default()
    });
    let headers = BrowserHeaders::of(&params);
    let remote = question::remote(&params);
    let original = match (&headers, remote) {
        (Some(_), Some(_)) => question::original(&params),
        _ => None,
    };
    let headers = headers.unwrap_or_default();
    let sign_in = match request.role {
        Role::Authorizer => StatusCode::FOUND,
        // nginx makes an error of any redirect.
        Role::Responder => StatusCode::UNAUTHORIZED,
    };
    let asked = Asked { headers: &headers, nearest: remote.flatten(), original, sign_in, begun: Vec::new() };
    decisions::decide(&door, peer, asked, |answer| answer::write(request.role, answer)).await
}
