//! Redis as Debian ships it, and Valkey: one server, one with Sentinels, a Cluster; and a line to it that can be cut.

mod authority;
mod cluster;
mod line;
mod sentinel;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keyward::demo::process::{Address, Process, TemporaryWorkspace, Workspace, find_program, free_address, free_port};

pub use authority::Authority;
pub use cluster::Cluster;
pub use line::Line;
pub use sentinel::{MASTER, Sentinel};

const LOOK_EVERY: Duration = Duration::from_millis(50);
const COMES_WITHIN: Duration = Duration::from_secs(60);

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    assert!(tokio::time::timeout(COMES_WITHIN, looking).await.is_ok(), "it never came: {what}");
}

/// What can be chosen about a server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// More lines of redis.conf.
    pub settings: String,
    /// Who signs its certificate, where it is to listen with TLS as well.
    pub authority: Option<Authority>,
    /// The names in that; its own address where there are none.
    pub certified_as: Vec<String>,
    /// What its default user has to say, where that is to say anything.
    pub password: Option<String>,
    /// Whether it is one of several; whoever starts those sets it.
    pub kind: Kind,
    /// Whose server it is.
    pub program: Program,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// Debian's.
    #[default]
    Redis,
    /// Valkey's of this release, as `tests/run` installs it.
    Valkey(u8),
}

impl Program {
    /// Every one there is.
    pub const ALL: [Self; 3] = [Self::Redis, Self::Valkey(8), Self::Valkey(9)];

    /// Whether it was built with TLS.
    pub const fn has_tls(self) -> bool {
        matches!(self, Self::Redis)
    }

    /// Where it is.
    pub fn path(self) -> PathBuf {
        match self {
            Self::Redis => find_program("redis-server").unwrap(),
            Self::Valkey(release) => {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/tools/valkey-{release}"));
                let path = folder.join("bin/valkey-server");
                assert!(path.is_file(), "there is no {}; tests/run installs it", path.display());
                path
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Alone,
    OfCluster,
    Sentinel,
}

/// A server that keeps nothing on disk. It listens on an address of its own and on a socket, and ends with us.
pub struct Redis {
    process: Option<Process>,
    pid: u32,
    home: TemporaryWorkspace,
    address: SocketAddr,
    tls_address: SocketAddr,
    /// Where the servers of a Cluster talk to each other.
    bus: u16,
    options: Options,
}

impl Redis {
    /// Starts one with nothing in it and open to everybody.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// Starts one that has these lines in its redis.conf, too.
    pub async fn configured(settings: &str) -> Self {
        Self::with(Options { settings: settings.to_owned(), ..Options::default() }).await
    }

    /// Starts one.
    pub async fn with(options: Options) -> Self {
        let home = Workspace::temporary().unwrap();
        let address = free_address().unwrap();
        // Nobody is there yet, so that the same one might be free twice.
        let mut free = [address; 3];
        while free[1] == free[0] || free[2] == free[0] || free[2] == free[1] {
            free = [address, free_port(address.ip()).unwrap(), free_port(address.ip()).unwrap()];
        }
        let (tls_address, bus) = (free[1], free[2].port());
        let mut redis = Self { process: None, pid: 0, home, address, tls_address, bus, options };
        if let Some(authority) = &redis.options.authority {
            let names = redis.options.certified_as.clone();
            let own = || vec![redis.address.ip().to_string()];
            authority.certify(&redis.home, if names.is_empty() { own() } else { names });
        }
        redis.home.write("redis.conf", &redis.settings()).unwrap();
        redis.start_again().await;
        redis
    }

    fn settings(&self) -> String {
        let Self { address, tls_address, bus, options, .. } = self;
        let path = self.home.path().display();
        let mut text = format!("bind {}\nport {}\nprotected-mode no\n", address.ip(), address.port());
        // Others would see them come from 127.0.0.1, and look for them there.
        if options.kind == Kind::Sentinel {
            text += &format!("sentinel announce-ip {}\n", address.ip());
        } else {
            text += &format!("replica-announce-ip {}\n", address.ip());
            text += &format!("unixsocket {path}/redis.sock\nunixsocketperm 700\nsave \"\"\nappendonly no\n");
            // Or a replica waits seconds for others that want the same.
            text += "repl-diskless-sync-delay 0\n";
        }
        if options.kind == Kind::OfCluster {
            text += &format!("cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout 1500\n");
            text += &format!("cluster-announce-ip {}\n", address.ip());
        }
        if options.authority.is_some() {
            text += &format!("tls-port {}\ntls-auth-clients optional\ntls-replication yes\n", tls_address.port());
            if options.kind == Kind::OfCluster {
                text += "tls-cluster yes\n";
            }
            for (key, file) in [("ca-cert", "authority"), ("cert", "certificate"), ("key", "key")] {
                text += &format!("tls-{key}-file {path}/{file}.pem\n");
            }
        }
        if let Some(password) = &options.password {
            text += &format!("requirepass \"{password}\"\n");
        }
        text + &options.settings
    }

    /// Starts it where it was. It has forgotten everything, but not its place among others.
    pub async fn start_again(&mut self) {
        self.stop();
        let mut arguments = vec!["redis.conf"];
        if self.options.kind == Kind::Sentinel {
            arguments.push("--sentinel");
        }
        let program = self.options.program.path();
        let mut process = Process::start("redis-server", &program, &arguments, &self.home).unwrap();
        process.ready(&Address::Tcp(self.address)).await.unwrap();
        self.process = Some(process);
        let pid = || {
            let told = self.say(&["INFO", "server"]);
            told.lines().find_map(|line| line.strip_prefix("process_id:")).and_then(|pid| pid.trim().parse().ok())
        };
        until("a server's answer", || pid().is_some()).await;
        self.pid = pid().unwrap();
    }

    /// Ends it in order.
    pub fn stop(&mut self) {
        if self.process.is_some() {
            // One that was stopped hears nothing else.
            self.go_on();
        }
        self.process = None;
    }

    /// Ends it at once, without any order.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.process = None;
    }

    /// Has it hang: it holds its connections, and answers nothing.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Has it go on after [`Redis::pause`].
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.pid);
        let _ = Command::new("/bin/sh").args(["-c", &command]).status().unwrap();
    }

    /// Whether it was started and not ended since.
    pub const fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens with TLS, if it does.
    pub const fn tls_address(&self) -> SocketAddr {
        self.tls_address
    }

    /// Where others come to it: with TLS, if it listens so.
    pub const fn door(&self) -> SocketAddr {
        if self.options.authority.is_some() { self.tls_address } else { self.address }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.home.path().join("redis.sock")
    }

    /// Who signed its certificate; beside it, `certificate.pem` and `key.pem` are its own.
    pub fn authority(&self) -> PathBuf {
        self.home.path().join("authority.pem")
    }

    /// Says something to it by its own client, and gives back what that printed, less the last line break.
    pub fn say(&self, words: &[&str]) -> String {
        let mut command = Command::new(find_program("redis-cli").unwrap());
        if self.options.kind == Kind::Sentinel {
            command.args(["-h", &self.address.ip().to_string(), "-p", &self.address.port().to_string()]);
        } else {
            command.arg("-s").arg(self.socket());
        }
        if let Some(password) = &self.options.password {
            command.env("REDISCLI_AUTH", password);
        }
        let output = command.args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Whether it says this of itself, such as `role:master`.
    pub fn tells(&self, line: &str) -> bool {
        self.say(&["INFO"]).lines().any(|told| told.trim_end() == line)
    }

    /// Whether one of its replicas has all that was written so far. `WAIT` would not tell: it looks at what was written
    /// on the connection that it is said on.
    pub fn is_replicated(&self) -> bool {
        let told = self.say(&["INFO", "replication"]);
        let offset = |line: &str, begin: &str| {
            line.split(',').find_map(|part| part.trim_end().strip_prefix(begin)?.parse().ok())
        };
        let own: Option<u64> = told.lines().find_map(|line| offset(line, "master_repl_offset:"));
        let mut theirs =
            told.lines().filter(|line| line.starts_with("slave")).filter_map(|line| offset(line, "offset="));
        own.is_some_and(|own| theirs.any(|offset: u64| offset >= own))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
