//! One of several `keyward serve` with the same configuration, which can be ended and started again where it was.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyward::demo::process::{Address, Process, TemporaryWorkspace, Workspace, free_address};

use crate::support::{Answer, Ask, Connection, Door, until};

/// A replica, running or not.
pub struct Replica {
    process: Option<Process>,
    pub config: PathBuf,
    folder: TemporaryWorkspace,
    pub auth: SocketAddr,
    ops: SocketAddr,
    pub api: SocketAddr,
    /// What it was told last.
    settings: String,
    /// What the processes before this one had counted when they were last asked.
    before: f64,
}

/// Leases that ended before what was got under them could be kept.
const LOST: &str = "keyward_leases_lost_total";

impl Replica {
    /// With a configuration that says nothing of where to listen. Not started yet.
    pub fn new(settings: String) -> Self {
        // Not ports of one address, which might be the same twice.
        let [auth, ops, api] = [(); 3].map(|()| free_address().unwrap());
        let folder = Workspace::temporary().unwrap();
        let config = folder.with_our_rights().write("keyward.toml", &settings).unwrap();
        Self { process: None, config, folder, auth, ops, api, settings, before: 0.0 }
    }

    /// Starts it, and waits until it answers.
    pub async fn start(&mut self) {
        // The shell leaves its process, and so its number, to the program.
        let script = "echo $$ > keyward.pid; exec \"$@\"";
        let auth = format!("KEYWARD__LISTEN__AUTH={}", self.auth);
        let ops = format!("KEYWARD__LISTEN__OPS={}", self.ops);
        let api = format!("KEYWARD__LISTEN__API={}", self.api);
        let program = env!("CARGO_BIN_EXE_keyward");
        let config = self.config.to_str().unwrap();
        let arguments =
            ["-c", script, "sh", "/usr/bin/env", "-u", "RUST_LOG", &auth, &ops, &api, program, "serve", "-c", config];
        let ours = self.folder.with_our_rights();
        let mut process = Process::start("keyward", Path::new("/bin/sh"), &arguments, &ours).unwrap();
        process.ready(&Address::Tcp(self.auth)).await.unwrap();
        process.ready(&Address::Tcp(self.ops)).await.unwrap();
        self.process = Some(process);
    }

    /// Ends it as nobody is asked for.
    pub async fn kill(&mut self) {
        self.count().await;
        self.signal("KILL");
        self.process.take().unwrap().ended().await.unwrap();
    }

    /// Ends it as an operator does: it finishes what it has begun.
    pub async fn stop(&mut self) {
        self.count().await;
        self.signal("TERM");
        let status = self.process.take().unwrap().ended().await.unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Has it read its configuration again, with this in place of that.
    pub async fn reload(&mut self, this: &str, that: &str) {
        assert!(self.settings.contains(this), "{}", self.settings);
        self.settings = self.settings.replace(this, that);
        std::fs::write(&self.config, &self.settings).unwrap();
        let applied = "keyward_config_reloads_total{outcome=\"applied\"}";
        let before = self.metric(applied).await;
        self.signal("HUP");
        until("a reload", || async { self.metric(applied).await > before }).await;
    }

    /// It answers nothing for a while, and knows nothing of that.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.folder.path().join("keyward.pid")).unwrap();
        let kill = Command::new("/bin/sh").args(["-c", &format!("kill -{name} {}", pid.trim())]).status();
        assert!(kill.unwrap().success());
    }

    pub const fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// A connection to the listener for decisions.
    pub async fn connect(&self) -> Connection {
        Connection::open(&Address::Tcp(self.auth)).await
    }

    /// What it says of a request, asked without any web server.
    pub async fn ask(&self, ask: &Ask) -> Answer {
        self.connect().await.ask(Door::AuthRequest, ask).await
    }

    /// Gets something on the operators' listener.
    pub async fn operator(&self, path: &str) -> Answer {
        let mut connection = Connection::open(&Address::Tcp(self.ops)).await;
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n")).await;
        connection.answer().await
    }

    /// The sum of all series that begin so.
    pub async fn metric(&self, start: &str) -> f64 {
        let metrics = self.operator("/metrics").await.text();
        let values = metrics.lines().filter(|line| line.starts_with(start));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until it says of itself that the store answers, or that it does not.
    pub async fn store_is(&self, up: bool) {
        let wanted = if up { "keyward_store_up 1" } else { "keyward_store_up 0" };
        let is = || async { self.operator("/metrics").await.text().lines().any(|line| line == wanted) };
        until(wanted, is).await;
    }

    /// Waits until it says that requests may come.
    pub async fn is_ready(&self) {
        until("readiness", || async { self.operator("/readyz").await.status == 200 }).await;
    }

    async fn count(&mut self) {
        self.before += self.metric(LOST).await;
    }

    /// Leases lost here, whichever process it was.
    pub async fn leases_lost(&self) -> f64 {
        self.before + if self.is_running() { self.metric(LOST).await } else { 0.0 }
    }

    /// Everything that was logged since it was started last.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("keyward.log")).unwrap_or_default()
    }
}
