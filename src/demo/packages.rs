//! Which Debian packages the demo wants, and installing those that are missing, if we may.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::DemoError;
use super::process::find_program;

/// Something the demo wants to be installed.
#[derive(Debug)]
struct Wanted {
    packages: &'static [&'static str],
    is_there: fn() -> bool,
}

/// Without it there is no demo.
const WEB_SERVER: Wanted = Wanted { packages: &["nginx-light"], is_there: || find_program("nginx").is_some() };

/// Without it the demo has one webmail instead of two.
const ROUNDCUBE: Wanted = Wanted {
    packages: &["roundcube-core", "roundcube-sqlite3", "php-fpm", "dovecot-imapd"],
    is_there: || {
        let files = [super::roundcube::PUBLIC, super::roundcube::SQLITE_SCHEMA, "/usr/lib/dovecot/imap"];
        files.iter().all(|file| Path::new(file).exists())
            && find_program("dovecot").is_some()
            && super::roundcube::find_php().is_some()
            && super::roundcube::php_knows_sqlite()
    },
};

/// Installs without starting anything: a policy that forbids it stands for as long as this runs,
/// unless the machine has a policy of its own.
const INSTALL: &str = r#"
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
"#;

/// What the machine has for the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Roundcube with all it needs.
    pub roundcube: bool,
}

/// Finds out what is there and installs the rest, if `install` says that we may.
///
/// What is not there and may not be installed is named on standard output, with the command that
/// would install it.
///
/// # Errors
/// nginx is not there in the end.
pub fn prepare(install: bool) -> Result<Installed, DemoError> {
    let missing: Vec<&Wanted> = [&WEB_SERVER, &ROUNDCUBE].into_iter().filter(|wanted| !(wanted.is_there)()).collect();
    let names: Vec<&str> = missing.iter().flat_map(|wanted| wanted.packages).copied().collect();
    if !names.is_empty() {
        if !install {
            say(&format!("Not installed: {}. Run this once, or the demo with --install:", names.join(", ")));
            say(&format!("  {}", command(&names)));
        } else if let Some(program) = installer() {
            // One after the other, so that nginx comes even where there is no Roundcube.
            for wanted in missing {
                say(&format!("Installing {} ...", wanted.packages.join(", ")));
                run(program, wanted.packages)?;
            }
        } else {
            say("Nothing can be installed here: that takes apt-get, and root or sudo. Please install:");
            say(&format!("  {}", names.join(" ")));
        }
    }
    if !(WEB_SERVER.is_there)() {
        return Err(DemoError::Missing("nginx"));
    }
    Ok(Installed { roundcube: (ROUNDCUBE.is_there)() })
}

/// What a person would type.
fn command(packages: &[&str]) -> String {
    let sudo = if is_root() { "" } else { "sudo " };
    format!("{sudo}apt-get install --no-install-recommends {}", packages.join(" "))
}

/// How the script is run, where it can be.
fn installer() -> Option<&'static [&'static str]> {
    find_program("apt-get")?;
    if is_root() {
        return Some(&["/bin/sh"]);
    }
    find_program("sudo").map(|_| ["sudo", "/bin/sh"].as_slice())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// apt-get shows its own progress. That it fails is said, and what is there counts.
fn run(program: &[&str], packages: &[&str]) -> Result<(), DemoError> {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args(["-c", INSTALL, "sh"]).args(packages).stdin(Stdio::inherit());
    let status = command.status().map_err(|error| DemoError::file(Path::new(program[0]), &error))?;
    if !status.success() {
        say(&format!("apt-get could not install {} ({status}).", packages.join(", ")));
    }
    Ok(())
}

/// Whoever closed our standard output does not want to be told.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_is_shown_names_every_package() {
        let shown = command(ROUNDCUBE.packages);
        assert!(shown.ends_with("roundcube-core roundcube-sqlite3 php-fpm dovecot-imapd"), "{shown}");
    }

    #[test]
    fn a_policy_that_was_there_before_stays() {
        let taken = INSTALL.find("[ ! -e \"$policy\" ]").unwrap();
        assert!(taken < INSTALL.find("trap 'rm -f").unwrap() && taken < INSTALL.find("printf").unwrap());
    }
}
