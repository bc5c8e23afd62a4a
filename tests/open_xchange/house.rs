//! The whole way: browsers, the real nginx with the shipped files, Keyward itself, the real Apache with
//! the shipped file, or none, and the stand-in.

use std::net::SocketAddr;
use std::path::Path;

use keyward::demo::nginx::Nginx;
use keyward::demo::process::{Process, TemporaryWorkspace, Workspace, find_program, free_address};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::fakes::open_xchange::{OpenXchange, Options};
use super::support::{APP_PORTAL, Address, Setup, Sidecar, Ticket, password_of};

pub const HOST: &str = "ox.example.test";
/// What Apache shows of its own.
const FILE: &str = "<!doctype html><title>App Suite</title>";
const MODULES: [&str; 11] = [
    "mpm_event",
    "authz_core",
    "dir",
    "mime",
    "unixd",
    "proxy",
    "proxy_balancer",
    "proxy_http",
    "proxy_wstunnel",
    "slotmem_shm",
    "lbmethod_byrequests",
];

pub struct House {
    pub ox: OpenXchange,
    _keyward: Sidecar,
    nginx: SocketAddr,
    _nginx: Nginx,
    _apache: Option<Process>,
    _workspace: TemporaryWorkspace,
}

/// One browser: where it is, and what it says of itself.
#[derive(Clone)]
pub struct Browser {
    pub address: &'static str,
    pub agent: &'static str,
    pub cookie: String,
}

/// What a browser got.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl House {
    pub async fn start(behind_apache: bool) -> Self {
        let options = Options { known_proxies: vec!["127.0.0.1"], ..Options::default() };
        let (ana, ben) = (password_of("ana"), password_of("ben"));
        let people = [("ana@example.test", ana.as_str()), ("ben@example.test", ben.as_str())];
        let ox = OpenXchange::start(&people, options).await.unwrap();
        let workspace = Workspace::temporary().unwrap();
        let middleware = ox.url().trim_start_matches("http://").to_owned();
        let (apache, upstream) = if behind_apache {
            let (apache, address) = start_apache(&workspace, &middleware).await;
            (Some(apache), address.to_string())
        } else {
            (None, middleware)
        };
        let keyward = Setup::new(&configuration(&upstream)).start().await;
        let Address::Tcp(auth) = &keyward.auth else { panic!("not on a port") };
        let nginx = free_address().unwrap();
        let site = format!(
            "include keyward/http.conf;
            upstream keyward {{ server {auth}; keepalive 8; }}
            upstream open-xchange {{ server {upstream}; keepalive 8; }}
            map $host $keyward_scheme {{ default $scheme; }}
            map $host $keyward_host {{ default $host:$server_port; }}
            map $host $keyward_signed_out {{ default \"\"; }}
            server {{ listen {nginx}; server_name {HOST}; access_log off; include keyward/open-xchange.inc; }}"
        );
        let web = workspace.directory("nginx").unwrap();
        let started = Nginx::start_shipped(web.path(), &site, nginx).await.unwrap();
        Self { ox, _keyward: keyward, nginx, _nginx: started, _apache: apache, _workspace: workspace }
    }

    /// Sends a GET as this browser and reads the answer.
    pub async fn get(&self, browser: &Browser, path: &str) -> Page {
        self.send(browser, path, "").await
    }

    pub async fn send(&self, browser: &Browser, path: &str, lines: &str) -> Page {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(browser.address.parse().unwrap(), 0)).unwrap();
        let mut stream = socket.connect(self.nginx).await.unwrap();
        let Browser { agent, cookie, .. } = browser;
        let port = self.nginx.port();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nUser-Agent: {agent}\r\nCookie: {cookie}\r\nAccept: */*\r\n\
             Sec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\nX-Forwarded-For: 203.0.113.66\r\n\
             {lines}Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = parsed.parse(&bytes).unwrap() else { panic!("half an answer") };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = parsed.headers.iter().map(|header| (header.name.to_ascii_lowercase(), text(header.value)));
        Page { status: parsed.code.unwrap(), headers: headers.collect(), body: text(&bytes[head..]) }
    }

    /// What the user interface's autologin gets: the session's id.
    pub async fn autologin(&self, browser: &Browser) -> String {
        let page = self.get(browser, "/appsuite/api/login?action=autologin&client=open-xchange-appsuite").await;
        page.session().unwrap_or_else(|| panic!("no session: {page:?}"))
    }

    /// What the mailbox shows in this session.
    pub async fn mail(&self, browser: &Browser, session: &str) -> String {
        self.get(browser, &format!("/ajax/mail?action=all&session={session}")).await.body
    }
}

impl Page {
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(held, _)| held == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn session(&self) -> Option<String> {
        let json: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        json.get("session")?.as_str().map(str::to_owned)
    }
}

/// A browser of Ana's, who has signed in at the portal.
pub fn anas(address: &'static str, agent: &'static str) -> Browser {
    Browser { address, agent, cookie: Ticket::of("ana").email("ana@example.test").cookie() }
}

/// The example's configuration, with the addresses of this house.
fn configuration(upstream: &str) -> String {
    let example = include_str!("../../examples/open-xchange/keyward.toml");
    let secret = "secret = \"a secret of at least 32 bytes, shared with the portal\"";
    let changes = [
        ("\"http://127.0.0.1:8003\"", format!("\"http://{upstream}\"")),
        ("cookie    = \"portal_session\"", format!("cookie = \"{}\"", APP_PORTAL.cookie)),
        (secret, format!("secret = \"{}\"", APP_PORTAL.secret)),
        ("keep_alive_interval = \"2m\"", "keep_alive_interval = \"1s\"".to_owned()),
    ];
    changes.iter().fold(example.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    })
}

/// Apache with the example's file, less the addresses and the folder in it.
async fn start_apache(workspace: &Workspace, middleware: &str) -> (Process, SocketAddr) {
    let apache = workspace.directory("apache").unwrap();
    let files = apache.directory("html").unwrap().directory("appsuite").unwrap();
    files.write("index.html", FILE).unwrap();
    let address = free_address().unwrap();
    let folder = apache.path().display().to_string();
    let example = include_str!("../../examples/open-xchange/apache.conf")
        .replace("127.0.0.1:8003", &address.to_string())
        .replace("127.0.0.1:8009", middleware)
        .replace("/var/www/html", &format!("{folder}/html"));
    // What is no file is built in.
    let modules = MODULES.map(|name| (name, format!("/usr/lib/apache2/modules/mod_{name}.so")));
    let modules = modules.into_iter().filter(|(_, file)| Path::new(file).exists());
    let modules: String = modules.map(|(name, file)| format!("LoadModule {name}_module {file}\n")).collect();
    let frame = format!(
        "ServerRoot {folder}\nServerName {HOST}\nPidFile {folder}/pid\nErrorLog {folder}/error.log\n\
         DefaultRuntimeDir {folder}\nMutex pthread\nTypesConfig /dev/null\n{modules}{example}"
    );
    let path = apache.write("httpd.conf", &frame).unwrap();
    let program = find_program("apache2").unwrap_or_else(|| Path::new("/usr/sbin/apache2").to_owned());
    let arguments = ["-f", path.to_str().unwrap(), "-DFOREGROUND"];
    let mut process = Process::start("apache", &program, &arguments, &apache).unwrap();
    process.ready(&keyward::demo::process::Address::Tcp(address)).await.unwrap();
    (process, address)
}
