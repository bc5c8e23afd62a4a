//! Caddy, which asks with the long form of `forward_auth`.

use keyward::demo::process::{Address, Process, Workspace};

use crate::example;
use crate::suite;
use crate::tools::tool;
use crate::web_server::{Abilities, Places, WebServer};

/// Caddy with the files of `examples/caddy/`.
pub struct Caddy {
    _process: Process,
}

impl WebServer for Caddy {
    const NAME: &'static str = "caddy";
    const ABILITIES: Abilities = Abilities {
        sets_query: true,
        when_down: 503,
        when_hanging: 503,
        shows_page_when_down: true,
        keeps_encoded_slash: true,
    };

    async fn start(folder: &Workspace, places: &Places) -> Self {
        let folder = folder.with_our_rights();
        for (path, text) in example::files(Self::NAME, places) {
            // A site has its port in one line and its address in the next.
            let port = format!(":{} {{", places.public.port());
            let text = text.replace(":8080 {", &port);
            let text = text.replace("bind 127.0.0.1", &format!("bind {}", places.public.ip()));
            folder.write(&path, &text).unwrap();
        }
        // What it keeps, and where it takes orders, is of this folder alone.
        let home = format!("HOME={}", folder.path().display());
        let orders = format!("CADDY_ADMIN=unix/{}", folder.path().join("admin.sock").display());
        let caddy = tool("caddy");
        let arguments = [&home, &orders, caddy.to_str().unwrap(), "run", "--config", "Caddyfile"];
        let mut process = Process::start("caddy", "/usr/bin/env".as_ref(), &arguments, &folder).unwrap();
        process.ready(&Address::Tcp(places.public)).await.unwrap();
        Self { _process: process }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_asks_with_the_long_form_of_forward_auth() {
    suite::run::<Caddy>().await;
}
