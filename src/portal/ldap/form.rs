//! The sign-in page, and the few that follow from it.

use crate::domain::{Reply, escape};
use crate::pages::{Language, Message};

/// What the form shows.
pub(super) struct Form<'a> {
    /// Where it is sent.
    pub action: &'a str,
    /// Shows that it is ours.
    pub token: &'a str,
    /// The name as it was typed before. The password never comes back.
    pub name: &'a str,
    /// What went wrong, as HTML.
    pub trouble: Option<String>,
}

/// The page with the form.
pub(super) fn form(language: &Language, status: u16, form: &Form<'_>) -> Reply {
    let [action, token, name] = [form.action, form.token, form.name].map(escape);
    let word = |message| language.html(message, &[]);
    let (user_name, password, sign_in) = (word(Message::UserName), word(Message::Password), word(Message::SignIn));
    // Where the person goes on is where the trouble is read out, without any script.
    let (alert, told) = match &form.trouble {
        Some(trouble) => {
            let alert = format!("<p id=\"trouble\" role=\"alert\">{trouble}</p>\n");
            (alert, " aria-describedby=\"trouble\"")
        }
        None => (String::new(), ""),
    };
    let (at_name, at_password) = match name.is_empty() {
        true => (format!("{told} autofocus"), String::new()),
        false => (String::new(), format!("{told} autofocus")),
    };
    let body = format!(
        "{alert}<form method=\"post\" action=\"{action}\">\n\
         <label for=\"name\">{user_name}</label>\n\
         <input id=\"name\" name=\"name\" value=\"{name}\" autocomplete=\"username\" autocapitalize=\"none\" \
         spellcheck=\"false\" maxlength=\"512\" required{at_name}>\n\
         <label for=\"password\">{password}</label>\n\
         <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" \
         maxlength=\"1024\" required{at_password}>\n\
         <input type=\"hidden\" name=\"form\" value=\"{token}\">\n\
         <button>{sign_in}</button>\n</form>"
    );
    // Where browsers send no Sec-Fetch-Site only the Origin tells that the form is ours, and under `no-referrer`
    // that would be "null". What the address of this page holds is an address of the same origin.
    language.reply(status, Message::SignIn, &body).header("referrer-policy", "same-origin".to_owned())
}

/// Somebody is signed in already: nothing happens unasked, and nobody is sent round in circles.
pub(super) fn signed_in(language: &Language, user: &str, onward: &str) -> Reply {
    let body = format!(
        "{}\n<p><a href=\"{}\">{}</a></p>\n<p><a href=\"/.keyward/logout\">{}</a></p>",
        language.paragraph(Message::SignedInAs, &[("user", user)]),
        escape(onward),
        language.html(Message::GoOn, &[]),
        language.html(Message::SignOut, &[]),
    );
    language.reply(200, Message::SignedIn, &body)
}

/// Leads on by itself. A redirect would be held against the form's policy, all the way to another origin.
pub(super) fn onward(language: &Language, onward: &str) -> Reply {
    let onward = escape(onward);
    let body = format!("<p><a href=\"{onward}\">{}</a></p>", language.html(Message::GoOn, &[]));
    let head = format!("<meta http-equiv=\"refresh\" content=\"0; url={onward}\">\n");
    let reply = language.reply(200, Message::SignedIn, "");
    Reply { body: language.page_with(&head, Message::SignedIn, &body), ..reply }
}

/// Browsers would not keep the cookie.
pub(super) fn needs_https(language: &Language) -> Reply {
    language.reply(500, Message::NeedsHttps, &language.paragraph(Message::NoSignInHere, &[]))
}
