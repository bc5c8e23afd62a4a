use url::Url;

use super::login_url::LoginUrl;

/// Where people sign in.
pub(super) enum LoginPage {
    /// At the portal.
    Elsewhere(LoginUrl),
    /// At a page of ours, below this path on whichever host they are.
    Here(String),
}

impl LoginPage {
    /// The page of the portal of this name, among our own.
    pub(super) fn of(portal: &str) -> Self {
        Self::Here(format!("/.keyward/login/{portal}"))
    }

    /// Where to sign in and come back to `url`, for somebody at `origin`.
    pub(super) fn returning_to(&self, origin: &str, url: &str) -> String {
        match self {
            Self::Elsewhere(login_url) => login_url.returning_to(url),
            Self::Here(path) => {
                let encoded = percent_encoding::utf8_percent_encode(url, percent_encoding::NON_ALPHANUMERIC);
                format!("{origin}{path}?url={encoded}")
            }
        }
    }

    /// Its own origin, where it has one.
    pub(super) fn origin(&self) -> Option<Url> {
        match self {
            Self::Elsewhere(login_url) => Url::parse(&login_url.returning_to("")).ok(),
            Self::Here(_) => None,
        }
    }
}
