//! HAProxy: the question from Lua, over HTTP, in the dialect of those that hand a refusal on as it is.

use std::fmt::Write;

use super::{Door, File, Host, Place, Site, SnippetError, fill_made};

const CONFIGURATION: &str = include_str!("templates/haproxy/haproxy.cfg");
const LUA: &str = include_str!("../../examples/haproxy/keyward/keyward.lua");
const STYLE: &str = include_str!("../pages/style.css");
const UNAVAILABLE: &str = include_str!("../../examples/haproxy/keyward/unavailable.html");

/// What a page of HAProxy's own is sent with.
const PAGE_HEADERS: &str = "hdr Cache-Control no-store hdr Retry-After 5 hdr Referrer-Policy no-referrer hdr \
    X-Content-Type-Options nosniff hdr Content-Security-Policy \"default-src 'none'; style-src 'self'; base-uri 'none'; \
    frame-ancestors 'self'\"";
/// Smallest room for what a client sends, in bytes: signed tickets are large cookies.
const SMALLEST_REQUEST: usize = 32 * 1024;

/// `haproxy.cfg` and the folder `keyward/`.
pub(super) fn write(site: &Site) -> Result<Vec<File>, SnippetError> {
    Ok(vec![
        File { path: "haproxy.cfg", text: configuration(site)? },
        File { path: "keyward/keyward.lua", text: LUA.to_owned() },
        File { path: "keyward/style.css", text: STYLE.to_owned() },
        File { path: "keyward/unavailable.html", text: UNAVAILABLE.to_owned() },
    ])
}

fn configuration(site: &Site) -> Result<String, SnippetError> {
    let auth = match &site.auth {
        Door::Tcp(address) => address.to_string(),
        Door::Unix(path) => format!("unix@{path}"),
    };
    let mut backends = String::new();
    for upstream in site.upstreams() {
        if upstream.secure {
            let message = "is https, and this configuration of HAProxy speaks http to applications; write the address \
                           of a listener without TLS";
            return Err(SnippetError::at(format!("backend[{}].url", upstream.name), message));
        }
        let _ = writeln!(backends, "backend {0}\n    server {0} {1}\n", upstream.name, upstream.authority);
    }
    let (mut hosts, mut known, mut credentials, mut uses) = Default::default();
    for (index, host) in site.hosts.iter().enumerate() {
        about(host, &format!("host.{}", index + 1), [&mut hosts, &mut known, &mut credentials, &mut uses]);
    }
    if known.is_empty() {
        let message = "is in no route that could be served here; name one, so that there is an address to go to";
        return Err(SnippetError::at("backend", message));
    }
    let [user, name, email, groups] = &site.identity_headers;
    let values = [
        ("AUTH", auth),
        ("PUBLIC", site.public.to_string()),
        ("ANSWER", site.answer_limit.to_string()),
        ("BUFFER", (site.answer_limit + site.answer_limit.max(SMALLEST_REQUEST)).to_string()),
        ("WAIT", site.patience().to_string()),
        ("USER", user.clone()),
        ("NAME", name.clone()),
        ("EMAIL", email.clone()),
        ("GROUPS", groups.clone()),
        ("HOSTS", hosts),
        ("KNOWN", known),
        ("CREDENTIALS", credentials),
        ("USES", uses),
        ("PAGE_HEADERS", PAGE_HEADERS.to_owned()),
        ("BACKENDS", backends.trim_end().to_owned()),
    ];
    Ok(fill_made(CONFIGURATION, &values))
}

/// What the frontend says of a host: how it is known, in which condition, whose credentials count, and what is behind.
fn about(host: &Host, acl: &str, [hosts, known, credentials, uses]: [&mut String; 4]) {
    if host.places.iter().all(|place| place.upstream.is_none()) {
        let _ = writeln!(
            hosts,
            "    # For {} the configuration names no [[backend]], so that its address is not known.",
            host.name
        );
        return;
    }
    let _ = writeln!(hosts, "    acl {acl} var(txn.keyward_host),host_only -m str {}", host.name);
    known.push_str(if known.is_empty() { " " } else { " or " });
    known.push_str(acl);
    for (index, place) in host.places.iter().enumerate() {
        let within = within(place, acl, index, hosts);
        if place.takes_authorization {
            let _ = writeln!(
                credentials,
                "    # What programs without cookies sign in with. The application never sees it.\n    http-request \
                 set-var(txn.keyward_credentials) req.fhdr(authorization) if {within}\n"
            );
        }
        if let Some(upstream) = &place.upstream {
            let _ = writeln!(uses, "    use_backend {} if {within}", upstream.name);
        }
    }
}

/// The condition for a place, and its lines beside the host's where it needs any.
fn within(place: &Place, acl: &str, index: usize, lines: &mut String) -> String {
    if place.path.is_empty() {
        return acl.to_owned();
    }
    let name = format!("{acl}.{}", index + 1);
    let _ = writeln!(lines, "    acl {name} path {0}\n    acl {name} path_beg {0}/", place.path);
    format!("{acl} {name}")
}
