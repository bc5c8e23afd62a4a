//! Apache with one worker process, and its modules that look at a cookie by themselves.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use keyward::domain::{Clock, SystemClock};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::common::servers::{Pinning, Process, free_address};

const MODULES: &str = "/usr/lib/apache2/modules";
const SECRET: &str = "only-for-this-bench-and-32-bytes-or-more";
const USER: &str = "user000000@example.test";

pub struct Apache {
    pub process: Process,
    pub has_tkt: bool,
    pub has_openidc: bool,
}

/// Starts it with those modules that are installed; `None` where it is not.
pub fn start(home: &Path, keyward: SocketAddr, pinning: &Pinning) -> Result<Option<Apache>, Box<dyn Error>> {
    if !Path::new("/usr/sbin/apache2").exists() {
        return Ok(None);
    }
    let load = |name: &str| {
        let file = format!("{MODULES}/mod_{name}.so");
        let is_there = Path::new(&file).exists();
        if !is_there {
            println!("without mod_{name}: install libapache2-mod-{} for it", name.replace('_', "-"));
        }
        is_there.then(|| format!("LoadModule {name}_module {file}"))
    };
    let (tkt, openidc) = (load("auth_tkt"), load("auth_openidc"));
    let (address, folder) = (free_address()?, home.join("apache"));
    fs::create_dir_all(&folder)?;
    let configuration = include_str!("apache.conf")
        .replace("@HOME@", &folder.to_string_lossy())
        .replace("@FILES@", &home.join("files").to_string_lossy())
        .replace("@MODULES@", MODULES)
        .replace("@KEYWARD@", &keyward.to_string())
        .replace("@SECRET@", SECRET)
        .replace("@LOAD_TKT@", tkt.as_deref().unwrap_or_default())
        .replace("@LOAD_OPENIDC@", openidc.as_deref().unwrap_or_default())
        .replace("@ADDRESS@", &address.to_string());
    fs::write(folder.join("httpd.conf"), configuration)?;
    let mut command = pinning.command("apache2");
    command.arg("-DFOREGROUND").arg("-f").arg(folder.join("httpd.conf"));
    let process = Process::start(command, address)?;
    Ok(Some(Apache { process, has_tkt: tkt.is_some(), has_openidc: openidc.is_some() }))
}

/// What a browser with a ticket of mod_auth_tkt sends, by the protocol in its README: for every address, with SHA-256.
pub fn ticket_line() -> Result<String, Box<dyn Error>> {
    let made = u32::try_from(SystemClock::new().unix())?;
    let (no_tokens, data) = ("", "staff");
    let mut inner = Sha256::new();
    inner.update([0; 4]);
    inner.update(made.to_be_bytes());
    inner.update([SECRET, USER, "\0", no_tokens, "\0", data].concat());
    let digest = hex(&Sha256::digest(hex(&inner.finalize()) + SECRET));
    let ticket = format!("{digest}{made:08x}{USER}!{data}");
    Ok(format!("Cookie: ticket={}", STANDARD.encode(ticket)))
}

/// What a browser with a token sends that mod_auth_openidc can check by itself.
pub fn token_line() -> Result<String, Box<dyn Error>> {
    let now = SystemClock::new().unix();
    let claims = json!({"sub": USER, "iss": "https://portal.example.test", "iat": now, "exp": now + 8 * 3600,
                        "name": "Ana Example", "roles": ["staff"]});
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?.chain_update(&signed).finalize().into_bytes();
    Ok(format!("Cookie: ticket={signed}.{}", URL_SAFE_NO_PAD.encode(mac)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
