//! Caddy, which asks with the long form of `forward_auth`.

use keyward::demo::process::{Process, Workspace};

use crate::web_server::{Abilities, Places, WebServer};
use crate::{example, installed, suite};

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
        let mut files = example::files(Self::NAME, places);
        for (_, text) in &mut files {
            // A site has its port in one line and its address in the next.
            *text = text.replace(":8080 {", &format!(":{} {{", places.public.port()));
            *text = text.replace("bind 127.0.0.1", &format!("bind {}", places.public.ip()));
        }
        installed::write(&folder, &files);
        // What it keeps, and where it takes orders, is of this folder alone.
        let home = format!("HOME={}", folder.path().display());
        let orders = format!("CADDY_ADMIN=unix/{}", folder.path().join("admin.sock").display());
        let caddy = installed::program("caddy");
        let arguments = [&home, &orders, caddy.to_str().unwrap(), "run", "--config", "Caddyfile"];
        Self { _process: installed::start(Self::NAME, "/usr/bin/env".as_ref(), &arguments, &folder, places).await }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_asks_with_the_long_form_of_forward_auth() {
    suite::run::<Caddy>().await;
}
