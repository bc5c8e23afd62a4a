use url::Url;

/// How browsers are handed over to an application (`[backend.enter]`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnterTerms {
    /// `url`: where browsers see the application. Without it that is the route's host and path, by the
    /// scheme and port of the request.
    pub url: Option<Url>,
    /// `cookie_domain`: the parent domain whose hosts all get the cookies, without a dot before it.
    pub cookie_domain: Option<String>,
    /// `origins`: where portal pages are that bring sessions from another domain, as browsers write it.
    pub origins: Vec<String>,
    /// `return_to`: addresses where a browser may go in place of the application, compared whole.
    pub return_to: Vec<Url>,
    /// `sso_init`: the address of the vendor's own script, with places for the keys.
    pub sso_init: Option<String>,
}

impl EnterTerms {
    /// Whether a portal page of this origin may bring sessions.
    #[must_use]
    pub fn lists(&self, origin: &str) -> bool {
        self.origins.iter().any(|listed| listed == origin)
    }

    /// Whether cookies of the parent domain reach this host.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        self.cookie_domain.as_ref().is_some_and(|domain| {
            let below = host.strip_suffix(domain.as_str());
            below.is_some_and(|labels| labels.is_empty() || labels.ends_with('.'))
        })
    }

    /// The way into the application of this name at this origin, where the portal's session is not seen
    /// there unless it is brought.
    #[must_use]
    pub fn way_in(&self, backend: &str, origin: &str) -> Option<WayIn> {
        let elsewhere = || {
            let origin = Url::parse(origin).ok();
            self.url.as_ref().is_some_and(|url| origin.is_none_or(|origin| origin.host() != url.host()))
        };
        let brought = !self.origins.is_empty() && !self.lists(origin) && !elsewhere();
        brought.then(|| WayIn::at(origin, backend))
    }
}

/// Where a hand-over to an application begins, or goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayIn {
    /// The address, without a query.
    pub address: String,
}

impl WayIn {
    /// The one for this application at this origin.
    #[must_use]
    pub fn at(origin: &str, backend: &str) -> Self {
        Self { address: format!("{origin}/.keyward/enter/{backend}") }
    }

    /// The address with the way on from there, if that is not too long to stand in it.
    #[must_use]
    pub fn returning_to(&self, address: Option<&str>) -> String {
        let address = address.filter(|address| address.len() <= LONGEST_RETURN);
        address.map_or_else(|| self.address.clone(), |address| self.with(&[(RETURN_PARAMETER, address)]))
    }

    /// The address with these parameters.
    #[must_use]
    pub fn with(&self, parameters: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        format!("{}?{}", self.address, query.extend_pairs(parameters).finish())
    }
}

/// The parameter that says where to go in place of the application.
pub const RETURN_PARAMETER: &str = "return_to";
/// Longest address there, in bytes. Encoded twice, as the way back from a sign-in page, it still fits into
/// what web servers take for an answer's head.
pub const LONGEST_RETURN: usize = 2 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_covers_itself_and_what_is_below_it_and_no_look_alike() {
        let terms = EnterTerms { cookie_domain: Some("example.test".to_owned()), ..EnterTerms::default() };
        for (host, covered) in [
            ("example.test", true),
            ("webmail.example.test", true),
            ("a.b.example.test", true),
            ("evilexample.test", false),
            ("example.test.evil.test", false),
            ("test", false),
            ("", false),
        ] {
            assert_eq!(terms.covers(host), covered, "{host}");
        }
        assert!(!EnterTerms::default().covers("example.test"));
    }

    #[test]
    fn only_where_sessions_are_brought_does_the_way_lead_through_the_hand_over() {
        let portal = "https://portal.test";
        let brought = EnterTerms { origins: vec![portal.to_owned()], ..EnterTerms::default() };
        let elsewhere = EnterTerms { url: Url::parse("https://other.test/").ok(), ..brought.clone() };
        let here = EnterTerms { url: Url::parse("https://mail.test/x").ok(), ..brought.clone() };
        let way = |terms: &EnterTerms, origin| terms.way_in("mail", origin).map(|way| way.address);
        let mail = Some("https://mail.test/.keyward/enter/mail".to_owned());
        assert_eq!(way(&brought, "https://mail.test"), mail);
        assert_eq!(way(&here, "https://mail.test"), mail);
        assert!(way(&here, "https://mail.test:8443").is_some());
        assert_eq!(way(&elsewhere, "https://mail.test"), None);
        assert_eq!(way(&brought, portal), None);
        assert_eq!(way(&EnterTerms::default(), "https://mail.test"), None);
    }
}
