//! Redis as Debian ships it: one server, one with Sentinels, a Cluster; and a line to it that can be cut.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use keyward::demo::process::{Address, Process, TemporaryWorkspace, Workspace, find_program, free_address, free_port};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the Sentinels call what they guard.
pub const MASTER: &str = "house";

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
    /// The names in its certificate, where it is to listen with TLS as well; its own address where there are none.
    pub certified_as: Option<Vec<String>>,
    /// What its default user has to say, where that is to say anything.
    pub password: Option<String>,
    /// Whether it is one of several; whoever starts those sets it.
    pub kind: Kind,
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
        let free = || free_port(address.ip()).unwrap();
        let (tls_address, bus) = (free(), free().port());
        let mut redis = Self { process: None, pid: 0, home, address, tls_address, bus, options };
        if let Some(names) = &redis.options.certified_as {
            let own = || vec![redis.address.ip().to_string()];
            certify(&redis.home, if names.is_empty() { own() } else { names.clone() });
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
        if options.certified_as.is_some() {
            text += &format!("tls-port {}\ntls-auth-clients optional\n", tls_address.port());
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
        let name = if self.options.kind == Kind::Sentinel { "redis-sentinel" } else { "redis-server" };
        let program = find_program(name).unwrap_or_else(|| panic!("{name} is installed"));
        let mut process = Process::start(name, &program, &["redis.conf"], &self.home).unwrap();
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
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An authority, and a certificate that it signed.
fn certify(home: &Workspace, names: Vec<String>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    // One that has the name of what it signed would count as signed by itself.
    params.distinguished_name.push(DnType::CommonName, format!("authority of {}", home.path().display()));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    home.write("authority.pem", &issuer.pem()).unwrap();
    home.write("certificate.pem", &certificate.pem()).unwrap();
    home.write("key.pem", &key.serialize_pem()).unwrap();
}

/// A primary, a replica of it, and three Sentinels that have the other take its place when it is gone for a second.
pub struct Sentinel {
    /// The primary of the start comes first.
    pub servers: Vec<Redis>,
    pub guards: Vec<Redis>,
}

impl Sentinel {
    pub async fn start() -> Self {
        Self::with(Options::default(), None).await
    }

    /// With servers of this kind, and what has to be said to the Sentinels.
    pub async fn with(options: Options, guard_password: Option<&str>) -> Self {
        let primary = Redis::with(options.clone()).await;
        let master = primary.address;
        let mut of_replica = options.clone();
        of_replica.settings += &format!("\nreplicaof {} {}\n", master.ip(), master.port());
        if let Some(password) = &options.password {
            of_replica.settings += &format!("masterauth \"{password}\"\n");
        }
        let replica = Redis::with(of_replica).await;
        let mut guards = Vec::new();
        for _ in 0..3 {
            let auth = options.password.as_ref().map(|word| format!("sentinel auth-pass {MASTER} {word}\n"));
            let settings = format!(
                "sentinel monitor {MASTER} {} {} 2\nsentinel down-after-milliseconds {MASTER} 1000\n\
                 sentinel failover-timeout {MASTER} 5000\n{}",
                master.ip(),
                master.port(),
                auth.unwrap_or_default()
            );
            let password = guard_password.map(str::to_owned);
            guards.push(Redis::with(Options { settings, password, kind: Kind::Sentinel, certified_as: None }).await);
        }
        let sentinel = Self { servers: vec![primary, replica], guards };
        until("a replica that is in step", || sentinel.servers[1].tells("master_link_status:up")).await;
        let know = |guard: &Redis| {
            let told = guard.say(&["SENTINEL", "MASTER", MASTER]);
            let lines: Vec<&str> = told.lines().collect();
            let is = |key, number| lines.windows(2).any(|pair| pair == [key, number]);
            is("num-slaves", "1") && is("num-other-sentinels", "2")
        };
        until("Sentinels that know everybody", || sentinel.guards.iter().all(know)).await;
        sentinel
    }

    /// Where the Sentinels listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.guards.iter().map(Redis::address).collect()
    }

    /// Which of the servers the Sentinels take for the primary.
    pub fn primary(&self) -> usize {
        let told = self.guards[0].say(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
        let told = told.replace('\n', ":");
        self.servers.iter().position(|server| server.address.to_string() == told).unwrap()
    }

    /// Waits until another than this is the primary, and takes writes.
    pub async fn failed_over(&self, from: usize) {
        until("a new primary", || self.primary() != from && self.servers[self.primary()].tells("role:master")).await;
    }
}

/// Three primaries with a replica each, which takes its primary's place when that is gone for some seconds.
pub struct Cluster {
    pub nodes: Vec<Redis>,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// With nodes of this kind.
    pub async fn with(options: Options) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..6 {
            nodes.push(Redis::with(Options { kind: Kind::OfCluster, ..options.clone() }).await);
        }
        let addresses: Vec<String> = nodes.iter().map(|node| format!("{}@{}", node.address, node.bus)).collect();
        let mut words = vec!["--cluster", "create"];
        words.extend(addresses.iter().map(String::as_str));
        words.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        let told = nodes[0].say(&words);
        assert!(told.contains("All 16384 slots covered"), "{told}");
        let cluster = Self { nodes };
        until("a Cluster that agrees", || cluster.agrees()).await;
        until("replicas that are in step", || {
            let in_step = |node: &&Redis| node.tells("role:master") || node.tells("master_link_status:up");
            cluster.nodes.iter().filter(in_step).count() == cluster.nodes.len()
        })
        .await;
        cluster
    }

    /// Whether all nodes that run have all slots served.
    pub fn agrees(&self) -> bool {
        let mut running = self.nodes.iter().filter(|node| node.is_running());
        running.all(|node| node.say(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
    }

    /// Where all of them listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Redis::address).collect()
    }

    /// Where a key stands.
    pub fn slot(&self, key: &str) -> u16 {
        self.any().say(&["CLUSTER", "KEYSLOT", key]).parse().unwrap()
    }

    /// Which of the nodes serves a slot.
    pub fn holder(&self, slot: u16) -> usize {
        self.holder_now(slot).unwrap()
    }

    fn holder_now(&self, slot: u16) -> Option<usize> {
        let serves = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
        };
        let told = self.any().say(&["CLUSTER", "NODES"]);
        let node = told.lines().find(|line| line.split(' ').skip(8).any(serves) && !line.contains("fail"))?;
        let address = node.split([' ', '@']).nth(1)?;
        self.nodes.iter().position(|node| node.address.to_string() == address)
    }

    /// Begins to move a slot: what is in it stays where it is, and what is not is to be asked for at the other.
    pub fn begin_move(&self, slot: u16, to: usize) {
        let from = self.holder(slot);
        let slot = slot.to_string();
        self.nodes[to].say(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]);
        self.nodes[from].say(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]);
    }

    /// Moves what is in a slot after [`Cluster::begin_move`], and has all primaries know.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let text = slot.to_string();
        let (ip, port) = (self.nodes[to].address.ip().to_string(), self.nodes[to].address.port().to_string());
        for key in self.nodes[from].say(&["CLUSTER", "GETKEYSINSLOT", &text, "1000"]).lines() {
            self.nodes[from].say(&["MIGRATE", &ip, &port, key, "0", "5000"]);
        }
        let id = self.id(to);
        for node in [to, from].into_iter().chain(0..self.nodes.len()) {
            if self.nodes[node].is_running() && self.nodes[node].tells("role:master") {
                self.nodes[node].say(&["CLUSTER", "SETSLOT", &text, "NODE", &id]);
            }
        }
    }

    /// Waits until another than this node serves a slot, and all agree.
    pub async fn failed_over(&self, slot: u16, from: usize) {
        until("a new primary", || self.agrees() && self.holder_now(slot).is_some_and(|holder| holder != from)).await;
    }

    fn any(&self) -> &Redis {
        self.nodes.iter().find(|node| node.is_running()).unwrap()
    }

    fn id(&self, node: usize) -> String {
        self.nodes[node].say(&["CLUSTER", "MYID"])
    }
}

/// How a [`Line`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    Slow(Duration),
    Stalled,
    Cut,
}

/// A TCP connection's way, from an address of its own to another.
pub struct Line {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    accepting: JoinHandle<()>,
}

impl Line {
    /// To what listens there.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(free_address().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State::Whole));
        let seen = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let watching = seen.subscribe();
                tokio::spawn(carry(near, target, watching));
            }
        });
        Self { address, state, accepting }
    }

    /// Where it begins.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, and every new one at once.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Holds everything back. Connections stay, and new ones are taken.
    pub fn stall(&self) {
        self.state.send_replace(State::Stalled);
    }

    /// Holds every piece back for so long, each way.
    pub fn slow(&self, delay: Duration) {
        self.state.send_replace(State::Slow(delay));
    }

    /// All is well again; what was held back goes on.
    pub fn heal(&self) {
        self.state.send_replace(State::Whole);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

async fn carry(near: TcpStream, target: SocketAddr, watching: watch::Receiver<State>) {
    let mut cut = watching.clone();
    let both = async {
        let Ok(far) = TcpStream::connect(target).await else { return };
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        tokio::select! {
            () = one_way(near_in, far_out, watching.clone()) => {}
            () = one_way(far_in, near_out, watching.clone()) => {}
        }
    };
    tokio::select! {
        _ = cut.wait_for(|state| *state == State::Cut) => {}
        () = both => {}
    }
}

async fn one_way(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut watching: watch::Receiver<State>,
) {
    let mut piece = [0; 16384];
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else { return };
        let Ok(state) = watching.wait_for(|state| *state != State::Stalled).await.map(|state| *state) else { return };
        if let State::Slow(delay) = state {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
