//! Roundcube as Debian ships it, with a configuration, a database and mail of its own.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dovecot::Dovecot;
use super::nginx::Nginx;
use super::process::{Address, Process, Workspace, find_program, free_address};
use super::{DemoError, Master, Person};
use crate::snippet::fill;

/// Where Debian keeps what a web server shall serve of Roundcube.
pub(super) const PUBLIC: &str = "/var/lib/roundcube/public_html";
/// Where Debian keeps its settings.
const SETTINGS: &str = "/etc/roundcube";
/// Where Debian keeps the plug-ins without which Roundcube shows no page, and those.
const PLUGINS: &str = "/usr/share/roundcube/plugins";
const NEEDED_PLUGINS: [&str; 2] = ["filesystem_attachments", "jqueryui"];
/// Its tables, as a sign that Roundcube is there.
pub(super) const SQLITE_SCHEMA: &str = "/usr/share/roundcube/SQL/sqlite.initial.sql";
/// Signs people in with the mail server's master user.
const PLUGIN: &str = include_str!("../../examples/roundcube/keyward_master/keyward_master.php");
/// Longest wait for the first page, which also makes the database.
const FIRST_PAGE_WITHIN: Duration = Duration::from_secs(30);

/// What can be chosen about a Roundcube.
#[derive(Clone, Debug)]
pub struct RoundcubeOptions {
    /// How long a session lives without use; whole minutes, at least two for Roundcube.
    pub session_lifetime: Duration,
    /// Requests at once.
    pub workers: usize,
    /// A master user of the mail server, and the plug-in that signs people in with it.
    pub master: Option<Master>,
    /// Told what is being waited for.
    pub progress: fn(&str),
}

impl Default for RoundcubeOptions {
    fn default() -> Self {
        Self { session_lifetime: Duration::from_secs(600), workers: 6, master: None, progress: |_| {} }
    }
}

/// A running Roundcube, with its mail server.
///
/// The servers end in the order of the fields: those that ask before those that are asked.
#[derive(Debug)]
pub struct Roundcube {
    nginx: Nginx,
    php: Process,
    dovecot: Dovecot,
    address: SocketAddr,
}

impl Roundcube {
    /// Starts it below a directory, for these people, and waits for its first page.
    ///
    /// # Errors
    /// Something is missing, or does not come up.
    pub async fn start(directory: &Path, people: &[Person], options: &RoundcubeOptions) -> Result<Self, DemoError> {
        let php = find_php().ok_or(DemoError::Missing("php-fpm"))?;
        for file in [PUBLIC, SQLITE_SCHEMA] {
            if !Path::new(file).exists() {
                return Err(DemoError::Missing("roundcube-core with roundcube-sqlite3"));
            }
        }
        let workspace = Workspace::at(directory)?;
        (options.progress)("starting Dovecot");
        let dovecot = Dovecot::start_with(workspace.directory("imap")?.path(), people, options.master.as_ref()).await?;
        let home = workspace.directory("roundcube")?;
        for folder in ["config", "logs", "temp"] {
            home.directory(folder)?;
        }
        home.write("config/config.inc.php", &settings(&home, dovecot.address(), options))?;
        if options.master.is_some() {
            add_plugin(&home)?;
        }
        // Only these two of Debian's own settings: the rest belongs to a Roundcube that may run here.
        for file in ["defaults.inc.php", "mimetypes.php"] {
            link(&Path::new(SETTINGS).join(file), home.path().join("config").join(file))?;
        }
        (options.progress)("starting PHP");
        let pool = home.write("php-fpm.conf", &pool(&home, options))?;
        let socket = home.path().join("php.sock");
        let mut php = Process::start("php-fpm", &php, &["-F", "-y", &pool.to_string_lossy()], &home)?;
        php.ready(&Address::Unix(socket.clone())).await?;
        let address = free_address()?;
        let web = workspace.directory("web")?;
        let nginx = Nginx::start(web.path(), &[("nginx.conf", &host(address, &socket))], address).await?;
        let roundcube = Self { nginx, php, dovecot, address };
        (options.progress)("starting Roundcube, which makes its database first");
        roundcube.first_page().await?;
        Ok(roundcube)
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where its mail server speaks IMAP.
    #[must_use]
    pub const fn imap(&self) -> SocketAddr {
        self.dovecot.address()
    }

    /// Whether all of it still runs.
    ///
    /// # Errors
    /// One of its servers does not; with the end of its log.
    pub fn check(&mut self) -> Result<(), DemoError> {
        self.nginx.check()?;
        self.php.check()?;
        self.dovecot.check()
    }

    /// Roundcube makes its tables when it finds an empty file, and two first requests at once would
    /// both make them. So the first request is ours.
    async fn first_page(&self) -> Result<(), DemoError> {
        let asked = tokio::time::timeout(FIRST_PAGE_WITHIN, self.ask_for_login_page()).await;
        let problem = match asked {
            Ok(Ok(page)) if page.contains("name=\"_token\"") => return Ok(()),
            Ok(Ok(page)) => page.lines().next().unwrap_or("an empty answer").trim().to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        Err(DemoError::Roundcube { url: self.url(), problem })
    }

    async fn ask_for_login_page(&self) -> std::io::Result<String> {
        let mut stream = tokio::net::TcpStream::connect(self.address).await?;
        // HTTP/1.0, so that the end of the connection is the end of the answer.
        stream.write_all(b"GET /?_task=login HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// Makes a directory of plug-ins for this one Roundcube, beside that of one that may run here.
fn add_plugin(home: &Workspace) -> Result<(), DemoError> {
    let plugins = home.directory("plugins")?;
    plugins.directory("keyward_master")?.write("keyward_master.php", PLUGIN)?;
    for needed in NEEDED_PLUGINS {
        link(&Path::new(PLUGINS).join(needed), plugins.path().join(needed))?;
    }
    let define = format!("<?php define('RCUBE_PLUGINS_DIR', '{}/');\n", plugins.path().display());
    home.write("plugins.php", &define).map(drop)
}

fn link(file: &Path, link: PathBuf) -> Result<(), DemoError> {
    std::os::unix::fs::symlink(file, &link).map_err(|error| DemoError::file(&link, &error))
}

/// `php-fpm`, or the one with the highest version in its name.
pub(super) fn find_php() -> Option<PathBuf> {
    let versioned = std::fs::read_dir("/usr/sbin").ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let versions = versioned.filter_map(|name| {
        let (major, minor) = name.strip_prefix("php-fpm")?.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    let newest = versions.max().map(|(major, minor)| format!("php-fpm{major}.{minor}"));
    newest.and_then(|name| find_program(&name)).or_else(|| find_program("php-fpm"))
}

/// Whether PHP's database driver is installed; Roundcube's own file is there without it.
pub(super) fn php_knows_sqlite() -> bool {
    let versions = std::fs::read_dir("/usr/lib/php").into_iter().flatten().flatten();
    versions.into_iter().any(|version| version.path().join("pdo_sqlite.so").is_file())
}

fn settings(home: &Workspace, imap: SocketAddr, options: &RoundcubeOptions) -> String {
    let minutes = options.session_lifetime.as_secs().div_ceil(60).to_string();
    let key: String = (0..3).map(|_| format!("{:08x}", rand::random::<u32>())).collect();
    let values = [
        ("DIRECTORY", &*home.path().to_string_lossy()),
        ("IMAP", &imap.to_string()),
        ("KEY", &key),
        ("MINUTES", &minutes),
    ];
    let mut settings = fill(include_str!("templates/roundcube.inc.php"), &values);
    if let Some(master) = &options.master {
        let _ = writeln!(settings, "$config['plugins'] = ['keyward_master'];");
        let _ = writeln!(settings, "$config['keyward_master_user'] = '{}';", master.name);
    }
    settings
}

fn pool(home: &Workspace, options: &RoundcubeOptions) -> String {
    let values = [("DIRECTORY", &*home.path().to_string_lossy()), ("WORKERS", &options.workers.to_string())];
    let mut pool = fill(include_str!("templates/php-fpm.conf"), &values);
    if options.master.is_some() {
        // Plug-ins of this one Roundcube, beside those of one that may run here.
        let _ = writeln!(pool, "php_admin_value[auto_prepend_file] = {}/plugins.php", home.path().display());
    }
    pool
}

fn host(address: SocketAddr, socket: &Path) -> String {
    let values = [("ADDRESS", &*address.to_string()), ("PUBLIC", PUBLIC), ("SOCKET", &socket.to_string_lossy())];
    fill(include_str!("templates/roundcube-nginx.conf"), &values)
}
