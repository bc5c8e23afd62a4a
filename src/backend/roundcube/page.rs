//! Reading Roundcube's pages: the few places in them that stay the same in every skin.

use crate::wire::Answer;

/// The login form, ready to be sent.
pub(super) struct Form {
    /// The hidden request token, which belongs to the cookies.
    pub token: String,
    /// The cookies that came with the form, as they stand in a header.
    pub cookies: String,
}

impl Form {
    /// The login form of a page, if the page has one.
    pub fn read(answer: &Answer) -> Option<Self> {
        let text = answer.text();
        if !text.contains("name=\"_pass\"") {
            return None;
        }
        let token = tag_with(&text, "name=\"_token\"").and_then(|tag| attribute(tag, "value"))?;
        let cookies: Vec<String> =
            answer.cookies_left().iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        Some(Self { token: token.to_owned(), cookies: cookies.join("; ") })
    }
}

/// The sentence that the page shows to the person.
pub(super) fn message(answer: &Answer) -> Option<String> {
    json_string_after(&answer.text(), "display_message(")
}

/// The language of the page, such as `de_DE`, or empty.
pub(super) fn locale(answer: &Answer) -> String {
    json_string_after(&answer.text(), "\"locale\":").unwrap_or_default()
}

fn json_string_after(text: &str, place: &str) -> Option<String> {
    let (_, after) = text.split_once(place)?;
    serde_json::Deserializer::from_str(after).into_iter::<String>().next()?.ok()
}

fn tag_with<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let at = text.find(mark)?;
    let start = text[..at].rfind('<')?;
    let end = text[at..].find('>')? + at;
    Some(&text[start..end])
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = tag.split_once(&format!("{name}=\""))?;
    Some(after.split_once('"')?.0)
}
