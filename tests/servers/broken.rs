//! What may stand where Keyward should: the web server must not take its word for a yes.

use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use envoy_types::pb::google::rpc;
use futures_util::future::{LocalBoxFuture, join_all};
use futures_util::{FutureExt, stream};
use keyward::snippet::SERVERS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::apache::Apache;
use crate::caddy::Caddy;
use crate::envoy::{Envoy, EnvoyGrpc};
use crate::haproxy::Haproxy;
use crate::lighttpd::Lighttpd;
use crate::nginx::{Nginx, NginxFastcgi};
use crate::play::Outcome;
use crate::scenes;
use crate::traefik::Traefik;
use crate::web_server::{Places, WebServer};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It takes the question and never answers.
    Hangs,
    /// It closes without an answer.
    Closes,
    /// It answers in no protocol.
    Garbles,
    /// It begins to say yes, and closes.
    Breaks,
    /// It says yes and nothing else.
    SaysLittle,
}

/// The language of a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Http,
    Fastcgi,
    Grpc,
}

impl Broken {
    /// Those for whose answer nobody waits long.
    pub const AT_ONCE: [Self; 4] = [Self::Closes, Self::Garbles, Self::Breaks, Self::SaysLittle];

    pub const fn says(self) -> &'static str {
        match self {
            Self::Hangs => "where Keyward hangs nothing passes",
            Self::Closes => "where it closes the connection nothing passes",
            Self::Garbles => "where garbage stands in its place nothing passes",
            Self::Breaks => "half a yes is none",
            Self::SaysLittle => "where a yes says not who it is, nobody else says so",
        }
    }

    fn answer(self, language: Language) -> Vec<u8> {
        let yes = match language {
            Language::Http => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
            Language::Fastcgi => fastcgi_yes(),
            // That of a server of its own is whole; half of one is none.
            Language::Grpc => Vec::new(),
        };
        match self {
            Self::Hangs | Self::Closes => Vec::new(),
            Self::Garbles => b"\x16\x03\x01 this is no protocol\r\n\r\n".to_vec(),
            Self::Breaks => yes[..yes.len() / 2].to_vec(),
            Self::SaysLittle => yes,
        }
    }
}

/// `Status: 200 OK` and the end, for request 1.
fn fastcgi_yes() -> Vec<u8> {
    let text = b"Status: 200 OK\r\n\r\n";
    let length = u8::try_from(text.len()).unwrap();
    let end = [1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    [&[1, 6, 0, 1, 0, length, 0, 0], &text[..], &[1, 6, 0, 1, 0, 0, 0, 0], &end].concat()
}

/// Listeners at the addresses of all doors.
pub struct InPlace(Vec<JoinHandle<()>>);

impl InPlace {
    pub async fn of(broken: Broken, places: &Places) -> Self {
        let doors = [(places.auth, Language::Http), (places.fastcgi, Language::Fastcgi), (places.grpc, Language::Grpc)];
        let mut taking = Vec::new();
        for (address, language) in doors {
            let listener = TcpListener::bind(address).await.unwrap();
            if (broken, language) == (Broken::SaysLittle, Language::Grpc) {
                taking.push(tokio::spawn(say_a_bare_yes(listener)));
                continue;
            }
            let answer = broken.answer(language);
            taking.push(tokio::spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(serve(stream, broken, answer.clone()));
                }
            }));
        }
        Self(taking)
    }

    /// Ends them, and leaves the addresses to whoever comes next.
    pub async fn end(self) {
        for taking in self.0 {
            taking.abort();
            let _ = taking.await;
        }
    }
}

/// To Envoy over gRPC: fine, and not a word about headers.
struct BareYes;

#[tonic::async_trait]
impl Authorization for BareYes {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(CheckResponse { status: Some(rpc::Status::default()), ..CheckResponse::default() }))
    }
}

async fn say_a_bare_yes(listener: TcpListener) {
    let connections = stream::unfold(listener, async |listener| {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    Server::builder().serve_with_incoming(AuthorizationServer::new(BareYes), connections).await.unwrap();
}

async fn serve(mut stream: TcpStream, broken: Broken, answer: Vec<u8>) {
    let mut question = [0; 65_536];
    while stream.read(&mut question).await.is_ok_and(|length| length > 0) {
        if matches!(broken, Broken::Hangs) {
            continue;
        }
        let _ = stream.write_all(&answer).await;
        if !matches!(broken, Broken::SaysLittle) || answer.first() == Some(&1) {
            return;
        }
    }
}

/// All of them side by side, because each waits for as long as its example says: 20 seconds and more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_keyward_hangs_nothing_passes() {
    let servers = [
        hanging::<Apache>(),
        hanging::<Caddy>(),
        hanging::<Envoy>(),
        hanging::<EnvoyGrpc>(),
        hanging::<Haproxy>(),
        hanging::<Lighttpd>(),
        hanging::<Nginx>(),
        hanging::<NginxFastcgi>(),
        hanging::<Traefik>(),
    ];
    let mut known: Vec<_> = SERVERS.iter().map(|server| server.name).collect();
    known.sort_unstable();
    assert_eq!(servers.each_ref().map(|(name, _)| *name)[..], known, "every web server there is an example for");
    let (names, outcomes): (Vec<_>, Vec<_>) = servers.into_iter().unzip();
    let told = names.into_iter().zip(join_all(outcomes).await);
    let wrong: Vec<_> = told.filter_map(|(name, outcome)| Some(format!("{name}: {}", outcome.err()?))).collect();
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn hanging<S: WebServer>() -> (&'static str, LocalBoxFuture<'static, Outcome>) {
    (S::NAME, async { scenes::broken::<S>(Broken::Hangs).await.1 }.boxed_local())
}
