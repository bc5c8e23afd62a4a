use std::io::{BufRead, Write};
use std::process::ExitCode;

use super::cli::DeriveOptions;
use super::{FAILED, MISTAKES, complain, configuration_file, lines, say};
use crate::config::{Document, Draft, there_is};
use crate::domain::{DerivationKey, ExposeSecret, is_control};

/// Longest name, as an identity has it, in bytes.
const LONGEST_NAME: usize = 512;

/// Prints derived passwords and nothing else.
pub(super) fn run(options: DeriveOptions) -> ExitCode {
    match key(&options) {
        Err(message) => complain(&message, MISTAKES),
        Ok(key) => match options.user {
            Some(user) => match check(&user) {
                Ok(()) => say(&format!("{}\n", key.password(&user).expose_secret()), ExitCode::SUCCESS),
                Err(message) => complain(message, MISTAKES),
            },
            None => all(&key),
        },
    }
}

/// One line for each that is read, as soon as it is read.
fn all(key: &DerivationKey) -> ExitCode {
    let mut output = std::io::stdout().lock();
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let user = match line {
            Ok(line) => line,
            Err(error) => return complain(&format!("standard input cannot be read: {error}"), MISTAKES),
        };
        let user = user.strip_suffix('\r').unwrap_or(&user);
        if let Err(message) = check(user) {
            return complain(&format!("line {}: {message}", number + 1), MISTAKES);
        }
        if writeln!(output, "{user}\t{}", key.password(user).expose_secret()).is_err() {
            return ExitCode::from(FAILED);
        }
    }
    if output.flush().is_err() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}

/// What no identity can be is a slip, and its password would be of no use.
fn check(user: &str) -> Result<(), &'static str> {
    if user.is_empty() || user.trim().len() != user.len() {
        return Err("a user is not empty, and neither begins nor ends with a blank");
    }
    if user.len() > LONGEST_NAME || user.chars().any(is_control) {
        return Err("a user has at most 512 bytes, and no control character");
    }
    Ok(())
}

fn key(options: &DeriveOptions) -> Result<DerivationKey, String> {
    let path = configuration_file(options.config.clone())?;
    let document = Document::load(&path).map_err(|mistake| mistake.to_string())?;
    let mut draft = Draft::read(document);
    let Some(index) = draft.backends.iter().position(|backend| backend.name == options.backend) else {
        let known = there_is(draft.backends.iter().map(|backend| &*backend.name));
        return Err(format!("{} has no back-end {:?}; {known}", path.display(), options.backend));
    };
    let keys = draft.backends.swap_remove(index).derivation;
    let keys = draft.mistakes.unless_any(keys).map_err(|mistakes| lines(&mistakes))?;
    if keys.is_empty() {
        return Err(format!("back-end {:?} does not have credentials = \"derived\"", options.backend));
    }
    let wanted = |key: &DerivationKey| options.key.as_deref().is_none_or(|id| key.id() == id);
    let missing = || format!("the back-end has no key of this id; {}", there_is(keys.iter().map(DerivationKey::id)));
    keys.iter().find(|key| wanted(key)).cloned().ok_or_else(missing)
}
