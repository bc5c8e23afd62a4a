//! nginx, with the shipped example or with files of the caller.

use std::net::SocketAddr;
use std::path::Path;

use super::DemoError;
use super::process::{Address, Process, Workspace, find_program};

/// The files in `examples/nginx/`, but for `site.conf`: it alone holds addresses and host names, so
/// whoever brings another `site.conf` runs the very files that are shipped.
pub const SHIPPED: &[(&str, &str)] = &[
    ("nginx.conf", include_str!("../../examples/nginx/nginx.conf")),
    ("keyward/http.conf", include_str!("../../examples/nginx/keyward/http.conf")),
    ("keyward/server.inc", include_str!("../../examples/nginx/keyward/server.inc")),
    ("keyward/style.inc", include_str!("../../examples/nginx/keyward/style.inc")),
    ("keyward/call.inc", include_str!("../../examples/nginx/keyward/call.inc")),
    ("keyward/ask.inc", include_str!("../../examples/nginx/keyward/ask.inc")),
    ("keyward/answer.inc", include_str!("../../examples/nginx/keyward/answer.inc")),
    ("keyward/protected.inc", include_str!("../../examples/nginx/keyward/protected.inc")),
    ("keyward/forward.inc", include_str!("../../examples/nginx/keyward/forward.inc")),
    ("keyward/upstream.inc", include_str!("../../examples/nginx/keyward/upstream.inc")),
    ("keyward/page.inc", include_str!("../../examples/nginx/keyward/page.inc")),
    ("keyward/axigen.inc", include_str!("../../examples/nginx/keyward/axigen.inc")),
    ("keyward/epixel.inc", include_str!("../../examples/nginx/keyward/epixel.inc")),
    ("keyward/epixel-host.inc", include_str!("../../examples/nginx/keyward/epixel-host.inc")),
    ("keyward/one-time-token.inc", include_str!("../../examples/nginx/keyward/one-time-token.inc")),
    ("keyward/form.inc", include_str!("../../examples/nginx/keyward/form.inc")),
    ("keyward/open-xchange.inc", include_str!("../../examples/nginx/keyward/open-xchange.inc")),
    ("keyward/roundcube.inc", include_str!("../../examples/nginx/keyward/roundcube.inc")),
    ("keyward/sogo.inc", include_str!("../../examples/nginx/keyward/sogo.inc")),
    ("keyward/zimbra.inc", include_str!("../../examples/nginx/keyward/zimbra.inc")),
    ("keyward/websydian.inc", include_str!("../../examples/nginx/keyward/websydian.inc")),
    ("keyward/portal.inc", include_str!("../../examples/nginx/keyward/portal.inc")),
];

/// A running nginx, with all its files below one directory.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
}

impl Nginx {
    /// Starts nginx with these files, of which one is `nginx.conf`, and waits until it accepts
    /// connections at `address`.
    ///
    /// # Errors
    /// [`DemoError::Configuration`] with nginx's own words where it does not like the files;
    /// otherwise when it is missing or does not come up.
    pub async fn start(directory: &Path, files: &[(&str, &str)], address: SocketAddr) -> Result<Self, DemoError> {
        let program = find_program("nginx").ok_or(DemoError::Missing("nginx"))?;
        let workspace = Workspace::at(directory)?;
        for (name, content) in files {
            if let Some((folder, _)) = name.rsplit_once('/') {
                workspace.directory(folder)?;
            }
            workspace.write(name, content)?;
        }
        let prefix = format!("{}/", workspace.path().display());
        // The log that is compiled in may be out of our reach, hence -e.
        let arguments = ["-e", "stderr", "-p", &prefix, "-c", "nginx.conf"];
        let test = workspace.command(&program).args(arguments).arg("-t").output();
        let test = test.map_err(|error| DemoError::file(&program, &error))?;
        if !test.status.success() {
            return Err(DemoError::Configuration(String::from_utf8_lossy(&test.stderr).trim().to_owned()));
        }
        let mut process =
            Process::start("nginx", &program, &[&arguments[..], &["-g", "daemon off;"]].concat(), &workspace)?;
        process.ready(&Address::Tcp(address)).await?;
        Ok(Self { process })
    }

    /// Starts nginx with the files of `examples/nginx/` and this `site.conf`.
    ///
    /// # Errors
    /// As [`Nginx::start`].
    pub async fn start_shipped(directory: &Path, site: &str, address: SocketAddr) -> Result<Self, DemoError> {
        let files: Vec<(&str, &str)> = SHIPPED.iter().copied().chain([("site.conf", site)]).collect();
        Self::start(directory, &files, address).await
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// It does not; with the end of its log.
    pub fn check(&mut self) -> Result<(), DemoError> {
        self.process.check()
    }
}
