/// The address of a sign-in page; `after` is what follows the place for the address to return to,
/// where there is such a place.
pub(super) struct LoginUrl {
    before: String,
    pub(super) after: Option<String>,
}

impl LoginUrl {
    pub(super) fn parse(template: &str) -> Result<Self, &'static str> {
        let parsed = url::Url::parse(&template.replacen("{url}", "x", 1));
        let web = parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.username().is_empty());
        // Printable ASCII only: the text goes into a header as it stands here, and by web servers that cannot
        // escape it into pages and JSON.
        if !web || !template.bytes().all(|byte| (0x21..0x7f).contains(&byte) && !b"\"'<>\\`".contains(&byte)) {
            return Err(
                "must be an http:// or https:// address such as \"https://portal.example.test/login?next={url}\"",
            );
        }
        let (before, after) = match template.split_once("{url}") {
            Some((before, after)) => (before, Some(after)),
            None => (template, None),
        };
        if after.is_some_and(|after| after.contains("{url}")) {
            return Err("may hold {url} only once");
        }
        Ok(Self { before: before.to_owned(), after: after.map(str::to_owned) })
    }

    pub(super) fn returning_to(&self, url: &str) -> String {
        let Some(after) = &self.after else { return self.before.clone() };
        let encoded = percent_encoding::utf8_percent_encode(url, percent_encoding::NON_ALPHANUMERIC);
        format!("{}{encoded}{after}", self.before)
    }
}
