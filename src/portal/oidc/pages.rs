//! The few pages that people see on their way in and out.

use crate::domain::{Reply, escape};
use crate::pages::{Language, Message};

/// The answer of the provider belongs to no sign-in of this browser, or to one that is over.
pub(super) fn stale(language: &Language, login: &str) -> Reply {
    again(language, 400, Message::SignInOver, Message::SignInOverAdvice, login)
}

/// The provider said no, or the person did.
pub(super) fn refused(language: &Language, login: &str) -> Reply {
    again(language, 403, Message::NotSignedIn, Message::SignInCancelledAdvice, login)
}

/// What the provider sent was not what it must be.
pub(super) fn untrusted(language: &Language, login: &str) -> Reply {
    again(language, 403, Message::NotSignedIn, Message::SignInUntrustedAdvice, login)
}

/// The provider vouches for somebody who cannot be one here. To try again would end here again.
pub(super) fn unusable(language: &Language) -> Reply {
    language.reply(403, Message::NotEnough, &language.paragraph(Message::NotEnoughAdvice, &[]))
}

/// The request has a parameter twice, or not at all.
pub(super) fn malformed(language: &Language) -> Reply {
    language.reply(400, Message::AddressWrong, &language.paragraph(Message::AddressWrongAdvice, &[]))
}

/// Nothing else but the provider is missing.
pub(super) fn later(language: &Language, login: &str, seconds: u64) -> Reply {
    again(language, 503, Message::OneMoment, Message::SignInDownAdvice, login)
        .header("retry-after", seconds.max(1).to_string())
}

/// A browser fetches ahead what nobody may ever look at.
pub(super) fn not_ahead(language: &Language) -> Reply {
    language.reply(503, Message::OneMoment, "").header("retry-after", "1".to_owned())
}

/// A form was sent by somebody who was not signed in any more.
pub(super) fn not_sent(language: &Language, login: &str) -> Reply {
    let (advice, link) =
        (language.paragraph(Message::FormNotSentAdvice, &[]), language.html(Message::FormNotSentLink, &[]));
    let login = escape(login);
    let link = format!("<a href=\"{login}\" target=\"_blank\" rel=\"noopener noreferrer\">{link}</a>");
    language.reply(405, Message::SignedOut, &format!("{advice}\n<p>{link}</p>")).header("allow", "GET".to_owned())
}

/// Browsers would not keep the cookie.
pub(super) fn needs_https(language: &Language) -> Reply {
    language.reply(500, Message::NeedsHttps, &language.paragraph(Message::NoSignInHere, &[]))
}

/// The way back from the provider, when somebody has signed out.
pub(super) fn signed_out(language: &Language) -> Reply {
    language.reply(200, Message::SignedOut, &language.paragraph(Message::SignedOutAdvice, &[]))
}

fn again(language: &Language, status: u16, title: Message, advice: Message, login: &str) -> Reply {
    let (advice, link, login) =
        (language.paragraph(advice, &[]), language.html(Message::OnceMoreLink, &[]), escape(login));
    language.reply(status, title, &format!("{advice}\n<p><a href=\"{login}\">{link}</a></p>"))
}
