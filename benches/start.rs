//! What a start of Keyward takes, and what it takes to be there: `cargo bench --bench start`. Starts `keyward serve`
//! with a hundred routes again and again, asks its door until there is an answer, and looks at its memory while nobody
//! asks anything. It ends well, whatever it measures. See `benches/README.md`.

#[path = "common/mod.rs"]
#[expect(dead_code, reason = "another bench uses more of it")]
mod common;

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keyward::observe::Stopwatch;

use common::figures::median;

const ROUTES: usize = 100;
/// As many portals and as many back-ends.
const PARTIES: usize = 20;
/// So many portals, and so many back-ends, are asked over TLS.
const SECURE: usize = 4;
const STARTS: usize = 21;
/// How long it is left alone before its memory is looked at.
const REST: Duration = Duration::from_millis(500);
/// Between two attempts to be answered.
const PAUSE: Duration = Duration::from_micros(100);
/// When it is given up.
const LONGEST: f64 = 60.0;

const MILLISECONDS_TARGET: f64 = 50.0;
const MEMORY_TARGET: f64 = 15.0;
const SIZE_TARGET: f64 = 20.0;
const MEBIBYTE: f64 = 1024.0 * 1024.0;

fn main() -> Result<(), Box<dyn Error>> {
    if !common::is_asked("--bench start") {
        return Ok(());
    }
    let program = common::program();
    let workspace = tempfile::tempdir()?;
    let file = workspace.path().join("keyward.toml");
    let (mut times, mut sizes, mut own) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        fs::write(&file, configuration(address)?)?;
        let stopwatch = Stopwatch::start();
        let started = Started::from(&program, &file)?;
        started.wait_for_answer(address, &stopwatch)?;
        times.push(stopwatch.seconds() * 1e3);
        std::thread::sleep(REST);
        sizes.push(started.mebibytes("VmRSS:")?);
        own.push(started.mebibytes("RssAnon:")?);
    }
    println!("{ROUTES} routes, {PARTIES} portals, {PARTIES} back-ends; medians of {STARTS} starts");
    verdict("milliseconds from exec to the first answer", median(&times), MILLISECONDS_TARGET);
    verdict("MiB resident while idle", median(&sizes), MEMORY_TARGET);
    println!("of them, MiB that are no file's: {:.1}", median(&own));
    verdict("MiB of the program's file", fs::metadata(&program)?.len() as f64 / MEBIBYTE, SIZE_TARGET);
    Ok(())
}

/// A program that ends with us.
struct Started(Child);

impl Started {
    fn from(program: &str, file: &Path) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(program);
        command.arg("serve").arg("-c").arg(file).env_remove("RUST_LOG").stdin(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    /// Asks for a decision until somebody answers.
    fn wait_for_answer(&self, address: SocketAddr, stopwatch: &Stopwatch) -> Result<(), Box<dyn Error>> {
        while stopwatch.seconds() < LONGEST {
            if let Ok(mut stream) = TcpStream::connect(address) {
                stream.write_all(
                    b"GET /authz/auth-request HTTP/1.1\r\nHost: keyward\r\nConnection: close\r\n\
                      X-Original-URL: https://mail-0.example.test/\r\nX-Original-Method: GET\r\n\r\n",
                )?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                // Nobody is signed in.
                if answer.starts_with("HTTP/1.1 401 ") {
                    return Ok(());
                }
                return Err(format!("not the answer that was expected: {answer}").into());
            }
            std::thread::sleep(PAUSE);
        }
        Err("it does not listen".into())
    }

    /// A size that the kernel tells of the process under this name.
    fn mebibytes(&self, name: &str) -> Result<f64, Box<dyn Error>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("the kernel does not tell")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / MEBIBYTE)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Portals that verify by themselves and portals that ask, and three kinds of back-end.
fn configuration(address: SocketAddr) -> Result<String, std::fmt::Error> {
    let mut text = format!("[listen]\nauth = \"{address}\"\nops = \"off\"\n[log]\nlevel = \"warn\"\n");
    for number in 0..PARTIES {
        let scheme = if number < SECURE { "https" } else { "http" };
        let portal = if number % 2 == 0 {
            format!("kind = \"introspect\"\nurl = \"{scheme}://portal-{number}.example.test/session\"\n")
        } else {
            "kind = \"ticket\"\n[[portal.key]]\nid = \"2026a\"\nsecret = \"only for this bench, and 32 bytes or more\"\n"
                .to_owned()
        };
        let kind = ["axigen", "roundcube", "sogo"][number % 3];
        write!(
            text,
            "[[portal]]\nname = \"portal-{number}\"\ncookie = \"session_{number}\"\n\
             login_url = \"https://portal-{number}.example.test/login?next={{url}}\"\n{portal}\
             [[backend]]\nname = \"mail-{number}\"\nkind = \"{kind}\"\ncredentials = \"portal\"\n\
             url = \"{scheme}://mail-{number}.internal.test\"\n"
        )?;
    }
    for number in 0..ROUTES {
        let party = number % PARTIES;
        write!(
            text,
            "[[route]]\nhost = \"mail-{number}.example.test\"\nportal = \"portal-{party}\"\nbackend = \"mail-{party}\"\n"
        )?;
    }
    Ok(text)
}

fn verdict(what: &str, measured: f64, target: f64) {
    let met = if measured <= target { "met" } else { "MISSED" };
    println!("{what}: {measured:.1}, target at most {target}: {met}");
}
