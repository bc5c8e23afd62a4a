//! Calls to what back-ends and portals offer beside the decisions, translated for them and back.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use super::origin::own_origin;
use super::problem::Problem;
use super::question::Forwarded;
use super::{Live, State, body, nothing_here, question};
use crate::domain::{Answered, Call, Reach, Reply};
use crate::handover::Counter;

/// Longest body of a call, in bytes.
const LONGEST_BODY: usize = 64 * 1024;

/// Takes what no page of ours takes.
pub(super) fn configure(service: &mut web::ServiceConfig, reach: Reach) {
    let handler = move |request: HttpRequest, state: web::Data<State>, body: web::Payload| async move {
        call(reach, &request, &state, body).await
    };
    service.default_service(web::to(handler));
}

async fn call(reach: Reach, request: &HttpRequest, state: &State, payload: web::Payload) -> HttpResponse {
    let live = state.live.load_full();
    let counter = live.self_service.counter();
    let response = call_at(&counter, reach, request, &live, payload).await;
    counter.close().await;
    response
}

async fn call_at(
    counter: &Counter<'_>,
    reach: Reach,
    request: &HttpRequest,
    live: &Live,
    payload: web::Payload,
) -> HttpResponse {
    let (method, path) = (request.method().as_str(), request.path());
    let mut takers = live.services.taking(reach, method, path).peekable();
    if takers.peek().is_none() {
        return nothing(reach).await;
    }
    let body = match body::read(payload, LONGEST_BODY).await {
        Ok(body) => body,
        Err(error) => return plain(error.status()),
    };
    let headers = request.headers();
    let browser = Forwarded::by(request.head(), &live.trust);
    let origin = own_origin(request, live).unwrap_or_default();
    let asked = |vouched| Call {
        reach,
        method,
        path,
        query: request.query_string(),
        origin: &origin,
        cookies: question::cookies(headers),
        browser: &browser,
        body: &body,
        vouched,
    };
    let takers: Vec<_> = takers.collect();
    let mut last = None;
    let mut voucher = None;
    let call = asked(None);
    for (index, service) in takers.iter().enumerate() {
        match service.answer(&call, counter).await {
            Answered::Here(reply) => return respond(reply),
            Answered::Elsewhere(reply) => last = Some(reply),
            Answered::Vouched { person, reply } => {
                last = Some(reply);
                voucher = Some((index, person));
                break;
            }
        }
    }
    if let Some((voucher, person)) = voucher {
        // The others hear it again, with the word of the one that knows the caller.
        let call = asked(person.as_ref());
        for (_, service) in takers.iter().enumerate().filter(|(index, _)| *index != voucher) {
            if let Answered::Here(reply) = service.answer(&call, counter).await {
                return respond(reply);
            }
        }
    }
    match last {
        Some(reply) => respond(reply),
        None => nothing(reach).await,
    }
}

/// What is not there: servers are told in their own way.
async fn nothing(reach: Reach) -> HttpResponse {
    match reach {
        Reach::Browsers => nothing_here().await,
        Reach::Servers => Problem::NOT_FOUND.into_response(),
    }
}

fn respond(reply: Reply) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            response.append_header((name, value));
        }
    }
    let mut response = response
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(reply.body);
    if !response.headers().contains_key(header::REFERRER_POLICY) {
        response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    response
}

fn plain(status: StatusCode) -> HttpResponse {
    HttpResponse::build(status).insert_header((header::CACHE_CONTROL, "no-store")).finish()
}
