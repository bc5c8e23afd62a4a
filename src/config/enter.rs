use super::section::Section;
use crate::domain::EnterTerms;

/// What may stand in braces in `sso_init`.
const PLACES: [&str; 3] = ["{cookie}", "{h}", "{back}"];

impl EnterTerms {
    /// Reads `[backend.enter]`.
    pub(super) fn read(mut section: Section) -> Self {
        let url = section.url("url");
        if url.as_ref().is_some_and(|url| url.query().is_some()) {
            section.mistake("url", "must not have a query; cut it at the ?");
        }
        let cookie_domain = section.text("cookie_domain").map(|domain| domain.to_ascii_lowercase());
        let terms = Self {
            url,
            cookie_domain,
            origins: read_origins(&mut section),
            return_to: section.urls("return_to"),
            sso_init: section.text("sso_init"),
        };
        if let Some(domain) = &terms.cookie_domain {
            terms.check_domain(&section, domain);
        }
        if let Some(template) = &terms.sso_init {
            terms.check_template(&section, template);
        }
        section.finish();
        terms
    }

    fn check_domain(&self, section: &Section, domain: &str) {
        let label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        let is_name = matches!(url::Host::parse(domain), Ok(url::Host::Domain(_)));
        if !is_name || !domain.contains('.') || !domain.split('.').all(label) {
            let message = "must be the parent domain of portal and application, such as \"example.test\"";
            section.mistake("cookie_domain", message);
        } else if self.url.as_ref().and_then(|url| url.host_str()).is_some_and(|host| !self.covers(host)) {
            section.mistake("cookie_domain", "must be the host in url, or a domain above it");
        }
    }

    fn check_template(&self, section: &Section, template: &str) {
        let bare = PLACES.iter().fold(template.to_owned(), |text, place| text.replace(place, "x"));
        let web = url::Url::parse(&bare).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
        });
        // A place in the host would let a key choose the server.
        let authority = template.split('/').nth(2).unwrap_or_default();
        let plain = template.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        if !web || !plain || bare.contains(['{', '}']) || authority.contains('{') {
            section.mistake(
                "sso_init",
                "must be an http:// or https:// address in which {cookie}, {h} and {back} stand for the keys and the way back",
            );
        } else if !template.contains(PLACES[0]) && !template.contains(PLACES[1]) {
            section.mistake("sso_init", "hands no key over; write {cookie} or {h} where the script wants it");
        } else if self.url.is_none() {
            section.mistake("sso_init", "needs url, the application's own address, to go on to");
        }
    }
}

fn read_origins(section: &mut Section) -> Vec<String> {
    let origins = section.texts("origins").unwrap_or_default();
    for (index, origin) in origins.iter().enumerate() {
        let parsed = url::Url::parse(origin).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let canonical = parsed.map(|url| url.origin().ascii_serialization());
        match canonical {
            Some(canonical) if canonical == *origin => {}
            Some(canonical) => {
                section.mistake(
                    &format!("origins[{}]", index + 1),
                    &format!("must be written \"{canonical}\", as browsers send it"),
                );
            }
            None => section.mistake(
                &format!("origins[{}]", index + 1),
                "must be the origin of a portal's pages, such as \"https://portal.example.test\"",
            ),
        }
    }
    origins
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (EnterTerms, Vec<String>) {
        let section = Section::from_toml(text).unwrap();
        let mistakes = section.shared_mistakes();
        let terms = EnterTerms::read(section);
        (terms, mistakes.all().iter().map(|mistake| format!("{}: {}", mistake.key, mistake.message)).collect())
    }

    #[test]
    fn what_is_right_is_taken_as_it_stands() {
        let text = "url = \"https://webmail.example.test/mail\"\ncookie_domain = \"Example.test\"\n\
                    origins = [\"https://portal.other.test\", \"http://[::1]:8080\"]\n\
                    return_to = [\"https://portal.other.test/a?b\"]\n\
                    sso_init = \"https://webmail.example.test/sso?c={cookie}&h={h}&b={back}\"";
        let (terms, mistakes) = read(text);
        assert_eq!(mistakes, [] as [&str; 0]);
        assert!(terms.covers("webmail.example.test") && terms.lists("http://[::1]:8080"));
        assert_eq!((terms.return_to.len(), terms.sso_init.is_some()), (1, true));
        assert_eq!(read(""), (EnterTerms::default(), Vec::new()));
    }

    #[test]
    fn every_mistake_is_named_with_its_remedy() {
        let url = "url = \"https://webmail.example.test\"\n";
        for (text, key, words) in [
            ("url = \"webmail\"", "url", "must be an http:// or https:// address"),
            ("url = \"https://a.test/?x\"", "url", "cut it at the ?"),
            ("cookie_domain = \".example.test\"", "cookie_domain", "such as \"example.test\""),
            ("cookie_domain = \"test\"", "cookie_domain", "parent domain"),
            ("cookie_domain = \"192.0.2.1\"", "cookie_domain", "parent domain"),
            ("cookie_domain = \"example.test; Secure\"", "cookie_domain", "parent domain"),
            ("cookie_domain = \"ex ample.test\"", "cookie_domain", "parent domain"),
            (&format!("{url}cookie_domain = \"other.test\""), "cookie_domain", "a domain above it"),
            (&format!("{url}cookie_domain = \"mail.example.test\""), "cookie_domain", "a domain above it"),
            ("origins = [\"https://a.test\", \"*\"]", "origins[2]", "must be the origin"),
            ("origins = [\"null\"]", "origins[1]", "must be the origin"),
            ("origins = [\"https://a.test/\"]", "origins[1]", "written \"https://a.test\""),
            ("origins = [\"https://A.test:443\"]", "origins[1]", "written \"https://a.test\""),
            ("origins = [\"https://a.test/portal\"]", "origins[1]", "written \"https://a.test\""),
            ("origins = [\"file:///x\"]", "origins[1]", "must be the origin"),
            ("origins = \"https://a.test\"", "origins", "must be a list"),
            ("return_to = [\"/a\"]", "return_to[1]", "must be an http"),
            ("sso_init = \"https://a.test/?c={cookie}\"", "sso_init", "needs url"),
            (&format!("{url}sso_init = \"https://a.test/\""), "sso_init", "hands no key over"),
            (&format!("{url}sso_init = \"https://a.test/?b={{back}}\""), "sso_init", "hands no key over"),
            (&format!("{url}sso_init = \"https://{{h}}.test/?c={{cookie}}\""), "sso_init", "must be an"),
            (&format!("{url}sso_init = \"https://a.test/?c={{cookies}}\""), "sso_init", "must be an"),
            (&format!("{url}sso_init = \"javascript:alert('{{cookie}}')\""), "sso_init", "must be an"),
            (&format!("{url}sso_init = \"https://a.test/ ?c={{cookie}}\""), "sso_init", "must be an"),
            ("origin = []", "origin", "is not a known key"),
        ] {
            let (_, mistakes) = read(text);
            assert_eq!(mistakes.len(), 1, "{text}: {mistakes:#?}");
            assert!(
                mistakes[0].starts_with(&format!("{key}: ")) && mistakes[0].contains(words),
                "{text}: {mistakes:#?}"
            );
        }
    }
}
