//! The processes that are compared, and what the kernel says that they cost.

use std::error::Error;
use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::connections::Door;
use super::load::{HOST, portal};
use super::webmail::Webmail;

/// Which processors are the servers'. Each runs as many threads as it thinks right for them.
pub struct Pinning {
    server: Option<String>,
}

impl Pinning {
    /// One processor for the servers and another for us, so that each server has one and the same.
    pub fn take() -> Self {
        Self::apart(&processors())
    }

    /// The same, of these.
    pub fn apart(processors: &[usize]) -> Self {
        match *processors {
            [first, .., last] => Self::to(&[first], &[last]),
            _ => Self { server: None },
        }
    }

    /// These processors for the servers, and those for us and all threads that we have or start.
    pub fn to(servers: &[usize], own: &[usize]) -> Self {
        let own_pid = std::process::id().to_string();
        let pinned = Command::new("taskset").args(["-apc", &listed(own), &own_pid]).stdout(Stdio::null()).status();
        Self { server: pinned.is_ok_and(|status| status.success()).then(|| listed(servers)) }
    }

    /// Whether it is so.
    pub const fn holds(&self) -> bool {
        self.server.is_some()
    }

    pub fn command(&self, program: &str) -> Command {
        match &self.server {
            Some(processors) => {
                let mut command = Command::new("taskset");
                command.args(["-c", processors, program]);
                command
            }
            None => Command::new(program),
        }
    }
}

impl fmt::Display for Pinning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Some(_) => formatter.write_str("each server on one processor, the load on another"),
            None => formatter.write_str("no processor of its own for anybody, since there is one only or no taskset"),
        }
    }
}

/// The processors that we may use.
pub fn processors() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let ranges = allowed.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

fn listed(processors: &[usize]) -> String {
    processors.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// How many files a process that we start may have open.
pub fn open_files() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(usize::MAX)
}

/// Memory that is there for whoever wants it.
pub fn available_bytes() -> usize {
    kibibytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemAvailable:").unwrap_or(0)
}

/// What a file of the kernel's says in kibibytes, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse::<usize>().ok().map(|kibibytes| kibibytes * 1024)
}

/// A server that ends with us.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
}

impl Process {
    pub fn start(command: Command, address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        Self::start_until(command, address, || TcpStream::connect(address).is_ok())
    }

    /// Starts one that may listen elsewhere, and waits until it does.
    pub fn start_until(
        mut command: Command,
        address: SocketAddr,
        listens: impl Fn() -> bool,
    ) -> Result<Self, Box<dyn Error>> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut process = Self { child, address };
        for _ in 0..500 {
            if listens() {
                return Ok(process);
            }
            if let Some(status) = process.child.try_wait()? {
                return Err(format!("{command:?} ended with {status}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("{command:?} does not listen").into())
    }

    /// User and system time so far, of all threads and of the worker processes. Asked of the
    /// scheduler, which counts in nanoseconds; what `/proc/PID/stat` says is the same in hundredths of
    /// a second.
    pub fn processor_time(&self) -> Result<Duration, Box<dyn Error>> {
        self.scheduled(0)
    }

    /// How long all threads together have waited for a processor so far: for each other's, and for that of whatever
    /// else the machine does.
    pub fn waiting_time(&self) -> Result<Duration, Box<dyn Error>> {
        self.scheduled(1)
    }

    fn scheduled(&self, figure: usize) -> Result<Duration, Box<dyn Error>> {
        let pid = self.child.id().to_string();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let mut nanoseconds = 0;
        for pid in children.split_whitespace().chain([pid.as_str()]) {
            for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
                let spent = fs::read_to_string(thread?.path().join("schedstat"))?;
                nanoseconds += spent.split(' ').nth(figure).unwrap_or_default().parse::<u64>()?;
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    pub fn resident_bytes(&self) -> Result<usize, Box<dyn Error>> {
        self.memory("VmRSS:")
    }

    /// The most that it has been.
    pub fn peak_bytes(&self) -> Result<usize, Box<dyn Error>> {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> Result<usize, Box<dyn Error>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        Ok(kibibytes(&status, name).ok_or("the kernel does not say what memory it takes")?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // nginx ends its workers when it is asked to end, and would leave them when it is killed.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// What is not the same in all benches.
pub struct Shape<'a> {
    /// A Unix socket for `[listen] auth`, in the place of a port.
    pub socket: Option<&'a Path>,
    /// `[listen] ops`.
    pub ops: &'a str,
    /// `max_logins` of the back-end.
    pub max_logins: usize,
    /// `keep_alive_interval` of the back-end.
    pub keep_alive_interval: &'a str,
    /// More tables.
    pub more: &'a str,
}

impl Default for Shape<'_> {
    fn default() -> Self {
        Self { socket: None, ops: "off", max_logins: 64, keep_alive_interval: "1h", more: "" }
    }
}

/// `keyward serve`, as this very build has it.
pub struct Keyward {
    pub process: Process,
    pub http: Door,
    pub fastcgi: Door,
}

impl Keyward {
    pub fn start(
        program: &str,
        workspace: &Path,
        webmail: &Webmail,
        pinning: &Pinning,
        shape: &Shape<'_>,
    ) -> Result<Self, Box<dyn Error>> {
        Self::start_by(pinning.command(program), workspace, webmail, shape)
    }

    /// Starts it by a command that has the program already.
    pub fn start_by(
        mut command: Command,
        workspace: &Path,
        webmail: &Webmail,
        shape: &Shape<'_>,
    ) -> Result<Self, Box<dyn Error>> {
        let [address, fastcgi] = free_addresses()?;
        let Shape { socket, ops, max_logins, keep_alive_interval, more } = shape;
        let auth = socket.map_or_else(|| address.to_string(), |socket| format!("unix:{}", socket.display()));
        let configuration = format!(
            r#"
[listen]
auth    = "{auth}"
fastcgi = "{fastcgi}"
ops     = "{ops}"
[limits]
keys = 10000000
[log]
level = "error"
{}
[[backend]]
name        = "mail"
kind        = "axigen"
url         = "http://{}"
credentials = "portal"
max_logins  = {max_logins}
idle_timeout = "4h"
keep_alive_interval = "{keep_alive_interval}"
[[route]]
host    = "{HOST}"
path    = "/"
portal  = "customer-portal"
backend = "mail"
{more}
"#,
            portal(),
            webmail.address
        );
        let file = workspace.join(format!("keyward-{}.toml", fastcgi.port()));
        fs::write(&file, configuration)?;
        command.arg("serve").arg("-c").arg(file).env_remove("RUST_LOG");
        // FastCGI is opened after the other.
        let process = Process::start_until(command, address, || TcpStream::connect(fastcgi).is_ok())?;
        let http = socket.map_or(Door::Http(address), |socket| Door::HttpOverUnix(socket.to_owned()));
        Ok(Self { process, http, fastcgi: Door::Fastcgi(fastcgi) })
    }
}

/// An nginx with one worker that says yes to everybody.
pub struct Nginx {
    pub process: Process,
}

impl Nginx {
    pub fn is_installed() -> bool {
        Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Starts one whose answers have the same headers as this head, and the same length.
    pub fn start(workspace: &Path, head: &str, pinning: &Pinning) -> Result<Self, Box<dyn Error>> {
        let address = free_address()?;
        // What nginx writes by itself, with these settings.
        let own = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
                   Content-Length: 0\r\nConnection: keep-alive\r\n\r\n";
        let (mut length, mut lines) = (own.len(), String::new());
        let mut add = |name: &str, value: &str| {
            length += name.len() + value.len() + ": \r\n".len();
            lines.push_str(&format!("add_header {name} \"{value}\";\n"));
            head.len().saturating_sub(length)
        };
        let mut missing = head.len();
        for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
            // Some it writes by itself, an empty one it would not send, and for what it writes more
            // than Keyward the smallest has to go.
            let own = ["content-length", "date", "cache-control"].contains(&name);
            if !own && !value.is_empty() {
                missing = add(name, value);
            }
        }
        if let Some(missing) = missing.checked_sub("X: \r\n".len()).filter(|missing| *missing > 0) {
            add("X", &"x".repeat(missing));
        }
        let configuration = format!(
            "daemon off; worker_processes 1; pid nginx.pid; error_log stderr;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; server_tokens off; keepalive_requests 1000000000; default_type \"\";\n\
             client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n\
             server {{ listen {address}; location / {{ {lines} return 200; }} }} }}\n"
        );
        fs::write(workspace.join("nginx.conf"), configuration)?;
        let mut command = pinning.command("nginx");
        command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(workspace);
        Ok(Self { process: Process::start(command, address)? })
    }
}

/// Addresses that were free a moment ago.
pub fn free_addresses<const COUNT: usize>() -> std::io::Result<[SocketAddr; COUNT]> {
    let listeners = (0..COUNT).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); COUNT];
    for (address, listener) in addresses.iter_mut().zip(listeners) {
        *address = listener.local_addr()?;
    }
    Ok(addresses)
}

/// One such address.
pub fn free_address() -> std::io::Result<SocketAddr> {
    free_addresses::<1>().map(|[address]| address)
}
