//! How do we say it to people?
//!
//! The texts of all our pages in every language there is, the frame they stand in and how they look. Plain
//! HTML without script, readable by everything. Knows no protocol, and nothing of why a page is shown.
//!
//! - `message`: what can be said. `catalogue`: in which words, ours and the operator's. `preference`: in which
//!   language. `frame`: the page around it.

mod catalogue;
mod frame;
mod message;
mod preference;

use std::path::Path;
use std::sync::Arc;

pub use catalogue::Language;
pub use frame::{CONTENT_SECURITY_POLICY, policy_leading_to};
pub use message::Message;

use crate::config::Section;

/// How all our pages look, at `/.keyward/style.css`. In a cascade layer, so that whatever an operator's own
/// stylesheet says wins.
pub const STYLE: &str = include_str!("style.css");
/// Where an operator's own stylesheet is. It has an address of its own, because web servers may have a copy of
/// ours for the time when Keyward is down.
pub const THEME_ADDRESS: &str = "/.keyward/theme.css";
/// Longest stylesheet of an operator, in bytes.
const LONGEST_THEME: usize = 256 * 1024;

/// Everything that our pages are made of.
#[derive(Debug)]
pub struct Pages {
    languages: Vec<Language>,
    theme: Option<String>,
}

impl Pages {
    /// Reads `[pages]` and the files it names. Finishes the section.
    #[must_use]
    pub fn read(mut section: Section) -> Arc<Self> {
        let theme = section.text("stylesheet").and_then(|path| read_theme(&section, Path::new(&path)));
        let mut languages = catalogue::shipped();
        if let Some(directory) = section.text("messages") {
            catalogue::read_all(&mut languages, &section, Path::new(&directory));
        }
        if theme.is_some() {
            for language in &mut languages {
                language.has_theme = true;
            }
        }
        section.finish();
        Arc::new(Self { languages, theme })
    }

    /// Without anything of an operator's.
    #[must_use]
    pub fn shipped() -> Arc<Self> {
        Arc::new(Self { languages: catalogue::shipped(), theme: None })
    }

    /// The operator's own stylesheet.
    #[must_use]
    pub fn theme(&self) -> Option<&str> {
        self.theme.as_deref()
    }

    /// The language that suits a browser best, by its `Accept-Language`; English where none does.
    #[must_use]
    pub fn speaking(&self, accept_language: &[u8]) -> &Language {
        let tags: Vec<&str> = self.languages.iter().map(Language::tag).collect();
        &self.languages[preference::best(accept_language, &tags).unwrap_or(0)]
    }
}

fn read_theme(section: &Section, path: &Path) -> Option<String> {
    match std::fs::read_to_string(path) {
        Ok(theme) if theme.len() <= LONGEST_THEME => return Some(theme),
        Ok(_) => section.mistake("stylesheet", "names a file of more than 256 KiB; pages are to be there at once"),
        Err(error) => section.mistake("stylesheet", &format!("names a file that cannot be read: {error}")),
    }
    None
}

#[cfg(test)]
mod tests;
