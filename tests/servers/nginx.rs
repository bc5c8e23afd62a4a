//! nginx, which asks with `auth_request`.

use keyward::demo::nginx::Nginx as Process;
use keyward::demo::process::Workspace;

use crate::example;
use crate::suite;
use crate::web_server::{Abilities, Places, WebServer};

/// nginx with the files of `examples/nginx/`.
pub struct Nginx {
    _process: Process,
}

impl WebServer for Nginx {
    const NAME: &'static str = "nginx";
    const ABILITIES: Abilities = Abilities {
        sets_query: true,
        when_down: 503,
        when_hanging: 503,
        shows_page_when_down: true,
        keeps_encoded_slash: true,
    };
    const RENEWS: bool = true;

    async fn start(folder: &Workspace, places: &Places) -> Self {
        let files = example::files(Self::NAME, places);
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        Self { _process: Process::start(folder.path(), &files, places.public).await.unwrap() }
    }
}

/// nginx with the same files, and over them those of `examples/nginx-fastcgi/`.
pub struct NginxFastcgi {
    _process: Process,
}

impl WebServer for NginxFastcgi {
    const NAME: &'static str = "nginx-fastcgi";
    const ABILITIES: Abilities = Nginx::ABILITIES;
    const RENEWS: bool = true;

    async fn start(folder: &Workspace, places: &Places) -> Self {
        let (own, usual) = (example::files(Self::NAME, places), example::files(Nginx::NAME, places));
        let differs = |path: &str| own.iter().any(|(differs, _)| differs == path);
        let files = own.iter().chain(usual.iter().filter(|(path, _)| !differs(path)));
        let files: Vec<(&str, &str)> = files.map(|(path, text)| (path.as_str(), text.as_str())).collect();
        Self { _process: Process::start(folder.path(), &files, places.public).await.unwrap() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_asks_over_fastcgi() {
    suite::run::<NginxFastcgi>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_asks_with_auth_request() {
    suite::run::<Nginx>().await;
}
