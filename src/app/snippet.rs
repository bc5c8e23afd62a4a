use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::assemble::{self, Parts};
use super::cli::SnippetOptions;
use super::{FAILED, MISTAKES, complain, configuration_file, lines, say};
use crate::backend::BackendPlan;
use crate::domain::{Clock, SystemClock};
use crate::portal::{PortalPlan, Sessions};
use crate::snippet::{Door, File, Host, SERVERS, Site, SnippetError, Upstream};
use crate::wire::Errands;

/// What portals may take on top of a login at least, so that a web server need not be told of each that comes.
const LEAST_FOR_PORTALS: Duration = Duration::from_secs(10);

/// Prints the configuration of a web server, or writes it into a folder.
pub(super) fn run(options: SnippetOptions) -> ExitCode {
    let files = match files(&options) {
        Ok(files) => files,
        Err(message) => return complain(&message, MISTAKES),
    };
    match &options.into {
        None => say(&printed(&files), ExitCode::SUCCESS),
        Some(folder) => match write_all(folder, &files, options.force) {
            Ok(said) => say(&said, ExitCode::SUCCESS),
            Err(message) => complain(&message, FAILED),
        },
    }
}

fn files(options: &SnippetOptions) -> Result<Vec<File>, String> {
    let path = configuration_file(options.config.clone())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let read = assemble::read(&path, &clock, &Sessions::new(0), &Errands::new());
    let parts = read.map_err(|mistakes| lines(&mistakes))?;
    let server = SERVERS.iter().find(|server| server.name == options.server);
    let server = server.ok_or_else(|| format!("there is no snippet for {}", options.server))?;
    let site = site(&parts, options).and_then(|site| (server.write)(&site));
    site.map_err(|error| format!("{}: {error}", path.display()))
}

/// What the configuration means to a web server.
fn site(parts: &Parts, options: &SnippetOptions) -> Result<Site, SnippetError> {
    let settings = &parts.settings;
    let upstream = |backend: &BackendPlan| {
        let profile = backend.profile();
        let upstream = Upstream::new(&profile.name, &profile.kind, &profile.url)?;
        upstream.wanting(backend.has_query_key(), backend.script_cookies())
    };
    let upstreams = parts.backends.iter().map(upstream);
    let logins = parts.backends.iter().map(|backend| backend.profile().limits.login_timeout);
    let optional = |key, address: &Option<_>| address.as_ref().map(|address| Door::new(key, address)).transpose();
    let site = Site {
        public: options.listen,
        auth: Door::new("listen.auth", &settings.auth)?,
        fastcgi: optional("listen.fastcgi", &settings.fastcgi)?,
        grpc: optional("listen.grpc", &settings.grpc)?,
        identity_headers: settings.identity_headers.clone(),
        signed_out: settings.logout_return_to.first().map(Site::in_query),
        answer_limit: settings.answer_limit,
        longest_question: logins.max().unwrap_or_default().saturating_add(longest_for_portals(parts)),
        hosts: Host::of_routes(&settings.routes, &upstreams.collect::<Result<Vec<_>, _>>()?)?,
    };
    site.checked()
}

/// The longest that the portals of one route take, asked one after the other.
fn longest_for_portals(parts: &Parts) -> Duration {
    let longest = |name: &String| {
        let portal = parts.portals.iter().find(|portal| portal.name() == name);
        portal.map_or(Duration::ZERO, PortalPlan::longest_answer)
    };
    let of_routes = parts.settings.routes.iter().map(|route| route.portals.iter().map(longest).sum::<Duration>());
    of_routes.max().unwrap_or_default().max(LEAST_FOR_PORTALS)
}

/// One file as it is, several each under its name.
fn printed(files: &[File]) -> String {
    match files {
        [only] => only.text.clone(),
        several => several.iter().map(|file| format!("#### {}\n{}\n", file.path, file.text)).collect(),
    }
}

/// Writes what is not there yet, and tells of each.
fn write_all(folder: &Path, files: &[File], force: bool) -> Result<String, String> {
    let mut said = String::new();
    for file in files {
        let path = folder.join(file.path);
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut open = std::fs::OpenOptions::new();
        let open = if force { open.write(true).create(true).truncate(true) } else { open.write(true).create_new(true) };
        match open.open(&path) {
            Ok(mut opened) => {
                opened.write_all(file.text.as_bytes()).map_err(failed)?;
                said.push_str(&format!("{} written\n", path.display()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                said.push_str(&format!("{} is there already and stays as it is (--force)\n", path.display()));
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(said)
}
