//! Apache httpd, which asks over FastCGI.

use keyward::demo::process::{Process, Workspace};

use crate::web_server::{Abilities, Places, WebServer};
use crate::{example, installed, suite};

/// Apache with the files of `examples/apache/`.
pub struct Apache {
    _process: Process,
}

impl WebServer for Apache {
    const NAME: &'static str = "apache";
    const ABILITIES: Abilities = Abilities {
        sets_query: true,
        when_down: 500,
        when_hanging: 500,
        shows_page_when_down: true,
        keeps_encoded_slash: true,
    };

    async fn start(folder: &Workspace, places: &Places) -> Self {
        installed::write(folder, &example::files(Self::NAME, places));
        let home = folder.path().to_str().unwrap();
        let arguments = ["-d", home, "-f", "httpd.conf", "-DFOREGROUND"];
        Self {
            _process: installed::start(Self::NAME, &installed::program("apache2"), &arguments, folder, places).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apache_asks_over_fastcgi() {
    suite::run::<Apache>().await;
}
