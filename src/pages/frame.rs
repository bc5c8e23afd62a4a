use super::{Language, Message, THEME_ADDRESS};
use crate::domain::Reply;

/// No script at all, and forms lead to ourselves. Pictures and fonts are for operators' stylesheets.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                                           base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

/// Languages that are written from right to left.
const FROM_THE_RIGHT: [&str; 9] = ["ar", "ckb", "dv", "fa", "he", "ps", "sd", "ur", "yi"];

/// The policy for a page whose form is answered with a redirect to another origin: Chromium holds the
/// whole chain against `form-action`, and would stop at its last step.
#[must_use]
pub fn policy_leading_to(origin: &str) -> String {
    format!("{CONTENT_SECURITY_POLICY} {origin}")
}

impl Language {
    /// A whole page with a title and a body that is HTML already.
    #[must_use]
    pub fn page(&self, title: Message, body: &str) -> String {
        self.page_with("", title, body)
    }

    /// The same, with more lines in its head.
    #[must_use]
    pub fn page_with(&self, head: &str, title: Message, body: &str) -> String {
        let (tag, title) = (self.tag(), self.html(title, &[]));
        let general = tag.split('-').next().unwrap_or_default();
        let is_from_the_right = FROM_THE_RIGHT.iter().any(|known| known.eq_ignore_ascii_case(general));
        let direction = if is_from_the_right { " dir=\"rtl\"" } else { "" };
        let theme = match self.has_theme {
            true => format!("<link rel=\"stylesheet\" href=\"{THEME_ADDRESS}\">\n"),
            false => String::new(),
        };
        format!(
            "<!doctype html>\n<html lang=\"{tag}\"{direction}>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n{head}<title>{title}</title>\n\
             <link rel=\"stylesheet\" href=\"/.keyward/style.css\">\n{theme}\
             <main>\n<h1>{title}</h1>\n{body}\n</main>\n</html>\n",
        )
    }

    /// A page as the answer of a service.
    #[must_use]
    pub fn reply(&self, status: u16, title: Message, body: &str) -> Reply {
        Reply { status, headers: Vec::new(), body: self.page(title, body) }
            .header("content-type", "text/html; charset=utf-8".to_owned())
            .header("content-security-policy", CONTENT_SECURITY_POLICY.to_owned())
    }

    /// Words as a paragraph.
    #[must_use]
    pub fn paragraph(&self, message: Message, values: &[(&str, &str)]) -> String {
        format!("<p>{}</p>", self.html(message, values))
    }
}
