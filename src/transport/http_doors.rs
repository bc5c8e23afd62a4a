//! The doors for web servers that ask over HTTP: a path for each dialect.

use std::sync::Arc;

use actix_http::Request;
use actix_web::HttpResponse;

use super::State;
use super::decisions::{self, DoorState};
use super::dialect::{Dialect, EXT_AUTHZ_PREFIX};
use super::question::{self, Asked};
use crate::decision::Purpose;
use crate::observe::Door;

/// One path.
#[derive(Clone)]
pub(super) struct HttpDoor {
    path: &'static str,
    dialect: Dialect,
    state: Arc<DoorState>,
}

/// Every path.
pub(super) fn doors(state: &Arc<State>) -> Vec<HttpDoor> {
    let doors = [
        ("/authz/auth-request", Dialect::AuthRequest, Door::AuthRequest, Purpose::Pass),
        ("/authz/renew", Dialect::AuthRequest, Door::AuthRequest, Purpose::Renew),
        ("/authz/forward-auth", Dialect::ForwardAuth, Door::ForwardAuth, Purpose::Pass),
        (EXT_AUTHZ_PREFIX, Dialect::ExtAuthz, Door::ExtAuthz, Purpose::Pass),
    ];
    let door = |(path, dialect, door, purpose)| HttpDoor { path, dialect, state: DoorState::new(door, purpose, state) };
    doors.into_iter().map(door).collect()
}

/// The door under a path, whatever the method: some proxies ask with that of the original request.
pub(super) fn at(doors: &[HttpDoor], path: &str) -> Option<HttpDoor> {
    let leads_to = |door: &&HttpDoor| match path.strip_prefix(door.path) {
        Some("") => true,
        Some(below) => door.dialect == Dialect::ExtAuthz && below.starts_with('/'),
        None => false,
    };
    doors.iter().find(leads_to).cloned()
}

/// Answers one request.
pub(super) async fn answer(request: Request, door: HttpDoor) -> HttpResponse {
    let head = request.head();
    let peer = question::nearest(head);
    let original = door.dialect.original(head);
    let asked = Asked { headers: head.headers(), nearest: peer, original, sign_in: door.dialect.sign_in() };
    decisions::decide(&door.state, peer, asked).await
}
