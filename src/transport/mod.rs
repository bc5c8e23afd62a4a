//! Wire in, wire out. Each file translates one protocol into a question for another room and its answer
//! back; nothing here judges.
//!
//! - `decisions`: what every door for web servers does: it asks the [`Gate`]. `question` is what is asked, with the
//!   `headers` it came with, `answer` what is said, `client` tells whose word is taken. `http` are the doors over
//!   HTTP, `fastcgi` is another one, and so is `grpc`.
//! - `enter`, `touch`, `pages`: what people ask for below `/.keyward/`; `html` is how it looks, `origin` tells
//!   whose script calls, `set_cookie` writes cookies.
//! - `api`: the portal's API. `services`: calls that back-ends and portals offer. `ops`: health and metrics.
//! - `listener`: all servers, opened and ended together, on what `socket` opens;
//!   `accept` takes connections where no web server's own does, and `send` is how answers leave on those.

mod accept;
mod answer;
mod api;
mod body;
mod client;
mod decisions;
mod enter;
mod fastcgi;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(not(feature = "grpc"))]
#[path = "grpc_left_out.rs"]
mod grpc;
mod headers;
mod html;
mod http;
mod listener;
mod ops;
mod origin;
mod pages;
mod problem;
mod question;
mod send;
mod services;
mod set_cookie;
mod socket;
mod touch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::header;
use actix_web::{HttpResponse, Route, guard, web};
use arc_swap::ArcSwap;

use crate::accounts::Provisioner;
use crate::decision::Gate;
use crate::domain::ApiKey;
use crate::handover::{Reception, SelfService, Services};
use crate::observe::Metrics;
use crate::pages::Pages;

pub use answer::Label;
pub use client::Trust;
pub use listener::{Listeners, Servers, Stop};
pub use socket::ListenError;

/// What a reload replaces, all at once.
pub struct Live {
    /// Who may pass.
    pub gate: Gate,
    /// Whose word about the original request is taken.
    pub trust: Trust,
    /// Most bytes of headers in an answer.
    pub answer_limit: usize,
    /// The headers for user, name, e-mail address and groups.
    pub identity_headers: [Label; 4],
    /// Hands people over to the applications.
    pub reception: Reception,
    /// What people may do with their own sessions.
    pub self_service: SelfService,
    /// Who may call the API.
    pub api_keys: Vec<ApiKey>,
    /// Changes of passwords and accounts.
    pub accounts: Arc<Provisioner>,
    /// What portals and back-ends offer beside.
    pub services: Services,
    /// How people are told.
    pub pages: Arc<Pages>,
}

/// What every listener shares.
pub struct State {
    live: ArcSwap<Live>,
    metrics: Arc<Metrics>,
    draining: AtomicBool,
    wanting: Wanting,
}

/// Says what a process waits for before requests may come, as a word for operators; nothing where they may.
pub type Wanting = Box<dyn Fn() -> Option<&'static str> + Send + Sync>;

impl State {
    /// The state of a process that takes requests as soon as nothing is wanting.
    #[must_use]
    pub fn new(live: Live, metrics: Arc<Metrics>, wanting: Wanting) -> Arc<Self> {
        Arc::new(Self { live: ArcSwap::from_pointee(live), metrics, draining: AtomicBool::new(false), wanting })
    }

    /// Takes a new configuration. Requests under way finish with the old one.
    pub fn replace(&self, live: Live) {
        self.live.store(Arc::new(live));
    }

    /// Tells load balancers that no new request is wanted.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why no new request is wanted, where none is.
    fn unready(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Relaxed) { Some("draining") } else { (self.wanting)() }
    }
}

/// For what can be read: GET, and the HEAD of load balancers and link checkers.
fn get_or_head() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// What is not there, on this listener.
async fn nothing_here() -> HttpResponse {
    HttpResponse::NotFound().insert_header((header::CACHE_CONTROL, "no-store")).finish()
}
