//! What a server's refusal means.

use redis::{ErrorKind, RedisError};

use super::terms::Address;
use crate::store::StoreOutage;

/// Why there is no answer yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Outage(StoreOutage),
    /// Another node has it: for good, or, where it is `asking`, for this once.
    Elsewhere {
        to: Address,
        asking: bool,
    },
    /// Some of the keys were moved already.
    TryAgain,
    /// The server does not know the script.
    NoScript,
}

/// What a server says that cannot do anything for us, not even read. It is not asked until it can.
const OF_SERVER: [&str; 5] = ["LOADING", "MASTERDOWN", "NOAUTH", "WRONGPASS", "UNBLOCKED"];

impl Trouble {
    /// What an error means that `asked` gave.
    pub fn of(error: &RedisError, asked: &Address) -> Self {
        let Some(word) = word(error) else {
            return Self::Outage(StoreOutage::Unreachable(cause(error)));
        };
        match word {
            "NOSCRIPT" => Self::NoScript,
            "TRYAGAIN" => Self::TryAgain,
            "MOVED" | "ASK" => match error.redirect_node().and_then(|(node, _)| node_address(node, asked)) {
                Some(to) => Self::Elsewhere { to, asking: word == "ASK" },
                None => Self::Outage(StoreOutage::Unable(word.to_owned())),
            },
            _ => Self::Outage(StoreOutage::Unable(word.to_owned())),
        }
    }
}

impl From<StoreOutage> for Trouble {
    fn from(outage: StoreOutage) -> Self {
        Self::Outage(outage)
    }
}

/// Whether the whole server is out, and not what was asked of it.
pub(super) fn is_of_server(word: &str) -> bool {
    OF_SERVER.contains(&word)
}

/// Whether it does not take us for who we say we are.
pub(super) fn is_of_login(outage: &StoreOutage) -> bool {
    matches!(outage, StoreOutage::Unable(word) if word == "NOAUTH" || word == "WRONGPASS")
}

/// Where a node is that another one named. One that does not know its own address leaves it out.
pub(super) fn node_address(text: &str, asked: &Address) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    // A node without the kind of port that was asked for says 0.
    let port = port.parse().ok().filter(|port| *port != 0)?;
    match (host.trim_matches(['[', ']']), asked) {
        ("" | "?", Address::Tcp { host, .. }) => Some(Address::Tcp { host: host.clone(), port }),
        ("" | "?", Address::Unix(_)) => None,
        (host, _) => Some(Address::Tcp { host: host.to_owned(), port }),
    }
}

/// The server's own word. Servers before version 7 wrap that of what a script called in a sentence of theirs.
fn word(error: &RedisError) -> Option<&str> {
    let word = error.code()?;
    let wrapped = || {
        let words = error.detail()?.split([' ', '@']);
        let mut words = words.filter_map(|word| word.strip_prefix('-'));
        words.find(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase()))
    };
    if word == "ERR" { wrapped().or(Some(word)) } else { Some(word) }
}

/// Why a connection failed, in words that hold nothing of what was said on it.
fn cause(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::Io => error.to_string(),
        _ => error.category().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let asked = Address::parse("10.0.0.1:7000").unwrap();
        let elsewhere = |to: &str, asking| Trouble::Elsewhere { to: Address::parse(to).unwrap(), asking };
        let unable = |word: &str| Trouble::Outage(StoreOutage::Unable(word.to_owned()));
        for (text, trouble) in [
            ("MOVED 3999 10.0.0.2:7001", elsewhere("10.0.0.2:7001", false)),
            ("MOVED 3999 :7001", elsewhere("10.0.0.1:7001", false)),
            ("ASK 3999 ::1:7001", elsewhere("[::1]:7001", true)),
            ("ASK 3999 node-2.example.test:7001", elsewhere("node-2.example.test:7001", true)),
            ("MOVED nowhere", unable("MOVED")),
            ("MOVED 3999 10.0.0.2:0", unable("MOVED")),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Trouble::TryAgain),
            ("NOSCRIPT No matching script.", Trouble::NoScript),
            ("OOM command not allowed when used memory > 'maxmemory'.", unable("OOM")),
            ("READONLY You can't write against a read only replica.", unable("READONLY")),
            ("CLUSTERDOWN The cluster is down", unable("CLUSTERDOWN")),
            ("LOADING Redis is loading the dataset in memory", unable("LOADING")),
            ("WRONGPASS invalid username-password pair or user is disabled.", unable("WRONGPASS")),
            ("ERR Error running script (call to f_ab): @user_script:1: -OOM command not allowed", unable("OOM")),
            ("ERR unknown command 'hidden'", unable("ERR")),
        ] {
            let line = format!("-{text}\r\n");
            let error = redis::parse_redis_value(line.as_bytes()).unwrap().extract_error().unwrap_err();
            assert_eq!(Trouble::of(&error, &asked), trouble, "{text}");
        }
    }
}
