//! The program itself, as a process of its own, and those it deals with.

mod fastcgi;
mod house;
mod ticket;
mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

pub use house::{House, mailboxes};
pub use keyward::demo::process::Address;
use keyward::demo::process::{Process, TemporaryWorkspace, Workspace, free_address};
pub use keyward::observe::Door;

/// Every door that can be asked in bytes. (gRPC has a client of its own.)
pub const DOORS: [Door; 4] = [Door::AuthRequest, Door::ForwardAuth, Door::ExtAuthz, Door::Fastcgi];
/// Those that are asked over HTTP.
pub const HTTP_DOORS: [Door; 3] = [Door::AuthRequest, Door::ForwardAuth, Door::ExtAuthz];
/// Those that are told of the original request in headers of their own.
pub const TOLD: [Door; 2] = [Door::AuthRequest, Door::ForwardAuth];

pub use ticket::{APP_PORTAL, MAIL_PORTAL, PortalKey, Ticket, now, password_of};
pub use wire::{Answer, Ask, Connection};

/// Time between two looks at something that will come.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Longest wait for something that will come.
const COMES_WITHIN: Duration = Duration::from_secs(20);

/// Waits until something is so. It is looked at again and again, so that nobody guesses how long it
/// takes.
pub async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    assert!(tokio::time::timeout(COMES_WITHIN, looking).await.is_ok(), "it never came: {what}");
}

/// The smallest configuration there is: somebody may go somewhere.
pub const SMALLEST: &str = "[[route]]\nhost = \"public.example.test\"\npublic = true\n";

/// The rest of a back-end of kind `form` whose application sets three cookies at its login, of which scripts read two.
pub const SCRIPT_COOKIES: &str = r#"
[backend.submit]
path = "/login"
fields = { user = "{login}", password = "{password}" }
[backend.success]
cookies = ["sid"]
[[backend.refusal]]
means = "refused"
status = [401]
[backend.keys]
cookies = ["sid", "csrf", "lang"]
script_cookies = ["csrf", "lang"]
[backend.keep_alive]
path = "/alive"
[backend.keep_alive.alive]
body = ["here"]
[backend.keep_alive.dead]
status = [401]
"#;

/// How a `keyward serve` is to be started.
pub struct Setup {
    config: String,
    environment: Vec<String>,
    listen: Option<String>,
    at: Option<SocketAddr>,
    with_api: bool,
    /// What the shell does before it becomes the program.
    before: String,
}

impl Setup {
    /// With this configuration, less `[listen]`, which is made up.
    pub fn new(config: &str) -> Self {
        Self {
            config: config.to_owned(),
            environment: Vec::new(),
            listen: None,
            at: None,
            with_api: false,
            before: String::new(),
        }
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push(format!("{name}={value}"));
        self
    }

    /// With decisions on the Unix socket `auth.sock` in its directory, and more keys for `[listen]`.
    pub fn on_socket(mut self, more: &str) -> Self {
        self.listen = Some(more.to_owned());
        self
    }

    /// With decisions at this address, which somebody was told before.
    pub fn at(self, auth: SocketAddr) -> Self {
        Self { at: Some(auth), ..self }
    }

    /// With the portal's API, too.
    pub fn with_api(self) -> Self {
        Self { with_api: true, ..self }
    }

    /// With commands for the shell that becomes the program, such as limits.
    pub fn before(self, commands: &str) -> Self {
        Self { before: commands.to_owned(), ..self }
    }

    /// Starts it and waits until it answers.
    pub async fn start(self) -> Sidecar {
        let with_api = self.with_api;
        let mut sidecar = self.spawn();
        sidecar.process.ready(&sidecar.auth).await.unwrap();
        // It is opened last, after the doors that may be elsewhere than here is written.
        sidecar.process.ready(&Address::Tcp(sidecar.ops)).await.unwrap();
        if with_api {
            sidecar.process.ready(&Address::Tcp(sidecar.api)).await.unwrap();
        }
        sidecar
    }

    /// Starts it and waits for nothing.
    pub fn spawn(self) -> Sidecar {
        let directory = Workspace::temporary().unwrap();
        let ours = directory.with_our_rights();
        let ops = free_address().unwrap();
        let (auth, line) = match &self.listen {
            Some(more) => {
                let path = directory.path().join("auth.sock");
                let line = format!("auth = \"unix:{}\"\n{more}", path.display());
                (Address::Unix(path), line)
            }
            None => {
                let address = self.at.unwrap_or_else(|| free_address().unwrap());
                (Address::Tcp(address), format!("auth = \"{address}\""))
            }
        };
        let api = free_address().unwrap();
        let api_line = if self.with_api { format!("api = \"{api}\"\n") } else { String::new() };
        let fastcgi = free_address().unwrap();
        let listen = format!("[listen]\n{line}\nops = \"{ops}\"\nfastcgi = \"{fastcgi}\"\n{api_line}");
        let config = ours.write("keyward.toml", &format!("{listen}{}", self.config)).unwrap();
        // The shell leaves its process, and so its number, to the program.
        let script = format!("echo $$ > keyward.pid; {}\nexec \"$@\"", self.before);
        let mut arguments = vec!["-c", &script, "sh", "/usr/bin/env", "-u", "RUST_LOG"];
        arguments.extend(self.environment.iter().map(String::as_str));
        arguments.extend([env!("CARGO_BIN_EXE_keyward"), "serve", "-c", config.to_str().unwrap()]);
        let process = Process::start("keyward", Path::new("/bin/sh"), &arguments, &ours).unwrap();
        Sidecar { process, auth, fastcgi, api, ops, listen, config, directory }
    }
}

/// A running `keyward serve`, ended when dropped.
pub struct Sidecar {
    process: Process,
    /// Where decisions are made.
    pub auth: Address,
    /// Where they are asked for by FastCGI.
    pub fastcgi: SocketAddr,
    /// Where the portal calls, if it was started with the API.
    pub api: SocketAddr,
    /// Where operators look.
    pub ops: SocketAddr,
    listen: String,
    config: PathBuf,
    directory: TemporaryWorkspace,
}

impl Sidecar {
    pub async fn connect(&self) -> Connection {
        Connection::open(&self.auth).await.with_fastcgi(self.fastcgi)
    }

    /// Asks on a connection of its own.
    pub async fn ask(&self, door: Door, ask: &Ask) -> Answer {
        self.connect().await.ask(door, ask).await
    }

    /// Sends bytes on a connection of their own and reads one answer.
    pub async fn exchange(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut connection = self.connect().await;
        connection.send(bytes).await;
        connection.answer().await
    }

    /// Gets something on the listener for decisions, with these header lines.
    pub async fn get(&self, path: &str, lines: &[&str]) -> Answer {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: app.example.test\r\n{lines}\r\n")).await
    }

    /// Sends bytes to the API on a connection of their own and reads one answer.
    pub async fn call(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut connection = self.call_connection().await;
        connection.send(bytes).await;
        connection.answer().await
    }

    /// A connection to the API.
    pub async fn call_connection(&self) -> Connection {
        Connection::open(&Address::Tcp(self.api)).await
    }

    /// Gets something on the operators' listener.
    pub async fn operator(&self, path: &str) -> Answer {
        let mut connection = Connection::open(&Address::Tcp(self.ops)).await;
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n")).await;
        connection.answer().await
    }

    pub async fn metrics(&self) -> String {
        self.operator("/metrics").await.text()
    }

    /// The value of one series, written as in the exposition, labels in order of their names.
    pub async fn metric(&self, series: &str) -> f64 {
        let metrics = self.metrics().await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{series} is not in\n{metrics}")).parse().unwrap()
    }

    /// Everything that was logged so far.
    pub fn log(&self) -> String {
        String::from_utf8(std::fs::read(self.directory.path().join("keyward.log")).unwrap()).unwrap()
    }

    /// The log, each line read as the one JSON object that it must be.
    pub fn log_lines(&self) -> Vec<serde_json::Value> {
        let line = |line: &str| match serde_json::from_str(line) {
            Ok(object @ serde_json::Value::Object(_)) => object,
            other => panic!("not one JSON object: {line:?}: {other:?}"),
        };
        self.log().split_terminator('\n').map(line).collect()
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes another configuration in the place of the one it was started with.
    pub fn rewrite(&self, config: &str) {
        std::fs::write(&self.config, format!("{}{config}", self.listen)).unwrap();
    }

    pub fn pid(&self) -> u32 {
        let pid = std::fs::read_to_string(self.directory.path().join("keyward.pid")).unwrap();
        pid.trim().parse().unwrap()
    }

    pub fn signal(&self, name: &str) {
        let kill = Command::new("/bin/sh").args(["-c", &format!("kill -{name} {}", self.pid())]).status();
        assert!(kill.unwrap().success());
    }

    /// Has it read its configuration again, and waits until it has.
    pub async fn reload(&self, outcome: &str) {
        let series = format!("keyward_config_reloads_total{{outcome=\"{outcome}\"}}");
        let before = self.metric(&series).await;
        self.signal("HUP");
        until("the reload", || async { self.metric(&series).await > before }).await;
    }

    /// Memory that it really uses, in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await.unwrap()
    }
}
