use std::borrow::Cow;
use std::net::IpAddr;

/// The browser, as far as a back-end may tie a session to it.
///
/// The two headers are kept as the bytes that arrived: Open-Xchange hashes the `User-Agent` byte
/// for byte, and no rule says that it is UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// The browser's address, already found behind trusted proxies.
    pub address: IpAddr,
    /// The `User-Agent` header, empty if there was none.
    pub user_agent: Cow<'a, [u8]>,
    /// The `Accept-Language` header, empty if there was none.
    pub accept_language: Cow<'a, [u8]>,
}

/// Who looks at the answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A person who wants to see a page, and may be sent to another one.
    Page,
    /// A person who sent a form: what stands in it would be lost if they were sent elsewhere.
    Form,
    /// A script, or another part of a page.
    Script,
    /// Nobody whom a browser shows anything.
    Program,
}

impl Audience {
    /// Whether it is a person, who reads pages.
    #[must_use]
    pub const fn is_person(self) -> bool {
        matches!(self, Self::Page | Self::Form)
    }
}

/// The browser behind a request, looked at only when somebody must know: a decision about somebody
/// whose keys are held needs none of it.
pub trait Browser: Sync {
    /// What a back-end may tie a session to.
    fn client(&self) -> Client<'_>;

    /// Who looks at the answer to a request of this method.
    fn audience(&self, method: &str) -> Audience;

    /// The value of a header that came exactly once, by its name in lower case.
    fn header(&self, name: &str) -> Option<&str>;
}

/// A browser for tests: on this host, with these headers alone, and no person in front of it.
#[cfg(test)]
pub struct ScriptedBrowser<'a>(pub &'a [(&'a str, &'a str)]);

#[cfg(test)]
impl Browser for ScriptedBrowser<'_> {
    fn client(&self) -> Client<'_> {
        let bytes = |name: &str| Cow::Borrowed(self.header(name).unwrap_or_default().as_bytes());
        Client {
            address: IpAddr::from([127, 0, 0, 1]),
            user_agent: bytes("user-agent"),
            accept_language: bytes("accept-language"),
        }
    }

    fn audience(&self, _: &str) -> Audience {
        Audience::Program
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().filter(|(held, _)| *held == name);
        named.next().filter(|_| named.next().is_none()).map(|(_, value)| *value)
    }
}

impl Client<'_> {
    /// Copies what is borrowed, so that a login can outlive the request that caused it.
    #[must_use]
    pub fn into_owned(self) -> Client<'static> {
        Client {
            address: self.address,
            user_agent: Cow::Owned(self.user_agent.into_owned()),
            accept_language: Cow::Owned(self.accept_language.into_owned()),
        }
    }
}
