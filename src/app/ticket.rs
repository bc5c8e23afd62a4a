use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use super::cli::{InspectOptions, KeySource, MintOptions};
use super::{MISTAKES, USAGE, configuration_file, inspect, lines, say};
use crate::config::{Document, Draft, read_secret_file};
use crate::domain::{Clock, Secret, SystemClock};
use crate::portal::ticket::{self, NewTicket, TicketKey, Tickets};

/// Why there is no ticket, or no explanation of one: what to say, and the exit code.
struct Failure(String, u8);

impl Failure {
    fn usage(message: impl Into<String>) -> Self {
        Self(message.into(), USAGE)
    }
}

/// Makes a ticket and prints nothing else, so that scripts can use it as it comes.
pub(super) fn mint(options: MintOptions) -> ExitCode {
    finish(minted(options).map(|ticket| say(&format!("{ticket}\n"), ExitCode::SUCCESS)))
}

/// Explains a ticket; succeeds if it is accepted.
pub(super) fn inspect(options: InspectOptions) -> ExitCode {
    finish(inspected(options))
}

fn finish(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|Failure(message, code)| {
        eprintln!("{}", message.trim_end());
        ExitCode::from(code)
    })
}

fn minted(options: MintOptions) -> Result<String, Failure> {
    let tickets = keys(&options.keys)?.ok_or_else(|| Failure::usage("give --portal, or --secret-file and --key-id"))?;
    let key = tickets
        .key(options.keys.key_id.as_deref())
        .ok_or_else(|| Failure::usage("the portal has no key of this id"))?;
    let password = password(&options)?;
    let iat = SystemClock::new().unix();
    let sid = options.sid.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    let mut claims = NewTicket::new(sid, options.sub, iat, iat.saturating_add(options.valid.as_secs()));
    claims.roles = options.roles.into_iter().map(Into::into).collect();
    claims.name = options.name.map(Into::into);
    claims.email = options.email.map(Into::into);
    key.mint(&claims, password.as_ref()).map_err(|error| Failure::usage(error.to_string()))
}

fn inspected(options: InspectOptions) -> Result<ExitCode, Failure> {
    // Without a key everything but the MAC can still be explained.
    let tickets = keys(&options.keys)?.unwrap_or_else(|| Tickets::new("", Vec::new()));
    let ticket = match options.ticket {
        Some(ticket) => ticket,
        None => read_input()?,
    };
    let (text, accepted) = inspect::explain(ticket.trim(), &tickets, SystemClock::new().unix());
    Ok(say(&text, if accepted { ExitCode::SUCCESS } else { ExitCode::from(MISTAKES) }))
}

/// The keys at hand; `None` where nobody named any.
fn keys(source: &KeySource) -> Result<Option<Tickets>, Failure> {
    if let (Some(file), Some(id)) = (&source.secret_file, &source.key_id) {
        let key = TicketKey::new(id, &secret_in(file)?).map_err(|error| Failure::usage(error.to_string()))?;
        return Ok(Some(Tickets::new("", vec![key])));
    }
    source.portal.as_deref().map(|name| keys_of_portal(&configuration_file(source.config.clone()), name)).transpose()
}

fn keys_of_portal(path: &Path, name: &str) -> Result<Tickets, Failure> {
    let document = Document::load(path).map_err(|mistake| Failure(mistake.to_string(), MISTAKES))?;
    let draft = Draft::read(document);
    let portal = draft.portals.into_iter().find(|portal| portal.name == name);
    let mut portal = portal.ok_or_else(|| Failure::usage(format!("{} has no portal {name:?}", path.display())))?;
    if portal.kind != ticket::KIND.name {
        return Err(Failure::usage(format!("portal {name:?} is of a kind that has no tickets")));
    }
    let tickets = Tickets::read(&mut portal.section);
    portal.section.finish();
    draft.mistakes.unless_any(tickets).map_err(|mistakes| Failure(lines(&mistakes), MISTAKES))
}

fn password(options: &MintOptions) -> Result<Option<Secret>, Failure> {
    if options.ask_password {
        let typed = rpassword::prompt_password("Password: ");
        return typed.map(|typed| Some(Secret::from(typed))).map_err(|error| Failure(error.to_string(), MISTAKES));
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

fn secret_in(file: &Path) -> Result<Secret, Failure> {
    read_secret_file(file).map_err(|error| Failure(format!("{}: can not be read: {error}", file.display()), MISTAKES))
}

fn read_input() -> Result<String, Failure> {
    let mut text = String::new();
    match std::io::stdin().read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure(format!("standard input can not be read: {error}"), MISTAKES)),
    }
}
