use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use super::{State, get_or_head};

/// The listener for operators. Nothing of it is reachable on the listener for decisions.
pub(super) fn configure(service: &mut web::ServiceConfig, state: &Arc<State>) {
    service
        .app_data(web::Data::from(Arc::clone(state)))
        .route("/metrics", get_or_head().to(metrics))
        .route("/livez", get_or_head().to(async || plain(&mut HttpResponse::Ok(), "alive\n")))
        .route("/readyz", get_or_head().to(readyz));
}

async fn metrics(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(state.metrics.render())
}

async fn readyz(state: web::Data<State>) -> HttpResponse {
    match state.unready() {
        None => plain(&mut HttpResponse::Ok(), "ready\n"),
        Some(why) => plain(&mut HttpResponse::ServiceUnavailable(), format!("{why}\n")),
    }
}

fn plain(builder: &mut actix_web::HttpResponseBuilder, text: impl Into<String>) -> HttpResponse {
    builder
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/plain; charset=utf-8")
        .body(text.into())
}
