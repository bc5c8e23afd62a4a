//! A path for each dialect, and another with `-plain` behind it for
//! those that speak it and can only copy a header of the answer under its own name: Traefik, ingress-nginx, and Envoy
//! over HTTP. An allow there has `Cookie` and `Authorization` in the place of `X-Upstream-Cookie` and
//! `X-Upstream-Authorization`, never beside them: an answer has no room for the cookies twice.

use std::net::IpAddr;
use std::sync::Arc;

use actix_http::Request;
use actix_web::HttpResponse;
use actix_web::http::uri::PathAndQuery;

use super::dialect::{Dialect, RequestLine};
use crate::decision::Purpose;
use crate::observe::Door;
use crate::transport::State;
use crate::transport::answer::{Answer, Names};
use crate::transport::decisions::{self, DoorState};
use crate::transport::headers::Headers;
use crate::transport::question::{self, Asked};

/// Envoy's `path_prefix`. The slash behind it is the first of the path.
const EXT_AUTHZ: &str = "/authz/ext-authz";
const EXT_AUTHZ_PLAIN: &str = "/authz/ext-authz-plain";

/// One path.
#[derive(Clone)]
pub struct HttpDoor {
    path: &'static str,
    dialect: Dialect,
    state: Arc<DoorState>,
}

/// Every path.
pub fn doors(state: &Arc<State>) -> Vec<HttpDoor> {
    let doors = [
        ("/authz/auth-request", Dialect::AuthRequest, Purpose::Pass, Names::Upstream),
        ("/authz/auth-request-plain", Dialect::AuthRequest, Purpose::Pass, Names::Plain),
        ("/authz/renew", Dialect::AuthRequest, Purpose::Renew, Names::Upstream),
        ("/authz/forward-auth", Dialect::ForwardAuth, Purpose::Pass, Names::Upstream),
        ("/authz/forward-auth-plain", Dialect::ForwardAuth, Purpose::Pass, Names::Plain),
        (EXT_AUTHZ, Dialect::ExtAuthz { prefix: EXT_AUTHZ }, Purpose::Pass, Names::Upstream),
        (EXT_AUTHZ_PLAIN, Dialect::ExtAuthz { prefix: EXT_AUTHZ_PLAIN }, Purpose::Pass, Names::Plain),
    ];
    let door = |(path, dialect, purpose, names)| {
        let door = match dialect {
            Dialect::AuthRequest => Door::AuthRequest,
            Dialect::ForwardAuth => Door::ForwardAuth,
            Dialect::ExtAuthz { .. } => Door::ExtAuthz,
        };
        HttpDoor { path, dialect, state: DoorState::new(door, purpose, names, state) }
    };
    doors.into_iter().map(door).collect()
}

/// The door under a path, whatever the method: some proxies ask with that of the original request.
pub fn at<'d>(doors: &'d [HttpDoor], path: &str) -> Option<&'d HttpDoor> {
    doors.iter().find(|door| match path.strip_prefix(door.path) {
        Some("") => true,
        Some(below) => matches!(door.dialect, Dialect::ExtAuthz { .. }) && below.starts_with('/'),
        None => false,
    })
}

/// Answers one request of this peer, in the words of `told`, which go on with what is `begun` where it may pass.
pub fn answer<'a, T: 'a>(
    door: &'a HttpDoor,
    peer: Option<IpAddr>,
    line: RequestLine<'a>,
    headers: &'a impl Headers,
    begun: Vec<u8>,
    told: impl Fn(Answer) -> T + 'a,
) -> impl Future<Output = T> + 'a {
    let original = door.dialect.original(line, headers);
    let asked = Asked { headers, nearest: peer, original, sign_in: door.dialect.sign_in(), begun };
    decisions::decide(&door.state, peer, asked, told)
}

/// Answers one that the framework has read.
pub async fn answer_framework(request: Request, door: HttpDoor) -> HttpResponse {
    let head = request.head();
    let target = head.uri.path_and_query().map_or("", PathAndQuery::as_str);
    let line = RequestLine { method: head.method.as_str(), target };
    answer(&door, question::nearest(head), line, head.headers(), Vec::new(), Answer::into_response).await
}
