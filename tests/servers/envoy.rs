//! Envoy, which asks with `ext_authz`, over gRPC and over HTTP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use keyward::demo::process::{Process, Workspace};

use crate::web_server::{Abilities, Places, WebServer};
use crate::{example, installed, suite};

/// Envoy with the files of `examples/envoy-grpc/`.
pub struct EnvoyGrpc {
    _process: Process,
}

/// Envoy with the files of `examples/envoy/`.
pub struct Envoy {
    _process: Process,
}

const ABILITIES: Abilities = Abilities {
    sets_query: true,
    when_down: 503,
    when_hanging: 503,
    shows_page_when_down: true,
    keeps_encoded_slash: true,
};

impl WebServer for EnvoyGrpc {
    const NAME: &'static str = "envoy-grpc";
    const ABILITIES: Abilities = ABILITIES;

    async fn start(folder: &Workspace, places: &Places) -> Self {
        Self { _process: start(Self::NAME, folder, places).await }
    }
}

impl WebServer for Envoy {
    const NAME: &'static str = "envoy";
    const ABILITIES: Abilities = ABILITIES;
    const REFUSES_RAW: bool = true;

    async fn start(folder: &Workspace, places: &Places) -> Self {
        Self { _process: start(Self::NAME, folder, places).await }
    }
}

/// Where `tests/run` installs it.
fn program() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/envoy");
    let found = std::fs::read_dir(home.join("lib")).ok().and_then(|folders| {
        let within = |folder: std::io::Result<std::fs::DirEntry>| {
            Some(folder.ok()?.path().join("site-packages/envoy/_bin/envoy")).filter(|path| path.is_file())
        };
        folders.into_iter().find_map(within)
    });
    found.unwrap_or_else(|| panic!("Envoy is not below {}; tests/run installs it", home.display()))
}

/// Envoy's files have an address and its port apart from each other.
fn with_addresses(text: &str, places: &Places) -> String {
    let pairs: [(u16, SocketAddr); 4] =
        [(8080, places.public), (8420, places.auth), (8422, places.grpc), (8000, places.application)];
    let written = |ip: &str, port: u16| format!("address: \"{ip}\", port_value: {port} }}");
    pairs.iter().fold(text.to_owned(), |text, (ours, theirs)| {
        text.replace(&written("127.0.0.1", *ours), &written(&theirs.ip().to_string(), theirs.port()))
    })
}

async fn start(name: &str, folder: &Workspace, places: &Places) -> Process {
    let (_, text) = example::files(name, places).into_iter().find(|(path, _)| path == "envoy.yaml").unwrap();
    let file = folder.write("envoy.yaml", &with_addresses(&text, places)).unwrap();
    // Two at a time would otherwise meet in the memory by which one takes over from another.
    let arguments = ["-c", file.to_str().unwrap(), "--disable-hot-restart", "--concurrency", "1", "-l", "warn"];
    installed::start("envoy", &program(), &arguments, folder, places).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_asks_over_grpc() {
    suite::run::<EnvoyGrpc>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_asks_over_http() {
    suite::run::<Envoy>().await;
}
