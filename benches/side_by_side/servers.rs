//! The processes that are compared, the back-end that one of them logs in to, and what the kernel
//! says that they cost.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::load::{COOKIE, HOST, TICKET_KEY, TICKET_SECRET};

/// The keys that the back-end gives this person, both halves alike.
pub fn key(person: usize) -> String {
    format!("{person:032x}")
}

/// One processor for the servers and the others for us, so that each server has one and the same,
/// and runs as many threads as it thinks right for one.
pub struct Pinning {
    server: Option<String>,
}

impl Pinning {
    pub fn take() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let allowed =
            status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default().trim();
        let first: String = allowed.chars().take_while(char::is_ascii_digit).collect();
        let last = allowed.rsplit([',', '-']).next().unwrap_or_default();
        let own_pid = std::process::id().to_string();
        let pin = || Command::new("taskset").args(["-apc", last, &own_pid]).stdout(Stdio::null()).status();
        let pinned = first != last && pin().is_ok_and(|status| status.success());
        Self { server: pinned.then_some(first) }
    }

    pub fn command(&self, program: &str) -> Command {
        match &self.server {
            Some(processor) => {
                let mut command = Command::new("taskset");
                command.args(["-c", processor, program]);
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

/// A server that ends with us.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
}

impl Process {
    pub fn start(mut command: Command, address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut process = Self { child, address };
        for _ in 0..500 {
            if TcpStream::connect(address).is_ok() {
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
        let pid = self.child.id().to_string();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let mut nanoseconds = 0;
        for pid in children.split_whitespace().chain([pid.as_str()]) {
            for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
                let spent = fs::read_to_string(thread?.path().join("schedstat"))?;
                nanoseconds += spent.split(' ').next().unwrap_or_default().parse::<u64>()?;
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    pub fn resident_bytes(&self) -> Result<usize, Box<dyn Error>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kibibytes: usize = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
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
    /// `[listen] ops`.
    pub ops: &'a str,
    /// `keep_alive_interval` of the back-end.
    pub keep_alive_interval: &'a str,
    /// More tables.
    pub more: &'a str,
}

impl Default for Shape<'_> {
    fn default() -> Self {
        Self { ops: "off", keep_alive_interval: "1h", more: "" }
    }
}

/// `keyward serve`, as this very build has it.
pub struct Keyward {
    pub process: Process,
}

impl Keyward {
    pub fn start(
        program: &str,
        workspace: &Path,
        webmail: &Webmail,
        pinning: &Pinning,
        shape: &Shape<'_>,
    ) -> Result<Self, Box<dyn Error>> {
        let address = free_address()?;
        let Shape { ops, keep_alive_interval, more } = shape;
        let configuration = format!(
            r#"
[listen]
auth = "{address}"
ops  = "{ops}"
[log]
level = "warn"
[[portal]]
name      = "customer-portal"
kind      = "ticket"
cookie    = "{COOKIE}"
login_url = "https://portal.example.test/login?next={{url}}"
[[portal.key]]
id     = "{TICKET_KEY}"
secret = "{TICKET_SECRET}"
[[backend]]
name        = "mail"
kind        = "axigen"
url         = "http://{}"
credentials = "portal"
max_logins  = 64
idle_timeout = "4h"
keep_alive_interval = "{keep_alive_interval}"
[[route]]
host    = "{HOST}"
path    = "/"
portal  = "customer-portal"
backend = "mail"
{more}
"#,
            webmail.address
        );
        let file = workspace.join(format!("keyward-{}.toml", address.port()));
        fs::write(&file, configuration)?;
        let mut command = pinning.command(program);
        command.arg("serve").arg("-c").arg(file).env_remove("RUST_LOG");
        Ok(Self { process: Process::start(command, address)? })
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

/// A back-end that signs everybody in at once, in the way that is documented for Axigen.
pub struct Webmail {
    address: SocketAddr,
    asked: Arc<Asked>,
}

/// How often it was asked for what.
#[derive(Default)]
struct Asked {
    logins: AtomicUsize,
    checks: AtomicUsize,
}

impl Webmail {
    pub fn start() -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, asked) = (listener.local_addr()?, Arc::<Asked>::default());
        let counting = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = Arc::clone(&counting);
                // A connection that breaks is the client's to notice.
                std::thread::spawn(move || serve(&stream, &asked).is_ok());
            }
        });
        Ok(Self { address, asked })
    }

    /// Logins so far.
    pub fn logins(&self) -> usize {
        self.asked.logins.load(Ordering::Relaxed)
    }

    /// Checks of sessions so far.
    pub fn checks(&self) -> usize {
        self.asked.checks.load(Ordering::Relaxed)
    }

    /// Bytes of the keys of one session, cookie and query pair.
    pub fn key_bytes(&self) -> usize {
        "_hmail=".len() + "_h=".len() + 2 * key(0).len()
    }
}

fn serve(stream: &TcpStream, asked: &Asked) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let (mut length, mut is_logout) = (0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            is_logout |= line.contains("action=logout");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or_default();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body);
        let Some((_, number)) = body.split_once("username=user") else {
            asked.checks.fetch_add(usize::from(!is_logout), Ordering::Relaxed);
            writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        asked.logins.fetch_add(1, Ordering::Relaxed);
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        let key = key(digits.parse().unwrap_or_default());
        let answer = format!(
            "HTTP/1.1 303 See Other\r\nLocation: /?_h={key}\r\nSet-Cookie: _hmail={key}; path=/\r\n\
             Content-Length: 0\r\n\r\n"
        );
        writer.write_all(answer.as_bytes())?;
    }
}

/// An address that was free a moment ago.
pub fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
