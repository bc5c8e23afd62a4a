use std::path::Path;

use super::Message;
use crate::config::{Document, Section};
use crate::domain::escape;

/// The languages that come with Keyward, English first: it speaks where an operator's own file is silent.
const SHIPPED: [(&str, &str); 2] = [("en", include_str!("messages/en.toml")), ("de", include_str!("messages/de.toml"))];

/// The words for every message in one language.
#[derive(Clone, Debug)]
pub struct Language {
    tag: String,
    /// In the order of [`Message::ALL`].
    texts: Vec<String>,
    /// Whether pages have the operator's stylesheet, too.
    pub(super) has_theme: bool,
}

impl Language {
    /// Its name as RFC 5646 has it, such as `de` or `pt-BR`.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The words.
    #[must_use]
    pub fn text(&self, message: Message) -> &str {
        self.texts.get(message as usize).map_or("", String::as_str)
    }

    /// The words as HTML, with values in the places of their names. A value keeps its own direction of writing.
    #[must_use]
    pub fn html(&self, message: Message, values: &[(&str, &str)]) -> String {
        let text = escape(self.text(message));
        let mut html = String::with_capacity(text.len());
        let mut rest = text.as_str();
        // In one pass: a value is never searched for places.
        while let Some((before, place)) = rest.split_once('{') {
            html.push_str(before);
            let known = place.split_once('}').and_then(|(name, after)| {
                values.iter().find(|(known, _)| *known == name).map(|(_, value)| (value, after))
            });
            match known {
                Some((value, after)) => {
                    html.push_str("<bdi>");
                    html.push_str(&escape(value));
                    html.push_str("</bdi>");
                    rest = after;
                }
                None => {
                    html.push('{');
                    rest = place;
                }
            }
        }
        html.push_str(rest);
        html
    }

    fn set(&mut self, message: Message, text: String) {
        if let Some(held) = self.texts.get_mut(message as usize) {
            *held = text;
        }
    }
}

/// What comes with Keyward. A test knows that every message is in every file.
pub(super) fn shipped() -> Vec<Language> {
    let language = |(tag, text): (&str, &str)| {
        let read = Section::from_toml(text).map(|mut section| section.all_texts()).unwrap_or_default();
        let mut language = Language { tag: tag.to_owned(), texts: Vec::new(), has_theme: false };
        language.texts.resize(Message::ALL.len(), String::new());
        for (key, text) in read {
            if let Some(message) = Message::ALL.iter().find(|message| message.key() == key) {
                language.set(*message, text);
            }
        }
        language
    };
    SHIPPED.into_iter().map(language).collect()
}

/// Reads `<language>.toml` for each language that an operator adds or changes.
pub(super) fn read_all(languages: &mut Vec<Language>, section: &Section, directory: &Path) {
    let mut files = match std::fs::read_dir(directory) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>(),
        Err(error) => return section.mistake("messages", &format!("names a directory that cannot be read: {error}")),
    };
    files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    if files.is_empty() {
        section.mistake("messages", "names a directory without files such as fr.toml");
    }
    for file in files {
        let tag = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if !is_tag(tag) {
            section.mistake("messages", &format!("has a file that is not named by a language: {}", file.display()));
            continue;
        }
        let Some(written) = Document::beside(section, &file) else { continue };
        read_one(languages, section, tag, written);
    }
}

fn read_one(languages: &mut Vec<Language>, section: &Section, tag: &str, mut written: Section) {
    let known = languages.iter().position(|language| language.tag.eq_ignore_ascii_case(tag));
    let is_new = known.is_none();
    let index = known.unwrap_or_else(|| {
        // What a region does not say otherwise is said as in the language, else in English.
        let general = tag.split('-').next().unwrap_or_default();
        let model = languages.iter().find(|language| language.tag.eq_ignore_ascii_case(general));
        let model = model.or_else(|| languages.first()).cloned();
        languages.extend(model.map(|model| Language { tag: tag.to_owned(), ..model }));
        languages.len().saturating_sub(1)
    });
    let from_english = is_new && !tag.contains('-');
    let english = shipped().into_iter().next();
    let mut said = 0;
    for (key, text) in written.all_texts() {
        let Some(message) = Message::ALL.iter().copied().find(|message| message.key() == key) else {
            written.mistake(&key, "is not a known key; messages/en.toml in the source shows all");
            continue;
        };
        let places = english.as_ref().map(|english| places(english.text(message))).unwrap_or_default();
        if let Some(unknown) = self::places(&text).into_iter().find(|place| !places.contains(place)) {
            written.mistake(&key, &format!("has {{{unknown}}}, for which there is nothing to put in its place"));
            continue;
        }
        said += 1;
        if let Some(language) = languages.get_mut(index) {
            language.set(message, text);
        }
    }
    if from_english && said < Message::ALL.len() {
        let missing = Message::ALL.len() - said;
        section.warn("messages", &format!("{tag}.toml leaves {missing} messages out, which will be in English"));
    }
}

/// The names of the places in a text, in which values are put.
pub(super) fn places(text: &str) -> Vec<&str> {
    let pieces = text.split('{').skip(1);
    pieces.filter_map(|piece| piece.split_once('}')).map(|(name, _)| name).collect()
}

/// Whether it has the form of a language's name (RFC 5646): subtags of one to eight letters and digits.
fn is_tag(text: &str) -> bool {
    let is_subtag = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or_default();
    is_subtag(first) && first.len() > 1 && first.bytes().all(|byte| byte.is_ascii_alphabetic()) && parts.all(is_subtag)
}
