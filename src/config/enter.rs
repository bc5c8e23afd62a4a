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
