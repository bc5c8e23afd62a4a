use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use smallvec::SmallVec;

use super::headers::Headers;
use crate::domain::Client;

/// What stands for whoever is at the other end of a Unix socket.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Whose word about the original request is taken.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Networks of proxies.
    pub proxies: Vec<IpNet>,
    /// Whether peers on Unix sockets are proxies, too.
    pub unix: bool,
}

impl Trust {
    /// Whether the peer of this connection may say what the original request was. Only a Unix socket has no
    /// address.
    #[must_use]
    pub fn is_proxy(&self, peer: Option<IpAddr>) -> bool {
        peer.map_or(self.unix, |peer| self.covers(peer))
    }

    fn covers(&self, address: IpAddr) -> bool {
        // A dual-stack listener shows IPv4 peers as mapped addresses.
        let address = address.to_canonical();
        self.proxies.iter().any(|network| network.contains(&address))
    }

    /// The browser's address: of those in `X-Forwarded-For` and the nearest one behind them, the rightmost
    /// that is no proxy of ours, the leftmost when all are. What stands left of something unreadable is
    /// anybody's word.
    fn client_address(&self, headers: &impl Headers, nearest: Option<IpAddr>) -> IpAddr {
        let mut nearest = match nearest.map(|nearest| nearest.to_canonical()) {
            Some(outsider) if !self.covers(outsider) => return outsider,
            Some(proxy) => proxy,
            None if !self.unix => return LOCAL,
            None => LOCAL,
        };
        let lines: SmallVec<[&str; 2]> =
            headers.all("x-forwarded-for").map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
        for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Some(address) = parse_address(entry.trim()) else { break };
            nearest = address;
            if !self.covers(address) {
                break;
            }
        }
        nearest
    }

    /// The browser behind a request. `nearest` is the last address on its way that was seen by somebody we
    /// believe; a Unix socket has none.
    pub(super) fn client<'a>(&self, headers: &'a impl Headers, nearest: Option<IpAddr>) -> Client<'a> {
        let bytes = |name| Cow::Borrowed(headers.first(name).unwrap_or_default());
        Client {
            address: self.client_address(headers, nearest),
            user_agent: bytes("user-agent"),
            accept_language: bytes("accept-language"),
        }
    }
}

/// An address, which some proxies write with a port.
fn parse_address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(with_port) = text.parse::<SocketAddr>() {
        return Some(with_port.ip().to_canonical());
    }
    let in_brackets = text.strip_prefix('[')?.strip_suffix(']')?;
    in_brackets.parse::<IpAddr>().ok()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_client_is_the_nearest_that_is_no_proxy_of_ours() {
        let trust = Trust { proxies: vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()], unix: true };
        for (lines, expected) in [
            (&[][..], "127.0.0.1"),
            (&["198.51.100.7"], "198.51.100.7"),
            (&["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
            (&["6.6.6.6, 198.51.100.7, 10.1.1.1"], "198.51.100.7"),
            (&["6.6.6.6", "198.51.100.7, 10.1.1.1"], "198.51.100.7"),
            (&["10.9.9.9, 10.1.1.1"], "10.9.9.9"),
            (&["198.51.100.7:4711"], "198.51.100.7"),
            (&["[2001:db8::7]:4711"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["::ffff:198.51.100.7"], "198.51.100.7"),
            (&["6.6.6.6, unknown, 10.1.1.1"], "10.1.1.1"),
            (&["6.6.6.6, , "], "127.0.0.1"),
        ] {
            let request = lines
                .iter()
                .fold(TestRequest::get(), |request, line| request.append_header(("X-Forwarded-For", *line)));
            let request = request.to_request();
            let nearest = Some([127, 0, 0, 1].into());
            let client = trust.client(request.head().headers(), nearest);
            assert_eq!(client.address.to_string(), expected, "{lines:?}");
            // Whoever is no proxy of ours speaks for nobody but themselves.
            let outsider = IpAddr::from([203, 0, 113, 5]);
            assert_eq!(trust.client(request.head().headers(), Some(outsider)).address, outsider, "{lines:?}");
        }
    }

    #[test]
    fn only_proxies_are_believed() {
        let trust = Trust { proxies: vec!["127.0.0.0/8".parse().unwrap()], unix: false };
        for (peer, believed) in [("127.0.0.1", true), ("::ffff:127.0.0.1", true), ("192.0.2.1", false)] {
            assert_eq!(trust.is_proxy(Some(peer.parse().unwrap())), believed, "{peer}");
        }
        assert!(!trust.is_proxy(None));
    }
}
