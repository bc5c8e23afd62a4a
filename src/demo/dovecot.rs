//! A Dovecot of our own: own configuration, own users, own mail, no rights.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

use super::process::{Address, Process, Workspace, find_program, free_address};
use super::{DemoError, Master, Person};
use crate::domain::Secret;
use crate::snippet::fill;

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
        Self::start_with(directory, people, None).await
    }

    /// The same, with a master user: `ana*master` signs in for ana with the master's password.
    ///
    /// # Errors
    /// As [`Dovecot::start`].
    pub async fn start_with(directory: &Path, people: &[Person], master: Option<&Master>) -> Result<Self, DemoError> {
        let program = find_program("dovecot").ok_or(DemoError::Missing("dovecot"))?;
        let workspace = Workspace::at(directory)?;
        let template = template(&workspace, &program, master.is_some())?;
        let mut users = String::new();
        for person in people {
            if !can_be_a_mailbox(&person.name) {
                return Err(DemoError::PersonName(person.name.clone()));
            }
            let _ = writeln!(users, "{}", line(&person.name, &person.password));
            deliver(&workspace, person)?;
        }
        workspace.write("users", &users)?;
        if let Some(Master { name, password }) = master {
            workspace.write("masters", &format!("{}\n", line(name, password)))?;
        }
        let address = free_address()?;
        let configuration = workspace.write("dovecot.conf", &configuration(&workspace, address, &template))?;
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

/// A name and a password as the files of users have them: in Base64, so that a password may hold what
/// separates the fields.
fn line(name: &str, password: &Secret) -> String {
    format!("{name}:{{PLAIN.b64}}{}", STANDARD.encode(password.expose_secret()))
}

/// The configuration in the language of the installed version: it changed with 2.4.
fn template(workspace: &Workspace, program: &Path, with_master: bool) -> Result<String, DemoError> {
    let output = workspace.command(program).arg("--version").output();
    let output = output.map_err(|error| DemoError::file(program, &error))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let (template, master) = match version.get(..4) {
        Some("2.3.") => (include_str!("templates/dovecot-2.3.conf"), include_str!("templates/dovecot-2.3-master.conf")),
        Some("2.4.") => (include_str!("templates/dovecot-2.4.conf"), include_str!("templates/dovecot-2.4-master.conf")),
        _ => return Err(DemoError::DovecotVersion(version)),
    };
    Ok(fill(template, &[("MASTER", if with_master { master } else { "" })]))
}

/// Whether a name can be a line's beginning in the file of users, where `:` ends it and `#` begins a
/// comment, and a directory's name, where `/` divides and a dot at the beginning has a meaning. Dovecot
/// escapes quotes and backslashes when it looks a name up, and then does not find it (seen with 2.3).
fn can_be_a_mailbox(name: &str) -> bool {
    !name.is_empty()
        && name.trim() == name
        && !name.starts_with(['#', '.'])
        && !name.chars().any(|character| ":/\"'\\".contains(character) || character.is_control())
}

fn deliver(workspace: &Workspace, person: &Person) -> Result<(), DemoError> {
    let maildir = format!("mail/{}/Maildir", person.name);
    for part in ["cur", "tmp"] {
        workspace.directory(&format!("{maildir}/{part}"))?;
    }
    let new = workspace.directory(&format!("{maildir}/new"))?;
    // As RFC 2047 has it: a header is ASCII.
    let subject = match &person.subject {
        subject if subject.is_ascii() => subject.clone(),
        subject => format!("=?utf-8?B?{}?=", STANDARD.encode(subject)),
    };
    let message = format!(
        "From: Keyward <keyward@example.test>\r\nTo: you@example.test\r\nSubject: {subject}\r\n\
         Message-ID: <welcome@example.test>\r\nDate: Mon, 05 Jan 2026 09:00:00 +0000\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nYou were signed in without a second password.\r\n"
    );
    new.write("1767603600.welcome.example", &message)?;
    Ok(())
}

fn configuration(workspace: &Workspace, address: SocketAddr, template: &str) -> String {
    let account = workspace.account();
    fill(
        template,
        &[
            ("DIRECTORY", &workspace.path().to_string_lossy()),
            ("USER", &account.user),
            ("GROUP", &account.group),
            ("IP", &address.ip().to_string()),
            ("PORT", &address.port().to_string()),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_break_the_files_is_no_mailbox() {
        for name in ["ana", "ana@example.test", "h1 50% + #1", "žluťoučký 🦀", "a&b=c;d"] {
            assert!(can_be_a_mailbox(name), "{name}");
        }
        for name in ["", "a:b", "../a", ".", "#a", " a", "a\nb", "a\"b", "a\\b"] {
            assert!(!can_be_a_mailbox(name), "{name:?}");
        }
    }
}
