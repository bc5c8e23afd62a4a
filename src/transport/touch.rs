//! `/.keyward/touch`: what a portal's page loads to keep the back-end sessions of its reader alive.

use actix_web::http::header;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};

use super::origin::{Caller, is_preflight, keep_private, own_origin, provenance};
use super::question::Forwarded;
use super::{State, answer, question};
use crate::domain::Reason;
use crate::handover::{Provenance, Unreachable};

const METHODS: &str = "GET, POST";

pub(super) async fn touch(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let live = state.live.load_full();
    let headers = request.headers();
    let browser = Forwarded::by(request.head(), &live.trust);
    let own = own_origin(&request, &live).unwrap_or_default();
    let caller = Caller::of(headers, &own, |origin| live.reception.lists(origin));
    // An image brings no Origin.
    let from_a_page_of_ours =
        caller.is_some() || (!headers.contains_key(header::ORIGIN) && provenance(&request, &live) == Provenance::Own);
    let mut response = match *request.method() {
        Method::GET | Method::POST | Method::OPTIONS if !from_a_page_of_ours => {
            answer::refuse(StatusCode::FORBIDDEN, Reason::BadRequest, None, None)
        }
        Method::GET | Method::POST => match live.self_service.touch(&question::cookies(headers), &browser).await {
            Ok(true) => HttpResponse::NoContent().finish(),
            Ok(false) => answer::refuse(StatusCode::UNAUTHORIZED, Reason::NoSession, None, None),
            Err(Unreachable { retry_after }) => answer::unavailable(Reason::PortalUnavailable, retry_after, None),
        },
        Method::OPTIONS if is_preflight(&request) => Caller::preflight(METHODS),
        _ => HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, METHODS)).finish(),
    };
    if let Some(caller) = caller {
        caller.admit(&mut response);
    }
    keep_private(&mut response);
    response
}
