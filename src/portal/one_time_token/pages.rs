//! The few pages that people see on their way in.

use crate::domain::{Reply, escape};
use crate::pages::{Language, Message};

/// The link was used, is too old, or was never one.
pub(super) fn worthless_link(language: &Language) -> Reply {
    language.reply(403, Message::LinkWorthless, &language.paragraph(Message::LinkWorthlessAdvice, &[]))
}

/// The address has no token, or several.
pub(super) fn no_link(language: &Language) -> Reply {
    language.reply(400, Message::LinkMissing, &language.paragraph(Message::LinkMissingAdvice, &[]))
}

/// The portal could not be asked. The token may be used up by now, so nothing tries again by itself.
pub(super) fn later(language: &Language) -> Reply {
    language
        .reply(503, Message::OneMoment, &language.paragraph(Message::LinkLaterAdvice, &[]))
        .header("retry-after", "5".to_owned())
}

/// Browsers would not keep the cookie.
pub(super) fn needs_https(language: &Language) -> Reply {
    language.reply(500, Message::NeedsHttps, &language.paragraph(Message::NoSignInHere, &[]))
}

/// Somebody else is signed in: whoever sits there is to say what is meant.
pub(super) fn other_person(
    language: &Language,
    now: &str,
    then: &str,
    action: &str,
    pending: &str,
    stay: &str,
) -> Reply {
    let values = [("now", now), ("then", then)];
    let advice = language.paragraph(Message::ChangeAccountAdvice, &values);
    let (stay_as, go_on_as) = (language.html(Message::StayAs, &values), language.html(Message::GoOnAs, &values));
    let [action, pending, stay] = [action, pending, stay].map(escape);
    let body = format!(
        "{advice}\n<p><a href=\"{stay}\">{stay_as}</a></p>\n\
         <form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"continue\" value=\"{pending}\">\
         <button>{go_on_as}</button></form>"
    );
    language.reply(200, Message::ChangeAccount, &body)
}
