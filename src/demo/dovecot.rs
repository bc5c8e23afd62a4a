//! A Dovecot of our own: own configuration, own users, own mail, no rights.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

use super::process::{Address, Process, Workspace, find_program, free_address};
use super::{DemoError, Person};

/// A running IMAP server.
#[derive(Debug)]
pub struct Dovecot {
    process: Process,
    address: SocketAddr,
}

impl Dovecot {
    /// Starts an IMAP server below a directory, with one mailbox for each person and in it one
    /// message with the person's subject. Waits until it accepts connections.
    ///
    /// # Errors
    /// Dovecot is missing, has another version than 2.3 or 2.4, or does not come up.
    pub async fn start(directory: &Path, people: &[Person]) -> Result<Self, DemoError> {
        let program = find_program("dovecot").ok_or(DemoError::Missing("dovecot"))?;
        let workspace = Workspace::at(directory)?;
        let dialect = dialect(&workspace, &program)?;
        let mut users = String::new();
        for person in people {
            if !person.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@.-_".contains(&byte)) {
                return Err(DemoError::PersonName(person.name.clone()));
            }
            // Base64, so that a password may hold what separates the fields of this file.
            let password = STANDARD.encode(person.password.expose_secret());
            let _ = writeln!(users, "{}:{{PLAIN.b64}}{password}", person.name);
            deliver(&workspace, person)?;
        }
        workspace.write("users", &users)?;
        let address = free_address()?;
        let configuration = workspace.write("dovecot.conf", &configuration(&workspace, address, dialect))?;
        let configuration = configuration.to_string_lossy();
        let mut process = Process::start("dovecot", &program, &["-F", "-c", &configuration], &workspace)?;
        process.ready(&Address::Tcp(address)).await?;
        Ok(Self { process, address })
    }

    /// Where it speaks IMAP, without TLS.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// It does not; with the end of its log.
    pub fn check(&mut self) -> Result<(), DemoError> {
        self.process.check()
    }
}

/// Dovecot changed its configuration's language with 2.4.
#[derive(Clone, Copy)]
enum Dialect {
    Before24,
    Since24,
}

fn dialect(workspace: &Workspace, program: &Path) -> Result<Dialect, DemoError> {
    let output = workspace.command(program).arg("--version").output();
    let output = output.map_err(|error| DemoError::file(program, &error))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match version.get(..4) {
        Some("2.3.") => Ok(Dialect::Before24),
        Some("2.4.") => Ok(Dialect::Since24),
        _ => Err(DemoError::DovecotVersion(version)),
    }
}

fn deliver(workspace: &Workspace, person: &Person) -> Result<(), DemoError> {
    let maildir = format!("mail/{}/Maildir", person.name);
    for part in ["cur", "tmp"] {
        workspace.directory(&format!("{maildir}/{part}"))?;
    }
    let new = workspace.directory(&format!("{maildir}/new"))?;
    let message = format!(
        "From: Keyward <keyward@example.test>\r\nTo: {0} <{0}@example.test>\r\nSubject: {1}\r\n\
         Message-ID: <welcome.{0}@example.test>\r\nDate: Mon, 05 Jan 2026 09:00:00 +0000\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nYou were signed in without a second password.\r\n",
        person.name, person.subject
    );
    new.write("1767603600.welcome.example", &message)?;
    Ok(())
}

fn configuration(workspace: &Workspace, address: SocketAddr, dialect: Dialect) -> String {
    let directory = workspace.path().display();
    let (user, group) = (&workspace.account().user, &workspace.account().group);
    let (ip, port) = (address.ip(), address.port());
    let (head, unlimited, listen, tail) = match dialect {
        Dialect::Before24 => (
            "disable_plaintext_auth = no",
            "service_count = 0",
            "address",
            format!(
                "passdb {{
  driver = passwd-file
  args = username_format=%u {directory}/users
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={directory}/mail/%u
}}
mail_location = maildir:~/Maildir"
            ),
        ),
        Dialect::Since24 => (
            "auth_allow_cleartext = yes",
            "restart_request_count = unlimited",
            "listen",
            format!(
                "passdb passwd-file {{
  passwd_file_path = {directory}/users
}}
userdb static {{
  fields {{
    uid = {user}
    gid = {group}
    home = {directory}/mail/%{{user}}
  }}
}}
mail_driver = maildir
mail_path = ~/Maildir"
            ),
        ),
    };
    // 2.4 wants to be told first which version the file was written for.
    let first = match dialect {
        Dialect::Before24 => "",
        Dialect::Since24 => "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n",
    };
    format!(
        "{first}base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/dovecot-own.log
protocols = imap
listen = {ip}
ssl = no
{head}

# One account without rights for everything, hence no other root directory either.
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
service anvil {{
  chroot =
  # All logins come from one address, the webmail's. A few wrong passwords from there would make
  # everybody's next login wait for up to 15 seconds.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  {unlimited}
  client_limit = 1000
  inet_listener imap {{
    {listen} = {ip}
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
mail_max_userip_connections = 0

{tail}
"
    )
}
