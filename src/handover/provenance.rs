/// Where a request to sign out comes from, as the browser says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// A person, or a page of the same site.
    Own,
    /// A page of somebody else, or a browser that fetches links ahead: a person must be asked.
    Foreign,
}

impl Provenance {
    /// Judges by `Sec-Fetch-Site` where the browser sends it, else by `Origin`. `own` is the origin
    /// of the page asked for, such as `https://webmail.example.test`.
    #[must_use]
    pub fn of(fetch_site: Option<&str>, origin: Option<&str>, purpose: Option<&str>, own: &str) -> Self {
        let fetched_ahead = purpose.is_some_and(|purpose| purpose.contains("prefetch"));
        let own = match (fetch_site, origin) {
            (Some(site), _) => matches!(site, "same-origin" | "same-site" | "none"),
            (None, Some(origin)) => origin == own,
            (None, None) => true,
        };
        if own && !fetched_ahead { Self::Own } else { Self::Foreign }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_site_signs_nobody_out() {
        let own = "https://webmail.test";
        for (site, origin, purpose, expected) in [
            (Some("same-origin"), None, None, Provenance::Own),
            (Some("same-site"), Some("https://portal.test"), None, Provenance::Own),
            (Some("none"), None, None, Provenance::Own),
            (Some("cross-site"), None, None, Provenance::Foreign),
            (Some("cross-site"), Some(own), None, Provenance::Foreign),
            (Some("something-new"), None, None, Provenance::Foreign),
            (None, Some(own), None, Provenance::Own),
            (None, Some("https://evil.test"), None, Provenance::Foreign),
            (None, Some("null"), None, Provenance::Foreign),
            (None, None, None, Provenance::Own),
            (Some("same-origin"), None, Some("prefetch;prerender"), Provenance::Foreign),
        ] {
            assert_eq!(Provenance::of(site, origin, purpose, own), expected, "{site:?} {origin:?} {purpose:?}");
        }
    }
}
