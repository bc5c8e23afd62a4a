//! A request that a browser made, and the address where it should end up after a sign-in.

use crate::support::{Ask, Door};

/// One request, less the cookies.
#[derive(Clone)]
pub struct Request {
    ask: Ask,
    back: String,
}

/// A person looks at a page.
pub fn page(url: &str) -> Request {
    Request { ask: Ask::page(url), back: url.to_owned() }
}

/// A script, an image, a DAV client.
pub fn get(url: &str) -> Request {
    Request { ask: Ask::get(url), back: url.to_owned() }
}

impl Request {
    pub fn method(self, method: &str) -> Self {
        Self { ask: self.ask.method(method), ..self }
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        Self { ask: self.ask.header(name, value), ..self }
    }

    /// The way back leads there, where it is not the address as it was written.
    pub fn back_to(self, back: &str) -> Self {
        Self { back: back.to_owned(), ..self }
    }

    /// The address to come back to.
    pub fn back(&self) -> &str {
        &self.back
    }

    /// The origin of it.
    pub fn origin(&self) -> String {
        url::Url::parse(&self.back).unwrap().origin().ascii_serialization()
    }

    /// All of the address, as it was written.
    pub fn address(&self) -> String {
        let lines = self.ask.original(Door::AuthRequest);
        String::from_utf8(lines[0].1.clone()).unwrap()
    }

    /// The path and the query as they go upstream, without keys.
    pub fn target(&self) -> String {
        let address = self.address();
        let (_, rest) = address.split_once("://").unwrap();
        rest[rest.find('/').unwrap()..].to_owned()
    }

    /// With these `Cookie` lines.
    pub fn with(&self, cookies: &[String]) -> Ask {
        cookies.iter().fold(self.ask.clone(), |ask, line| ask.cookie(line))
    }
}
