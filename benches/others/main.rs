//! What signing in costs a web server for each request, with Keyward and with what people use otherwise:
//! `cargo bench --bench others`. One small file is fetched over kept connections by somebody who is signed in, from
//! nginx and from Apache, once open to all and once behind each program. What a program costs is the difference, in
//! processor time of the web server and everything it asks. See `benches/README.md`.

mod apache;
#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "another bench uses more of it")]
mod common;
mod lemonldap;
mod oauth2_proxy;

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use keyward::observe::Stopwatch;

use common::connections::{Ask, Connections, Door};
use common::figures::median;
use common::load::{Crowd, HOST};
use common::servers::{Keyward, Pinning, Process, Shape, free_addresses};
use common::webmail::Webmail;

/// What everybody fetches.
const FILE: &str = "hello\n";
const CONNECTIONS: usize = 16;
/// Requests in a turn.
const TURN: usize = 1_000;
const ROUNDS: usize = 31;
/// When no new round begins. Three are run in any case.
const LONGEST: f64 = 180.0;

fn main() -> Result<(), Box<dyn Error>> {
    if !common::is_asked("--bench others") {
        return Ok(());
    }
    let (stopwatch, pinning, workspace) = (Stopwatch::start(), Pinning::take(), tempfile::tempdir()?);
    let home = workspace.path();
    let files = home.join("files");
    for folder in ["", "tkt", "openidc", "keyward"] {
        fs::create_dir_all(files.join(folder))?;
        fs::write(files.join(folder).join("file.txt"), FILE)?;
    }
    // Servers that are started by root read as somebody else.
    fs::set_permissions(home, fs::Permissions::from_mode(0o755))?;

    let (webmail, crowd) = (Webmail::start()?, Crowd::of(1)?);
    let keyward = Keyward::start(&common::program(), home, &webmail, &pinning, &Shape::default())?;
    Connections::open(keyward.http.clone(), 1)?.ask(&crowd, [0], Ask::ForKeys)?;
    let lemonldap = lemonldap::start(home, &pinning)?;
    let [open, by_keyward, by_lemonldap, by_oauth2_proxy, asked] = free_addresses()?;
    let oauth2_proxy = oauth2_proxy::start(home, asked, &pinning)?;
    let doors = [open, by_keyward, by_lemonldap, by_oauth2_proxy];
    let nginx = nginx(home, &pinning, [keyward.process.address, asked], doors)?;
    let Door::Fastcgi(fastcgi) = keyward.fastcgi else { return Err("FastCGI listens on a port".into()) };
    let apache = apache::start(home, fastcgi, &pinning)?;

    let cookie = |line: &str| line.trim_end().to_owned();
    let mut schemes = vec![
        Scheme::of("nginx", None, open, "/file.txt", String::new(), vec![&nginx]),
        Scheme::of(
            "nginx, Keyward",
            Some(0),
            by_keyward,
            "/file.txt",
            cookie(&crowd.cookie_line(0)),
            vec![&nginx, &keyward.process],
        ),
    ];
    match &lemonldap {
        Some(helper) => schemes.push(Scheme::of(
            "nginx, LemonLDAP::NG",
            Some(0),
            by_lemonldap,
            "/file.txt",
            lemonldap::cookie_line(),
            vec![&nginx, helper],
        )),
        None => println!("without LemonLDAP::NG: install lemonldap-ng-fastcgi-server for it"),
    }
    match &oauth2_proxy {
        Some(proxy) => schemes.push(Scheme::of(
            "nginx, oauth2-proxy",
            Some(0),
            by_oauth2_proxy,
            "/file.txt",
            proxy.cookie_line.clone(),
            vec![&nginx, &proxy.process],
        )),
        None => println!("without oauth2-proxy: have it in PATH, or name it in {}, for it", oauth2_proxy::PROGRAM),
    }
    match &apache {
        Some(apache) => {
            let plain = schemes.len();
            let scheme = |name, reference, path, line| {
                Scheme::of(name, reference, apache.process.address, path, line, vec![&apache.process])
            };
            schemes.push(scheme("Apache", None, "/file.txt", String::new()));
            let mut by_keyward =
                scheme("Apache, Keyward", Some(plain), "/keyward/file.txt", cookie(&crowd.cookie_line(0)));
            by_keyward.processes.push(&keyward.process);
            schemes.push(by_keyward);
            if apache.has_tkt {
                schemes.push(scheme("Apache, mod_auth_tkt", Some(plain), "/tkt/file.txt", apache::ticket_line()?));
            }
            if apache.has_openidc {
                schemes.push(scheme(
                    "Apache, mod_auth_openidc",
                    Some(plain),
                    "/openidc/file.txt",
                    apache::token_line()?,
                ));
            }
        }
        None => println!("without Apache: install apache2-bin for it"),
    }
    println!("{pinning}");
    let mut round = 0;
    while round < ROUNDS && (round < 3 || stopwatch.seconds() < LONGEST) {
        let count = schemes.len();
        for place in (0..count).map(|place| (place + round) % count) {
            schemes[place].turn()?;
        }
        round += 1;
    }
    report(&schemes, round);
    println!("took {:.0} s", stopwatch.seconds());
    Ok(())
}

fn report(schemes: &[Scheme<'_>], rounds: usize) {
    println!("\nprocessor time of a request in microseconds, medians of {rounds} rounds of {TURN} requests");
    println!("{:<28} {:>8} {:>10} {:>18}", "", "in all", "of it for", "against Keyward");
    println!("{:<28} {:>8} {:>10} {:>18}", "", "", "signing in", "");
    let cost = |scheme: &Scheme<'_>| median(&scheme.costs);
    let added = |scheme: &Scheme<'_>| scheme.reference.map(|plain| cost(scheme) - cost(&schemes[plain]));
    let keyward = added(&schemes[1]).unwrap_or(f64::NAN);
    for scheme in schemes {
        match added(scheme) {
            None => println!("{:<28} {:>8.1}", scheme.name, cost(scheme)),
            Some(added) => {
                println!("{:<28} {:>8.1} {added:>10.1} {:>18.2}", scheme.name, cost(scheme), added / keyward);
            }
        }
    }
}

/// The web server whose doors lead to the file, past one of those programs or none.
fn nginx(
    home: &Path,
    pinning: &Pinning,
    [keyward, oauth2_proxy]: [SocketAddr; 2],
    [open, by_keyward, by_lemonldap, by_oauth2_proxy]: [SocketAddr; 4],
) -> Result<Process, Box<dyn Error>> {
    let folder = home.join("nginx");
    fs::create_dir_all(&folder)?;
    let configuration = include_str!("nginx.conf")
        .replace("@FILES@", &home.join("files").to_string_lossy())
        .replace("@KEYWARD@", &keyward.to_string())
        .replace("@LEMONLDAP@", &lemonldap::socket(home).to_string_lossy())
        .replace("@OAUTH2_PROXY@", &oauth2_proxy.to_string())
        .replace("@OPEN@", &open.to_string())
        .replace("@BY_KEYWARD@", &by_keyward.to_string())
        .replace("@BY_LEMONLDAP@", &by_lemonldap.to_string())
        .replace("@BY_OAUTH2_PROXY@", &by_oauth2_proxy.to_string());
    fs::write(folder.join("nginx.conf"), configuration)?;
    let mut command = pinning.command("nginx");
    command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(&folder);
    Process::start(command, open)
}

/// One way to get the file.
struct Scheme<'a> {
    name: &'static str,
    /// The same server without anybody to sign in.
    reference: Option<usize>,
    address: SocketAddr,
    request: String,
    /// Whoever works for an answer.
    processes: Vec<&'a Process>,
    /// Microseconds of processor time for each request, one figure a round.
    costs: Vec<f64>,
}

impl<'a> Scheme<'a> {
    fn of(
        name: &'static str,
        reference: Option<usize>,
        address: SocketAddr,
        path: &str,
        cookie_line: String,
        processes: Vec<&'a Process>,
    ) -> Self {
        let end = if cookie_line.is_empty() { "\r\n" } else { "\r\n\r\n" };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAccept: */*\r\nAccept-Language: en-GB,en;q=0.5\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n{cookie_line}{end}"
        );
        Self { name, reference, address, request, processes, costs: Vec::new() }
    }

    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        let open = || {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            Ok::<_, std::io::Error>(stream)
        };
        let mut streams = (0..CONNECTIONS).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
        // Accepting them is no part of a request.
        self.fetch(&mut streams, CONNECTIONS)?;
        let before = self.spent()?;
        self.fetch(&mut streams, TURN)?;
        let took = self.spent()?.saturating_sub(before);
        self.costs.push(took.as_secs_f64() * 1e6 / TURN as f64);
        Ok(())
    }

    fn spent(&self) -> Result<Duration, Box<dyn Error>> {
        self.processes.iter().map(|process| process.processor_time()).sum()
    }

    /// Fetches the file so often, over all connections in turn.
    fn fetch(&self, streams: &mut [TcpStream], mut times: usize) -> Result<(), Box<dyn Error>> {
        while times > 0 {
            let some = times.min(streams.len());
            for stream in &mut streams[..some] {
                stream.write_all(self.request.as_bytes())?;
            }
            for stream in &mut streams[..some] {
                self.read(stream)?;
            }
            times -= some;
        }
        Ok(())
    }

    fn read(&self, stream: &mut TcpStream) -> Result<(), Box<dyn Error>> {
        let (mut answer, mut length) = ([0; 4096], 0);
        let end = format!("\r\n\r\n{FILE}");
        while !answer[..length].ends_with(end.as_bytes()) {
            let read = stream.read(&mut answer[length..])?;
            length += read;
            let is_other = length >= 12 && !answer.starts_with(b"HTTP/1.1 200");
            if read == 0 || is_other {
                let said = String::from_utf8_lossy(&answer[..length]);
                return Err(format!("{}: not the file: {said}", self.name).into());
            }
        }
        let head = String::from_utf8_lossy(&answer[..length]).to_ascii_lowercase();
        if self.reference.is_some() && !head.contains("x-user: user000000") {
            return Err(format!("{}: nobody was signed in: {head}", self.name).into());
        }
        Ok(())
    }
}
