//! Envoy's external authorization over gRPC (`envoy.service.auth.v3`), which other proxies built on Envoy ask by as
//! well.
//!
//! - `question`: what Envoy tells of a request as the question that all doors ask. `answer`: its answer as changes
//!   of the request and of the answer to the browser.
//! - `server`: HTTP/2, its limits and its end.
//!
//! The types are generated, by others: `envoy-types` follows Envoy's own definitions, and needs no compiler for them
//! where Keyward is built.

mod answer;
mod question;
mod server;

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::http::StatusCode;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use tonic::{Request, Response, Status, async_trait};

use self::answer::Answer;
use self::question::Question;
use super::decisions::{self, DoorState};
use super::question::Asked;

pub(super) use server::GrpcServer;

/// Whose connection it is; only a Unix socket has no address.
#[derive(Clone, Copy)]
struct Peer(Option<IpAddr>);

/// The service that Envoy calls.
struct Door(Arc<DoorState>);

#[async_trait]
impl Authorization for Door {
    /// What was not understood gets an answer as well: an error would have Envoy show a page of its own.
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        // Whoever has no connection of ours is nobody whose word is taken.
        let Some(Peer(peer)) = request.extensions().get().copied() else {
            return Err(Status::permission_denied("this peer is not known"));
        };
        let question = Question::read(request.into_inner());
        let asked = Asked {
            headers: question.headers(),
            nearest: question.nearest(),
            original: question.original(),
            sign_in: StatusCode::FOUND,
            begun: Vec::new(),
        };
        let told = |answer: super::answer::Answer| Answer::new(answer.into_response(), question.headers());
        match decisions::decide(&self.0, peer, asked, told).await {
            Some(answer) => Ok(Response::new(answer.into())),
            None => Err(Status::internal("a header of the answer is not UTF-8")),
        }
    }
}
