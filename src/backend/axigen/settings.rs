//! What can be set for the kind `axigen`.

use crate::config::Section;

/// Which of its HTTP surfaces is used.
#[derive(Clone, Copy)]
pub(super) enum Surface {
    /// `/?action=…`, in every version.
    Legacy,
    /// `/api/v1/…`, since 10.4; its cookie login came later.
    MailboxApi,
}

/// How the legacy login is sent.
#[derive(Clone, Copy)]
pub(super) enum Method {
    /// Name and password in the body. Assumed: only the action is documented to stand in the query.
    Post,
    /// Everything in the query. Documented, but the query ends up in the server's log.
    Get,
}

/// Where the Mailbox API takes a name and a password.
const PASSWORD_LOGIN: &str = "/api/v1/login/cookie";
/// Where it takes a token.
const TOKEN_LOGIN: &str = "/api/v1/login";

/// What a session is known by that was opened with an access token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenSession {
    /// `Authorization` and `X-Axigen-Session`.
    Headers,
    /// The same pair as after a login with a password.
    Cookie,
}

/// The settings of one back-end of this kind.
pub(super) struct Settings {
    /// `surface`: `legacy` (default) or `mailbox-api`. It is not found out by trying: a probe would
    /// delay logins, and a wrong guess would hand the password to a page that does not expect it.
    pub surface: Surface,
    /// `login_method`, legacy only: `post` (default) or `get`.
    pub method: Method,
    /// `interface`, legacy only: the `custom` parameter, `ajax` by default, none for `standard`
    /// (documented).
    pub interface: Option<&'static str>,
    /// `cookie`: name of the session cookie. Legacy: `_hmail` (documented, for old versions), or
    /// the only cookie starting with `_h`. Mailbox API: not published, the only cookie set.
    pub cookie: Option<String>,
    /// `url_key`: name of the key in the query, `_h` (documented).
    pub url_key: String,
    /// `login_path`: `/` (documented) or `/api/v1/login/cookie` (documented); `/api/v1/login`
    /// with tokens (documented).
    pub login_path: String,
    /// `keep_alive_path`: `/` (assumed) or `/api/v1/account/info` (documented).
    pub keep_alive_path: String,
    /// `logout_path`: `/` with `action=logout` (documented) or `/api/v1/logout` (seen in a client).
    pub logout_path: String,
    /// `login_page_marks`, legacy only: texts by which the public login page is known, in any case.
    /// Assumed: it asks for a password, and the mailbox page does not.
    pub login_page_marks: Vec<String>,
    /// `token_session`, Mailbox API with `credentials = "token"` only: what the session is known by. `headers`
    /// (default, documented): the token itself and the session's id, each in a header. `cookie`: the cookie of the
    /// login and the id in the query (documented for servers whose login sets one), which lets browsers in.
    pub token_session: TokenSession,
    /// The same, where logins are made with tokens.
    pub by_token: Option<TokenSession>,
    /// `verify_account`, Mailbox API only: whether the account that was opened is compared with the
    /// name that was asked for (default). Switch it off where people log in by aliases.
    pub verify_account: bool,
}

impl Settings {
    pub(super) fn read(section: &mut Section) -> Self {
        let surface = section.choice(
            "surface",
            Surface::Legacy,
            &[("legacy", Surface::Legacy), ("mailbox-api", Surface::MailboxApi)],
        );
        let legacy = matches!(surface, Surface::Legacy);
        let or = |path: &'static str, other: &'static str| if legacy { path } else { other };
        let token_session = section.choice(
            "token_session",
            TokenSession::Headers,
            &[("headers", TokenSession::Headers), ("cookie", TokenSession::Cookie)],
        );
        Self {
            surface,
            method: section.choice("login_method", Method::Post, &[("post", Method::Post), ("get", Method::Get)]),
            interface: section.choice(
                "interface",
                Some("ajax"),
                &[("ajax", Some("ajax")), ("standard", None), ("ajaxdirect", Some("ajaxdirect"))],
            ),
            cookie: word(section, "cookie").or_else(|| legacy.then(|| "_hmail".to_owned())),
            url_key: word(section, "url_key").unwrap_or_else(|| "_h".to_owned()),
            login_path: path(section, "login_path", or("/", PASSWORD_LOGIN)),
            keep_alive_path: path(section, "keep_alive_path", or("/", "/api/v1/account/info")),
            logout_path: path(section, "logout_path", or("/", "/api/v1/logout")),
            login_page_marks: marks(section),
            token_session,
            by_token: None,
            verify_account: section.flag("verify_account", true),
        }
    }
}

impl Settings {
    /// Has logins made with access tokens from now on, which only the Mailbox API takes.
    pub(super) fn use_tokens(&mut self) -> bool {
        if matches!(self.surface, Surface::Legacy) {
            return false;
        }
        self.by_token = Some(self.token_session);
        if self.login_path == PASSWORD_LOGIN {
            TOKEN_LOGIN.clone_into(&mut self.login_path);
        }
        true
    }
}

/// A name that needs no encoding in a cookie or a query.
fn word(section: &mut Section, key: &'static str) -> Option<String> {
    let text = section.text(key)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.is_empty() || !text.bytes().all(plain) {
        section.mistake(key, "must have letters, digits, '-', '.' and '_' only");
    }
    Some(text)
}

fn path(section: &mut Section, key: &'static str, default: &str) -> String {
    let Some(text) = section.text(key) else { return default.to_owned() };
    if !text.starts_with('/') || text.contains('#') || !text.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        section.mistake(key, "must be a path such as \"/\", as it stands in an address");
    }
    text
}

fn marks(section: &mut Section) -> Vec<String> {
    let defaults = || ["type=\"password\"", "type='password'", "type=password"].map(str::to_owned).to_vec();
    let marks = section.texts("login_page_marks").unwrap_or_else(defaults);
    if marks.is_empty() || marks.iter().any(String::is_empty) {
        section.mistake("login_page_marks", "must name at least one text; no mark would make every page a mailbox");
    }
    marks.into_iter().map(|mark| mark.to_ascii_lowercase()).collect()
}
