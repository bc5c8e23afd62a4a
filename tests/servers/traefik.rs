//! Traefik, which asks with its middleware `forwardAuth`.

use keyward::demo::process::{Address, Process, Workspace};

use crate::example;
use crate::suite;
use crate::tools::tool;
use crate::web_server::{Abilities, Places, WebServer};

/// Traefik with the files of `examples/traefik/`.
pub struct Traefik {
    _process: Process,
}

impl WebServer for Traefik {
    const NAME: &'static str = "traefik";
    const ABILITIES: Abilities =
        Abilities { sets_query: false, when_down: 500, when_hanging: 500, keeps_encoded_slash: false };

    async fn start(folder: &Workspace, places: &Places) -> Self {
        let folder = folder.with_our_rights();
        folder.directory("dynamic").unwrap();
        for (path, text) in example::files(Self::NAME, places) {
            folder.write(&path, &text).unwrap();
        }
        let mut process = Process::start("traefik", &tool("traefik"), &["--configfile=traefik.yml"], &folder).unwrap();
        process.ready(&Address::Tcp(places.public)).await.unwrap();
        Self { _process: process }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traefik_asks_with_forward_auth() {
    suite::run::<Traefik>().await;
}
