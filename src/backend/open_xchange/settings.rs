//! What can be set for the kind `open-xchange`.

use crate::backend::Binding;
use crate::config::Section;

/// Which action of the API logs in.
#[derive(Clone, Copy)]
pub(super) enum Action {
    /// `login`: answers with JSON, and tells errors by code.
    Login,
    /// `formlogin`: answers with a redirect, and tells errors on a page.
    FormLogin,
}

/// The settings of one back-end of this kind.
pub(super) struct Settings {
    /// `login_action`: `login` (default) or `formlogin`. Both open the same session (read).
    pub action: Action,
    /// `api_path`: `/ajax` (documented), or `/appsuite/api` where only a web server in front is reached.
    pub api_path: String,
    /// `client`: the name that the user interface gives itself, for its autologin looks for a session of
    /// that client only; `open-xchange-appsuite` (documented).
    pub client: String,
    /// `version`: free text for the server's log, which `formlogin` insists on.
    pub version: String,
    /// `stay_signed_in`: whether the session outlives the short-term life of an hour (documented, 7.10.3
    /// and later for `login`; assumed for `formlogin`). Off: Keyward keeps alive what is in use.
    pub stay_signed_in: bool,
    /// `autologin`: what older servers want to hear at `formlogin` instead (documented).
    pub autologin: bool,
    /// `ui_web_path`: where the user interface is; `/appsuite/` (documented).
    pub ui_web_path: String,
    /// `scheme`: how browsers reach it, `https` (default) or `http`.
    pub scheme: &'static str,
    /// `bind`: what of the browser the server ties a session to: `user-agent` and `address` by default
    /// (documented), and `accept-language`, if the server's `com.openexchange.cookie.hash.fields` has it.
    pub binding: Binding,
    /// `route_cookies`: cookies that lead to the session's node beside the application's own;
    /// `JSESSIONID` (documented).
    pub route_cookies: Vec<String>,
    /// `refused_texts`, `formlogin` only: texts on the page that refuses a password. The default is the
    /// English one (assumed).
    pub refused_texts: Vec<String>,
    /// `locked_texts`, `formlogin` only: texts on the page of an account that takes no login for a while.
    pub locked_texts: Vec<String>,
}

impl Settings {
    pub(super) fn read(section: &mut Section) -> Self {
        let texts = |section: &mut Section, key, default: &[&str]| {
            let texts = section.texts(key).unwrap_or_else(|| default.iter().map(|&text| text.to_owned()).collect());
            if texts.iter().any(String::is_empty) {
                section.mistake(key, "must not hold an empty text, which stands on every page");
            }
            texts
        };
        Self {
            action: section.choice(
                "login_action",
                Action::Login,
                &[("login", Action::Login), ("formlogin", Action::FormLogin)],
            ),
            api_path: api_path(section),
            client: word(section, "client", "open-xchange-appsuite"),
            version: word(section, "version", "keyward"),
            stay_signed_in: section.flag("stay_signed_in", false),
            autologin: section.flag("autologin", false),
            ui_web_path: ui_web_path(section),
            scheme: section.choice("scheme", "https", &[("https", "https"), ("http", "http")]),
            binding: Binding::read(section, Binding { user_agent: true, address: true, ..Binding::default() }),
            route_cookies: route_cookies(section),
            refused_texts: texts(section, "refused_texts", &["The user name or password is incorrect."]),
            locked_texts: texts(section, "locked_texts", &[]),
        }
    }
}

fn word(section: &mut Section, key: &'static str, default: &str) -> String {
    let text = section.text(key).unwrap_or_else(|| default.to_owned());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.is_empty() || !text.bytes().all(plain) {
        section.mistake(key, "must have letters, digits, '-', '.' and '_' only");
    }
    text
}

/// A path as it stands in an address, without query and fragment.
fn is_path(text: &str) -> bool {
    let plain = |byte: u8| (0x21..0x7f).contains(&byte) && !b"?#\\\"".contains(&byte);
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(plain)
}

fn api_path(section: &mut Section) -> String {
    let text = section.text("api_path").unwrap_or_else(|| "/ajax".to_owned());
    if !is_path(&text) || text.ends_with('/') {
        section.mistake("api_path", "must be a path such as \"/ajax\", without a slash at its end");
    }
    text
}

fn ui_web_path(section: &mut Section) -> String {
    let text = section.text("ui_web_path").unwrap_or_else(|| "/appsuite/".to_owned());
    if !is_path(&text) {
        // Read: the server would move a query behind the fragment, into the last of its values.
        section.mistake("ui_web_path", "must be a path such as \"/appsuite/\", without query and fragment");
    }
    text
}

fn route_cookies(section: &mut Section) -> Vec<String> {
    let names = section.texts("route_cookies").unwrap_or_else(|| vec!["JSESSIONID".to_owned()]);
    let is_name = |name: &String| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    if !names.iter().all(is_name) {
        section.mistake("route_cookies", "must be names of cookies: letters, digits, '-', '.' and '_'");
    }
    names
}
