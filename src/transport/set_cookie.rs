use std::fmt;
use std::time::Duration;

/// A `Set-Cookie` line as we write it: for every path, hidden from scripts.
pub(super) struct SetCookie<'a> {
    pub name: &'a str,
    pub value: &'a str,
    /// Otherwise for this host alone.
    pub domain: Option<&'a str>,
    /// How long it lives; otherwise until the browser is closed.
    pub lives: Option<Duration>,
    pub scope: Scope,
}

/// Where a cookie may be sent from, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// The page came by https.
    pub secure: bool,
    /// It is set while a page of another site looks on. Browsers store it then only if it may always
    /// be sent across sites, and some not even then.
    pub across_sites: bool,
}

impl<'a> SetCookie<'a> {
    /// The line that makes a browser forget a cookie.
    pub fn gone(name: &'a str, domain: Option<&'a str>, secure: bool) -> Self {
        let scope = Scope { secure, across_sites: false };
        Self { name, value: "", domain, lives: Some(Duration::ZERO), scope }
    }
}

impl fmt::Display for SetCookie<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}; Path=/", self.name, self.value)?;
        if let Some(domain) = self.domain {
            write!(out, "; Domain={domain}")?;
        }
        if let Some(lives) = self.lives {
            write!(out, "; Max-Age={}", lives.as_secs())?;
        }
        let Scope { secure, across_sites } = self.scope;
        // Without Secure no browser takes SameSite=None.
        let same_site = if secure && across_sites { "None" } else { "Lax" };
        write!(out, "; HttpOnly; SameSite={same_site}")?;
        if secure { out.write_str("; Secure") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_hidden_from_scripts_and_kept_to_its_site() {
        for (secure, across_sites, domain, line) in [
            (false, false, None, "k=v; Path=/; HttpOnly; SameSite=Lax"),
            (true, false, None, "k=v; Path=/; HttpOnly; SameSite=Lax; Secure"),
            (true, true, None, "k=v; Path=/; HttpOnly; SameSite=None; Secure"),
            (false, true, None, "k=v; Path=/; HttpOnly; SameSite=Lax"),
            (true, false, Some("a.test"), "k=v; Path=/; Domain=a.test; HttpOnly; SameSite=Lax; Secure"),
        ] {
            let scope = Scope { secure, across_sites };
            assert_eq!(SetCookie { name: "k", value: "v", domain, lives: None, scope }.to_string(), line);
        }
        let gone = SetCookie::gone("k", None, true).to_string();
        assert_eq!(gone, "k=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
    }
}
