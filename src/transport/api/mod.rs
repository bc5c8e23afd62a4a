//! The portal's API, on a listener of its own: for servers that know a key, never for browsers.
//!
//! [`CALLS`] is the one table of it. Routing, `Allow`, metrics and log lines come from there; a test
//! compares it with `openapi.json`, which describes every call to those who make them. A new call is a
//! line in the table of its file, a word in [`ApiCall`] and its part of the description.

mod accounts;
mod call;
mod sessions;

use std::sync::Arc;

use actix_web::http::header;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};

use super::headers::Headers;
use super::problem::Problem;
use super::{Live, State, question, services};
use crate::domain::{ApiKey, Reach};
use crate::observe::{ApiCall, ApiOutcome};
use call::{Answer, Asked, Call};

/// Every call there is, by the file that answers it.
const CALLS: &[&[Call]] = &[sessions::CALLS, accounts::CALLS, &[DESCRIPTION]];

const DESCRIPTION: Call =
    Call { kind: ApiCall::GetDescription, method: Method::GET, path: "/v1/openapi.json", answer: describe };

/// The whole API in the words of OpenAPI 3.1.
const OPENAPI: &str = include_str!("openapi.json");

/// Everything on the listener. Services of back-ends and portals know their callers by other keys than
/// those of `/v1`.
pub(super) fn configure(service: &mut web::ServiceConfig, state: &Arc<State>) {
    service.app_data(web::Data::from(Arc::clone(state)));
    service.service(web::scope("/v1").default_service(web::to(called)));
    services::configure(service, Reach::Servers);
}

/// Answers whatever is asked below `/v1`, counts it and writes its line.
async fn called(request: HttpRequest, state: web::Data<State>, payload: web::Payload) -> HttpResponse {
    let live = state.live.load_full();
    let (path, method) = (request.uri().path(), request.method());
    let call = calls_at(path).find(|call| call.method == *method);
    let caller = caller(&request, &live);
    let answered = match &caller {
        Ok(key) => answer(&request, call, &live, key, payload).await,
        Err(problem) => Err(problem.clone()),
    };
    let response = answered.unwrap_or_else(Problem::into_response);
    let kind = call.map_or(ApiCall::Unknown, |call| call.kind);
    let outcome = outcome(response.status());
    state.metrics.count_api_call(kind, outcome);
    let caller = caller.ok().map(ApiKey::caller);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                call = kind.as_str(),
                outcome = outcome.as_str(),
                status = response.status().as_u16(),
                caller,
                request_id = question::request_id(request.headers()),
                "called"
            )
        };
    }
    match outcome {
        ApiOutcome::Unavailable | ApiOutcome::Unauthorized => line!(warn),
        _ => line!(info),
    }
    response
}

async fn answer(
    request: &HttpRequest,
    call: Option<&Call>,
    live: &Live,
    key: &ApiKey,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let path = request.uri().path();
    let Some((call, segments)) = call.and_then(|call| Some((call, call.segments(path)?))) else {
        let allowed: Vec<&str> = calls_at(path).map(|call| call.method.as_str()).collect();
        return Err(if allowed.is_empty() { Problem::NOT_FOUND } else { Problem::method_not_allowed(&allowed) });
    };
    let body = call::read(payload).await?;
    let asked = Asked { request, live, key, segments, body };
    (call.answer)(&asked).await
}

fn calls_at(path: &str) -> impl Iterator<Item = &'static Call> {
    CALLS.iter().copied().flatten().filter(move |call| call.segments(path).is_some())
}

/// Who calls, by `Authorization: Bearer`.
fn caller<'a>(request: &HttpRequest, live: &'a Live) -> Result<&'a ApiKey, Problem> {
    let shown = request.headers().only("authorization");
    let (scheme, key) = shown.and_then(|value| value.split_once(' ')).ok_or(Problem::UNAUTHORIZED)?;
    let known = scheme.eq_ignore_ascii_case("bearer").then(|| ApiKey::find(&live.api_keys, key.trim())).flatten();
    known.ok_or(Problem::UNAUTHORIZED)
}

fn outcome(status: StatusCode) -> ApiOutcome {
    match status {
        StatusCode::UNAUTHORIZED => ApiOutcome::Unauthorized,
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::CONFLICT => ApiOutcome::Refused,
        status if status.is_client_error() => ApiOutcome::Malformed,
        status if status.is_server_error() => ApiOutcome::Unavailable,
        _ => ApiOutcome::Done,
    }
}

fn describe<'a>(_: &'a Asked<'a>) -> Answer<'a> {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    let response = response.content_type("application/json").body(OPENAPI);
    Box::pin(std::future::ready(Ok(response)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_description_names_every_call_and_no_other() {
        let description: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in description["paths"].as_object().unwrap() {
            for (method, call) in methods.as_object().unwrap() {
                if let Some(name) = call["operationId"].as_str() {
                    described.insert((path.clone(), method.to_uppercase(), name.to_owned()));
                }
            }
        }
        let calls = CALLS.iter().copied().flatten();
        let calls: BTreeSet<_> =
            calls.map(|call| (call.path.to_owned(), call.method.to_string(), call.kind.as_str().to_owned())).collect();
        assert_eq!(described, calls);
    }

    #[test]
    fn every_word_for_a_call_is_that_of_one_call() {
        let words: BTreeSet<_> = ApiCall::ALL.iter().map(|kind| kind.as_str()).collect();
        let calls: BTreeSet<_> = CALLS.iter().copied().flatten().map(|call| call.kind.as_str()).collect();
        let unknown = BTreeSet::from(["unknown"]);
        assert_eq!(words, &calls | &unknown);
        assert_eq!(words.len(), ApiCall::ALL.len());
    }
}
