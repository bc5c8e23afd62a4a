//! oauth2-proxy, with one session that it has opened itself: somebody has signed in at its own form, by a file of
//! passwords, so that no provider is needed. It keeps the session in its cookie, and nothing of it in memory.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::common::load::HOST;
use crate::common::servers::{Pinning, Process};

/// Names the program, where it is not in `PATH`.
pub const PROGRAM: &str = "KEYWARD_OAUTH2_PROXY";
const USER: &str = "user000000@example.test";
const PASSWORD: &str = "correct horse";

pub struct Oauth2Proxy {
    pub process: Process,
    /// What a browser that is signed in sends.
    pub cookie_line: String,
}

/// Starts it and signs somebody in; `None` where it is not installed.
pub fn start(home: &Path, address: SocketAddr, pinning: &Pinning) -> Result<Option<Oauth2Proxy>, Box<dyn Error>> {
    let program = std::env::var(PROGRAM).unwrap_or_else(|_| "oauth2-proxy".to_owned());
    let version = Command::new(&program).arg("--version").stdout(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let passwords = home.join("passwords");
    fs::write(&passwords, format!("{USER}:{{SHA}}{}\n", STANDARD.encode(Sha1::digest(PASSWORD))))?;
    let mut command = pinning.command(&program);
    command.arg(format!("--http-address={address}"));
    command.arg(format!("--htpasswd-file={}", passwords.display()));
    command.args(["--set-xauthrequest", "--reverse-proxy", "--cookie-secret=0123456789abcdef0123456789abcdef"]);
    command.args(["--request-logging=false", "--auth-logging=false", "--standard-logging=false"]);
    // A provider must be named. Nobody asks this one.
    command.args(["--provider=github", "--client-id=none", "--client-secret=none"]);
    for end in ["login", "redeem", "validate"] {
        command.arg(format!("--{end}-url=http://127.0.0.1:1/"));
    }
    command.stderr(Stdio::null());
    let process = Process::start(command, address)?;
    let cookie_line = sign_in(address)?;
    Ok(Some(Oauth2Proxy { process, cookie_line }))
}

fn sign_in(address: SocketAddr) -> Result<String, Box<dyn Error>> {
    let form = format!("username={}&password={}", USER.replace('@', "%40"), PASSWORD.replace(' ', "+"));
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST /oauth2/sign_in HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let cookie = answer.lines().find_map(|line| line.strip_prefix("Set-Cookie: "));
    let cookie = cookie.and_then(|line| line.split(';').next());
    Ok(format!("Cookie: {}", cookie.ok_or_else(|| format!("oauth2-proxy signs nobody in: {answer}"))?))
}
