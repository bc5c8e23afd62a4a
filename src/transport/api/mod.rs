//! The portal's API, on a listener of its own: for servers that know a key, never for browsers.

mod problem;

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, web};

use super::{Live, State, services};
use crate::domain::{ApiKey, Reach};

pub(super) use problem::Problem;

/// Everything on the listener. Services of back-ends and portals know their callers by other keys than
/// those of `/v1`.
pub(super) fn configure(service: &mut web::ServiceConfig, state: &Arc<State>) {
    service.app_data(web::Data::from(Arc::clone(state)));
    service.service(web::scope("/v1").default_service(web::to(unknown)));
    services::configure(service, Reach::Servers);
}

async fn unknown(request: HttpRequest, state: web::Data<State>) -> Result<Problem, Problem> {
    caller(&request, &state.live.load())?;
    Ok(Problem::NOT_FOUND)
}

/// Who calls, by `Authorization: Bearer`.
fn caller<'a>(request: &HttpRequest, live: &'a Live) -> Result<&'a ApiKey, Problem> {
    let shown = super::question::only(request.headers(), &header::AUTHORIZATION);
    let (scheme, key) = shown.and_then(|value| value.split_once(' ')).ok_or(Problem::UNAUTHORIZED)?;
    let known = scheme.eq_ignore_ascii_case("bearer").then(|| ApiKey::find(&live.api_keys, key.trim())).flatten();
    known.ok_or(Problem::UNAUTHORIZED)
}
