//! The question, free of the protocol it came over.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use memchr::{memchr, memrchr};

use crate::domain::{Audience, Browser, Cookies, is_control};
use crate::inject::write_upstream_target;

/// Longest name of a host, and how long its labels may be, in bytes.
const LONGEST_NAME: usize = 253;
const LABEL: RangeInclusive<usize> = 1..=63;
/// Longest path and query, in bytes.
const LONGEST_TARGET: usize = 16 * 1024;

/// One request that somebody wants judged.
pub struct Ask<'a> {
    /// Whether the browser came by https.
    pub secure: bool,
    /// The host the browser asked for.
    pub host: Host<'a>,
    /// The path and query the browser asked for.
    pub target: Target<'a>,
    /// The method, as it came.
    pub method: &'a str,
    /// The browser's cookies.
    pub cookies: Cookies<'a>,
    /// The browser.
    pub browser: &'a dyn Browser,
}

impl Ask<'_> {
    /// Who looks at the answer.
    #[must_use]
    pub fn audience(&self) -> Audience {
        self.browser.audience(self.method)
    }

    /// The address the browser asked for, without copies of the application's key in the query.
    #[must_use]
    pub fn url_without(&self, query_key: Option<&str>) -> String {
        let mut target = Vec::with_capacity(self.target.raw.len());
        write_upstream_target(&mut target, self.target.raw, query_key, b"");
        format!("{}{}", self.host.origin(self.secure), String::from_utf8_lossy(&target))
    }
}

/// This is no host name, or no path and query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Something that could mean another host to somebody else.
    #[error("the host is not a host name with an optional port")]
    Host,
    /// No slash at its start, a control character, a blank, a fragment, or too long.
    #[error("the address is not a path with an optional query")]
    Target,
}

/// A host in its one canonical form: lower case, no dot at its end, the port apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    name: Cow<'a, str>,
    port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads `name`, `name:port` or `[v6]:port`.
    ///
    /// # Errors
    /// [`AskError::Host`] for user names, other characters, empty labels, and ports that are none.
    pub fn parse(authority: &'a str) -> Result<Self, AskError> {
        let colon = memrchr(b':', authority.as_bytes()).filter(|colon| !authority.as_bytes()[*colon..].contains(&b']'));
        let (name, port) = match colon {
            Some(colon) => (&authority[..colon], Some(&authority[colon + 1..])),
            None => (authority, None),
        };
        let digits = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port {
            None => None,
            Some(port) if digits(port) => Some(port.parse().map_err(|_| AskError::Host)?),
            Some(_) => return Err(AskError::Host),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let in_brackets = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let spelled = match in_brackets {
            Some(address) => address.parse::<std::net::Ipv6Addr>().ok().map(|_| Spelled::Otherwise),
            None => spelled(name),
        };
        let name = match spelled.ok_or(AskError::Host)? {
            Spelled::Lower => Cow::Borrowed(name),
            Spelled::Otherwise => Cow::Owned(name.to_ascii_lowercase()),
        };
        Ok(Self { name, port })
    }

    /// The origin, `https://name:port`, without the scheme's own port.
    #[must_use]
    pub fn origin(&self, secure: bool) -> String {
        let (scheme, default_port) = if secure { ("https", 443) } else { ("http", 80) };
        match self.port.filter(|port| *port != default_port) {
            Some(port) => format!("{scheme}://{}:{port}", self.name),
            None => format!("{scheme}://{}", self.name),
        }
    }

    /// The name, in lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// How a host is written.
enum Spelled {
    /// In lower case.
    Lower,
    /// Perhaps not.
    Otherwise,
}

/// How a name is written, if it is one: labels with a dot between each two. Underscores are no part of host names, but
/// of names that people use inside their networks.
fn spelled(name: &str) -> Option<Spelled> {
    let (mut label, mut spelled) = (0, Spelled::Lower);
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            b'A'..=b'Z' => (label, spelled) = (label + 1, Spelled::Otherwise),
            b'.' if LABEL.contains(&label) => label = 0,
            _ => return None,
        }
    }
    (LABEL.contains(&label) && name.len() <= LONGEST_NAME).then_some(spelled)
}

/// A path and query, byte for byte as the browser sent it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    raw: &'a str,
    path_length: usize,
}

impl<'a> Target<'a> {
    /// Reads a path with an optional query.
    ///
    /// # Errors
    /// [`AskError::Target`] for what could not stand in a request line.
    pub fn parse(raw: &'a str) -> Result<Self, AskError> {
        if !raw.starts_with('/') || raw.len() > LONGEST_TARGET {
            return Err(AskError::Target);
        }
        // Every byte is looked at, since the compiler takes many at once where no early end is wanted.
        let allowed = |byte: u8| byte > b' ' && byte != 0x7f && byte != b'#';
        if !raw.bytes().fold(true, |so_far, byte| so_far & allowed(byte)) {
            return Err(AskError::Target);
        }
        // The path is logged as it is, and there are control characters beyond ASCII.
        if !raw.is_ascii() && raw.contains(is_control) {
            return Err(AskError::Target);
        }
        Ok(Self { raw, path_length: memchr(b'?', raw.as_bytes()).unwrap_or(raw.len()) })
    }

    /// The whole.
    #[must_use]
    pub const fn raw(&self) -> &'a str {
        self.raw
    }

    /// The path alone, not decoded.
    #[must_use]
    pub fn path(&self) -> &'a str {
        &self.raw[..self.path_length]
    }
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query may hold keys.
        write!(formatter, "Target({:?})", self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_form_or_none() {
        for (authority, expected) in [
            ("app.example.test", Some(("app.example.test", None))),
            ("APP.Example.test:8443", Some(("app.example.test", Some(8443)))),
            ("app.example.test.:443", Some(("app.example.test", Some(443)))),
            ("[::1]:80", Some(("[::1]", Some(80)))),
            ("[::1]", Some(("[::1]", None))),
            ("[::1].", Some(("[::1]", None))),
            ("app.example.test@mail.example.test", None),
            ("app.example.test:80:90", None),
            ("app.example.test:", None),
            ("app.example.test:+80", None),
            ("app.example.test:99999", None),
            ("app..example.test", None),
            ("app.example.test..", None),
            (".example.test", None),
            ("", None),
            ("::1", None),
            ("[::1", None),
            ("a/b", None),
            ("a\\b", None),
            ("a%2eb", None),
            ("a b", None),
            ("bücher.test", None),
            ("a,b", None),
        ] {
            let host = Host::parse(authority).ok();
            assert_eq!(host.as_ref().map(|host| (host.name(), host.port)), expected, "{authority}");
        }
    }

    #[test]
    fn a_host_and_its_labels_are_only_so_long() {
        let (label, letters) = ("x".repeat(63), "x".repeat(61));
        let name = [&label, &label, &label, &letters].map(String::as_str).join(".");
        assert_eq!(name.len(), 253);
        for (name, expected) in [
            (name.clone(), true),
            (format!("{name}.:443"), true),
            (format!("{name}x"), false),
            (format!("{label}.test"), true),
            (format!("{label}x.test"), false),
            (format!("app.{label}x"), false),
        ] {
            assert_eq!(Host::parse(&name).is_ok(), expected, "{name}");
        }
    }

    #[test]
    fn a_target_is_a_path_and_perhaps_a_query() {
        assert_eq!(Target::parse("/a?b?c").unwrap().path(), "/a");
        for raw in ["", "a", "*", "http://x/", "/a b", "/a#b", "/a\r\nb", "/a\tb", "?/"] {
            assert_eq!(Target::parse(raw), Err(AskError::Target), "{raw:?}");
        }
        assert_eq!(Target::parse(&format!("/{}", "x".repeat(LONGEST_TARGET))), Err(AskError::Target));
    }
}
