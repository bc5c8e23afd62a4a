//! lighttpd, which asks over FastCGI and does the rest in Lua.

use std::net::SocketAddr;

use keyward::demo::process::{Process, Workspace};

use crate::web_server::{Abilities, Places, WebServer};
use crate::{example, installed, suite};

/// lighttpd with the files of `examples/lighttpd/`.
pub struct Lighttpd {
    _process: Process,
}

impl WebServer for Lighttpd {
    const NAME: &'static str = "lighttpd";
    const ABILITIES: Abilities = Abilities {
        sets_query: true,
        when_down: 503,
        when_hanging: 503,
        shows_page_when_down: true,
        keeps_encoded_slash: true,
    };
    // What it could not reach it takes for down until it looks again, once a second.
    const TRIES_AGAIN_AT_ONCE: bool = false;

    async fn start(folder: &Workspace, places: &Places) -> Self {
        let mut files = example::files(Self::NAME, places);
        for (path, text) in &mut files {
            match path.as_str() {
                "lighttpd.conf" => {
                    installed::replace(text, "\"127.0.0.1\"", &format!("\"{}\"", places.public.ip()), 1);
                    installed::replace(
                        text,
                        "server.port = 8080",
                        &format!("server.port = {}", places.public.port()),
                        1,
                    );
                }
                "site.conf" => {
                    for (port, address) in [(8420, places.auth), (8421, places.fastcgi), (8000, places.application)] {
                        let ours = SocketAddr::from(([127, 0, 0, 1], port));
                        installed::replace(text, &pair(ours), &pair(address), 1);
                    }
                }
                _ => {}
            }
        }
        installed::write(folder, &files);
        let program = installed::program("lighttpd");
        Self { _process: installed::start(Self::NAME, &program, &["-D", "-f", "lighttpd.conf"], folder, places).await }
    }
}

/// An address as lighttpd has it.
fn pair(address: SocketAddr) -> String {
    format!("\"host\" => \"{}\", \"port\" => {}", address.ip(), address.port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lighttpd_asks_over_fastcgi() {
    suite::run::<Lighttpd>().await;
}
