//! What may stand where Keyward should: the web server must not take its word for a yes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::web_server::Places;

/// What is wrong with it.
#[derive(Clone, Copy, Debug)]
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
    pub const ALL: [Self; 5] = [Self::Hangs, Self::Closes, Self::Garbles, Self::Breaks, Self::SaysLittle];

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
            // A whole yes of gRPC needs HTTP/2, and no half-hearted stand-in for that is worth having.
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
