//! What the server's error codes mean. Numbers and meanings were read in its source
//! (`LoginExceptionCodes`, `SessionExceptionCodes`); what follows from them is ours.

use std::time::Duration;

use serde_json::Value;

use crate::backend::{Outage, Refusal};
use crate::wire::Answer;

/// No such session, or no more.
pub(super) const UNKNOWN_SESSION: &str = "SES-0203";
/// For something that is over at once.
pub(super) const A_MOMENT: Duration = Duration::from_secs(1);

/// The code of an error, if this is one; empty where it has none that can be one.
pub(super) fn of(json: &Value) -> Option<String> {
    let is_error = ["error", "code"].iter().any(|key| json.get(key).is_some_and(|value| !value.is_null()));
    let code = json.get("code").and_then(Value::as_str).filter(|code| is_code(code)).unwrap_or_default();
    is_error.then(|| code.to_owned())
}

/// The first code of a login or a session within a text.
pub(super) fn within(text: &str) -> Option<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.into_iter().find(|word| is_code(word) && ["LGI-", "SES-"].iter().any(|prefix| word.starts_with(prefix)))
}

/// Letters, a dash and four digits: anything else could be a secret by mistake, and is not repeated.
fn is_code(text: &str) -> bool {
    text.split_once('-').is_some_and(|(prefix, number)| {
        (2..=10).contains(&prefix.len())
            && prefix.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            && number.len() == 4
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// What an error means that came instead of a session.
pub(super) fn at_login(code: &str) -> Result<Refusal, Outage> {
    match code {
        // Wrong name or password, inactive, or kept out by a policy.
        "LGI-0006" | "LGI-0013" | "LGI-0026" => Ok(Refusal::Credentials),
        "LGI-0011" => Ok(Refusal::Expired),
        // No error: the message is an address that a plugin wants the browser to go to.
        "LGI-0016" => Ok(Refusal::Interactive),
        _ => Err(outage(code)),
    }
}

/// What an error means that tells nothing of the password, nor that the session has ended.
pub(super) fn outage(code: &str) -> Outage {
    match code {
        // The authentication service or the database is down.
        "LGI-0005" | "LGI-0010" => Outage::Unreachable(format!("it reports {code}: what it needs is down")),
        // The server holds as many sessions as it may.
        "SES-0002" => Outage::Throttled { retry_after: None },
        // This person alone: the account is being created; the User-Agent is the client's name; as many
        // sessions as they may have, at all or with this client; the context is locked.
        "LGI-0002" | "LGI-0021" | "SES-0007" | "SES-0207" | "SES-0204" => Outage::Locked { retry_after: None },
        // An id of ours or of the server's is in use; the next login has another.
        "SES-0008" | "SES-0010" => Outage::Locked { retry_after: Some(A_MOMENT) },
        "LGI-0014" => Outage::Protocol(format!("it lets this client in nowhere ({code}); see `client`")),
        "LGI-0024" => Outage::Protocol(format!("signing in by password is switched off there ({code})")),
        "" => Outage::Protocol("it answered with an error without a code".to_owned()),
        _ => Outage::Protocol(format!("it answered with the error {code}")),
    }
}

/// Whether an error ends the session for us: it is unknown, refused to this address, or to this secret
/// under the name that belongs to this browser.
pub(super) fn is_end(code: &str) -> bool {
    matches!(code, UNKNOWN_SESSION | "SES-0205" | "SES-0206")
}

/// The outage that the answer to a login tells of by its status alone. The server counts logins by
/// address and `User-Agent` (documented), so too many of them are this person's: nobody else must wait, or
/// anybody could have everybody locked out.
pub(super) fn outage_at_login(answer: &Answer) -> Option<Outage> {
    match answer.outage()? {
        Outage::Throttled { retry_after } if answer.status() == 429 => Some(Outage::Locked { retry_after }),
        outage => Some(outage),
    }
}
