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

use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use actix_web::http::StatusCode;

use self::connection::Desk;
use self::conversation::{Request, Role};
use self::params::Params;
use self::question::BrowserHeaders;
use super::decisions::{self, DoorState};
use super::question::Asked;

pub(super) use server::FastcgiServer;

/// The door, for one peer.
struct Decisions {
    door: Arc<DoorState>,
    peer: Option<IpAddr>,
}

impl Desk for Decisions {
    /// Asks for a decision, and puts it into the words of CGI. What was not understood is asked about all the same, so
    /// that it is counted, and a stranger is told nothing else.
    async fn answer(&self, request: &mut Request, out: &mut Vec<u8>) {
        let (id, role) = (request.id, request.role);
        let params = request.variables.read().unwrap_or_else(|problem| {
            tracing::info!(%problem, "the variables of a FastCGI request are not believed");
            Params::default()
        });
        let headers = BrowserHeaders::of(params);
        let remote = question::remote(&params);
        let original = match (&headers, remote) {
            (Some(_), Some(_)) => question::original(&params),
            _ => None,
        };
        let headers = headers.unwrap_or_default();
        let sign_in = match role {
            Role::Authorizer => StatusCode::FOUND,
            // nginx makes an error of any redirect.
            Role::Responder => StatusCode::UNAUTHORIZED,
        };
        let begun = answer::begin(role, mem::take(out));
        let asked = Asked { headers: &headers, nearest: remote.flatten(), original, sign_in, begun };
        *out = decisions::decide(&self.door, self.peer, asked, |answer| answer::write(id, role, answer)).await;
    }
}
