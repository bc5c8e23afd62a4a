//! What a connector offers, reachable by HTTP without the rest of the program.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use keyward::backend::Guarded;
use keyward::domain::{
    Answered, Audience, Browser, Call, Client, Cookies, Desk, KnownAs, Person, Reach, SessionHandle, Unclear,
};

use crate::fakes::server::{Reply, Request, Server, locked};

/// A server with the service of the connector that it was given last.
pub struct Offered {
    server: Server,
    connector: Arc<Mutex<Option<Arc<Guarded>>>>,
}

impl Offered {
    pub async fn start() -> Self {
        let connector: Arc<Mutex<Option<Arc<Guarded>>>> = Arc::default();
        let shared = Arc::clone(&connector);
        let server = Server::start(move |request| {
            let connector = locked(&shared).clone();
            async move {
                match connector {
                    Some(connector) => ask(&connector, &request).await,
                    None => Reply::new(503, ""),
                }
            }
        });
        Self { server: server.await.expect("loopback works"), connector }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn of(&self, connector: &Arc<Guarded>) {
        *locked(&self.connector) = Some(Arc::clone(connector));
    }
}

/// Asks a connector's service as the listener for servers would.
pub async fn ask(connector: &Guarded, request: &Request) -> Reply {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let call = Call {
        reach: Reach::Servers,
        method: &request.method,
        path,
        query,
        origin: "http://keyward.example.test",
        cookies: Cookies::default(),
        browser: &Caller(request),
        body: &request.body,
        vouched: None,
    };
    let Some(service) = connector.service().filter(|service| service.takes(call.reach, call.method, path)) else {
        return Reply::new(404, "");
    };
    let answered = service.answer(&call, &Nobody).await;
    let (Answered::Here(reply) | Answered::Elsewhere(reply) | Answered::Vouched { reply, .. }) = answered;
    let answer = Reply::new(reply.status, reply.body);
    reply.headers.iter().fold(answer, |answer, (name, value)| answer.with(name, value))
}

/// The server that sent a request.
struct Caller<'a>(&'a Request);

impl Browser for Caller<'_> {
    fn client(&self) -> Client<'_> {
        Client {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            user_agent: Cow::Borrowed(b""),
            accept_language: Cow::Borrowed(b""),
        }
    }

    fn audience(&self, _: &str) -> Audience {
        Audience::Program
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.0.headers.iter().filter(|(held, _)| held == name);
        let (_, value) = named.next().filter(|_| named.next().is_none())?;
        std::str::from_utf8(value).ok()
    }
}

struct Nobody;

impl Desk for Nobody {
    fn person<'a>(&'a self, _: &'a Call<'a>) -> BoxFuture<'a, Result<Option<Person>, Unclear>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn as_now<'a>(&'a self, _: &'a Person) -> BoxFuture<'a, Result<Option<Person>, Unclear>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn known_as(&self, _: &Person, _: &str) -> Option<KnownAs> {
        None
    }

    fn sign_out(&self, _: &SessionHandle) {}
}
