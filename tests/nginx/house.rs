//! The real nginx with the shipped files, and what stands on both sides of it.

use std::net::SocketAddr;

use keyward::demo::nginx::Nginx;
use keyward::demo::process::free_address;

use super::servers::{Message, Scripted, answer, send};

/// nginx with everything around it.
pub struct House {
    pub keyward: Scripted,
    pub application: Scripted,
    pub address: SocketAddr,
    pub nginx: Nginx,
    pub directory: tempfile::TempDir,
}

pub const MAIL: &str = "webmail.example.test";
/// Behind a TLS terminator with another port, as its maps say.
pub const MAPPED: &str = "mapped.example.test";
pub const CUBE: &str = "roundcube.example.test";
pub const SHOP: &str = "shop.example.test";
pub const ZIMBRA: &str = "zimbra.example.test";
/// An application of kind "form".
pub const FORM: &str = "application.example.test";
/// Browsers use https for it.
pub const SOGO: &str = "sogo.example.test";
/// Where the webmail's log-out ends; Roundcube's ends nowhere.
pub const SIGNED_OUT: &str = "https://portal.example.test/bye?a=1%26b";

pub fn site(keyward: SocketAddr, application: SocketAddr, address: SocketAddr, extra: &str) -> String {
    let upstreams: String = ["axigen", "roundcube", "sogo", "websydian", "zimbra", "application", "portal"]
        .map(|name| format!("upstream {name} {{ server {application}; }}\n"))
        .concat();
    format!(
        "include keyward/http.conf;
        proxy_cache_path cache keys_zone=zone:1m;
        upstream keyward {{ server {keyward}; keepalive 8; }}
        {upstreams}
        map $host $keyward_scheme {{ {MAPPED} https; {SOGO} https; default $scheme; }}
        map $host $keyward_host {{ {MAPPED} $host; default $host:$server_port; }}
        map $host $keyward_signed_out {{ {MAIL} \"{SIGNED_OUT}\"; default \"\"; }}
        server {{ listen {address} default_server; return 421; }}
        server {{ listen {address}; server_name {MAIL} {MAPPED}; access_log mail.log keyward; {extra} include keyward/axigen.inc; }}
        server {{ listen {address}; server_name {CUBE}; access_log cube.log keyward; include keyward/roundcube.inc; }}
        server {{ listen {address}; server_name {SHOP}; access_log shop.log keyward; include keyward/websydian.inc; }}
        server {{ listen {address}; server_name {ZIMBRA}; access_log zimbra.log keyward; include keyward/zimbra.inc; }}
        server {{ listen {address}; server_name {FORM}; access_log form.log keyward; include keyward/form.inc; }}
        server {{ listen {address}; server_name {SOGO}; access_log sogo.log keyward; include keyward/sogo.inc; }}
        server {{ listen {address}; server_name portal.example.test; access_log portal.log keyward;
                  include keyward/portal.inc; }}"
    )
}

impl House {
    pub async fn with(
        keyward: impl Fn(&Message) -> String + Send + Sync + 'static,
        application: impl Fn(&Message) -> String + Send + Sync + 'static,
    ) -> Self {
        Self::with_extra("", keyward, application).await
    }

    pub async fn with_extra(
        extra: &str,
        keyward: impl Fn(&Message) -> String + Send + Sync + 'static,
        application: impl Fn(&Message) -> String + Send + Sync + 'static,
    ) -> Self {
        let keyward = Scripted::start(false, keyward);
        let application = Scripted::start(true, application);
        let address = free_address().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let site = site(keyward.address, application.address, address, extra);
        let nginx = Nginx::start_shipped(directory.path(), &site, address).await.unwrap();
        Self { keyward, application, address, nginx, directory }
    }

    pub async fn allowing() -> Self {
        Self::with(allow, |_| answer(200, &[], "mail")).await
    }

    /// Sends a request line and header lines, with a `Host` if they have none.
    pub fn ask(&self, host: &str, start: &str, headers: &[&str]) -> Message {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        send(self.address, &format!("{start} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"))
    }
}

/// What Keyward says to Ana: the original address with a key in the query.
pub fn allow(asked: &Message) -> String {
    let url = asked.header("X-Original-URL").unwrap_or_default();
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    let uri = format!("/{path}{}_h=KEY", if path.contains('?') { '&' } else { '?' });
    let headers = [
        ("X-Keyward-Reason", "ok"),
        ("X-Upstream-Uri", uri.as_str()),
        ("X-Upstream-Cookie", "theme=dark; _hmail=COOKIEKEY"),
        ("Remote-User", "ana"),
        ("Remote-Name", "Ana Día"),
        ("Remote-Email", "ana@example.test"),
        ("Remote-Groups", ""),
    ];
    answer(200, &headers, "")
}
