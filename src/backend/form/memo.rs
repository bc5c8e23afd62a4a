//! What must be known again as long as a session lives.

use serde::{Deserialize, Serialize};

use crate::backend::Binding;
use crate::domain::Client;
use crate::wire::HeaderName;

/// Longest sum of the browser's headers, in bytes, that leaves room for values.
const LONGEST_BROWSER: usize = 1024;

/// Kept beside the keys, as JSON.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Memo {
    /// The browser's address, for applications that compare it.
    address: String,
    /// The browser's name for itself, one character a byte, where sessions are bound to it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    user_agent: String,
    /// Its languages, likewise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    accept_language: String,
    /// Values of placeholders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<(String, String)>,
}

impl Memo {
    /// Of a browser, without values; `None` where what sessions are bound to is too long to be kept.
    pub fn of(client: &Client<'_>, binding: Binding) -> Option<Self> {
        let kept = |header: &[u8], bound: bool| -> String {
            header.iter().filter(|_| bound).map(|byte| char::from(*byte)).collect()
        };
        let user_agent = kept(&client.user_agent, binding.user_agent);
        let accept_language = kept(&client.accept_language, binding.accept_language);
        let fits = user_agent.len() + accept_language.len() <= LONGEST_BROWSER;
        fits.then(|| Self { address: client.address.to_string(), user_agent, accept_language, values: Vec::new() })
    }

    /// From a text; an empty one where it is none.
    pub fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
    }

    /// The headers by which an application knows the browser again.
    pub fn browser(&self) -> Vec<(HeaderName, Vec<u8>)> {
        let bytes = |text: &str| text.chars().filter_map(|character| u8::try_from(character).ok()).collect();
        vec![
            (HeaderName::from_static("user-agent"), bytes(&self.user_agent)),
            (HeaderName::from_static("accept-language"), bytes(&self.accept_language)),
            (HeaderName::from_static("x-forwarded-for"), self.address.clone().into_bytes()),
        ]
    }
}

/// The headers of the browser for which a session is opened.
pub(super) fn browser(client: &Client<'_>) -> Vec<(HeaderName, Vec<u8>)> {
    vec![
        (HeaderName::from_static("user-agent"), client.user_agent.to_vec()),
        (HeaderName::from_static("accept-language"), client.accept_language.to_vec()),
        (HeaderName::from_static("x-forwarded-for"), client.address.to_string().into_bytes()),
    ]
}
