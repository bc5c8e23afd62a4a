//! HAProxy, which asks from Lua.

use keyward::demo::process::{Process, Workspace};

use crate::web_server::{Abilities, Places, WebServer};
use crate::{example, installed, suite};

/// HAProxy with the files of `examples/haproxy/`.
pub struct Haproxy {
    _process: Process,
}

impl WebServer for Haproxy {
    const NAME: &'static str = "haproxy";
    const ABILITIES: Abilities = Abilities {
        sets_query: true,
        when_down: 503,
        when_hanging: 503,
        shows_page_when_down: true,
        keeps_encoded_slash: true,
    };

    async fn start(folder: &Workspace, places: &Places) -> Self {
        installed::write(folder, &example::files(Self::NAME, places));
        let program = installed::program("haproxy");
        Self { _process: installed::start(Self::NAME, &program, &["-f", "haproxy.cfg"], folder, places).await }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_asks_from_lua() {
    suite::run::<Haproxy>().await;
}
