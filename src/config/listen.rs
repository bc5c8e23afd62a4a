use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::section::Section;
use crate::domain::ListenAddress;

/// Mode of a socket file where none is written: for its owner and group, and the web server joins
/// the group.
const DEFAULT_MODE: u32 = 0o660;
/// Longest path of a Unix socket on Linux, in bytes, less its closing zero.
const LONGEST_SOCKET_PATH: usize = 107;

impl ListenAddress {
    /// A port on the loopback address.
    pub(super) const fn loopback(port: u16) -> Self {
        Self::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// Reads `key` and `<key>_mode`; `None` where `off` was written, or nothing and there is no default.
    pub(super) fn read(
        section: &mut Section,
        key: &'static str,
        mode_key: &'static str,
        default: Option<Self>,
    ) -> Option<Self> {
        let text = section.text(key);
        let mode = section.text(mode_key);
        if text.as_deref() == Some("off") {
            return None;
        }
        let address = match text {
            None => match default {
                Some(default) => default,
                None if mode.is_some() => {
                    section.mistake(mode_key, &format!("has no meaning without {key}"));
                    return None;
                }
                None => return None,
            },
            Some(text) => match Self::parse(&text) {
                Ok(address) => address,
                Err(message) => {
                    section.mistake(key, message);
                    return default;
                }
            },
        };
        match (address, mode) {
            (Self::Unix { path, .. }, Some(mode)) => {
                Some(Self::Unix { path, mode: parse_mode(section, mode_key, &mode) })
            }
            (address, Some(_)) => {
                section.mistake(mode_key, "has a meaning only for a Unix socket; leave it out");
                Some(address)
            }
            (address, None) => Some(address),
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(path) = text.strip_prefix("unix:") else {
            let address = text.parse().map_err(|_| "must be ip:port, such as \"127.0.0.1:8420\", or \"unix:/path\"")?;
            return Ok(Self::Tcp(address));
        };
        if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
            return Err("must have an absolute path of a file after unix:");
        }
        if path.len() > LONGEST_SOCKET_PATH {
            return Err("has a path longer than the 107 bytes that the system allows for a socket");
        }
        Ok(Self::Unix { path: PathBuf::from(path), mode: DEFAULT_MODE })
    }

    /// Whether both cannot be listened on at the same time. Port 0 never collides: each gets its own.
    pub(super) fn collides_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(two)) => {
                let same_place = one.ip() == two.ip() || one.ip().is_unspecified() || two.ip().is_unspecified();
                one.port() != 0 && one.port() == two.port() && same_place
            }
            (Self::Unix { path: one, .. }, Self::Unix { path: two, .. }) => one == two,
            _ => false,
        }
    }
}

fn parse_mode(section: &Section, key: &str, text: &str) -> u32 {
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
    mode.unwrap_or_else(|| {
        section.mistake(key, "must be permission bits in octal, such as \"0660\"");
        DEFAULT_MODE
    })
}
