//! The few pages that people see on their way in.

use crate::domain::{Reply, escape};

/// No script at all, and the one form leads to ourselves.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

/// The link was used, is too old, or was never one.
pub(super) fn worthless_link() -> Reply {
    page(
        403,
        "This link is not good any more",
        "<p>A sign-in link works once, and only for a moment. Go back to where you came from and open the \
         application there again.</p>",
    )
}

/// The address has no token, or several.
pub(super) fn no_link() -> Reply {
    page(
        400,
        "Something is missing",
        "<p>This address signs in those who come with a link of their portal. Sign in there, and open the application \
         from there.</p>",
    )
}

/// The portal could not be asked. The token may be used up by now, so nothing tries again by itself.
pub(super) fn later() -> Reply {
    page(
        503,
        "One moment, please",
        "<p>The portal cannot be reached right now, so nobody was signed in. Go back to where you came from and try \
         again in a moment.</p>",
    )
    .header("retry-after", "5".to_owned())
}

/// Browsers would not keep the cookie.
pub(super) fn needs_https() -> Reply {
    page(
        500,
        "This page needs https",
        "<p>Nobody can sign in here over an open connection. Go back to where you came from and try again; if you come \
         here once more, tell whoever runs this service.</p>",
    )
}

/// Somebody else is signed in: whoever sits there is to say what is meant.
pub(super) fn other_person(now: &str, then: &str, action: &str, pending: &str, stay: &str) -> Reply {
    let [now, then, action, pending, stay] = [now, then, action, pending, stay].map(escape);
    page(
        200,
        "Change to another account?",
        &format!(
            "<p>You are signed in as <b>{now}</b>, and the link you followed is of <b>{then}</b>. If you did not \
             expect that, stay who you are.</p>\n\
             <p><a href=\"{stay}\">Stay signed in as {now}</a></p>\n\
             <form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"continue\" value=\"{pending}\">\
             <button>Go on as {then}</button></form>"
        ),
    )
}

fn page(status: u16, title: &str, body: &str) -> Reply {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"/.keyward/style.css\">\n<main>\n<h1>{title}</h1>\n{body}\n</main>\n</html>\n",
    );
    Reply { status, headers: Vec::new(), body: html }
        .header("content-type", "text/html; charset=utf-8".to_owned())
        .header("content-security-policy", CONTENT_SECURITY_POLICY.to_owned())
}
