//! What the suite wants of a web server.

use std::net::SocketAddr;

use keyward::demo::process::Workspace;

/// The addresses that take the place of those in an example.
pub struct Places {
    /// Where the web server listens: `127.0.0.1:8080` in the examples.
    pub public: SocketAddr,
    /// `[listen] auth`: `127.0.0.1:8420` in the examples.
    pub auth: SocketAddr,
    /// `[listen] fastcgi`: `127.0.0.1:8421`.
    pub fastcgi: SocketAddr,
    /// `[listen] grpc`: `127.0.0.1:8422`.
    pub grpc: SocketAddr,
    /// The application: `127.0.0.1:8000`.
    pub application: SocketAddr,
}

/// What a web server can do of that which not all can.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// It puts the key into the query of the upstream request.
    pub sets_query: bool,
    /// It shows a page of its own, or none at all, where Keyward cannot be reached: the status it says then.
    pub when_down: u16,
    /// The status where Keyward takes the question and never answers.
    pub when_hanging: u16,
    /// A person gets a page with that, which says to wait.
    pub shows_page_when_down: bool,
    /// It passes an encoded slash in a path on as it came.
    pub keeps_encoded_slash: bool,
}

/// One web server, running. It ends when dropped.
pub trait WebServer: Sized {
    /// Its folder below `examples/`, and its name for `keyward snippet`.
    const NAME: &'static str;
    /// What it can do.
    const ABILITIES: Abilities;
    /// Whether it has keys renewed, and asks again, where the application answers a GET as to a stranger.
    const RENEWS: bool = false;
    /// Whether an address with marks in its query that belong encoded is no request to it.
    const REFUSES_RAW: bool = false;
    /// Whether it tries again at once where it could not reach somebody a moment ago; else a second or two later.
    const TRIES_AGAIN_AT_ONCE: bool = true;

    /// Whether browsers get Keyward's own cookies on a yes by the files of the example, whatever their names.
    const HANDS_COOKIES: bool = true;

    /// Whether it cleans addresses before it asks about them: one slash for two, capitals in what is encoded, and in a
    /// query an ampersand for a semicolon.
    const CLEANS_ADDRESSES: bool = false;

    /// Starts it in this folder with the files of the example, less their addresses, and waits until it answers.
    fn start(folder: &Workspace, places: &Places) -> impl Future<Output = Self>;
}
