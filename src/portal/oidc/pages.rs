//! The few pages that people see on their way in and out.

use crate::domain::{Reply, escape};

/// No script at all, and nothing leads anywhere but to ourselves.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'";

/// The answer of the provider belongs to no sign-in of this browser, or to one that is over.
pub(super) fn stale(login: &str) -> Reply {
    again(
        400,
        "This sign-in is not good any more",
        "<p>It took too long, was finished in another window, or this browser keeps no cookies.</p>",
        login,
    )
}

/// The provider said no, or the person did.
pub(super) fn refused(login: &str) -> Reply {
    again(403, "You are not signed in", "<p>The sign-in was cancelled, or it was refused.</p>", login)
}

/// What the provider sent was not what it must be.
pub(super) fn untrusted(login: &str) -> Reply {
    again(
        403,
        "You are not signed in",
        "<p>The answer of the sign-in service could not be trusted, so nobody was signed in. If this happens again, \
         tell whoever runs this service.</p>",
        login,
    )
}

/// The provider vouches for somebody who cannot be one here.
pub(super) fn unusable() -> Reply {
    page(
        403,
        "You cannot sign in here",
        "<p>The sign-in service knows you, but what it says of you is not enough to let you in. Tell whoever runs \
         this service.</p>",
    )
}

/// The request has a parameter twice, or not at all.
pub(super) fn malformed() -> Reply {
    page(400, "Something is wrong with this address", "<p>Go back to where you came from, and open it there again.</p>")
}

/// Nothing else but the provider is missing.
pub(super) fn later(login: &str, seconds: u64) -> Reply {
    again(
        503,
        "One moment, please",
        "<p>The sign-in service cannot be reached right now, so nobody was signed in.</p>",
        login,
    )
    .header("retry-after", seconds.max(1).to_string())
}

/// A browser fetches ahead what nobody may ever look at.
pub(super) fn not_ahead() -> Reply {
    page(503, "One moment, please", "<p>This page is not fetched ahead.</p>").header("retry-after", "1".to_owned())
}

/// A form was sent by somebody who was not signed in any more.
pub(super) fn not_sent(login: &str) -> Reply {
    page(
        405,
        "You were signed out",
        &format!(
            "<p>What you sent did not arrive, since you are not signed in any more. <a href=\"{}\">Sign in</a>, \
             and send it again.</p>",
            escape(login)
        ),
    )
    .header("allow", "GET".to_owned())
}

/// Browsers would not keep the cookie.
pub(super) fn needs_https() -> Reply {
    page(
        500,
        "This page needs https",
        "<p>Nobody can sign in here over an open connection. If you come here once more, tell whoever runs this \
         service.</p>",
    )
}

/// The way back from the provider, when somebody has signed out.
pub(super) fn signed_out() -> Reply {
    page(200, "You are signed out", "<p>Your sessions in all applications have ended. You can close this page.</p>")
}

fn again(status: u16, title: &str, body: &str, login: &str) -> Reply {
    let login = escape(login);
    page(status, title, &format!("{body}\n<p><a href=\"{login}\">Try again</a></p>"))
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
