//! A ticket, explained line by line for a person.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::domain::UnixSeconds;
use crate::portal::ticket::{Rejection, Tickets};
use crate::portal::{Scratch, Verifier};

/// The last second that has a date of four-digit year.
const LAST_DATE: UnixSeconds = 253_402_300_799;

/// What there is to say of a ticket, and whether it is accepted. Passwords are never in it.
pub(super) fn explain(ticket: &str, tickets: &Tickets, now: UnixSeconds) -> (String, bool) {
    let mut report = Report::default();
    let mut scratch = Scratch::default();
    let checked = tickets.check(ticket, now, &mut scratch);
    let mut parts = ticket.split('.');
    let (version, key_id, payload) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    report.line("header", &format!("{version:?}{}", if version == "kw1" { "" } else { ", which should be \"kw1\"" }));
    report.line("key id", &key_id.map_or_else(|| "there is none".to_owned(), |id| format!("{id:?}")));
    let claims = payload.and_then(|payload| claims(&mut report, payload));
    let seals = claims.as_ref().map(|claims| claims.contains_key("cred"));
    for (name, value) in claims.iter().flatten() {
        report.line(name.as_str(), &claim(name, value, now));
    }
    report.line(
        "password",
        match (&checked, seals) {
            (_, None) => "nobody can tell, since the payload cannot be read",
            (_, Some(false)) => "there is none in it",
            (Ok(session), Some(true)) if tickets.password(session).is_ok() => "sealed in it, and this key opens it",
            (Ok(_), Some(true)) => {
                "sealed in it, but it does not open: it was sealed with another secret or for another sid"
            }
            (Err(_), Some(true)) => "sealed in it; not opened, because the ticket is rejected",
        },
    );
    report.line("mac", mac(checked.as_ref().err()));
    match &checked {
        Ok(session) => {
            report.line("verdict", &format!("genuine, for another {}", span(session.expires().saturating_sub(now))));
        }
        Err(rejection) => report.line("verdict", &format!("rejected: {rejection}")),
    }
    (report.0, checked.is_ok())
}

#[derive(Default)]
struct Report(String);

impl Report {
    fn line(&mut self, label: &str, text: &str) {
        // Field names and the reasons of a rejection may hold a stranger's text.
        let (label, text) = (label.escape_debug().to_string(), harmless(text));
        let _ = writeln!(self.0, "{label:<9} {text}");
    }
}

/// The text without anything that a terminal would obey.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn claims(report: &mut Report, payload: &str) -> Option<Map<String, Value>> {
    let Ok(json) = URL_SAFE_NO_PAD.decode(payload) else {
        report.line("payload", "is not base64url without padding");
        return None;
    };
    match serde_json::from_slice(&json) {
        Ok(Value::Object(claims)) => Some(claims),
        Ok(_) => {
            report.line("payload", "is JSON, but no object");
            None
        }
        Err(error) => {
            report.line("payload", &format!("is not JSON: {error}"));
            None
        }
    }
}

fn claim(name: &str, value: &Value, now: UnixSeconds) -> String {
    match (name, value) {
        ("cred", _) => "not shown".to_owned(),
        ("iat" | "exp", value) => value.as_u64().map_or_else(|| "is no time".to_owned(), |at| time(at, now)),
        ("sid" | "sub" | "name" | "email", Value::String(text)) => format!("{text:?}"),
        ("roles", Value::Array(roles)) => {
            let roles: Vec<String> = roles
                .iter()
                .map(|role| role.as_str().map_or("no text".to_owned(), |role| format!("{role:?}")))
                .collect();
            if roles.is_empty() { "none".to_owned() } else { roles.join(", ") }
        }
        ("sid" | "sub" | "name" | "email" | "roles", _) => "has the wrong type".to_owned(),
        // Its value stays unseen: somebody may have put a password there in plain text.
        _ => "is no field of a ticket".to_owned(),
    }
}

fn mac(rejection: Option<&Rejection>) -> &'static str {
    match rejection {
        Some(Rejection::TooLong | Rejection::Shape) => "not looked at",
        Some(Rejection::UnknownKey) => "not checked: no key of this id is at hand (see --portal and --secret-file)",
        Some(Rejection::Mac) => "wrong: the ticket was changed, or made with another secret or in another way",
        _ => "good",
    }
}

fn time(at: UnixSeconds, now: UnixSeconds) -> String {
    let date = if at > LAST_DATE {
        "after the year 9999".to_owned()
    } else {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at)).to_string()
    };
    match at.checked_sub(now) {
        Some(0) => format!("{at}, {date}, now"),
        Some(ahead) => format!("{at}, {date}, in {}", span(ahead)),
        None => format!("{at}, {date}, {} ago", span(now - at)),
    }
}

fn span(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;
    use crate::portal::ticket::{NewTicket, TicketKey};

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const MADE: UnixSeconds = 1_767_225_600;

    fn key(id: &str, secret: &str) -> TicketKey {
        TicketKey::new(id, &Secret::from(secret)).unwrap()
    }

    fn tickets() -> Tickets {
        Tickets::new("", vec![key("2026a", SECRET)])
    }

    fn claims() -> NewTicket<'static> {
        NewTicket::new("0123456789abcdef", "ana", MADE, MADE + 3600)
    }

    #[test]
    fn a_good_ticket_is_explained_without_its_password() {
        let mut claims = claims();
        claims.roles = vec!["staff".into()];
        claims.name = Some("Zoë".into());
        let ticket = key("2026a", SECRET).mint(&claims, Some(&Secret::from("marked"))).unwrap();
        let (text, accepted) = explain(&ticket, &tickets(), MADE + 60);
        assert!(accepted, "{text}");
        for line in [
            "header    \"kw1\"",
            "key id    \"2026a\"",
            "sub       \"ana\"",
            "name      \"Zoë\"",
            "roles     \"staff\"",
            "iat       1767225600, 2026-01-01T00:00:00Z, 1m ago",
            "exp       1767229200, 2026-01-01T01:00:00Z, in 59m",
            "password  sealed in it, and this key opens it",
            "mac       good",
            "verdict   genuine, for another 59m",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("marked"), "{text}");
    }

    #[test]
    fn a_rejected_ticket_is_told_why() {
        let ticket = key("2026a", SECRET).mint(&claims(), None).unwrap();
        let by_stranger = key("2026a", "another secret of thirty-two bytes").mint(&claims(), None).unwrap();
        for (ticket, now, words) in [
            (ticket.as_str(), MADE + 3600, "verdict   rejected: it has expired"),
            (&ticket, MADE - 61, "verdict   rejected: it was made in the future"),
            (&by_stranger, MADE, "mac       wrong"),
            (&by_stranger.replace("2026a", "2025"), MADE, "mac       not checked: no key of this id"),
            ("", MADE, "key id    there is none"),
            ("nonsense", MADE, "which should be \"kw1\""),
            ("kw1.2026a.?.x", MADE, "payload   is not base64url"),
            ("nonsense", MADE, "password  nobody can tell"),
            ("kw1.2026a.?.x", MADE, "password  nobody can tell"),
            ("kw1.2026a.W10.x", MADE, "payload   is JSON, but no object"),
        ] {
            let (text, accepted) = explain(ticket, &tickets(), now);
            assert!(!accepted && text.contains(words), "{words} is not in\n{text}");
        }
    }

    #[test]
    fn a_hostile_ticket_cannot_write_to_the_terminal() {
        let payload = URL_SAFE_NO_PAD.encode(
            "{\"sub\":\"\\u001b[2J\u{9b}2J\u{202e}\",\"\\u001b]\":1,\"exp\":18446744073709551615,\"password\":\"marked\",\"cred\":[\"marked\"],\"iat\":\"\u{9b}\"}",
        );
        let (text, accepted) = explain(&format!("kw1.\u{1b}[2J.{payload}.x"), &tickets(), MADE);
        assert!(!accepted);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(!text.contains("marked") && !text.contains('\u{202e}'), "{text}");
        assert!(text.contains("after the year 9999"), "{text}");
    }
}
