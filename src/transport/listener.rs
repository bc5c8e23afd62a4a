use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Request};
use actix_server::GracefulShutdownSignal;
use actix_service::{Service, ServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_service, map_config};
use actix_web::dev::{AppConfig, Server, ServerHandle};
use actix_web::http::KeepAlive;
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpResponse, web};
use futures_util::future::{Either, OptionFuture, ready};
use futures_util::{FutureExt, TryFutureExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;

use super::fastcgi::FastcgiServer;
use super::grpc::GrpcServer;
use super::http::{self, Accepted, HttpDoor};
use super::socket::{self, ListenError, Opened};
use super::{State, api, nothing_here, ops, pages};
use crate::domain::ListenAddress;

/// The server's name for its listener; each server has one.
const LISTENER: &str = "http";

/// Where to listen. What is absent is off.
pub struct Listeners<'a> {
    /// For decisions and pages.
    pub auth: &'a ListenAddress,
    /// For decisions over FastCGI.
    pub fastcgi: Option<&'a ListenAddress>,
    /// For decisions over gRPC.
    pub grpc: Option<&'a ListenAddress>,
    /// For the portal's API.
    pub api: Option<&'a ListenAddress>,
    /// For operators.
    pub ops: Option<&'a ListenAddress>,
}

/// Ends the listeners for decisions.
#[derive(Clone)]
pub struct Stop {
    decisions: ServerHandle,
    /// All but that one.
    others: CancellationToken,
}

impl Stop {
    /// Takes no new connections from now on, and lets running requests finish.
    pub fn begin(&self) {
        self.others.cancel();
        drop(self.decisions.stop(true));
    }

    /// One of them has ended. Without having been told to it takes the others along: a process that lives and
    /// answers at some of its doors only is one that nobody starts anew.
    fn ended(&self, listener: &str, ended: io::Result<()>) -> io::Result<()> {
        if self.others.is_cancelled() {
            return ended;
        }
        self.begin();
        let why = ended.err().map_or_else(|| "it ended by itself".to_owned(), |error| error.to_string());
        Err(io::Error::other(format!("the listener {listener} broke: {why}")))
    }
}

/// The running listeners.
pub struct Servers {
    decisions: Server,
    fastcgi: Option<FastcgiServer>,
    grpc: Option<GrpcServer>,
    stopping: CancellationToken,
    calls: Option<Server>,
    operators: Option<Server>,
    auth: ListenAddress,
    api: Option<ListenAddress>,
    ops: Option<ListenAddress>,
}

impl Servers {
    /// Opens all of them.
    ///
    /// # Errors
    /// An address that is taken or not ours.
    pub fn open(
        state: &Arc<State>,
        listeners: &Listeners<'_>,
        workers: usize,
        drain_timeout: Duration,
    ) -> Result<Self, ListenError> {
        let shared = Arc::clone(state);
        let pages = move |service: &mut ServiceConfig| pages::configure(service, &shared);
        let (decisions, auth) = open(http::doors(state), pages, listeners.auth, workers, drain_timeout)?;
        let stopping = CancellationToken::new();
        let fastcgi = |address| FastcgiServer::open(state, address, stopping.clone(), drain_timeout);
        let fastcgi = listeners.fastcgi.map(fastcgi).transpose()?;
        let grpc = |address| GrpcServer::open(state, address, stopping.clone(), drain_timeout);
        let grpc = listeners.grpc.map(grpc).transpose()?;
        let shared = Arc::clone(state);
        let calls = move |service: &mut ServiceConfig| api::configure(service, &shared);
        let calls = listeners.api.map(|address| open(Vec::new(), calls, address, 1, drain_timeout)).transpose()?;
        let (calls, api) = calls.unzip();
        let shared = Arc::clone(state);
        let operators = move |service: &mut ServiceConfig| ops::configure(service, &shared);
        let operators =
            listeners.ops.map(|address| open(Vec::new(), operators, address, 1, drain_timeout)).transpose()?;
        let (operators, ops) = operators.unzip();
        Ok(Self { decisions, fastcgi, grpc, stopping, calls, operators, auth, api, ops })
    }

    /// Where decisions are made: with the port that the system chose, where 0 was asked for.
    #[must_use]
    pub const fn auth(&self) -> &ListenAddress {
        &self.auth
    }

    /// Where they are made over FastCGI, likewise.
    #[must_use]
    pub fn fastcgi(&self) -> Option<&ListenAddress> {
        self.fastcgi.as_ref().map(FastcgiServer::bound)
    }

    /// Where they are made over gRPC, likewise.
    #[must_use]
    pub fn grpc(&self) -> Option<&ListenAddress> {
        self.grpc.as_ref().map(GrpcServer::bound)
    }

    /// Where the API is, likewise.
    #[must_use]
    pub const fn api(&self) -> Option<&ListenAddress> {
        self.api.as_ref()
    }

    /// Where operators look, likewise.
    #[must_use]
    pub const fn ops(&self) -> Option<&ListenAddress> {
        self.ops.as_ref()
    }

    /// What stops the listeners for decisions.
    #[must_use]
    pub fn stop(&self) -> Stop {
        Stop { decisions: self.decisions.handle(), others: self.stopping.clone() }
    }

    /// Serves until it is stopped. Operators can look until the last decision was made: a load
    /// balancer is to see that a draining process is not ready, not that it is gone.
    ///
    /// # Errors
    /// A listener that broke.
    pub async fn run(self) -> io::Result<()> {
        let stop = self.stop();
        let (calls, operators) = (self.calls, self.operators);
        let calls_handle = calls.as_ref().map(Server::handle);
        let operators_handle = operators.as_ref().map(Server::handle);
        let decisions = async {
            let auth = self.decisions.map(|ended| stop.ended("auth", ended));
            let fastcgi = self.fastcgi.map(|server| server.run().map(|()| stop.ended("fastcgi", Ok(()))));
            let fastcgi = OptionFuture::from(fastcgi).map(|ended| ended.unwrap_or(Ok(())));
            let grpc = self.grpc.map(|server| server.run().map(|()| stop.ended("grpc", Ok(()))));
            let grpc = OptionFuture::from(grpc).map(|ended| ended.unwrap_or(Ok(())));
            let (auth, fastcgi, grpc) = futures_util::future::join3(auth, fastcgi, grpc).await;
            let ended = auth.and(fastcgi).and(grpc);
            if let Some(handle) = calls_handle {
                handle.stop(true).await;
            }
            if let Some(handle) = operators_handle {
                handle.stop(false).await;
            }
            ended
        };
        let calls = OptionFuture::from(calls).map(|ended| ended.unwrap_or(Ok(())));
        let operators = OptionFuture::from(operators).map(|ended| ended.unwrap_or(Ok(())));
        futures_util::future::try_join3(decisions, calls, operators).await.map(|_| ())
    }
}

/// The doors stand in front of the framework, whose routing, extractors and boxed handlers are made for pages and cost
/// more than a decision does. What asks at a door in an unusual way comes to the framework, and back to the door.
fn open(
    doors: Vec<HttpDoor>,
    configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    address: &ListenAddress,
    workers: usize,
    drain_timeout: Duration,
) -> Result<(Server, ListenAddress), ListenError> {
    let builder = Server::build().workers(workers).shutdown_timeout(drain_timeout.as_secs().max(1)).disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let (listener, bound) = socket::open(address)?;
    let listening = match listener {
        Opened::Tcp(listener) => builder.listen(LISTENER, listener, move || {
            // The system no longer knows who had a connection that was broken off. Only on a Unix socket is that one
            // of ours.
            let accepted = |stream: TcpStream| ready(stream.peer_addr().map(|peer| (stream, Some(peer))));
            fn_service(accepted).map_err(DispatchError::Io).and_then(served(
                doors.clone(),
                &configure,
                stopping.clone(),
            ))
        }),
        Opened::Unix(socket) => builder.listen_uds(LISTENER, socket, move || {
            let accepted = |stream: UnixStream| ready(Ok((stream, None)));
            fn_service(accepted).and_then(served(doors.clone(), &configure, stopping.clone()))
        }),
    };
    let server = listening.map_err(|source| ListenError { address: address.to_string(), source })?;
    Ok((server.run(), bound))
}

/// What a worker does with its connections.
fn served<S: AsyncRead + AsyncWrite + Unpin + 'static, C: Fn(&mut ServiceConfig)>(
    doors: Vec<HttpDoor>,
    configure: &C,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<Accepted<S>, Config = (), Response = (), Error = DispatchError, InitError = ()> + use<S, C> {
    // What a listener says of all the rest takes the place of this.
    let pages = App::new().default_service(web::to(nothing_here)).configure(configure);
    let at_doors = doors.clone();
    let answers = apply_fn_factory(pages, move |request: Request, pages: &_| {
        match http::at(&at_doors, request.path()).cloned() {
            Some(door) => Either::Left(http::answer_framework(request, door).map(Ok)),
            None => Either::Right(Service::call(pages, request).map_ok(HttpResponse::from)),
        }
    });
    let answers = answers.map_err(|error: actix_web::Error| error.error_response());
    let stops = |stopping: GracefulShutdownSignal| {
        move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        }
    };
    let framework = HttpService::build()
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(http::HEAD_TIMEOUT)
        .graceful_shutdown_signal(stops(stopping.clone()))
        .h1(map_config(answers, |()| AppConfig::default()));
    http::front(doors, framework, stops(stopping))
}
