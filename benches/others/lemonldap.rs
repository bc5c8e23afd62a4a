//! LemonLDAP::NG's handler as a FastCGI server with one process, its sessions in files, which it keeps in its own
//! cache for a while. It runs as somebody else than root, as it insists on.

use std::error::Error;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keyward::domain::{Clock, SystemClock};
use serde_json::json;

use crate::common::load::HOST;
use crate::common::servers::{Pinning, Process, free_address};

const PROGRAM: &str = "llng-fastcgi-server";
/// Whom it runs as where it was started by root.
const SOMEBODY: &str = "www-data";
/// The id of the one session that there is.
const SESSION: &str = "00000000000000000000000000000000000000000000000000000000000000a1";

/// Where it listens.
pub fn socket(home: &Path) -> PathBuf {
    home.join("lemonldap").join("socket")
}

/// What a browser that is signed in sends.
pub fn cookie_line() -> String {
    format!("Cookie: lemonldap={SESSION}")
}

/// Starts it with one session; `None` where it is not installed.
pub fn start(home: &Path, pinning: &Pinning) -> Result<Option<Process>, Box<dyn Error>> {
    if !Path::new("/usr/sbin").join(PROGRAM).exists() {
        return Ok(None);
    }
    let folder = home.join("lemonldap");
    for part in ["conf", "sessions", "lock", "cache"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let at = |part: &str| folder.join(part).to_string_lossy().into_owned();
    let cache = |name: &str| {
        json!({"namespace": name, "default_expires_in": 600, "directory_umask": "007", "cache_root": at("cache"),
               "cache_depth": 3})
    };
    let options = json!({"Directory": at("sessions"), "LockDirectory": at("lock")});
    let configuration = json!({
        "cfgNum": 1, "cfgAuthor": "bench", "cfgDate": "1700000000", "cfgVersion": "2.16.1", "cookieName": "lemonldap",
        "domain": "example.test", "portal": "https://portal.example.test/", "securedCookie": 0, "timeout": 72_000,
        "timeoutActivity": 0, "key": "0123456789abcdef", "whatToTrace": "uid",
        "globalStorage": "Apache::Session::File", "globalStorageOptions": options,
        "persistentStorage": "Apache::Session::File", "persistentStorageOptions": options,
        "localSessionStorage": "Cache::FileCache", "localSessionStorageOptions": cache("sessions"),
        "locationRules": {HOST: {"default": "accept"}},
        "exportedHeaders": {HOST: {"Remote-User": "$uid"}},
        "exportedVars": {}, "macros": {}, "groups": {},
    });
    fs::write(folder.join("conf").join("lmConf-1.json"), configuration.to_string())?;
    let settings = format!(
        "[all]\nlogLevel = error\ncheckTime = 600\n[configuration]\ntype = File\ndirName = {}\n\
         localStorage = Cache::FileCache\nlocalStorageOptions = {{ 'namespace' => 'conf', 'cache_root' => '{}' }}\n\
         [portal]\n[handler]\nstatus = 0\nuseRedirectOnError = 0\n",
        at("conf"),
        at("cache")
    );
    fs::write(folder.join("settings.ini"), settings)?;
    let now = SystemClock::new().unix();
    let session = json!({
        "_session_id": SESSION, "_session_kind": "SSO", "_utime": now, "_lastAuthnUTime": now,
        "uid": "user000000@example.test", "cn": "Ana Example", "groups": "staff", "ipAddr": "127.0.0.1",
    });
    fs::write(folder.join("sessions").join(SESSION), session.to_string())?;
    let mut command = pinning.command(PROGRAM);
    command.args(["--foreground", "-n", "1"]).arg("-p").arg(folder.join("pid")).arg("-s").arg(socket(home));
    command.env("LLNG_DEFAULTCONFFILE", folder.join("settings.ini"));
    command.env("LLNG_DEFAULTLOGGER", "Lemonldap::NG::Common::Logger::Std").stderr(Stdio::null());
    if Command::new("chown").args(["-R", SOMEBODY]).arg(&folder).stderr(Stdio::null()).status()?.success() {
        command.args(["-u", SOMEBODY, "-g", SOMEBODY]);
    }
    Process::start_until(command, free_address()?, || UnixStream::connect(socket(home)).is_ok()).map(Some)
}
