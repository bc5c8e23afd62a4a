use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use super::cli::{InspectOptions, KeySource, MintOptions};
use super::{MISTAKES, complain, configuration_file, inspect, lines, say};
use crate::config::{Document, Draft, read_secret_file, there_is};
use crate::domain::{Clock, Secret, SystemClock};
use crate::portal::ticket::{self, NewTicket, TicketKey, TicketKeyError, Tickets};

/// The terminal of a process, whatever its input and output are.
const TERMINAL: &str = "/dev/tty";
const NO_TERMINAL: &str = "there is no terminal to ask at; use --password-file FILE, or - for standard input";

/// Makes a ticket and prints nothing else, so that scripts can use it as it comes.
pub(super) fn mint(options: MintOptions) -> ExitCode {
    finish(minted(options).map(|ticket| say(&format!("{ticket}\n"), ExitCode::SUCCESS)))
}

/// Explains a ticket; succeeds if it is accepted.
pub(super) fn inspect(options: InspectOptions) -> ExitCode {
    finish(inspected(options))
}

/// `Err` says why there is no ticket, or no explanation of one.
fn finish(result: Result<ExitCode, String>) -> ExitCode {
    result.unwrap_or_else(|message| complain(&message, MISTAKES))
}

fn minted(options: MintOptions) -> Result<String, String> {
    let key_id = options.key_id.as_deref();
    let tickets = keys(&options.keys, key_id)?;
    let missing = || format!("the portal has no key of this id; {}", there_is(tickets.key_ids()));
    let key = tickets.key(key_id).ok_or_else(missing)?;
    let password = password(&options)?;
    let iat = SystemClock::new().unix();
    let sid = options.sid.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    let mut claims = NewTicket::new(sid, options.sub, iat, iat.saturating_add(options.valid.as_secs()));
    claims.roles = options.roles.into_iter().map(Into::into).collect();
    claims.name = options.name.map(Into::into);
    claims.email = options.email.map(Into::into);
    key.mint(&claims, password.as_ref()).map_err(|error| error.to_string())
}

fn inspected(options: InspectOptions) -> Result<ExitCode, String> {
    let tickets = keys(&options.keys, options.key_id.as_deref())?;
    let ticket = match options.ticket {
        Some(ticket) => ticket,
        None => read_input()?,
    };
    let (text, accepted) = inspect::explain(ticket.trim(), &tickets, SystemClock::new().unix());
    Ok(say(&text, if accepted { ExitCode::SUCCESS } else { ExitCode::from(MISTAKES) }))
}

/// The keys at hand; none where nobody named any, and then everything of a ticket but its MAC can
/// still be explained.
fn keys(source: &KeySource, key_id: Option<&str>) -> Result<Tickets, String> {
    if let (Some(file), Some(id)) = (&source.secret_file, key_id) {
        let key = TicketKey::new(id, &secret_in(file)?).map_err(|error| match error {
            TicketKeyError::Id => format!("--key-id: {error}"),
            TicketKeyError::Secret(_) => format!("{}: {error}", file.display()),
        })?;
        return Ok(Tickets::new("", vec![key]));
    }
    match source.portal.as_deref() {
        Some(name) => keys_of_portal(&configuration_file(source.config.clone())?, name),
        None => Ok(Tickets::new("", Vec::new())),
    }
}

fn keys_of_portal(path: &Path, name: &str) -> Result<Tickets, String> {
    let document = Document::load(path).map_err(|mistake| mistake.to_string())?;
    let mut draft = Draft::read(document);
    let Some(index) = draft.portals.iter().position(|portal| portal.name == name) else {
        let known = there_is(draft.portals.iter().map(|portal| &*portal.name));
        return Err(format!("{} has no portal {name:?}; {known}", path.display()));
    };
    let mut portal = draft.portals.swap_remove(index);
    if portal.kind != ticket::KIND.name {
        return Err(format!("portal {name:?} is of a kind that has no tickets"));
    }
    let tickets = Tickets::read(&mut portal.section);
    portal.section.finish();
    draft.mistakes.unless_any(tickets).map_err(|mistakes| lines(&mistakes))
}

fn password(options: &MintOptions) -> Result<Option<Secret>, String> {
    if options.ask_password {
        if File::open(TERMINAL).is_err() {
            return Err(NO_TERMINAL.to_owned());
        }
        let typed = rpassword::prompt_password("Password: ");
        return typed.map(|typed| Some(Secret::from(typed))).map_err(|error| error.to_string());
    }
    match options.password_file.as_deref() {
        None => Ok(None),
        Some(file) if file == Path::new("-") => {
            let text = read_input()?;
            Ok(Some(Secret::from(text.strip_suffix('\n').unwrap_or(&text).to_owned())))
        }
        Some(file) => secret_in(file).map(Some),
    }
}

fn secret_in(file: &Path) -> Result<Secret, String> {
    read_secret_file(file).map_err(|error| format!("{}: cannot be read: {error}", file.display()))
}

fn read_input() -> Result<String, String> {
    let mut text = String::new();
    match std::io::stdin().read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("standard input cannot be read: {error}")),
    }
}
